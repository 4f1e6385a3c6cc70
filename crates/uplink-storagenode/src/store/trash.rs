//! Trash: garbage pieces that can still be restored.
//!
//! ```text
//! DATA/trash/<satellite>/<first 2 characters of the piece id>/<the others>.<second>
//! ```
//!
//! A piece moves to the trash and back with one rename, so that a crash at any time leaves it
//! complete in one of the two locations. The file name holds the second since 1970 in which its
//! round of garbage collection began; the trash lifetime is counted from then. Each call processes
//! one directory and is short.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message;
use uplink_core::bloom_filter::BloomFilter;
use uplink_core::id::{NodeId, PieceId};
use uplink_core::order::OrderLimit;
use uplink_rpc::time::system_time;

use super::{
    EXTENSION, Inner, PieceName, PieceReader, PieceStore, StoreError, directories, io_error,
};

/// A directory: the pieces of one satellite whose ids have the same prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    pub satellite: NodeId,
    characters: String,
}

/// Which pieces of a satellite to keep: those in its filter, and recent ones.
#[derive(Debug)]
pub(crate) struct Keep {
    filter: BloomFilter,
    /// Pieces created before this may be garbage.
    before: SystemTime,
    /// Start of the round in seconds since 1970.
    round: u64,
}

impl Keep {
    /// Returns which pieces to keep in a round that begins now, with a filter that the satellite
    /// started to build at `created`.
    pub(crate) fn new(
        filter: BloomFilter,
        created: Option<SystemTime>,
        margin: Duration,
        now: SystemTime,
    ) -> Self {
        // A time in the future would cancel out the margin.
        let created = created.map_or(UNIX_EPOCH, |created| created.min(now));
        let before = created.checked_sub(margin).unwrap_or(UNIX_EPOCH);
        Self { filter, before, round: seconds(now) }
    }
}

impl PieceStore {
    /// Returns the directories with pieces of a satellite.
    pub(crate) fn prefixes(&self, satellite: NodeId) -> Result<Vec<Prefix>, StoreError> {
        self.prefixes_below(&self.inner.pieces, satellite)
    }

    /// Returns the trash directories with pieces of a satellite.
    pub(crate) fn trash_prefixes(&self, satellite: NodeId) -> Result<Vec<Prefix>, StoreError> {
        self.prefixes_below(&self.inner.trash, satellite)
    }

    /// Returns the satellites with pieces in the trash.
    pub(crate) fn trash_satellites(&self) -> Result<Vec<NodeId>, StoreError> {
        let directories = directories(&*self.inner.files, &self.inner.trash)
            .map_err(io_error("list the trash"))?;
        Ok(directories.iter().filter_map(|path| file_name(path)?.parse().ok()).collect())
    }

    /// Moves garbage pieces to the trash, except those being uploaded, and returns their number.
    pub(crate) fn retain(&self, prefix: &Prefix, keep: &Keep) -> Result<u64, StoreError> {
        let directory = prefix.below(&self.inner.pieces);
        let mut moved = 0u64;
        for entry in self.entries(&directory)? {
            let Some(rest) = entry.name.strip_suffix(&format!(".{EXTENSION}")) else { continue };
            let Some(name) = prefix.piece(rest).filter(|name| !keep.filter.contains(&name.piece))
            else {
                continue;
            };
            moved = moved.saturating_add(u64::from(self.trash(name, keep)?));
        }
        if moved > 0 {
            let trash = prefix.below(&self.inner.trash);
            self.inner.files.sync_directory(&trash).map_err(io_error("sync the trash"))?;
        }
        Ok(moved)
    }

