//! A writer's attempted and acknowledged operations, on disk.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

/// A writer's log, synced after each acknowledgement.
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

/// Possible contents of a key: the result of the last acknowledged operation, or of a later attempt
/// with an unknown outcome.
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

    /// Records that an operation is about to start.
    pub(crate) fn attempt(&mut self, key: &str, size: Option<u64>) -> Operation {
        let operation = Operation { number: self.next, size };
        self.line("try", key, operation);
        operation
    }

    /// Records an acknowledgement; durable on return.
    pub(crate) fn acknowledge(&mut self, key: &str, operation: Operation) {
        self.line("ack", key, operation);
        self.file.sync_data().expect("synced");
    }

    fn line(&mut self, what: &str, key: &str, operation: Operation) {
        let size = operation.size.map_or_else(|| "-".to_owned(), |size| size.to_string());
        writeln!(self.file, "{what} {key} {} {size}", operation.number).expect("written");
        self.next += 1;
    }

    /// Reads the possible contents of every key.
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
