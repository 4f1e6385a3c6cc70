//! Which pieces an upload sends and how many concurrently, when it requests other nodes from the
//! satellite, and when it has stored enough.
//!
//! [`Pieces`]: Every piece of a segment has an order limit for one node. Transfers take one piece each
//! and report the result. When the stored and pending pieces can no longer reach the target, the
//! limits of all failed pieces are exchanged for limits of other nodes, which restores the whole
//! reserve. Transfers in flight continue meanwhile.
//!
//! [`LongTail`]: To avoid waiting for stragglers, an upload ends with the first `target_pieces`
//! confirmed pieces, in replacement rounds too.
//!
//! [`Spares`]: An upload has order limits for more pieces than it needs. Sending all of them concurrently
//! wastes the bytes of the ones cancelled at the end, up to a quarter of the total. So an upload first
//! sends as many as it needs. When stragglers hold up the other pieces for too long and too large a part
//! of the time, it sends spare pieces as well, a quarter of them at a time.

use std::time::Duration;

#[cfg(test)]
mod tests;

/// Maximum rounds of exchanging the limits of failed pieces for other nodes.
pub const MAX_EXCHANGES: u32 = 11;

/// Accumulated stall time after which more spare pieces are sent.
pub const STALL_TIMEOUT: Duration = Duration::from_millis(150);

/// Time with progress offsets a third as much stalled time, so that an upload stalled for up to a
/// quarter of the time sends no spare pieces.
const PROGRESS_PER_STALL: u32 = 3;

/// The pieces of one segment during its upload.
#[derive(Clone, Debug)]
pub struct Pieces {
    rule: LongTail,
    states: Vec<State>,
    exchanges: u32,
    /// Whether a request for other nodes is in flight.
    exchanging: bool,
    over: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not taken by a transfer yet.
    Waiting,
    Sending,
    Stored,
    /// Failed and not exchanged.
    Failed,
    /// Failed, and its limit is being exchanged.
    Exchanging,
}

/// What happened to pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)] // inputs of the machine
pub enum PieceEvent {
    /// The node has confirmed the piece.
    Stored(u16),
    /// The transfer of the piece failed.
    Failed(u16),
    /// The satellite issued new limits for the requested pieces.
    Exchanged,
    /// The satellite has no other nodes, or the request failed.
    NotExchanged,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)] // callers must handle all
pub enum PieceDecision {
    /// Cancel transfers in flight and commit the segment with these pieces, in ascending order.
    Commit(Vec<u16>),
    /// Request other nodes for these pieces, in ascending order.
    Exchange(Vec<u16>),
    /// Cancel transfers in flight: too few nodes accept pieces.
    Fail {
        /// Pieces stored.
        stored: u16,
        /// Pieces that must be stored.
        target_pieces: u16,
    },
}

impl Pieces {
    /// Starts with `total` pieces, numbered from 0; `rule` decides how many must be stored.
    pub fn new(total: u16, rule: LongTail) -> Self {
        Self {
            rule,
            states: vec![State::Waiting; total.into()],
            exchanges: 0,
            exchanging: false,
            over: false,
        }
    }

    /// Takes the next piece to send; `None` when all are taken or the upload is over.
    ///
    /// [`PieceEvent::Exchanged`] makes further pieces available.
    pub fn next_piece(&mut self) -> Option<u16> {
        if self.over {
            return None;
        }
        let piece = self.states.iter().position(|&state| state == State::Waiting)?;
        self.states[piece] = State::Sending;
        u16::try_from(piece).ok()
    }

    /// Handles an event and returns the next decision, if any.
    ///
    /// Ignores events for pieces that are not being sent, and all events after the end.
    pub fn on(&mut self, event: PieceEvent) -> Option<PieceDecision> {
        if self.over {
            return None;
        }
        match event {
            PieceEvent::Stored(piece) => self.resolve(piece, State::Stored)?,
            PieceEvent::Failed(piece) => self.resolve(piece, State::Failed)?,
            PieceEvent::Exchanged => self.finish_exchange(State::Waiting)?,
            PieceEvent::NotExchanged => {
                self.finish_exchange(State::Failed)?;
                // A retry would get the same response.
                self.exchanges = MAX_EXCHANGES;
            }
        }
        self.decide()
    }

    /// Returns whether the upload has ended, successfully or not.
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// Returns the confirmed pieces in ascending order.
    pub fn stored(&self) -> Vec<u16> {
        self.numbers(State::Stored)
    }

