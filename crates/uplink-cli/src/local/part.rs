//! Temporary files of downloads: `.uplink-….part` in the directory of the target.
//!
//! A killed process leaves them behind. The next process that writes into the directory removes
//! them. Each process locks its own files while it uses them, and the system releases the locks of
//! a process that has ended, so an unlocked file is stale.
//!
//! A file can be found between its creation and its lock. Therefore both sides check, once they
//! hold the lock, that the file still has its name. If it does not, its owner creates another one.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::TempPath;

use super::no_follow;

const PREFIX: &str = ".uplink-";
const SUFFIX: &str = ".part";

/// Attempts to create a file that no other process removes before it is locked.
const MAX_ATTEMPTS: usize = 16;

/// Maximum number of directories remembered as swept.
const MAX_SWEPT: usize = 1024;

/// Creates a locked temporary file, after removing stale ones from the directory. The lock is held
/// while the file is open.
pub(super) fn create_in(directory: &Path) -> io::Result<(File, TempPath)> {
    sweep_once(directory);
    for _ in 0..MAX_ATTEMPTS {
        let (file, path) = create_unlocked(directory)?;
        match file.try_lock() {
            // Another process is about to remove it.
            Err(TryLockError::WouldBlock) => continue,
            // Where files cannot be locked, none is removed either.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        if is_named(&file, &path) {
            return Ok((file, path));
        }
    }
    Err(io::Error::other("temporary files are removed by other processes"))
}

fn create_unlocked(directory: &Path) -> io::Result<(File, TempPath)> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX).suffix(SUFFIX);
    #[cfg(unix)]
    // Restricted by the umask, like any new file.
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    Ok(builder.tempfile_in(directory)?.into_parts())
}

/// Removes stale files from a directory, once per directory and process.
fn sweep_once(directory: &Path) {
    static SWEPT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let mut swept = SWEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if swept.len() >= MAX_SWEPT {
        swept.clear();
    }
    if swept.insert(directory.to_owned()) {
        drop(swept);
        // Best effort: a writable directory may be unreadable.
        let _ = sweep(directory);
    }
}

fn sweep(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(PREFIX.as_bytes())
            && name.ends_with(SUFFIX.as_bytes())
            && entry.file_type().is_ok_and(|kind| kind.is_file())
        {
            // Best effort: it may be removed concurrently or belong to another user.
            let _ = remove_if_stale(&entry.path());
        }
    }
    Ok(())
}

fn remove_if_stale(path: &Path) -> io::Result<()> {
    let mut options = File::options();
    // Some network file systems lock only files that are open for writing.
    options.read(true).write(true);
    no_follow::set(&mut options);
    let file = options.open(path)?;
    if file.try_lock().is_ok() && is_named(&file, path) {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Returns whether a path still names an open file.
#[cfg(unix)]
fn is_named(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(open) = file.metadata() else { return false };
    let Ok(named) = fs::symlink_metadata(path) else { return false };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}

#[cfg(not(unix))]
fn is_named(_file: &File, path: &Path) -> bool {
    path.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry_count(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn stale_parts_are_removed_and_locked_ones_kept() {
        let root = tempfile::tempdir().unwrap();
        let (live, live_path) = create_in(root.path()).unwrap();
        fs::write(root.path().join(".uplink-a1b2c3.part"), "left behind").unwrap();
        fs::write(root.path().join(".uplink-notes"), "other").unwrap();
        fs::write(root.path().join("x.part"), "other").unwrap();
        fs::create_dir(root.path().join(".uplink-d.part")).unwrap();
        sweep(root.path()).unwrap();
        assert!(live_path.exists());
        assert!(!root.path().join(".uplink-a1b2c3.part").exists());
        assert_eq!(entry_count(root.path()), 4);
        drop(live);
        sweep(root.path()).unwrap();
        assert_eq!(entry_count(root.path()), 3);
    }

    #[test]
    fn replaced_part_is_not_mistaken_for_the_old_one() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(".uplink-a.part");
        fs::write(&path, "old").unwrap();
        let old = File::open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "new").unwrap();
        assert!(!is_named(&old, &path));
        assert!(is_named(&File::open(&path).unwrap(), &path));
    }

    #[test]
    fn parts_survive_concurrent_sweeps() {
        let root = tempfile::tempdir().unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    sweep(root.path()).unwrap();
                }
            });
            for _ in 0..2000 {
                let (_file, path) = create_in(root.path()).unwrap();
                assert!(path.exists());
                path.persist(root.path().join("file")).unwrap();
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        assert_eq!(entry_count(root.path()), 1);
    }
}
