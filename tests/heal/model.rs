//! The possible contents of each key.

use std::sync::Mutex;

/// Keys per owner: few, so that most writes overwrite.
const KEYS: usize = 6;

/// A write of `size` bytes, or a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) number: u64,
    pub(crate) size: Option<u64>,
}

impl Operation {
    /// Returns whether this operation results in that content.
    fn explains(&self, key: &str, found: Option<&[u8]>) -> bool {
        match (self.size, found) {
            (Some(size), Some(found)) => {
                size == found.len() as u64 && content(key, self.number, size) == found
            }
            (size, found) => size.is_none() && found.is_none(),
        }
    }
}

/// A key that one writer changes and all clients read.
pub(crate) struct Key {
    pub(crate) name: String,
    history: Mutex<History>,
}

#[derive(Clone, Debug, Default)]
struct History {
    /// All operations that were started.
    begun: Vec<Operation>,
    /// Indices in `begun` of the last acknowledged operation and of those with an unknown outcome.
    possible: Vec<usize>,
}

impl Key {
    /// Returns the keys of an owner, initially absent.
    pub(crate) fn of(owner: usize) -> Vec<Self> {
        let absent = Operation { number: 0, size: None };
        let history = History { begun: vec![absent], possible: vec![0] };
        let key = |number| Self {
            name: format!("writer-{owner}/{number}"),
            history: Mutex::new(history.clone()),
        };
        (0..KEYS).map(key).collect()
    }

    /// Records the start of an operation: from now on its result is possible.
    pub(crate) fn begin(&self, size: Option<u64>) -> Operation {
        let mut history = self.history.lock().expect("no panic");
        let operation = Operation { number: history.begun.len() as u64, size };
        let index = history.begun.len();
        history.begun.push(operation);
        history.possible.push(index);
        operation
    }

    /// Records that the last operation was acknowledged. Earlier attempts with an unknown outcome
    /// stay possible only if `late`, when the connections that carried them were frozen.
    pub(crate) fn acknowledge(&self, late: bool) {
        let mut history = self.history.lock().expect("no panic");
        let last = history.begun.len() - 1;
        if !late {
            history.possible.clear();
            history.possible.push(last);
        }
    }

    /// Returns what a read that starts now may find, up to [`Look::check`].
    pub(crate) fn look(&self) -> Look<'_> {
        let history = self.history.lock().expect("no panic");
        Look { key: self, possible: history.possible.clone(), begun: history.begun.len() }
    }

    /// Reduces the possible contents to what was found. No writer may be active.
    pub(crate) fn reduce_to(&self, found: Option<&[u8]>) {
        let mut history = self.history.lock().expect("no panic");
        let History { begun, possible } = &mut *history;
        possible.retain(|index| begun[*index].explains(&self.name, found));
        let operations: Vec<Operation> = possible.iter().map(|index| begun[*index]).collect();
        assert!(!operations.is_empty(), "{} has content that no operation wrote", self.name);
    }
}

/// The possible contents at the start of a read.
pub(crate) struct Look<'a> {
    key: &'a Key,
    possible: Vec<usize>,
    begun: usize,
}

impl Look<'_> {
    /// Asserts that the content was possible at some moment since the look.
    pub(crate) fn check(&self, found: Option<&[u8]>) {
        let size = found.map(<[u8]>::len);
        let explains = |operation: &Operation| operation.explains(&self.key.name, found);
        let candidates = self.candidates();
        assert!(
            candidates.iter().any(explains),
            "{} holds {size:?} bytes, possible are {candidates:?}",
            self.key.name
        );
    }

    /// Asserts that the object may have ended at or before `start`.
    pub(crate) fn check_short(&self, start: u64) {
        let candidates = self.candidates();
        let is_short = |operation: &Operation| operation.size.is_some_and(|size| size <= start);
        assert!(
            candidates.iter().any(is_short),
            "{} ends before {start}, possible are {candidates:?}",
            self.key.name
        );
    }

    /// Asserts that the object may have been replaced or deleted since the look.
    pub(crate) fn check_changed(&self) {
        let candidates = self.candidates();
        assert!(candidates.len() > 1, "{} changed, possible is {candidates:?}", self.key.name);
    }

    /// Like [`check`](Self::check), for `length` bytes of an object, or fewer at its end.
    pub(crate) fn check_range(&self, start: u64, length: usize, found: &[u8]) {
        let explains = |operation: &Operation| {
            let whole = content(&self.key.name, operation.number, operation.size.unwrap_or(0));
            let start = usize::try_from(start).expect("a small object");
            whole.get(start..).is_some_and(|rest| &rest[..length.min(rest.len())] == found)
        };
        let candidates = self.candidates();
        assert!(
            candidates.iter().any(explains),
            "{} bytes from {start} of {}, possible are {candidates:?}",
            found.len(),
            self.key.name
        );
    }

    fn candidates(&self) -> Vec<Operation> {
        let history = self.key.history.lock().expect("no panic");
        let since = self.begun..history.begun.len();
        self.possible.iter().copied().chain(since).map(|index| history.begun[index]).collect()
    }
}

/// Returns bytes that are unique to an operation.
pub(crate) fn content(key: &str, number: u64, size: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(size).expect("a small object")];
    let name = format!("{key} {number}");
    blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}
