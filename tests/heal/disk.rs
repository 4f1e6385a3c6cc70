//! A small disk of its own for the network, that can be filled.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

/// MiB that garbage takes in each second, until the first of it is deleted after some minutes.
const GARBAGE: u64 = 4;
/// MiB for what is never garbage, and most for what is.
const OTHER: u64 = 400;
const MAX_GARBAGE: u64 = 1600;
/// Bytes written at a time while it is filled.
const PART: usize = 1 << 20;

/// A file system in memory, or where this user may mount none an ordinary folder.
pub(crate) struct Disk {
    folder: TempDir,
    mounted: bool,
}

impl Disk {
    /// For a run of some length.
    pub(crate) fn new(length: Duration) -> Self {
        let size = OTHER + (GARBAGE * length.as_secs()).min(MAX_GARBAGE);
        let folder = tempfile::tempdir().expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}m"), "none"]).arg(folder.path());
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        if !mounted {
            println!("full disks are left out: this user may not mount a file system");
        }
        Self { folder, mounted }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn can_be_filled(&self) -> bool {
        self.mounted
    }

    /// MiB in use.
    pub(crate) fn used(&self) -> u64 {
        let disk = rustix::fs::statvfs(self.path()).expect("a file system");
        ((disk.f_blocks - disk.f_bfree) * disk.f_frsize) >> 20
    }

    /// Fills the disk to the last byte, until [`free`](Self::free).
    pub(crate) fn fill(&self) {
        let mut file = File::create(self.filler()).expect("a file");
        let part = vec![1; PART];
        while file.write_all(&part).is_ok() {}
    }

    pub(crate) fn free(&self) {
        fs::remove_file(self.filler()).expect("removed");
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            // What still has a file open there keeps the memory until it ends.
            let _ = Command::new("umount").arg("--lazy").arg(self.folder.path()).status();
        }
    }
}