    /// Moves one piece to the trash if it is old enough. Returns whether it did.
    fn trash(&self, name: PieceName, keep: &Keep) -> Result<bool, StoreError> {
        let Some(_claim) = self.claim(name) else { return Ok(false) };
        let (directory, file) = self.inner.location(name);
        let path = directory.join(&file);
        let size = match self.read(name) {
            Ok(piece) if created_at(&piece).is_some_and(|created| created < keep.before) => {
                piece.length()
            }
            Ok(_) | Err(StoreError::NotFound(_)) => return Ok(false),
            Err(StoreError::Header(error)) => {
                // The age is unknown, so the piece must be kept.
                tracing::warn!(piece = %name.piece, %error, "keeping a garbage piece of unknown age");
                return Ok(false);
            }
            Err(error) => return Err(error),
        };

        let trash = Prefix::of(name).below(&self.inner.trash);
        self.inner.create_directory(&trash)?;
        let (_, rest) = split_id(name);
        let to = trash.join(format!("{rest}.{}", keep.round));
        self.inner.files.rename(&path, &to).map_err(io_error("move a piece to the trash"))?;
        self.inner.space.trashed(size);
        Ok(true)
    }

    /// Restores all pieces of a directory, and returns their number.
    pub(crate) fn restore(&self, prefix: &Prefix) -> Result<u64, StoreError> {
        let mut restored = 0u64;
        for entry in self.trash_entries(prefix)? {
            let moved = self.restore_entry(prefix, &entry)?;
            restored = restored.saturating_add(u64::from(moved));
        }
        if restored > 0 {
            let directory = prefix.below(&self.inner.pieces);
            self.inner.files.sync_directory(&directory).map_err(io_error("sync a directory"))?;
        }
        Ok(restored)
    }

    /// Opens a piece for reading, and restores it from the trash if necessary: an order limit shows
    /// that the piece is not garbage. Returns whether it was restored.
    pub(crate) fn read_or_restore(
        &self,
        name: PieceName,
    ) -> Result<(PieceReader, bool), StoreError> {
        let missing = match self.read(name) {
            Ok(piece) => return Ok((piece, false)),
            Err(error @ StoreError::NotFound(_)) => error,
            Err(error) => return Err(error),
        };

        let prefix = Prefix::of(name);
        let (_, rest) = split_id(name);
        let entries = self.trash_entries(&prefix)?.into_iter().filter(|entry| entry.rest == rest);
        let Some(newest) = entries.max_by_key(|entry| entry.round) else { return Err(missing) };
        let restored = self.restore_entry(&prefix, &newest)?;
        if restored {
            let directory = prefix.below(&self.inner.pieces);
            self.inner.files.sync_directory(&directory).map_err(io_error("sync a directory"))?;
            tracing::warn!(piece = %name.piece, "restored a requested piece from the trash");
        }
        Ok((self.read(name)?, restored))
    }

    /// Restores a piece, or deletes it from the trash if it has been uploaded again. Returns
    /// whether it was restored.
    fn restore_entry(&self, prefix: &Prefix, entry: &TrashEntry) -> Result<bool, StoreError> {
        let inner = &self.inner;
        let Some(name) = prefix.piece(&entry.rest) else { return Ok(false) };
        let Some(_claim) = self.claim(name) else { return Ok(false) };
        let (directory, file) = inner.location(name);
        let path = directory.join(file);
        let from = prefix.below(&inner.trash).join(&entry.file);

        let stored =
            existed(inner.files.open(&path).map(drop)).map_err(io_error("open a piece"))?;
        if stored {
            if existed(inner.files.remove(&from)).map_err(io_error("remove a piece"))? {
                inner.space.emptied(entry.size);
            }
            return Ok(false);
        }

        inner.create_directory(&directory)?;
        let moved =
            existed(inner.files.rename(&from, &path)).map_err(io_error("restore a piece"))?;
        if moved {
            inner.space.restored(entry.size);
        }
        Ok(moved)
    }

