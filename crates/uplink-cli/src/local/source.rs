//! Sources of uploads: files and standard input.
//!
//! A regular file has a size and a modification time when it is opened. If either has changed at
//! the end, or the number of bytes read differs, the bytes are not the file's content at any one
//! time, and the upload must not be committed. Pipes and devices are not checked.

use std::fs::{File, Metadata};
use std::io::{self, Seek as _};
use std::path::Path;
use std::time::SystemTime;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::resolve::ResolvedPath;
use crate::failure::{Exit, Failure, Outcome};

/// A source of bytes to upload.
pub(crate) struct Source {
    /// Name for errors.
    name: String,
    reader: Box<dyn AsyncRead + Send + Sync + Unpin>,
    read: u64,
    regular: Option<RegularFile>,
}

/// A regular file as it was when it was opened.
#[derive(Debug)]
struct RegularFile {
    file: File,
    stamp: Stamp,
    /// Bytes from the initial position to the end.
    size: u64,
    /// False for files of procfs and sysfs, whose size is meaningless. They have no blocks.
    has_true_size: bool,
}

/// Metadata that changes when the content of a file changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified: Option<SystemTime>,
}

impl Source {
    /// Opens a file. Opening a named pipe waits for a writer.
    ///
    /// # Errors
    /// Fails if the file cannot be opened or is a directory.
    pub(crate) async fn open(path: &Path) -> Outcome<Self> {
        let unreadable = |error| Failure::io(format_args!("cannot read {path:?}"), &error);
        let owned = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || match ResolvedPath::new(&owned) {
            Ok(ResolvedPath::Descriptor(file)) => Ok(file),
            _ => File::open(&owned),
        });
        let file = opened.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let file = file.map_err(unreadable)?;
        if file.metadata().map_err(unreadable)?.is_dir() {
            return Err(Failure::usage(format!("{path:?} is a directory: use --recursive")));
        }
        Self::new(file, format!("{path:?}")).map_err(unreadable)
    }

    /// Returns the number of bytes of a regular file. Pipes and devices are not opened: that may wait
    /// for a writer.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) async fn check(path: &Path) -> Outcome<Option<u64>> {
        match std::fs::metadata(path) {
            Ok(found) if !found.is_file() && !found.is_dir() => Ok(None),
            _ => Ok(Self::open(path).await?.size()),
        }
    }

    /// Opens standard input.
    pub(crate) fn stdin() -> Outcome<Self> {
        let name = "standard input".to_owned();
        #[cfg(unix)]
        {
            let unreadable = |error| Failure::io("cannot read standard input", &error);
            use std::os::fd::AsFd as _;
            let stdin = io::stdin().as_fd().try_clone_to_owned();
            Self::new(stdin.map_err(unreadable)?.into(), name).map_err(unreadable)
        }
        #[cfg(not(unix))]
        {
            Ok(Self { name, reader: Box::new(tokio::io::stdin()), read: 0, regular: None })
        }
    }

    fn new(file: File, name: String) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let regular = if metadata.is_file() {
            Some(RegularFile::new(file.try_clone()?, &metadata)?)
        } else {
            None
        };
        let reader = Box::new(tokio::fs::File::from_std(file));
        Ok(Self { name, reader, read: 0, regular })
    }

    /// Returns the number of bytes to read, if the source is a regular file.
    pub(crate) fn size(&self) -> Option<u64> {
        self.regular.as_ref().map(|regular| regular.size)
    }

    /// Reads the next bytes; 0 at the end.
    ///
    /// # Errors
    /// Fails if reading fails or the source has changed since it was opened. Only the read at the
    /// end detects every change.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> Outcome<usize> {
        let count = self
            .reader
            .read(buffer)
            .await
            .map_err(|error| Failure::io(format_args!("cannot read {}", self.name), &error))?;
        self.read += count as u64;
        let Some(regular) = &self.regular else { return Ok(count) };
        let is_end = count == 0;
        let has_changed =
            if is_end { regular.has_changed(self.read) } else { regular.has_grown(self.read) };
        if !has_changed {
            return Ok(count);
        }
        let text = format!(
            "cannot upload {}: it changed while it was read: {} bytes expected, {} read",
            self.name, regular.size, self.read
        );
        Err(Failure::new(Exit::Other, text))
    }
}

