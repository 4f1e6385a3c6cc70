//! File descriptors of this process, shared by network and clients.

use std::fs::{self, File};

use rustix::process::{Resource, Rlimit, setrlimit};

/// Small, so that descriptors are exhausted quickly.
const LIMIT: u64 = 2048;

/// Sets the limit for the whole run, before anything reads it.
pub(crate) fn limit() {
    let limit = Rlimit { current: Some(LIMIT), maximum: Some(LIMIT) };
    setrlimit(Resource::Nofile, limit).expect("a lower limit");
}

/// Opens files until only `but` descriptors are left.
pub(crate) fn exhaust(but: usize) -> Vec<File> {
    let mut files: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    files.truncate(files.len().saturating_sub(but));
    files
}

/// Returns the number of open descriptors.
pub(crate) fn open() -> usize {
    fs::read_dir("/dev/fd").map_or(0, Iterator::count)
}
