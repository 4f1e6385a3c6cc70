//! Bit rot on the disks of storage nodes.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Size of the header of a piece file.
const HEADER: u64 = 512;

/// Files with a changed byte, to be restored.
pub(crate) struct Rot {
    position: u64,
    changed: Vec<PathBuf>,
}

impl Rot {
    /// Changes the byte at a position of every piece below a folder that is long enough.
    pub(crate) fn spread(folder: &Path, position: u64) -> Self {
        let mut files = Vec::new();
        pieces(folder, &mut files);
        files.retain(|file| flip(file, position).is_ok());
        Self { position, changed: files }
    }

    /// Restores the bytes. Skips files that were deleted meanwhile.
    pub(crate) fn repair(self) {
        for file in self.changed {
            match flip(&file, self.position) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                outcome => outcome.expect("repaired"),
            }
        }
    }
}

/// Collects all piece files; ignores folders that are deleted meanwhile.
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