impl RegularFile {
    fn new(mut file: File, metadata: &Metadata) -> io::Result<Self> {
        let stamp = Stamp::new(metadata);
        let size = stamp.size.saturating_sub(file.stream_position()?);
        Ok(Self { stamp, size, has_true_size: has_true_size(metadata), file })
    }

    /// Returns whether more was read than the file contained. Stops an upload of a file that grows
    /// faster than it is read.
    fn has_grown(&self, read: u64) -> bool {
        self.has_true_size && read > self.size
    }

    fn has_changed(&self, read: u64) -> bool {
        let metadata = self.file.metadata();
        let is_same = metadata.is_ok_and(|metadata| Stamp::new(&metadata) == self.stamp);
        !is_same || self.has_true_size && read != self.size
    }
}

impl Stamp {
    fn new(metadata: &Metadata) -> Self {
        Self { size: metadata.len(), modified: metadata.modified().ok() }
    }
}

#[cfg(unix)]
fn has_true_size(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    metadata.blocks() > 0
}

#[cfg(not(unix))]
fn has_true_size(_metadata: &Metadata) -> bool {
    true
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::time::Duration;

    use super::*;

    /// Reads a file to its end, and calls `change` after the first bytes.
    async fn read(content: &[u8], change: impl FnOnce(&Path)) -> Outcome<u64> {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        fs::write(&path, content).unwrap();
        // Some file systems record time in ticks: two writes within a tick have the same time.
        let past = SystemTime::now() - Duration::from_secs(10);
        File::options().write(true).open(&path).unwrap().set_modified(past).unwrap();
        let mut source = Source::open(&path).await?;
        let mut buffer = vec![0; 1000];
        source.read(&mut buffer).await?;
        change(&path);
        while source.read(&mut buffer).await? > 0 {}
        Ok(source.read)
    }

    /// More than is read ahead.
    fn content() -> Vec<u8> {
        vec![7; 5 << 20]
    }

    #[tokio::test]
    async fn unchanged_file_is_read_completely() {
        assert_eq!(read(&content(), |_| {}).await.unwrap(), 5 << 20);
        assert_eq!(read(b"", |_| {}).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn shrinking_file_is_an_error() {
        let shrink = |path: &Path| {
            File::options().write(true).open(path).unwrap().set_len(4 << 20).unwrap();
        };
        let failure = read(&content(), shrink).await.unwrap_err();
        assert!(failure.to_string().contains("changed while it was read"), "{failure}");
    }

    #[tokio::test]
    async fn growing_file_is_an_error() {
        let grow = |path: &Path| {
            File::options().append(true).open(path).unwrap().write_all(b"more").unwrap();
        };
        read(&content(), grow).await.unwrap_err();
        read(b"", grow).await.unwrap_err();
    }

    #[tokio::test]
    async fn file_rewritten_with_the_same_size_is_an_error() {
        let rewrite = |path: &Path| fs::write(path, vec![8; 5 << 20]).unwrap();
        read(&content(), rewrite).await.unwrap_err();
    }

    #[tokio::test]
    async fn file_growing_faster_than_reads_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("log");
        fs::write(&path, content()).unwrap();
        let mut source = Source::open(&path).await.unwrap();
        let mut log = File::options().append(true).open(&path).unwrap();
        let mut buffer = vec![0; 4096];
        let failure = loop {
            log.write_all(&[7; 8192]).unwrap();
            match source.read(&mut buffer).await {
                Ok(count) => assert!(count > 0 && source.read <= 5 << 20),
                Err(failure) => break failure,
            }
        };
        assert!(failure.to_string().contains("5242880 bytes expected"), "{failure}");
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn procfs_and_sysfs_files_are_read() {
        for path in ["/proc/self/status", "/sys/kernel/mm/transparent_hugepage/enabled"] {
            let path = Path::new(path);
            if !path.exists() {
                continue;
            }
            let mut source = Source::open(path).await.unwrap();
            let mut buffer = vec![0; 4096];
            assert!(source.read(&mut buffer).await.unwrap() > 0);
            while source.read(&mut buffer).await.unwrap() > 0 {}
        }
    }
}