    fn resolve(&mut self, piece: u16, outcome: State) -> Option<()> {
        let state = self.states.get_mut(usize::from(piece))?;
        (*state == State::Sending).then(|| *state = outcome)
    }

    fn finish_exchange(&mut self, outcome: State) -> Option<()> {
        std::mem::take(&mut self.exchanging).then_some(())?;
        for state in self.states.iter_mut().filter(|state| **state == State::Exchanging) {
            *state = outcome;
        }
        Some(())
    }

    fn decide(&mut self) -> Option<PieceDecision> {
        let stored = self.count(State::Stored);
        let pending = self.count(State::Waiting) + self.count(State::Sending);
        match self.rule.status(stored, pending) {
            UploadStatus::Enough => {
                self.over = true;
                Some(PieceDecision::Commit(self.stored()))
            }
            UploadStatus::Shortage if !self.exchanging => Some(self.exchange_or_fail(stored)),
            UploadStatus::Pending | UploadStatus::Shortage => None,
        }
    }

    fn exchange_or_fail(&mut self, stored: u16) -> PieceDecision {
        let failed = self.numbers(State::Failed);
        if self.exchanges >= MAX_EXCHANGES || failed.is_empty() {
            self.over = true;
            return PieceDecision::Fail { stored, target_pieces: self.rule.target_pieces() };
        }
        self.exchanges += 1;
        self.exchanging = true;
        for &piece in &failed {
            self.states[usize::from(piece)] = State::Exchanging;
        }
        PieceDecision::Exchange(failed)
    }

    fn count(&self, state: State) -> u16 {
        self.numbers(state).len() as u16
    }

    fn numbers(&self, state: State) -> Vec<u16> {
        let numbered = (0..).zip(&self.states);
        numbered.filter(|(_, other)| **other == state).map(|(number, _)| number).collect()
    }
}

/// Decides when one segment has enough pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongTail {
    target_pieces: u16,
}

/// Whether the pieces of an upload suffice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums)] // callers must handle all
pub enum UploadStatus {
    /// Enough pieces are confirmed: the others can be cancelled.
    Enough,
    /// The pieces in flight can still suffice.
    Pending,
    /// Too few pieces, even if all pieces in flight are confirmed.
    Shortage,
}

impl LongTail {
    /// Requires `target_pieces` confirmed pieces.
    pub const fn new(target_pieces: u16) -> Self {
        Self { target_pieces }
    }

    /// Returns the number of pieces that must be confirmed.
    pub const fn target_pieces(&self) -> u16 {
        self.target_pieces
    }

    /// Returns the status for the numbers of confirmed and pending pieces.
    pub const fn status(&self, confirmed: u16, pending: u16) -> UploadStatus {
        if confirmed >= self.target_pieces {
            UploadStatus::Enough
        } else if confirmed.saturating_add(pending) >= self.target_pieces {
            UploadStatus::Pending
        } else {
            UploadStatus::Shortage
        }
    }
}

/// How many pieces of one segment may be in flight or stored.
#[derive(Clone, Debug)]
pub struct Spares {
    target_pieces: u16,
    total: u16,
    granted: u16,
    stalled: Duration,
}

impl Spares {
    /// Starts an upload that must store `target_pieces` of `total` pieces.
    pub const fn new(target_pieces: u16, total: u16) -> Self {
        Self { target_pieces, total, granted: 0, stalled: Duration::ZERO }
    }

    /// Returns the maximum number of pieces in flight or stored.
    pub const fn max_active(&self) -> u16 {
        let wanted = self.target_pieces.saturating_add(self.granted);
        if wanted < self.total { wanted } else { self.total }
    }

    /// Returns whether spare pieces are being held back.
    pub const fn has_more(&self) -> bool {
        self.max_active() < self.total
    }

    /// Records that `time` has passed and whether the upload was stalled.
    pub fn passed(&mut self, time: Duration, stalled: bool) {
        if !stalled {
            self.stalled = self.stalled.saturating_sub(time / PROGRESS_PER_STALL);
            return;
        }
        self.stalled += time;
        if self.stalled >= STALL_TIMEOUT {
            self.stalled = Duration::ZERO;
            let spare = self.total.saturating_sub(self.target_pieces);
            self.granted = self.granted.saturating_add(spare.div_ceil(4));
        }
    }
}
