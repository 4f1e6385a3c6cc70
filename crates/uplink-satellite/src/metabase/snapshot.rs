//! Consistent reads.

use super::{Metabase, Result, Transaction};

/// A read transaction: all reads see the database as of the first one.
///
/// An object may be replaced, moved or deleted between two reads, and a response made from both would
/// mix two objects. So a call that needs more than one read takes all of them from one snapshot.
///
/// A snapshot occupies one of the few read connections. Drop it before any other read or write of the
/// database: tasks that wait for a second connection while holding their first can deadlock.
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
