//! Pieces on disk.
//!
//! ```text
//! DATA/pieces/<satellite>/<first 2 characters of the piece id>/<the others>.sj1
//! DATA/trash/…                         pieces that may be deleted, see [`trash`]
//! DATA/filters/…                       what satellites want kept, see [`filters`]
//! DATA/temp/<number>.partial           uploads under way; emptied at start
//! DATA/node-id                         whose data this is, see [`marker`]
//! ```
//!
//! The files are what the public network's storage nodes keep (see [`header`]). A piece appears
//! under its name only when it is complete and durable: temporary file, data, header, sync of the
//! file, rename, sync of the directory, and only then the reply. Nothing else knows which pieces
//! there are, so there is no index that could disagree with the files.
//!
//! Everything in here blocks; the asynchronous side goes through [`IoPool`].

mod files;
mod filters;
mod header;
mod io_pool;
mod marker;
mod piece;
mod space;
mod trash;

use std::{
    collections::HashSet,
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use uplink_core::id::{NodeId, PieceId};

pub use files::{Disk, Entry, Files, ReadableFile, WritableFile};
pub use header::HeaderError;
pub use marker::{MarkerError, Owner};
pub use space::Usage;

pub(crate) use {
    header::PieceHeader,
    io_pool::IoPool,
    marker::Marker,
    piece::{PieceReader, PieceWriter},
    trash::Keep,
};

use space::Space;

/// The pieces below one data directory. Clones share everything.
#[derive(Clone)]
pub(crate) struct PieceStore {
    inner: Arc<Inner>,
}

struct Inner {
    files: Arc<dyn Files>,
    pieces: PathBuf,
    trash: PathBuf,
    filters: PathBuf,
    temp: PathBuf,
    space: Arc<Space>,
    next_temp: AtomicU64,
    /// Directories whose own name is durable.
    durable: Mutex<HashSet<PathBuf>>,
    /// Pieces being uploaded or moved, so that no two do so with one name.
    claimed: Mutex<HashSet<PieceName>>,
    /// Checked before free space is claimed: another disk may be there.
    marker: OnceLock<Marker>,
}

/// The right to change what is under a piece's name, until dropped.
struct Claim {
    store: PieceStore,
    name: PieceName,
}

/// A piece is known to the node by its satellite and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PieceName {
    pub satellite: NodeId,
    pub piece: PieceId,
}

