//! Targets of downloads.
//!
//! | target | how it is written |
//! |---|---|
//! | missing | a temporary file in the same directory is renamed to it |
//! | regular file with one name and our owner | a temporary file replaces it and takes its mode |
//! | regular file with hard links or another owner, or a mount point | a temporary file is copied into it when complete |
//! | regular file in a directory where no file can be created | in place |
//! | device, pipe, open descriptor | in place |
//!
//! An existing file is opened before anything is written, so a read-only file is not replaced.

use std::fs::{self, File};
use std::io::{self, Seek as _};
use std::path::{Path, PathBuf};

use tempfile::TempPath;
use tokio::io::AsyncWriteExt as _;

use super::resolve::ResolvedPath;
use super::{no_follow, part};
use crate::failure::{Exit, Failure, Outcome};

/// A local file that is written. Dropping it before [`finish`](Self::finish) keeps the old content,
/// unless it is written in place.
#[derive(Debug)]
pub(crate) struct Target {
    /// The file that bytes are written to.
    file: tokio::fs::File,
    path: PathBuf,
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    /// Writes to the existing file, which the first write truncates.
    InPlace { truncated: bool },
    /// Writes to a descriptor, pipe or device.
    Stream,
    /// Writes to a temporary file.
    Temporary { part: TempPath, old: Option<OldFile> },
}

/// The regular file that a download replaces.
#[derive(Debug)]
struct OldFile {
    file: File,
    /// Whether to overwrite its content instead: it has hard links or another owner.
    keep: bool,
}

impl Target {
    /// Opens `path` for writing.
    ///
    /// With `follow_links`, symbolic links are followed, and pipes, devices and open descriptors
    /// are written to. Without it, the file must be missing or regular. Opening a named pipe waits
    /// for a reader.
    pub(crate) async fn create(path: &Path, follow_links: bool) -> Outcome<Self> {
        let owned = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || Self::open(&owned, follow_links)).await;
        opened.unwrap_or_else(|error| Err(cannot_write(path, &io::Error::other(error))))
    }

    /// Fails if `path` cannot be written, as [`create`](Self::create). Creates and changes nothing, and
    /// opens no pipe or device.
    pub(crate) fn check(path: &Path, follow_links: bool) -> Outcome {
        let failure = |error: io::Error| cannot_write(path, &error);
        let entry = match follow_links {
            true => match ResolvedPath::new(path).map_err(failure)? {
                ResolvedPath::Entry(entry) => entry,
                ResolvedPath::Descriptor(_) | ResolvedPath::Unnamed(_) => return Ok(()),
            },
            false => path.to_owned(),
        };
        let found = find(path, &entry, follow_links)?;
        if !found.is_some_and(|found| found.is_file()) {
            return Ok(());
        }
        match open_existing(&entry, false) {
            Err(error) if error.kind() != io::ErrorKind::ExecutableFileBusy => Err(failure(error)),
            _ => Ok(()),
        }
    }

    fn open(path: &Path, follow_links: bool) -> Outcome<Self> {
        let failure = |error: io::Error| cannot_write(path, &error);
        let resolved = if follow_links {
            ResolvedPath::new(path).map_err(failure)?
        } else {
            ResolvedPath::Entry(path.to_owned())
        };
        match resolved {
            ResolvedPath::Entry(entry) => Self::open_entry(path, entry, follow_links),
            ResolvedPath::Descriptor(file) => Ok(Self::stream(file, path)),
            ResolvedPath::Unnamed(entry) => {
                let file = open_existing(&entry, true).map_err(failure)?;
                if file.metadata().map_err(failure)?.is_file() {
                    let text = format!(
                        "cannot write {path:?}: it is a regular file opened by another process; \
                         use its own path"
                    );
                    return Err(Failure::new(Exit::Conflict, text));
                }
                Ok(Self::stream(file, path))
            }
        }
    }

    /// Opens a directory entry. `path` is the path given by the user.
    fn open_entry(path: &Path, entry: PathBuf, follow_links: bool) -> Outcome<Self> {
        let failure = |error: io::Error| cannot_write(path, &error);
        let old = match find(path, &entry, follow_links)? {
            None => None,
            Some(_) => match open_existing(&entry, false) {
                // A running program cannot be written, but replaced.
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => None,
                opened => Some(opened.map_err(failure)?),
            },
        };
        match old {
            Some(file) if !file.metadata().map_err(failure)?.is_file() => {
                Ok(Self::stream(file, path))
            }
            old => Self::with_part(path, entry, old),
        }
    }

    /// Creates a temporary file next to an entry. If the directory denies new files, an existing
    /// file is written in place.
    fn with_part(path: &Path, entry: PathBuf, old: Option<File>) -> Outcome<Self> {
        let parent = entry.parent().filter(|parent| !parent.as_os_str().is_empty());
        let (file, part) = match part::create_in(parent.unwrap_or_else(|| Path::new("."))) {
            Ok(created) => created,
            Err(error) => {
                return match old {
                    Some(file) if denies_new_files(&error) => {
                        let mode = Mode::InPlace { truncated: false };
                        Ok(Self { file: file.into(), path: entry, mode })
                    }
                    _ => Err(cannot_write(path, &error)),
                };
            }
        };
        let old = old
            .map(|old| OldFile::new(old, &file))
            .transpose()
            .map_err(|error| cannot_write(path, &error))?;
        Ok(Self { file: file.into(), path: entry, mode: Mode::Temporary { part, old } })
    }

    fn stream(file: File, path: &Path) -> Self {
        Self { file: file.into(), path: path.to_owned(), mode: Mode::Stream }
    }

    /// Writes all of `bytes`.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Outcome {
        let written = match self.truncate().await {
            Ok(()) => self.file.write_all(bytes).await,
            failed => failed,
        };
        written.map_err(|error| cannot_write(&self.path, &error))
    }

    /// Flushes everything to disk and makes the file visible under its name.
    pub(crate) async fn finish(mut self) -> Outcome {
        let path = self.path.clone();
        self.try_finish().await.map_err(|error| cannot_write(&path, &error))
    }

    /// Returns whether the old content of the file is already lost.
    pub(crate) fn is_partly_written(&self) -> bool {
        matches!(self.mode, Mode::InPlace { truncated: true })
    }

    async fn try_finish(&mut self) -> io::Result<()> {
        self.truncate().await?;
        self.file.flush().await?;
        if matches!(self.mode, Mode::Stream) {
            return Ok(());
        }
        self.file.sync_all().await?;
        let Mode::Temporary { part, old } = std::mem::replace(&mut self.mode, Mode::Stream) else {
            return Ok(());
        };
        let file = self.file.try_clone().await?.into_std().await;
        let path = self.path.clone();
        let persisted = tokio::task::spawn_blocking(move || persist(file, part, &path, old));
        persisted.await.map_err(io::Error::other)?
    }

    /// Truncates a file that is written in place, before the first write.
    async fn truncate(&mut self) -> io::Result<()> {
        if let Mode::InPlace { truncated: truncated @ false } = &mut self.mode {
            *truncated = true;
            self.file.set_len(0).await?;
        }
        Ok(())
    }
}

