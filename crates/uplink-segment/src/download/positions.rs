//! The positions that a download has reached.

use std::ops::Range;

/// Positions in every piece, in bytes from the first requested one.
///
/// ```text
///   0 ──────────── settled ────────────── decoded ──────────── what pieces have delivered
///      returned             decoded, its           not decoded
///                           block incomplete
/// ```
///
/// Invariants, which [`settle`](Self::settle) and [`rewind`](Self::rewind) keep: `settled ≤ decoded ≤
/// length`; during a recovery `decoded = settled < recovering`.
#[derive(Debug)]
pub(super) struct Positions {
    /// Requested bytes of every piece.
    requested: Range<u64>,
    /// Decoded bytes of every piece.
    decoded: u64,
    /// Bytes whose blocks have been decrypted: nothing before is needed again.
    settled: u64,
    /// The end of the recovery: shares before it are corrupt, and blocks are recovered one by one.
    recovering: Option<u64>,
}

impl Positions {
    pub(super) fn new(requested: Range<u64>) -> Self {
        Self { requested, decoded: 0, settled: 0, recovering: None }
    }

    /// Returns the requested bytes of every piece.
    pub(super) fn length(&self) -> u64 {
        self.requested.end - self.requested.start
    }

    pub(super) fn is_complete(&self) -> bool {
        self.settled >= self.length()
    }

    pub(super) fn decoded(&self) -> u64 {
        self.decoded
    }

    pub(super) fn settled(&self) -> u64 {
        self.settled
    }

    pub(super) fn is_recovering(&self) -> bool {
        self.recovering.is_some()
    }

    /// Advances after a window up to `end` was decoded. `next_block_at` is the absolute position in each
    /// piece of the next block to decrypt. A recovery continues with that block, and ends after the
    /// window that failed.
    pub(super) fn settle(&mut self, end: u64, next_block_at: u64) {
        self.settled = next_block_at.min(self.requested.end).saturating_sub(self.requested.start);
        self.decoded = if self.is_recovering() { self.settled } else { end };
        self.recovering = self.recovering.filter(|until| self.settled < *until);
    }

    /// Returns to the settled position, to recover blocks up to `end`.
    pub(super) fn rewind(&mut self, end: u64) {
        self.recovering = Some(self.recovering.map_or(end, |until| until.max(end)));
        self.decoded = self.settled;
    }
}