impl PieceStore {
    /// Opens the store below `data`, removes what unfinished uploads left, and measures all
    /// pieces.
    pub(crate) fn open(
        files: Arc<dyn Files>,
        data: &Path,
        capacity: u64,
        keep_free: u64,
    ) -> Result<Self, StoreError> {
        let [pieces, trash, filters, temp] =
            ["pieces", "trash", "filters", "temp"].map(|name| data.join(name));
        for directory in [&pieces, &trash, &filters, &temp] {
            files.create_directory(directory).map_err(failed("create a directory"))?;
        }
        files.sync_directory(data).map_err(failed("sync a directory"))?;
        for entry in files.list(&temp).map_err(failed("list a directory"))? {
            if !entry.directory {
                files.remove(&temp.join(entry.name)).map_err(failed("remove a file"))?;
            }
        }
        let stored = measure(&*files, &pieces).map_err(failed("measure pieces"))?;
        let trashed = Inner::measure_trash(&*files, &trash).map_err(failed("measure the trash"))?;
        let inner = Inner {
            files,
            pieces,
            trash,
            filters,
            temp,
            space: Arc::new(Space::new(capacity, keep_free, stored, trashed)),
            next_temp: AtomicU64::new(0),
            durable: Mutex::default(),
            claimed: Mutex::default(),
            marker: OnceLock::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Requires the marker from now on, before free space is claimed or a piece is missed.
    pub(crate) fn require(&self, marker: Marker) {
        let _ = self.inner.marker.set(marker);
    }

    /// Starts an upload of at most `most` bytes whose header will hold an order limit of
    /// `limit_bytes` bytes. Space for all of it is set aside until the writer is dropped.
    pub(crate) fn begin(
        &self,
        name: PieceName,
        limit_bytes: usize,
        most: u64,
    ) -> Result<PieceWriter, StoreError> {
        PieceWriter::begin(self, name, limit_bytes, most)
    }

    /// Opens a piece for reading.
    pub(crate) fn read(&self, name: PieceName) -> Result<PieceReader, StoreError> {
        let (directory, file) = self.inner.place(name);
        let file = match self.inner.files.open(&directory.join(file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.inner.check_marker()?;
                return Err(StoreError::NotFound(name.piece));
            }
            other => other.map_err(failed("open a piece"))?,
        };
        PieceReader::open(file)
    }

    /// Claims a name that nobody else has claimed.
    fn claim(&self, name: PieceName) -> Option<Claim> {
        let mut claimed = self.inner.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.insert(name).then(|| Claim { store: self.clone(), name })
    }

    /// What is stored and what still fits.
    pub(crate) fn usage(&self) -> Result<Usage, StoreError> {
        Ok(self.inner.space.usage(self.inner.disk_free()?))
    }

    /// The books of the store.
    pub(crate) fn space(&self) -> &Space {
        &self.inner.space
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let claimed = &self.store.inner.claimed;
        claimed.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

impl Inner {
    /// Directory and file name of a piece.
    fn place(&self, name: PieceName) -> (PathBuf, String) {
        let piece = name.piece.to_string().to_lowercase();
        let (prefix, rest) = piece.split_at_checked(PREFIX).unwrap_or((&piece, ""));
        (self.pieces.join(name.satellite.to_string()).join(prefix), format!("{rest}.{EXTENSION}"))
    }

    fn check_marker(&self) -> Result<(), StoreError> {
        self.marker.get().map_or(Ok(()), |marker| Ok(marker.check(&*self.files)?))
    }

    fn disk_free(&self) -> Result<u64, StoreError> {
        self.check_marker()?;
        self.files.free_space(&self.pieces).map_err(failed("ask for the free space"))
    }

    fn new_temp(&self) -> PathBuf {
        let number = self.next_temp.fetch_add(1, Ordering::Relaxed);
        self.temp.join(format!("{number}.partial"))
    }

    /// Creates the directory of a piece, and makes its name and its satellite's durable, once per
    /// process: a directory found existing may never have been synced.
    fn make_directory(&self, directory: &Path) -> Result<(), StoreError> {
        if self.durable.lock().unwrap_or_else(PoisonError::into_inner).contains(directory) {
            return Ok(());
        }
        self.files.create_directory(directory).map_err(failed("create a directory"))?;
        for above in directory.ancestors().skip(1).take(2) {
            self.files.sync_directory(above).map_err(failed("sync a directory"))?;
        }
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        durable.insert(directory.to_owned());
        Ok(())
    }
}

impl fmt::Debug for PieceStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PieceStore").field("pieces", &self.inner.pieces).finish_non_exhaustive()
    }
}

/// Bytes and number of all pieces.
fn measure(files: &dyn Files, pieces: &Path) -> io::Result<(u64, u64)> {
    let (mut bytes, mut count) = (0u64, 0u64);
    for satellite in directories(files, pieces)? {
        for prefix in directories(files, &satellite)? {
            let entries = files.list(&prefix)?;
            let stored = entries.iter().filter(|entry| {
                !entry.directory && Path::new(&entry.name).extension() == Some(EXTENSION.as_ref())
            });
            for entry in stored {
                bytes = bytes.saturating_add(entry.size);
                count = count.saturating_add(1);
            }
        }
    }
    Ok((bytes, count))
}

fn directories(files: &dyn Files, path: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = files.list(path)?.into_iter();
    Ok(entries.filter(|entry| entry.directory).map(|entry| path.join(entry.name)).collect())
}

const EXTENSION: &str = "sj1";
/// Characters of a piece id that name its directory: 1,024 directories per satellite.
const PREFIX: usize = 2;

/// Why the store refuses or fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another upload of the same piece is under way.
    #[error("piece {0} is being uploaded already")]
    Busy(PieceId),
    /// The piece exists with other content.
    #[error("piece {0} exists with other content")]
    Exists(PieceId),
    /// The piece does not fit.
    #[error("not enough space: {needed} bytes needed, {free} free")]
    Full {
        /// Bytes of the piece and its header.
        needed: u64,
        /// Bytes that still fit.
        free: u64,
    },
    /// The header is not readable, or cannot be written.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The file system failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the file system said.
        source: io::Error,
    },
    /// The data directory is not the node's any more.
    #[error(transparent)]
    Marker(#[from] MarkerError),
    /// The disk is full although the books said there was space.
    #[error("not enough space: cannot {what}: the disk is full")]
    NoSpace {
        /// What was tried.
        what: &'static str,
    },
    /// There is no such piece.
    #[error("piece {0} is not stored here")]
    NotFound(PieceId),
}

/// Turns a failure of the file system into an error that says what was tried.
fn failed(what: &'static str) -> impl Fn(io::Error) -> StoreError {
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::NoSpace { what },
        _ => StoreError::Io { what, source },
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
