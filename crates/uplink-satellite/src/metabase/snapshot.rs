//! Several reads of one state of the store.

use super::{Metabase, Result, Transaction};

/// Reads that all see the store as it was at the first of them.
///
/// An object may be replaced, moved or deleted between two reads. An answer made of both would mix two
/// objects, so every answer that needs more than one read takes them from one snapshot.
///
/// A snapshot keeps one of the few connections for reading. It is dropped before the store is read or
/// written in another way: tasks that waited for a second connection while they keep their first could
/// all wait for each other.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(super) tx: Transaction,
}

impl Metabase {
    /// Begins a snapshot.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot { tx: self.readers.begin().await? })
    }
}
