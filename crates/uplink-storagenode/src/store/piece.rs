//! One piece being written, one piece being read.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};

use super::{
    Claim, Inner, PieceHeader, PieceName, PieceStore, ReadableFile, StoreError, WritableFile,
    failed,
    header::{self, MAX_AREA},
    space::Reservation,
};

/// A piece on its way to disk. Dropping it removes what was written; nothing becomes visible
/// before [`commit`](Self::commit).
pub(crate) struct PieceWriter {
    store: PieceStore,
    name: PieceName,
    area: usize,
    written: u64,
    file: Box<dyn WritableFile>,
    temp: PathBuf,
    /// Given back, or settled by the commit.
    reservation: Option<Reservation>,
    _claim: Claim,
}

impl PieceWriter {
    pub(super) fn begin(
        store: &PieceStore,
        name: PieceName,
        limit_bytes: usize,
        most: u64,
    ) -> Result<Self, StoreError> {
        let inner = &store.inner;
        let area = header::area_for(limit_bytes)?;
        let needed = most.saturating_add(area as u64);
        let reservation = inner
            .space
            .reserve(needed, inner.disk_free()?)
            .map_err(|free| StoreError::Full { needed, free })?;
        let claim = store.claim(name).ok_or(StoreError::Busy(name.piece))?;
        let temp = inner.new_temp();
        let file = inner.files.create(&temp).map_err(failed("create a temporary file"))?;
        let (store, reservation) = (store.clone(), Some(reservation));
        Ok(Self { store, name, area, written: 0, file, temp, reservation, _claim: claim })
    }

    /// Appends bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let offset = self.written.saturating_add(self.area as u64);
        self.file.write_at(offset, bytes).map_err(failed("write a piece"))?;
        self.written = self.written.saturating_add(bytes.len() as u64);
        Ok(())
    }

    /// Makes the piece durable and visible; when this returns, it survives a loss of power.
    ///
    /// A piece of that name with the same hash makes this a success that changes nothing, one with
    /// another hash makes it [`StoreError::Exists`].
    pub(crate) fn commit(mut self, header: PieceHeader) -> Result<(), StoreError> {
        let hash = header.hash.clone();
        let area = header.encode_area(self.area)?;
        self.file.write_at(0, &area).map_err(failed("write the header of a piece"))?;
        self.file.sync().map_err(failed("sync a piece"))?;
        let store = self.store.clone();
        match store.read(self.name) {
            Ok(stored) if stored.header().hash == hash => {
                let (directory, _) = store.inner.place(self.name);
                return sync(&store.inner, &directory);
            }
            Ok(_) => return Err(StoreError::Exists(self.name.piece)),
            Err(StoreError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        let (directory, file) = store.inner.place(self.name);
        store.inner.make_directory(&directory)?;
        let place = directory.join(file);
        store.inner.files.rename(&self.temp, &place).map_err(failed("rename a piece"))?;
        let synced = sync(&store.inner, &directory);
        let withdrawn = synced.is_err() && store.inner.files.remove(&place).is_ok();
        if let Some(reservation) = self.reservation.take().filter(|_| !withdrawn) {
            reservation.settle(self.written.saturating_add(self.area as u64));
        }
        synced
    }
}

impl Drop for PieceWriter {
    fn drop(&mut self) {
        // Fails after a commit, which moved the file. A file left by a failing disk is removed at
        // the next start.
        let _ = self.store.inner.files.remove(&self.temp);
    }
}

impl fmt::Debug for PieceWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PieceWriter").field("name", &self.name).finish_non_exhaustive()
    }
}

fn sync(inner: &Inner, directory: &Path) -> Result<(), StoreError> {
    inner.files.sync_directory(directory).map_err(failed("sync the directory of a piece"))
}

/// A stored piece. Clones share the open file; a piece removed meanwhile stays readable.
#[derive(Clone)]
pub(crate) struct PieceReader {
    file: Arc<dyn ReadableFile>,
    header: PieceHeader,
    area: u64,
    size: u64,
}

impl PieceReader {
    pub(super) fn open(file: Box<dyn ReadableFile>) -> Result<Self, StoreError> {
        let length = file.size().map_err(failed("read a piece"))?;
        let most = usize::try_from(length).unwrap_or(MAX_AREA).min(MAX_AREA);
        let mut start = vec![0; most];
        file.read_at(0, &mut start).map_err(failed("read a piece"))?;
        let (header, area) = PieceHeader::decode_area(&start)?;
        let area = area as u64;
        Ok(Self { file: file.into(), header, area, size: length.saturating_sub(area) })
    }

    /// What was written beside the piece's bytes.
    pub(crate) fn header(&self) -> &PieceHeader {
        &self.header
    }

    /// Bytes of the file.
    pub(super) fn length(&self) -> u64 {
        self.size.saturating_add(self.area)
    }

    /// Bytes of the piece.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Reads `length` bytes from `offset`; a range beyond the piece is an error.
    pub(crate) fn read(&self, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        let mut buffer = BytesMut::zeroed(length);
        let offset = offset.saturating_add(self.area);
        self.file.read_at(offset, &mut buffer).map_err(failed("read a piece"))?;
        Ok(buffer.freeze())
    }
}

impl fmt::Debug for PieceReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PieceReader").field("size", &self.size).finish_non_exhaustive()
    }
}
