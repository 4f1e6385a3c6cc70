//! Local files that downloads are written to.
//!
//! | target | how it is written |
//! |---|---|
//! | a missing file | a temporary file beside it gets its name |
//! | a plain file with one name and our owner | a temporary file beside it takes its place and its mode |
//! | a plain file with other names (hard links) or another owner, or that is a mount point | a temporary file beside it, which is copied into it when it is complete |
//! | a plain file in a directory that takes no temporary file | in place |
//! | a device, a pipe, an open descriptor | in place |
//!
//! What exists is opened before anything is written, so a file that may not be written stays.

use std::fs::{self, File};
use std::io::{self, Seek as _};
use std::path::{Path, PathBuf};

use tempfile::TempPath;
use tokio::io::AsyncWriteExt as _;

use super::part;
use super::place::Place;
use crate::failure::{Exit, Failure, Outcome};

/// A local file being written. Dropping it before [`finish`](Self::finish) leaves the old content,
/// unless it can only be written in place.
#[derive(Debug)]
pub(crate) struct Target {
    /// What bytes go to.
    file: tokio::fs::File,
    path: PathBuf,
    how: How,
}

#[derive(Debug)]
enum How {
    /// The file is a descriptor, pipe or device.
    AsItIs,
    /// The file is what was there. It is emptied by the first write.
    InPlace { emptied: bool },
    /// The file is temporary.
    Temporary { part: TempPath, old: Option<Old> },
}

/// The plain file that was there.
#[derive(Debug)]
struct Old {
    file: File,
    /// It has other names or another owner than a new file would have.
    keep: bool,
}

impl Target {
    /// Begins to write the file that `path` names.
    ///
    /// With `follow` symbolic links are followed, and pipes, devices and open descriptors are written
    /// to. Without it the file must be missing or plain. Opening a named pipe waits for its reader.
    pub(crate) async fn create(path: &Path, follow: bool) -> Outcome<Self> {
        let owned = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || Self::open(&owned, follow)).await;
        opened.unwrap_or_else(|error| Err(cannot_write(path, &io::Error::other(error))))
    }

    fn open(path: &Path, follow: bool) -> Outcome<Self> {
        let failure = |error: io::Error| cannot_write(path, &error);
        let place = match follow {
            true => Place::of(path).map_err(failure)?,
            false => Place::Entry(path.to_owned()),
        };
        match place {
            Place::Entry(entry) => Self::open_entry(path, entry, follow),
            Place::Open(file) => Ok(Self::as_it_is(file, path)),
            Place::Unnamed(entry) => {
                let file = open_existing(&entry, true).map_err(failure)?;
                if file.metadata().map_err(failure)?.is_file() {
                    let text = format!(
                        "cannot write {path:?}: it leads to a file that is open elsewhere; give its \
                         own name"
                    );
                    return Err(Failure::new(Exit::Conflict, text));
                }
                Ok(Self::as_it_is(file, path))
            }
        }
    }

    /// Opens an entry of a directory. `path` is how the user named it.
    fn open_entry(path: &Path, entry: PathBuf, follow: bool) -> Outcome<Self> {
        let failure = |error: io::Error| cannot_write(path, &error);
        let in_the_way = |what: &str| {
            Failure::new(Exit::Conflict, format!("cannot write {path:?}: it is {what}"))
        };
        let old = match fs::symlink_metadata(&entry) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failure(error)),
            Ok(found) if found.is_dir() => return Err(in_the_way("a directory")),
            Ok(found) if found.is_symlink() => return Err(in_the_way("a symbolic link")),
            Ok(found) if !found.is_file() && !follow => {
                return Err(in_the_way("neither a file nor a directory"));
            }
            Ok(_) => match open_existing(&entry, false) {
                // A program that runs cannot be written, but replaced.
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => None,
                opened => Some(opened.map_err(failure)?),
            },
        };
        match old {
            Some(file) if !file.metadata().map_err(failure)?.is_file() => {
                Ok(Self::as_it_is(file, path))
            }
            old => Self::beside(path, entry, old),
        }
    }

    /// Makes a temporary file beside an entry; without one what is there is written in place.
    fn beside(path: &Path, entry: PathBuf, old: Option<File>) -> Outcome<Self> {
        let directory = entry.parent().filter(|parent| !parent.as_os_str().is_empty());
        let (part, old) = match (part::create_in(directory.unwrap_or_else(|| Path::new("."))), old)
        {
            (Ok(part), old) => (part, old),
            (Err(error), Some(file)) if takes_no_files(&error) => {
                let (file, how) = (file.into(), How::InPlace { emptied: false });
                return Ok(Self { file, path: entry, how });
            }
            (Err(error), _) => return Err(cannot_write(path, &error)),
        };
        let (file, part) = part;
        let old = old.map(|old| Old::like(old, &file)).transpose();
        let old = old.map_err(|error| cannot_write(path, &error))?;
        Ok(Self { file: file.into(), path: entry, how: How::Temporary { part, old } })
    }

    fn as_it_is(file: File, path: &Path) -> Self {
        Self { file: file.into(), path: path.to_owned(), how: How::AsItIs }
    }

    /// Writes all of `bytes`.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Outcome {
        let written = match self.empty().await {
            Ok(()) => self.file.write_all(bytes).await,
            failed => failed,
        };
        written.map_err(|error| cannot_write(&self.path, &error))
    }

    /// Makes sure that everything is on disk, and gives the file its name.
    pub(crate) async fn finish(mut self) -> Outcome {
        let path = self.path.clone();
        self.try_finish().await.map_err(|error| cannot_write(&path, &error))
    }

    /// Returns whether a file is lost that was there before, should the download fail now.
    pub(crate) fn is_partly_written(&self) -> bool {
        matches!(self.how, How::InPlace { emptied: true })
    }

    async fn try_finish(&mut self) -> io::Result<()> {
        self.empty().await?;
        self.file.flush().await?;
        if matches!(self.how, How::AsItIs) {
            return Ok(());
        }
        self.file.sync_all().await?;
        let How::Temporary { part, old } = std::mem::replace(&mut self.how, How::AsItIs) else {
            return Ok(());
        };
        let (file, path) = (self.file.try_clone().await?.into_std().await, self.path.clone());
        let placed = tokio::task::spawn_blocking(move || place(file, part, &path, old));
        placed.await.map_err(io::Error::other)?
    }

    /// Empties a file that is written in place, before its first byte.
    async fn empty(&mut self) -> io::Result<()> {
        if let How::InPlace { emptied: emptied @ false } = &mut self.how {
            *emptied = true;
            self.file.set_len(0).await?;
        }
        Ok(())
    }
}

