//! Pieces that no satellite wants any more, until it is certain that none does.
//!
//! ```text
//! DATA/trash/<satellite>/<first 2 characters of the piece id>/<the others>.<second>
//! ```
//!
//! A piece goes to the trash and back by one rename, so that it is always whole in one of the two
//! places, whenever the process ends. The name says in which second since 1970 its round of garbage
//! collection began; the trash keeps it for so long from then. Everything works directory by
//! directory: each call does one and is short.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prost::Message;
use uplink_core::{
    bloom_filter::BloomFilter,
    id::{NodeId, PieceId},
    order::OrderLimit,
};
use uplink_rpc::time::system_time;

use super::{
    EXTENSION, Inner, PieceName, PieceReader, PieceStore, StoreError, directories, failed,
};

/// The pieces of one satellite whose ids begin with the same characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    pub satellite: NodeId,
    characters: String,
}

/// Which pieces of a satellite stay: those in its filter, and those that are not old.
#[derive(Debug)]
pub(crate) struct Keep {
    filter: BloomFilter,
    /// Pieces made earlier are old.
    before: SystemTime,
    /// Second since 1970 in which the round began.
    round: u64,
}

impl Keep {
    /// What to keep in a round that begins now, by a filter that its satellite began to make at
    /// `created`.
    pub(crate) fn new(
        filter: BloomFilter,
        created: Option<SystemTime>,
        margin: Duration,
        now: SystemTime,
    ) -> Self {
        // A time in the future would leave nothing of the margin.
        let began = created.map_or(UNIX_EPOCH, |created| created.min(now));
        let before = began.checked_sub(margin).unwrap_or(UNIX_EPOCH);
        Self { filter, before, round: seconds(now) }
    }
}

impl PieceStore {
    /// Where pieces of a satellite are.
    pub(crate) fn prefixes(&self, satellite: NodeId) -> Result<Vec<Prefix>, StoreError> {
        self.prefixes_below(&self.inner.pieces, satellite)
    }

    /// Where pieces of a satellite are in the trash.
    pub(crate) fn trash_prefixes(&self, satellite: NodeId) -> Result<Vec<Prefix>, StoreError> {
        self.prefixes_below(&self.inner.trash, satellite)
    }

    /// The satellites with pieces in the trash.
    pub(crate) fn trash_satellites(&self) -> Result<Vec<NodeId>, StoreError> {
        let found = directories(&*self.inner.files, &self.inner.trash);
        let found = found.map_err(failed("list the trash"))?;
        Ok(found.iter().filter_map(|path| file_name(path)?.parse().ok()).collect())
    }

