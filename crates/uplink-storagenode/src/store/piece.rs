//! Writing and reading one piece.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::header::{self, MAX_AREA};
use super::space::Reservation;
use super::{
    Claim, Inner, PieceHeader, PieceName, PieceStore, ReadableFile, StoreError, WritableFile,
    io_error,
};

/// Writes a piece. Nothing becomes visible before [`commit`](Self::commit). Dropping it removes the
/// temporary file.
pub(crate) struct PieceWriter {
    store: PieceStore,
    name: PieceName,
    area: usize,
    written: u64,
    file: Box<dyn WritableFile>,
    temp: PathBuf,
    /// Settled by the commit, otherwise released.
    reservation: Option<Reservation>,
    _claim: Claim,
}

impl PieceWriter {
    pub(super) fn begin(
        store: &PieceStore,
        name: PieceName,
        limit_bytes: usize,
        max_bytes: u64,
    ) -> Result<Self, StoreError> {
        let inner = &store.inner;
        let area = header::area_for(limit_bytes)?;
        let needed = max_bytes.saturating_add(area as u64);
        let reservation = inner
            .space
            .reserve(needed, inner.disk_free()?)
            .map_err(|free| StoreError::Full { needed, free })?;
        let claim = store.claim(name).ok_or(StoreError::Busy(name.piece))?;
        let temp = inner.new_temp();
        let file = inner.files.create(&temp).map_err(io_error("create a temporary file"))?;
        Ok(Self {
            store: store.clone(),
            name,
            area,
            written: 0,
            file,
            temp,
            reservation: Some(reservation),
            _claim: claim,
        })
    }

    /// Appends bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let offset = self.written.saturating_add(self.area as u64);
        self.file.write_at(offset, bytes).map_err(io_error("write a piece"))?;
        self.written = self.written.saturating_add(bytes.len() as u64);
        Ok(())
    }

    /// Makes the piece durable and visible. When this returns, the piece survives a power loss.
    ///
    /// If a piece with this name and the same hash exists, this succeeds without a change. A
    /// different hash is [`StoreError::Exists`].
    pub(crate) fn commit(mut self, header: PieceHeader) -> Result<(), StoreError> {
        let hash = header.hash.clone();
        let area = header.encode_area(self.area)?;
        self.file.write_at(0, &area).map_err(io_error("write the header of a piece"))?;
        self.file.sync().map_err(io_error("sync a piece"))?;

        let store = self.store.clone();
        match store.read(self.name) {
            Ok(stored) if stored.header().hash == hash => {
                let (directory, _) = store.inner.location(self.name);
                return sync_directory(&store.inner, &directory);
            }
            Ok(_) => return Err(StoreError::Exists(self.name.piece)),
            Err(StoreError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }

        let (directory, file) = store.inner.location(self.name);
        store.inner.create_directory(&directory)?;
        let path = directory.join(file);
        store.inner.files.rename(&self.temp, &path).map_err(io_error("rename a piece"))?;
        let synced = sync_directory(&store.inner, &directory);
        let removed = synced.is_err() && store.inner.files.remove(&path).is_ok();
        if let Some(reservation) = self.reservation.take().filter(|_| !removed) {
            reservation.settle(self.written.saturating_add(self.area as u64));
        }
        synced
    }
}

impl Drop for PieceWriter {
    fn drop(&mut self) {
        // Fails after a commit, which renamed the file. If the disk fails, the next start removes
        // the file.
        let _ = self.store.inner.files.remove(&self.temp);
    }
}

impl fmt::Debug for PieceWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PieceWriter").field("name", &self.name).finish_non_exhaustive()
    }
}

fn sync_directory(inner: &Inner, directory: &Path) -> Result<(), StoreError> {
    inner.files.sync_directory(directory).map_err(io_error("sync the directory of a piece"))
}

/// Reads a stored piece. Clones share the open file; a removed piece stays readable.
#[derive(Clone)]
pub(crate) struct PieceReader {
    file: Arc<dyn ReadableFile>,
    header: PieceHeader,
    area: u64,
    size: u64,
}

impl PieceReader {
    pub(super) fn open(file: Box<dyn ReadableFile>) -> Result<Self, StoreError> {
        let length = file.size().map_err(io_error("read a piece"))?;
        let start_length = usize::try_from(length).unwrap_or(MAX_AREA).min(MAX_AREA);
        let mut start = vec![0; start_length];
        file.read_at(0, &mut start).map_err(io_error("read a piece"))?;
        let (header, area) = PieceHeader::decode_area(&start)?;
        let area = area as u64;
        Ok(Self { file: file.into(), header, area, size: length.saturating_sub(area) })
    }

    /// Returns the header of the piece.
    pub(crate) fn header(&self) -> &PieceHeader {
        &self.header
    }

    /// Returns the length of the file: header area and piece.
    pub(super) fn length(&self) -> u64 {
        self.size.saturating_add(self.area)
    }

    /// Returns the size of the piece in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Reads `length` bytes at `offset`. A range beyond the end of the piece is an error.
    pub(crate) fn read(&self, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        let mut buffer = BytesMut::zeroed(length);
        let offset = offset.saturating_add(self.area);
        self.file.read_at(offset, &mut buffer).map_err(io_error("read a piece"))?;
        Ok(buffer.freeze())
    }
}

impl fmt::Debug for PieceReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PieceReader").field("size", &self.size).finish_non_exhaustive()
    }
}
