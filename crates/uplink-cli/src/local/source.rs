//! What uploads read from: a file, or standard input.
//!
//! A plain file has a size and a modification time when it is opened. If either has changed at its
//! end, or fewer or more bytes were read, what was read is not the file's content at any moment. Then
//! the upload must not be committed. Pipes and devices have neither.

use std::fs::{File, Metadata};
use std::io::{self, Seek as _};
use std::path::Path;
use std::time::SystemTime;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::place::Place;
use crate::failure::{Exit, Failure, Outcome};

/// Bytes to upload.
pub(crate) struct Source {
    /// What errors call it.
    name: String,
    reader: Box<dyn AsyncRead + Send + Sync + Unpin>,
    read: u64,
    plain: Option<Plain>,
}

/// What a plain file announced when it was opened.
#[derive(Debug)]
struct Plain {
    file: File,
    state: State,
    /// Bytes from the position at which reading begins to the end.
    size: u64,
    /// Files of procfs and sysfs have any size, and no blocks.
    has_content: bool,
}

/// What changes when a file changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    size: u64,
    modified: Option<SystemTime>,
}

impl Source {
    /// Opens a file. Opening a named pipe waits for its writer.
    ///
    /// # Errors
    /// It cannot be opened, or is a directory.
    pub(crate) async fn open(path: &Path) -> Outcome<Self> {
        let unreadable = |error| Failure::io(format_args!("cannot read {path:?}"), &error);
        let owned = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || match Place::of(&owned) {
            Ok(Place::Open(file)) => Ok(file),
            _ => File::open(&owned),
        });
        let file = opened.await.map_err(io::Error::other).map_err(unreadable)?;
        let file = file.map_err(unreadable)?;
        if file.metadata().map_err(unreadable)?.is_dir() {
            return Err(Failure::usage(format!(
                "{path:?} is a directory: copy it with --recursive"
            )));
        }
        Self::of(file, format!("{path:?}")).map_err(unreadable)
    }

    /// Opens standard input.
    pub(crate) fn stdin() -> Outcome<Self> {
        let name = "standard input".to_owned();
        #[cfg(unix)]
        {
            let unreadable = |error| Failure::io("cannot read standard input", &error);
            use std::os::fd::AsFd as _;
            let stdin = io::stdin().as_fd().try_clone_to_owned();
            Self::of(stdin.map_err(unreadable)?.into(), name).map_err(unreadable)
        }
        #[cfg(not(unix))]
        {
            Ok(Self { name, reader: Box::new(tokio::io::stdin()), read: 0, plain: None })
        }
    }

    fn of(file: File, name: String) -> io::Result<Self> {
        let found = file.metadata()?;
        let plain = found.is_file().then(|| Plain::of(file.try_clone()?, &found)).transpose()?;
        let reader = Box::new(tokio::fs::File::from_std(file));
        Ok(Self { name, reader, read: 0, plain })
    }

    /// Bytes to come, if the source is a plain file.
    pub(crate) fn size(&self) -> Option<u64> {
        self.plain.as_ref().map(|plain| plain.size)
    }

    /// Reads the next bytes; 0 at the end.
    ///
    /// # Errors
    /// Reading fails, or the source has changed since it was opened. The latter is known for certain at
    /// the end.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> Outcome<usize> {
        let count = self.reader.read(buffer).await;
        let count = count
            .map_err(|error| Failure::io(format_args!("cannot read {}", self.name), &error))?;
        self.read += count as u64;
        let Some(plain) = &self.plain else { return Ok(count) };
        let ended = count == 0;
        let changed = if ended { plain.has_changed(self.read) } else { plain.has_grown(self.read) };
        if !changed {
            return Ok(count);
        }
        let (name, expected, read) = (&self.name, plain.size, self.read);
        let text = format!(
            "cannot upload {name}: it changed while it was read: {expected} bytes expected, {read} \
             read"
        );
        Err(Failure::new(Exit::Other, text))
    }
}

impl Plain {
    fn of(mut file: File, found: &Metadata) -> io::Result<Self> {
        let state = State::of(found);
        let size = state.size.saturating_sub(file.stream_position()?);
        Ok(Self { state, size, has_content: has_content(found), file })
    }

    /// Returns whether more was read than the file had. A file that grows faster than it is uploaded
    /// has no end.
    fn has_grown(&self, read: u64) -> bool {
        self.has_content && read > self.size
    }

    fn has_changed(&self, read: u64) -> bool {
        let same = self.file.metadata().is_ok_and(|found| State::of(&found) == self.state);
        !same || self.has_content && read != self.size
    }
}

impl State {
    fn of(found: &Metadata) -> Self {
        Self { size: found.len(), modified: found.modified().ok() }
    }
}

#[cfg(unix)]
fn has_content(found: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    found.blocks() > 0
}

#[cfg(not(unix))]
fn has_content(_found: &Metadata) -> bool {
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

    /// Reads a file to its end, with `change` after the first bytes.
    async fn read(content: &[u8], change: impl FnOnce(&Path)) -> Outcome<u64> {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        fs::write(&path, content).unwrap();
        // File systems that count time in ticks would not tell two writes in one tick apart.
        let past = SystemTime::now() - Duration::from_secs(10);
        File::options().write(true).open(&path).unwrap().set_modified(past).unwrap();
        let mut source = Source::open(&path).await?;
        let mut buffer = vec![0; 1000];
        source.read(&mut buffer).await?;
        change(&path);
        while source.read(&mut buffer).await? > 0 {}
        Ok(source.read)
    }

    // More than is read ahead.
    fn content() -> Vec<u8> {
        vec![7; 5 << 20]
    }

    #[tokio::test]
    async fn unchanged_file_is_read_whole() {
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
    async fn endlessly_growing_file_ends_with_an_error() {
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
    async fn files_without_a_true_size_are_read() {
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