    /// Deletes the pieces of rounds that began at `until` or earlier, and returns their number.
    pub(crate) fn empty_trash(
        &self,
        prefix: &Prefix,
        until: SystemTime,
    ) -> Result<u64, StoreError> {
        let until = seconds(until);
        let mut removed = 0u64;
        for entry in self.trash_entries(prefix)?.iter().filter(|entry| entry.round <= until) {
            let path = prefix.below(&self.inner.trash).join(&entry.file);
            if existed(self.inner.files.remove(&path)).map_err(io_error("empty the trash"))? {
                self.inner.space.emptied(entry.size);
                removed = removed.saturating_add(1);
            }
        }
        Ok(removed)
    }

    fn prefixes_below(&self, root: &Path, satellite: NodeId) -> Result<Vec<Prefix>, StoreError> {
        let paths = match directories(&*self.inner.files, &root.join(satellite.to_string())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            listed => listed.map_err(io_error("list a directory"))?,
        };
        let prefix =
            |path: &PathBuf| Some(Prefix { satellite, characters: file_name(path)?.to_owned() });
        Ok(paths.iter().filter_map(prefix).collect())
    }

    fn entries(&self, directory: &Path) -> Result<Vec<super::Entry>, StoreError> {
        let mut entries = match self.inner.files.list(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            listed => listed.map_err(io_error("list a directory"))?,
        };
        entries.retain(|entry| !entry.directory);
        Ok(entries)
    }

    fn trash_entries(&self, prefix: &Prefix) -> Result<Vec<TrashEntry>, StoreError> {
        let entries = self.entries(&prefix.below(&self.inner.trash))?;
        Ok(entries.into_iter().filter_map(TrashEntry::parse).collect())
    }
}

impl Inner {
    /// Returns the bytes and number of pieces in the trash.
    pub(super) fn measure_trash(files: &dyn super::Files, trash: &Path) -> io::Result<(u64, u64)> {
        let mut bytes = 0u64;
        let mut count = 0u64;
        for satellite in directories(files, trash)? {
            for prefix in directories(files, &satellite)? {
                for entry in files.list(&prefix)?.into_iter().filter_map(TrashEntry::parse) {
                    bytes = bytes.saturating_add(entry.size);
                    count = count.saturating_add(1);
                }
            }
        }
        Ok((bytes, count))
    }
}

impl Prefix {
    fn of(name: PieceName) -> Self {
        Self { satellite: name.satellite, characters: split_id(name).0 }
    }

    fn below(&self, root: &Path) -> PathBuf {
        root.join(self.satellite.to_string()).join(&self.characters)
    }

    /// Returns the piece whose id ends with `rest`, if that is a valid id.
    fn piece(&self, rest: &str) -> Option<PieceName> {
        let text = format!("{}{rest}", self.characters);
        let piece: PieceId = text.to_uppercase().parse().ok()?;
        // Only the canonical spelling is the name of a piece.
        (piece.to_string().to_lowercase() == text)
            .then_some(PieceName { satellite: self.satellite, piece })
    }
}

/// A piece file in the trash.
#[derive(Debug)]
struct TrashEntry {
    file: String,
    rest: String,
    round: u64,
    size: u64,
}

impl TrashEntry {
    fn parse(entry: super::Entry) -> Option<Self> {
        let (rest, round) = entry.name.split_once('.')?;
        let rest = rest.to_owned();
        let round = round.parse().ok()?;
        Some(Self { rest, round, file: entry.name, size: entry.size })
    }
}

/// Returns when the satellite created the order limit of a piece's upload: by its own clock, like
/// the time of its filters, and never later than the piece.
fn created_at(piece: &PieceReader) -> Option<SystemTime> {
    let limit = OrderLimit::decode(piece.header().order_limit.clone()).ok()?;
    system_time(limit.order_creation.as_ref())
}

/// Returns whether the file of an operation existed.
fn existed(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Splits a piece id into directory prefix and rest.
fn split_id(name: PieceName) -> (String, String) {
    let piece = name.piece.to_string().to_lowercase();
    let (prefix, rest) = piece.split_at_checked(super::PREFIX).unwrap_or((&piece, ""));
    (prefix.to_owned(), rest.to_owned())
}

fn file_name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}
