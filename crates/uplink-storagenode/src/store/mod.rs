//! Pieces on disk.
//!
//! ```text
//! DATA/pieces/<satellite>/<first 2 characters of the piece id>/<the others>.sj1
//! DATA/trash/…                         pieces that may be deleted, see [`trash`]
//! DATA/filters/…                       filters to be applied, see [`filters`]
//! DATA/temp/<number>.partial           uploads in flight; emptied at start
//! DATA/node-id                         id of the owning node, see [`marker`]
//! ```
//!
//! Piece files have the format of the public network's storage nodes (see [`header`]). A piece
//! appears under its name only when it is complete and durable: temporary file, data, header, sync
//! of the file, rename, sync of the directory, and only then the reply. The directory tree is the
//! only index, so that no other index can disagree with the files.
//!
//! All operations block. Asynchronous code calls them through [`IoPool`].

mod files;
mod filters;
mod header;
mod io_pool;
mod marker;
mod piece;
mod space;
mod trash;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::{fmt, io};

pub use files::{Disk, Entry, Files, ReadableFile, WritableFile};
pub use header::HeaderError;
pub(crate) use header::PieceHeader;
pub(crate) use io_pool::IoPool;
pub(crate) use marker::Marker;
pub use marker::{MarkerError, Owner};
pub(crate) use piece::{PieceReader, PieceWriter};
use space::Space;
pub use space::Usage;
pub(crate) use trash::Keep;
use uplink_core::id::{NodeId, PieceId};

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
    /// Directories known to be durable, by their own names.
    durable: Mutex<HashSet<PathBuf>>,
    /// Names of pieces being uploaded or moved, each claimed by one operation.
    claimed: Mutex<HashSet<PieceName>>,
    /// Checked before free space is reserved: another disk may be mounted.
    marker: OnceLock<Marker>,
}

/// Exclusive right to change the piece with a name, until drop.
struct Claim {
    store: PieceStore,
    name: PieceName,
}

/// Name of a piece on the node: its satellite and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PieceName {
    pub satellite: NodeId,
    pub piece: PieceId,
}

impl PieceStore {
    /// Opens the store below `data`, removes temporary files of unfinished uploads, and measures
    /// all pieces.
    pub(crate) fn open(
        files: Arc<dyn Files>,
        data: &Path,
        capacity: u64,
        keep_free: u64,
    ) -> Result<Self, StoreError> {
        let [pieces, trash, filters, temp] =
            ["pieces", "trash", "filters", "temp"].map(|name| data.join(name));
        for directory in [&pieces, &trash, &filters, &temp] {
            files.create_directory(directory).map_err(io_error("create a directory"))?;
        }
        files.sync_directory(data).map_err(io_error("sync a directory"))?;
        for entry in files.list(&temp).map_err(io_error("list a directory"))? {
            if !entry.directory {
                files.remove(&temp.join(entry.name)).map_err(io_error("remove a file"))?;
            }
        }

        let stored = measure(&*files, &pieces).map_err(io_error("measure pieces"))?;
        let trashed =
            Inner::measure_trash(&*files, &trash).map_err(io_error("measure the trash"))?;
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

    /// Requires the marker from now on when reserving free space and when a piece is not found.
    pub(crate) fn require(&self, marker: Marker) {
        let _ = self.inner.marker.set(marker);
    }

    /// Starts an upload of at most `max_bytes` bytes with an order limit of `limit_bytes` bytes in
    /// its header. Space for both is reserved until the writer is dropped.
    pub(crate) fn begin(
        &self,
        name: PieceName,
        limit_bytes: usize,
        max_bytes: u64,
    ) -> Result<PieceWriter, StoreError> {
        PieceWriter::begin(self, name, limit_bytes, max_bytes)
    }

    /// Opens a piece for reading.
    pub(crate) fn read(&self, name: PieceName) -> Result<PieceReader, StoreError> {
        let (directory, file) = self.inner.location(name);
        let file = match self.inner.files.open(&directory.join(file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.inner.check_marker()?;
                return Err(StoreError::NotFound(name.piece));
            }
            other => other.map_err(io_error("open a piece"))?,
        };
        PieceReader::open(file)
    }

    /// Claims a name, or returns `None` if another operation has claimed it.
    fn claim(&self, name: PieceName) -> Option<Claim> {
        let mut claimed = self.inner.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.insert(name).then(|| Claim { store: self.clone(), name })
    }

    /// Returns the used and free space.
    pub(crate) fn usage(&self) -> Result<Usage, StoreError> {
        Ok(self.inner.space.usage(self.inner.disk_free()?))
    }

    /// Returns the space accounting of the store.
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
    /// Returns the directory and file name of a piece.
    fn location(&self, name: PieceName) -> (PathBuf, String) {
        let piece = name.piece.to_string().to_lowercase();
        let (prefix, rest) = piece.split_at_checked(PREFIX).unwrap_or((&piece, ""));
        (self.pieces.join(name.satellite.to_string()).join(prefix), format!("{rest}.{EXTENSION}"))
    }

    fn check_marker(&self) -> Result<(), StoreError> {
        self.marker.get().map_or(Ok(()), |marker| Ok(marker.check(&*self.files)?))
    }

    fn disk_free(&self) -> Result<u64, StoreError> {
        self.check_marker()?;
        self.files.free_space(&self.pieces).map_err(io_error("read the free space"))
    }

    fn new_temp(&self) -> PathBuf {
        let number = self.next_temp.fetch_add(1, Ordering::Relaxed);
        self.temp.join(format!("{number}.partial"))
    }

    /// Creates the directory of a piece and syncs its two parents.
    ///
    /// Done once per process and directory, because an existing directory may never have been
    /// synced.
    fn create_directory(&self, directory: &Path) -> Result<(), StoreError> {
        if self.durable.lock().unwrap_or_else(PoisonError::into_inner).contains(directory) {
            return Ok(());
        }
        self.files.create_directory(directory).map_err(io_error("create a directory"))?;
        for parent in directory.ancestors().skip(1).take(2) {
            self.files.sync_directory(parent).map_err(io_error("sync a directory"))?;
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

/// Returns the bytes and number of all pieces.
fn measure(files: &dyn Files, pieces: &Path) -> io::Result<(u64, u64)> {
    let mut bytes = 0u64;
    let mut count = 0u64;
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
/// Length of the piece id prefix that names the directory: 1,024 directories per satellite.
const PREFIX: usize = 2;

/// Error of the piece store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another upload of the same piece is in flight.
    #[error("piece {0} is already being uploaded")]
    Busy(PieceId),
    /// The piece exists with different content.
    #[error("piece {0} already exists with different content")]
    Exists(PieceId),
    /// The piece does not fit.
    #[error("not enough space: {needed} bytes needed, {free} free")]
    Full {
        /// Bytes of the piece including its header.
        needed: u64,
        /// Free bytes.
        free: u64,
    },
    /// The header cannot be read or written.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The file system failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// The failed operation.
        what: &'static str,
        /// The error of the file system.
        source: io::Error,
    },
    /// The data directory no longer belongs to the node.
    #[error(transparent)]
    Marker(#[from] MarkerError),
    /// The disk is full although the accounting had free space.
    #[error("not enough space: cannot {what}: disk full")]
    NoSpace {
        /// The failed operation.
        what: &'static str,
    },
    /// The piece does not exist.
    #[error("piece {0} not found")]
    NotFound(PieceId),
}

/// Returns a conversion of file system errors that names the failed operation.
fn io_error(what: &'static str) -> impl Fn(io::Error) -> StoreError {
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::NoSpace { what },
        _ => StoreError::Io { what, source },
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
