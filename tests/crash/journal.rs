//! What a writer attempted and what was acknowledged to it, on disk.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

/// One writer's record, synced line by line.
pub(crate) struct Journal {
    file: File,
    /// Number of the next operation.
    pub(crate) next: u64,
}

/// An operation on a key: a write of `size` bytes, or a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) number: u64,
    pub(crate) size: Option<u64>,
}

/// What may be found under a key: the last acknowledged operation's result or that of a later
/// attempt whose outcome nobody knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Possible {
    pub(crate) acknowledged: Option<Operation>,
    pub(crate) attempted: Vec<Operation>,
}

impl Journal {
    pub(crate) fn open(path: &Path) -> Self {
        let next = std::fs::read_to_string(path).map_or(0, |text| text.lines().count() as u64);
        let file = OpenOptions::new().append(true).create(true).open(path).expect("a journal");
        Self { file, next }
    }

    /// Notes that an operation is about to be tried.
    pub(crate) fn attempt(&mut self, key: &str, size: Option<u64>) -> Operation {
        let operation = Operation { number: self.next, size };
        self.line("try", key, operation);
        operation
    }

    /// Notes that an operation was acknowledged; durable when this returns.
    pub(crate) fn acknowledge(&mut self, key: &str, operation: Operation) {
        self.line("ack", key, operation);
        self.file.sync_data().expect("synced");
    }

    fn line(&mut self, what: &str, key: &str, operation: Operation) {
        let size = operation.size.map_or_else(|| "-".to_owned(), |size| size.to_string());
        writeln!(self.file, "{what} {key} {} {size}", operation.number).expect("written");
        self.next += 1;
    }

    /// Reads what may be found under every key.
    pub(crate) fn read(path: &Path) -> BTreeMap<String, Possible> {
        let text = std::fs::read_to_string(path).expect("a journal");
        let mut keys: BTreeMap<String, Possible> = BTreeMap::new();
        for line in text.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let [what, key, number, size] = fields[..] else { panic!("journal line {line:?}") };
            let operation =
                Operation { number: number.parse().expect("a number"), size: size.parse().ok() };
            let possible = keys.entry(key.to_owned()).or_default();
            match what {
                "try" => possible.attempted.push(operation),
                _ => *possible = Possible { acknowledged: Some(operation), attempted: Vec::new() },
            }
        }
        keys
    }
}
