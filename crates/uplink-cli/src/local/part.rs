//! Temporary files that downloads are written to: `.uplink-….part` beside the file they become.
//!
//! A process that is killed leaves them behind. The next one that writes into the same directory
//! removes them. Each process locks its own for as long as it uses them, and the system releases
//! the lock of a process that has ended, so a file whose lock is free belongs to no process.
//!
//! A file can be found between its creation and its lock. Both sides therefore look, once they
//! hold the lock, whether the file still has its name: the owner makes another one if it does not.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::TempPath;

const PREFIX: &str = ".uplink-";
const SUFFIX: &str = ".part";

/// Files that are made before giving up, when others remove each before it is locked.
const MAX_ATTEMPTS: usize = 16;

/// Directories that are remembered as swept.
const MAX_SWEPT: usize = 1024;

/// Makes a locked temporary file, after removing those of processes that have ended from the
/// directory. The lock lasts as long as the file is open.
pub(super) fn create_in(directory: &Path) -> io::Result<(File, TempPath)> {
    sweep_once(directory);
    for _ in 0..MAX_ATTEMPTS {
        let (file, path) = make_in(directory)?;
        match file.try_lock() {
            // Another process is about to remove it.
            Err(TryLockError::WouldBlock) => continue,
            // Where files cannot be locked, nothing is removed either.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        if is_named(&file, &path) {
            return Ok((file, path));
        }
    }
    Err(io::Error::other("temporary files vanish"))
}

fn make_in(directory: &Path) -> io::Result<(File, TempPath)> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX).suffix(SUFFIX);
    #[cfg(unix)]
    // As for any new file, the user's mask takes away from this.
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    Ok(builder.tempfile_in(directory)?.into_parts())
}

/// Removes what ended processes left in a directory, once for each directory of a command.
fn sweep_once(directory: &Path) {
    static SWEPT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let mut swept = SWEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if swept.len() >= MAX_SWEPT {
        swept.clear();
    }
    if swept.insert(directory.to_owned()) {
        drop(swept);
        // A directory that can be written to need not be readable.
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
            // It may have been removed meanwhile, or belong to another user.
            let _ = remove_if_free(&entry.path());
        }
    }
    Ok(())
}

fn remove_if_free(path: &Path) -> io::Result<()> {
    let mut options = File::options();
    // Some network file systems lock only what is open for writing.
    options.read(true).write(true);
    super::not_through_links(&mut options);
    let file = options.open(path)?;
    if file.try_lock().is_ok() && is_named(&file, path) {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Returns whether an open file is the one that a path names.
#[cfg(unix)]
fn is_named(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let (Ok(open), Ok(named)) = (file.metadata(), fs::symlink_metadata(path)) else {
        return false;
    };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}

#[cfg(not(unix))]
fn is_named(_file: &File, path: &Path) -> bool {
    path.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn unlocked_parts_are_removed_and_locked_ones_stay() {
        let root = tempfile::tempdir().unwrap();
        let (live, live_path) = create_in(root.path()).unwrap();
        fs::write(root.path().join(".uplink-a1b2c3.part"), "left behind").unwrap();
        fs::write(root.path().join(".uplink-notes"), "other").unwrap();
        fs::write(root.path().join("x.part"), "other").unwrap();
        fs::create_dir(root.path().join(".uplink-d.part")).unwrap();
        sweep(root.path()).unwrap();
        assert!(live_path.exists());
        assert!(!root.path().join(".uplink-a1b2c3.part").exists());
        assert_eq!(names(root.path()), 4);
        drop(live);
        sweep(root.path()).unwrap();
        assert_eq!(names(root.path()), 3);
    }

    #[test]
    fn part_is_removed_only_under_its_own_name() {
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
    fn parts_survive_other_processes_that_sweep() {
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
        assert_eq!(names(root.path()), 1);
    }
}
