//! The file system as the store sees it: few blocking operations, so that tests can fail any of
//! them and can lose what was never synced.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use uplink_rpc::descriptors::{self, KeptFile, briefly};

/// A file system; every operation blocks.
///
/// What was written survives a loss of power only after [`WritableFile::sync`]; that a name was
/// added, moved or removed, only after [`sync_directory`](Self::sync_directory) of its directory.
pub trait Files: fmt::Debug + Send + Sync + 'static {
    /// Creates a file that must not exist yet, readable by its owner alone.
    fn create(&self, path: &Path) -> io::Result<Box<dyn WritableFile>>;
    /// Opens a file for reading.
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadableFile>>;
    /// Moves a file in one step; a file at `to` is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Creates a directory and those above it; one that exists is fine.
    fn create_directory(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// Lists a directory, in no order.
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>>;
    /// Bytes that the file system below `path` can still take.
    fn free_space(&self, path: &Path) -> io::Result<u64>;
}

/// A file being written.
pub trait WritableFile: Send {
    /// Writes all of `bytes` at `offset`.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was written durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file being read.
pub trait ReadableFile: Send + Sync {
    /// Length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Fills `buffer` from `offset`; a shorter file is an error.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)] // made by other implementations of `Files`
pub struct Entry {
    /// The name without the path; names that are not UTF-8 are left out of listings.
    pub name: String,
    /// Whether it is a directory.
    pub directory: bool,
    /// Length in bytes of a file.
    pub size: u64,
}

/// The machine's file system. Files stay open while descriptors are plentiful; otherwise they are
/// opened for every operation, and one that was removed meanwhile fails.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Disk;

impl Files for Disk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn WritableFile>> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = Sparing::open(path, &options)?;
        Ok(Box::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadableFile>> {
        Ok(Box::new(Sparing::open(path, OpenOptions::new().read(true))?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        briefly(|| File::open(path)?.sync_all())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let metadata = entry.metadata()?;
            let directory = metadata.is_dir();
            entries.push(Entry {
                name,
                directory,
                size: if directory { 0 } else { metadata.len() },
            });
        }
        Ok(entries)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        let status = rustix::fs::statvfs(path)?;
        Ok(status.f_bavail.saturating_mul(status.f_frsize))
    }
}

/// A file that stays open if it may, and is opened for every operation if not.
#[derive(Debug)]
struct Sparing {
    path: PathBuf,
    kept: Option<(File, KeptFile)>,
}

impl Sparing {
    fn open(path: &Path, options: &OpenOptions) -> io::Result<Self> {
        let kept = briefly(|| {
            let file = options.open(path)?;
            Ok::<_, io::Error>(descriptors::keep_file().map(|kept| (file, kept)))
        })?;
        Ok(Self { path: path.to_owned(), kept })
    }

    fn with<T>(
        &self,
        options: &OpenOptions,
        mut operation: impl FnMut(&File) -> io::Result<T>,
    ) -> io::Result<T> {
        match &self.kept {
            Some((file, _)) => operation(file),
            None => briefly(|| operation(&options.open(&self.path)?)),
        }
    }
}

impl WritableFile for Sparing {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(OpenOptions::new().write(true), |file| file.write_all_at(bytes, offset))
    }

    /// What other descriptors of the file wrote is synced too, and their failures are reported.
    fn sync(&mut self) -> io::Result<()> {
        self.with(OpenOptions::new().write(true), File::sync_all)
    }
}

impl ReadableFile for Sparing {
    fn size(&self) -> io::Result<u64> {
        self.with(OpenOptions::new().read(true), |file| Ok(file.metadata()?.len()))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.with(OpenOptions::new().read(true), |file| file.read_exact_at(buffer, offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_that_may_not_stay_open_works_as_one_that_may() {
        let folder = tempfile::tempdir().unwrap();
        for kept in [true, false] {
            let path = folder.path().join(kept.to_string());
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            let mut file = Sparing::open(&path, &options).unwrap();
            if !kept {
                file.kept = None;
            }
            file.write_at(4, b"piece").unwrap();
            file.write_at(0, b"head").unwrap();
            file.sync().unwrap();
            let mut file = Sparing::open(&path, OpenOptions::new().read(true)).unwrap();
            if !kept {
                file.kept = None;
            }
            let mut read = [0; 9];
            file.read_at(0, &mut read).unwrap();
            assert_eq!((file.size().unwrap(), &read), (9, b"headpiece"));
        }
    }
}
