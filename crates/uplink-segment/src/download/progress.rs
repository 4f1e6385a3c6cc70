//! How far a download has come.

use std::ops::Range;

/// Positions in every piece, in bytes from the first one wanted.
///
/// ```text
///   0 ──────────── settled ────────────── decoded ──────────── what pieces have delivered
///      handed out           decoded, its           not decoded
///                           block incomplete
/// ```
///
/// Invariants, which [`settle`](Self::settle) and [`go_back`](Self::go_back) keep: `settled ≤ decoded ≤
/// length`; during a recovery `decoded = settled < recovering`.
#[derive(Debug)]
pub(super) struct Progress {
    /// Bytes of every piece that are wanted.
    wanted: Range<u64>,
    /// Bytes of them that are decoded.
    decoded: u64,
    /// Bytes of them whose blocks have been opened: nothing before is needed again.
    settled: u64,
    /// Where the recovery ends: shares before are corrupt, and blocks are recovered one by one.
    recovering: Option<u64>,
}

impl Progress {
    pub(super) fn new(wanted: Range<u64>) -> Self {
        Self { wanted, decoded: 0, settled: 0, recovering: None }
    }

    /// Returns how many bytes of every piece are wanted.
    pub(super) fn length(&self) -> u64 {
        self.wanted.end - self.wanted.start
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

    /// Moves on after a window up to `end` was decoded. `settled` is where in each piece the first
    /// block begins that has not been opened. A recovery goes on with that block, and ends behind the
    /// window that failed.
    pub(super) fn settle(&mut self, end: u64, settled: u64) {
        self.settled = settled.min(self.wanted.end).saturating_sub(self.wanted.start);
        self.decoded = if self.is_recovering() { self.settled } else { end };
        self.recovering = self.recovering.filter(|until| self.settled < *until);
    }

    /// Goes back to where bytes are settled, to recover blocks up to `end`.
    pub(super) fn go_back(&mut self, end: u64) {
        self.recovering = Some(self.recovering.map_or(end, |until| until.max(end)));
        self.decoded = self.settled;
    }
}
