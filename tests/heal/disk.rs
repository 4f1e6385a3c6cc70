//! A small separate disk for the network, which can be filled.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

/// MiB of garbage per second, until garbage collection starts to delete after some minutes.
const GARBAGE: u64 = 4;
/// MiB for live data, and the maximum for garbage.
const OTHER: u64 = 400;
const MAX_GARBAGE: u64 = 1600;
/// Bytes per write while the disk is filled.
const PART: usize = 1 << 20;

/// A tmpfs, or an ordinary folder if this user may not mount one.
pub(crate) struct Disk {
    folder: TempDir,
    mounted: bool,
}

impl Disk {
    /// Creates a disk sized for a run of this duration.
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

    /// Returns the MiB in use.
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
            // Lazily: open files keep the memory until they are closed.
            let _ = Command::new("umount").arg("--lazy").arg(self.folder.path()).status();
        }
    }
}
