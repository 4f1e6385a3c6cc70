//! Bit rot on the disks of storage nodes.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes before a piece's own in its file.
const HEADER: u64 = 512;

/// Files with a changed byte, to be changed back.
pub(crate) struct Rot {
    position: u64,
    changed: Vec<PathBuf>,
}

impl Rot {
    /// Changes a byte of every piece below a folder that reaches so far.
    pub(crate) fn spread(folder: &Path, position: u64) -> Self {
        let mut files = Vec::new();
        pieces(folder, &mut files);
        files.retain(|file| flip(file, position).is_ok());
        Self { position, changed: files }
    }

    /// Changes them back. Those that are gone were deleted.
    pub(crate) fn repair(self) {
        for file in self.changed {
            match flip(&file, self.position) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                outcome => outcome.expect("repaired"),
            }
        }
    }
}

/// All piece files; a folder that vanishes meanwhile has none.
fn pieces(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            pieces(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "sj1") {
            found.push(path);
        }
    }
}

fn flip(path: &Path, position: u64) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, HEADER + position)?;
    file.write_all_at(&[!byte[0]], HEADER + position)
}