impl OldFile {
    /// Gives a temporary file the mode of the file that it replaces.
    #[cfg(unix)]
    fn new(file: File, part: &File) -> io::Result<Self> {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        let old = file.metadata()?;
        let new = part.metadata()?;
        let keep = old.nlink() > 1 || (old.uid(), old.gid()) != (new.uid(), new.gid());
        if !keep {
            // Without the setuid and setgid bits, since the content is different.
            part.set_permissions(fs::Permissions::from_mode(old.mode() & 0o777))?;
        }
        Ok(Self { file, keep })
    }

    #[cfg(not(unix))]
    fn new(file: File, _part: &File) -> io::Result<Self> {
        Ok(Self { file, keep: false })
    }
}

/// Renames a complete temporary file to its target, or copies it into a file that is kept.
fn persist(file: File, part: TempPath, path: &Path, old: Option<OldFile>) -> io::Result<()> {
    let Some(old) = old else { return Ok(part.persist(path)?) };
    if old.keep {
        return overwrite(file, old.file);
    }
    match part.persist(path) {
        // A mount point, as used in containers.
        Err(error) if error.error.kind() == io::ErrorKind::ResourceBusy => {
            overwrite(file, old.file)
        }
        persisted => Ok(persisted?),
    }
}

fn overwrite(mut from: File, mut to: File) -> io::Result<()> {
    from.rewind()?;
    to.set_len(0)?;
    io::copy(&mut from, &mut to)?;
    to.sync_all()
}

/// Returns the metadata of a directory entry, if it exists. Fails if it cannot be a target.
fn find(path: &Path, entry: &Path, follow_links: bool) -> Outcome<Option<fs::Metadata>> {
    let in_the_way = |what: &str| {
        Err(Failure::new(Exit::Conflict, format!("cannot write {path:?}: it is {what}")))
    };
    match fs::symlink_metadata(entry) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cannot_write(path, &error)),
        Ok(found) if found.is_dir() => in_the_way("a directory"),
        Ok(found) if found.is_symlink() => in_the_way("a symbolic link"),
        Ok(found) if !found.is_file() && !follow_links => {
            in_the_way("neither a file nor a directory")
        }
        Ok(found) => Ok(Some(found)),
    }
}

/// Opens an existing file for writing, without truncating it.
fn open_existing(path: &Path, follow_links: bool) -> io::Result<File> {
    let mut options = File::options();
    options.write(true);
    if !follow_links {
        no_follow::set(&mut options);
    }
    options.open(path)
}

/// Returns whether a directory denies new files. Existing files in it may still be writable.
fn denies_new_files(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::io(format_args!("cannot write {path:?}"), error)
}

#[cfg(test)]
mod tests;