impl Old {
    /// Gives a temporary file the mode of the file that it is to replace.
    #[cfg(unix)]
    fn like(file: File, part: &File) -> io::Result<Self> {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        let (old, new) = (file.metadata()?, part.metadata()?);
        let keep = old.nlink() > 1 || (old.uid(), old.gid()) != (new.uid(), new.gid());
        if !keep {
            // Not the bits that give a program the rights of its owner: the content is another one.
            part.set_permissions(fs::Permissions::from_mode(old.mode() & 0o777))?;
        }
        Ok(Self { file, keep })
    }

    #[cfg(not(unix))]
    fn like(file: File, _part: &File) -> io::Result<Self> {
        Ok(Self { file, keep: false })
    }
}

/// Puts a complete temporary file in the place of another, or its content into it.
fn place(file: File, part: TempPath, path: &Path, old: Option<Old>) -> io::Result<()> {
    let Some(old) = old else { return Ok(part.persist(path)?) };
    if old.keep {
        return fill(file, old.file);
    }
    match part.persist(path) {
        // The file is a mount point, as containers have them.
        Err(error) if error.error.kind() == io::ErrorKind::ResourceBusy => fill(file, old.file),
        persisted => Ok(persisted?),
    }
}

fn fill(mut from: File, mut to: File) -> io::Result<()> {
    from.rewind()?;
    to.set_len(0)?;
    io::copy(&mut from, &mut to)?;
    to.sync_all()
}

/// Opens what exists for writing, without changing it.
fn open_existing(path: &Path, follow: bool) -> io::Result<File> {
    let mut options = File::options();
    options.write(true);
    if !follow {
        super::not_through_links(&mut options);
    }
    options.open(path)
}

/// Returns whether a directory cannot take another file although a file in it may be writable.
fn takes_no_files(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::io(format_args!("cannot write {path:?}"), error)
}

#[cfg(test)]
mod tests;
