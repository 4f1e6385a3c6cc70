//! File system abstraction of the store: a few blocking operations. Tests make any of them fail and
//! lose unsynced data.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::{fmt, io};

use uplink_rpc::descriptors::{self, KeptFile, briefly};

/// A file system. Every operation blocks.
///
/// Written bytes survive a power loss only after [`WritableFile::sync`]. Added, renamed and removed
/// names survive only after [`sync_directory`](Self::sync_directory) of their directory.
pub trait Files: fmt::Debug + Send + Sync + 'static {
    /// Creates a file that only its owner can read. An existing file is an error.
    fn create(&self, path: &Path) -> io::Result<Box<dyn WritableFile>>;
    /// Opens a file for reading.
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadableFile>>;
    /// Renames a file atomically, replacing any file at `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Creates a directory and its parents. An existing directory is not an error.
    fn create_directory(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// Lists a directory, in arbitrary order.
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>>;
    /// Returns the free bytes of the file system at `path`.
    fn free_space(&self, path: &Path) -> io::Result<u64>;
}

/// A file being written.
pub trait WritableFile: Send {
    /// Writes all of `bytes` at `offset`.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes written bytes durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file being read.
pub trait ReadableFile: Send + Sync {
    /// Returns the length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Fills `buffer` from `offset`. A shorter file is an error.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)] // made by other implementations of `Files`
pub struct Entry {
    /// The name without the path. Names that are not UTF-8 are omitted from listings.
    pub name: String,
    /// Whether it is a directory.
    pub directory: bool,
    /// Length in bytes of a file.
    pub size: u64,
}

/// The machine's file system.
///
/// Files stay open while file descriptors are available. Otherwise each operation opens the file,
/// and fails if the file was removed.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Disk;

impl Files for Disk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn WritableFile>> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = ReopenableFile::open(path, &options)?;
        Ok(Box::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadableFile>> {
        Ok(Box::new(ReopenableFile::open(path, OpenOptions::new().read(true))?))
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

/// A file that stays open if a descriptor is available, and is otherwise opened for each operation.
#[derive(Debug)]
struct ReopenableFile {
    path: PathBuf,
    open_file: Option<(File, KeptFile)>,
}

impl ReopenableFile {
    fn open(path: &Path, options: &OpenOptions) -> io::Result<Self> {
        let open_file = briefly(|| {
            let file = options.open(path)?;
            Ok::<_, io::Error>(descriptors::keep_file().map(|permit| (file, permit)))
        })?;
        Ok(Self { path: path.to_owned(), open_file })
    }

    fn with<T>(
        &self,
        options: &OpenOptions,
        mut operation: impl FnMut(&File) -> io::Result<T>,
    ) -> io::Result<T> {
        match &self.open_file {
            Some((file, _)) => operation(file),
            None => briefly(|| operation(&options.open(&self.path)?)),
        }
    }
}

impl WritableFile for ReopenableFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(OpenOptions::new().write(true), |file| file.write_all_at(bytes, offset))
    }

    /// Also syncs writes through other descriptors of the file, and reports their failures.
    fn sync(&mut self) -> io::Result<()> {
        self.with(OpenOptions::new().write(true), File::sync_all)
    }
}

impl ReadableFile for ReopenableFile {
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
    fn reopened_file_behaves_like_an_open_file() {
        let folder = tempfile::tempdir().unwrap();
        for stays_open in [true, false] {
            let path = folder.path().join(stays_open.to_string());
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            let mut file = ReopenableFile::open(&path, &options).unwrap();
            if !stays_open {
                file.open_file = None;
            }
            file.write_at(4, b"piece").unwrap();
            file.write_at(0, b"head").unwrap();
            file.sync().unwrap();
            let mut file = ReopenableFile::open(&path, OpenOptions::new().read(true)).unwrap();
            if !stays_open {
                file.open_file = None;
            }
            let mut read = [0; 9];
            file.read_at(0, &mut read).unwrap();
            assert_eq!((file.size().unwrap(), &read), (9, b"headpiece"));
        }
    }
}
