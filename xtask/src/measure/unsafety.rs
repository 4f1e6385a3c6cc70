//! Files with unsafe code.

use std::path::{Path, PathBuf};

/// What unsafe code contains, or the permission for it.
const MARKS: [&str; 7] = [
    "unsafe {",
    "unsafe fn",
    "unsafe impl",
    "unsafe extern",
    "allow(unsafe",
    "expect(unsafe",
    "#[unsafe(",
];

/// Returns the files below `root` with unsafe code, relative to it. This file names the marks.
pub(crate) fn unsafe_files(root: &Path) -> Vec<PathBuf> {
    let files = super::rust_files(root).into_iter().filter(|file| {
        let source = std::fs::read_to_string(file).unwrap_or_default();
        let is_unsafe = MARKS.iter().any(|mark| source.contains(mark));
        is_unsafe && !file.ends_with("measure/unsafety.rs")
    });
    files.filter_map(|file| Some(file.strip_prefix(root).ok()?.to_owned())).collect()
}
