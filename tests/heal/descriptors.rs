//! Descriptors of this process, which network and clients share.

use std::fs::{self, File};

use rustix::process::{Resource, Rlimit, setrlimit};

/// Few enough to be used up in a moment.
const LIMIT: u64 = 2048;

/// Sets the limit for the whole run, before anything asks for it.
pub(crate) fn limit() {
    let limit = Rlimit { current: Some(LIMIT), maximum: Some(LIMIT) };
    setrlimit(Resource::Nofile, limit).expect("a lower limit");
}

/// Opens files until all descriptors but some are used up.
pub(crate) fn exhaust(but: usize) -> Vec<File> {
    let mut files: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    files.truncate(files.len().saturating_sub(but));
    files
}

/// How many are open.
pub(crate) fn open() -> usize {
    fs::read_dir("/dev/fd").map_or(0, Iterator::count)
}