    /// Moves pieces to the trash that are neither to be kept nor being uploaded; tells how many.
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
            self.inner.files.sync_directory(&trash).map_err(failed("sync the trash"))?;
        }
        Ok(moved)
    }

    /// Moves one piece to the trash if it is old enough.
    fn trash(&self, name: PieceName, keep: &Keep) -> Result<bool, StoreError> {
        let Some(_claim) = self.claim(name) else { return Ok(false) };
        let (directory, file) = self.inner.place(name);
        let place = directory.join(&file);
        let size = match self.read(name) {
            Ok(piece) if made(&piece).is_some_and(|made| made < keep.before) => piece.length(),
            Ok(_) | Err(StoreError::NotFound(_)) => return Ok(false),
            Err(StoreError::Header(error)) => {
                // Its age is not known, so nobody can say that it may go.
                tracing::warn!(piece = %name.piece, %error, "a piece that no satellite wants stays");
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let prefix = Prefix::of(name);
        let trash = prefix.below(&self.inner.trash);
        self.inner.make_directory(&trash)?;
        let (_, rest) = characters(name);
        let to = trash.join(format!("{rest}.{}", keep.round));
        self.inner.files.rename(&place, &to).map_err(failed("move a piece to the trash"))?;
        self.inner.space.trashed(size);
        Ok(true)
    }

    /// Moves everything back; tells how many pieces came back.
    pub(crate) fn restore(&self, prefix: &Prefix) -> Result<u64, StoreError> {
        let mut restored = 0u64;
        for trashed in self.trashed(prefix)? {
            let back = self.restore_entry(prefix, &trashed)?;
            restored = restored.saturating_add(u64::from(back));
        }
        if restored > 0 {
            let directory = prefix.below(&self.inner.pieces);
            self.inner.files.sync_directory(&directory).map_err(failed("sync a directory"))?;
        }
        Ok(restored)
    }

    /// Opens a piece for reading, out of the trash if it is there: whoever has an order limit for
    /// it wants it, and so it goes back. Tells whether it did.
    pub(crate) fn read_or_restore(
        &self,
        name: PieceName,
    ) -> Result<(PieceReader, bool), StoreError> {
        let missing = match self.read(name) {
            Ok(piece) => return Ok((piece, false)),
            Err(error @ StoreError::NotFound(_)) => error,
            Err(error) => return Err(error),
        };
        let (prefix, (_, rest)) = (Prefix::of(name), characters(name));
        let found = self.trashed(&prefix)?.into_iter().filter(|trashed| trashed.rest == rest);
        let Some(newest) = found.max_by_key(|trashed| trashed.round) else { return Err(missing) };
        let restored = self.restore_entry(&prefix, &newest)?;
        if restored {
            let directory = prefix.below(&self.inner.pieces);
            self.inner.files.sync_directory(&directory).map_err(failed("sync a directory"))?;
            tracing::warn!(piece = %name.piece, "a piece in the trash was asked for and is back");
        }
        Ok((self.read(name)?, restored))
    }

    /// Moves a piece back. One that is stored again meanwhile makes the other superfluous.
    fn restore_entry(&self, prefix: &Prefix, trashed: &Trashed) -> Result<bool, StoreError> {
        let inner = &self.inner;
        let Some(name) = prefix.piece(&trashed.rest) else { return Ok(false) };
        let Some(_claim) = self.claim(name) else { return Ok(false) };
        let (directory, file) = inner.place(name);
        let place = directory.join(file);
        let from = prefix.below(&inner.trash).join(&trashed.file);
        let stored = there(inner.files.open(&place).map(drop)).map_err(failed("open a piece"))?;
        if stored {
            if there(inner.files.remove(&from)).map_err(failed("remove a piece"))? {
                inner.space.emptied(trashed.size);
            }
            return Ok(false);
        }
        inner.make_directory(&directory)?;
        let moved = there(inner.files.rename(&from, &place)).map_err(failed("restore a piece"))?;
        if moved {
            inner.space.restored(trashed.size);
        }
        Ok(moved)
    }

    /// Deletes what came to the trash in rounds that began until then; tells how many pieces.
    pub(crate) fn empty_trash(
        &self,
        prefix: &Prefix,
        until: SystemTime,
    ) -> Result<u64, StoreError> {
        let (mut removed, until) = (0u64, seconds(until));
        for trashed in self.trashed(prefix)?.iter().filter(|trashed| trashed.round <= until) {
            let path = prefix.below(&self.inner.trash).join(&trashed.file);
            if there(self.inner.files.remove(&path)).map_err(failed("empty the trash"))? {
                self.inner.space.emptied(trashed.size);
                removed = removed.saturating_add(1);
            }
        }
        Ok(removed)
    }

    fn prefixes_below(&self, root: &Path, satellite: NodeId) -> Result<Vec<Prefix>, StoreError> {
        let found = match directories(&*self.inner.files, &root.join(satellite.to_string())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            found => found.map_err(failed("list a directory"))?,
        };
        let prefix =
            |path: &PathBuf| Some(Prefix { satellite, characters: file_name(path)?.to_owned() });
        Ok(found.iter().filter_map(prefix).collect())
    }

    fn entries(&self, directory: &Path) -> Result<Vec<super::Entry>, StoreError> {
        let mut entries = match self.inner.files.list(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed("list a directory"))?,
        };
        entries.retain(|entry| !entry.directory);
        Ok(entries)
    }

    fn trashed(&self, prefix: &Prefix) -> Result<Vec<Trashed>, StoreError> {
        let entries = self.entries(&prefix.below(&self.inner.trash))?;
        Ok(entries.into_iter().filter_map(Trashed::of).collect())
    }
}

impl Inner {
    /// Bytes and number of pieces in the trash.
    pub(super) fn measure_trash(files: &dyn super::Files, trash: &Path) -> io::Result<(u64, u64)> {
        let (mut bytes, mut count) = (0u64, 0u64);
        for satellite in directories(files, trash)? {
            for prefix in directories(files, &satellite)? {
                for trashed in files.list(&prefix)?.into_iter().filter_map(Trashed::of) {
                    bytes = bytes.saturating_add(trashed.size);
                    count = count.saturating_add(1);
                }
            }
        }
        Ok((bytes, count))
    }
}

impl Prefix {
    fn of(name: PieceName) -> Self {
        Self { satellite: name.satellite, characters: characters(name).0 }
    }

    fn below(&self, root: &Path) -> PathBuf {
        root.join(self.satellite.to_string()).join(&self.characters)
    }

    /// The piece with the other characters, if they are those of one.
    fn piece(&self, rest: &str) -> Option<PieceName> {
        let text = format!("{}{rest}", self.characters);
        let piece: PieceId = text.to_uppercase().parse().ok()?;
        // Names that only look alike are not ours.
        (piece.to_string().to_lowercase() == text)
            .then_some(PieceName { satellite: self.satellite, piece })
    }
}

/// A file in the trash.
#[derive(Debug)]
struct Trashed {
    file: String,
    rest: String,
    round: u64,
    size: u64,
}

impl Trashed {
    fn of(entry: super::Entry) -> Option<Self> {
        let (rest, round) = entry.name.split_once('.')?;
        let (rest, round) = (rest.to_owned(), round.parse().ok()?);
        Some(Self { rest, round, file: entry.name, size: entry.size })
    }
}

/// When the satellite made the order limit of a piece's upload: a time of its own clock, like that
/// of its filters, and never later than the piece.
fn made(piece: &PieceReader) -> Option<SystemTime> {
    let limit = OrderLimit::decode(piece.header().order_limit.clone()).ok()?;
    system_time(limit.order_creation.as_ref())
}

/// Whether a file was there to be opened, moved or removed.
fn there(done: io::Result<()>) -> io::Result<bool> {
    match done {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn characters(name: PieceName) -> (String, String) {
    let piece = name.piece.to_string().to_lowercase();
    let (prefix, rest) = piece.split_at_checked(super::PREFIX).unwrap_or((&piece, ""));
    (prefix.to_owned(), rest.to_owned())
}

fn file_name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}
