//! Which piece an upload sends next, and when it asks the satellite for other nodes.
//!
//! Every piece of a segment has an order limit for one node. Workers take pieces one after the
//! other and report what became of them. When the pieces stored and on their way cannot reach the
//! needed number any more, the limits of all failed pieces are exchanged for limits of other
//! nodes, which makes up the whole reserve again; the pieces on their way go on meanwhile.

use super::long_tail::{LongTail, Verdict};

#[cfg(test)]
mod tests;

/// Rounds of exchanging failed pieces for other nodes, at most.
pub const MAX_EXCHANGES: u32 = 11;

/// The pieces of one segment during its upload.
#[derive(Clone, Debug)]
pub struct Pieces {
    rule: LongTail,
    states: Vec<State>,
    exchanges: u32,
    /// Whether the satellite has been asked and has not answered yet.
    exchanging: bool,
    over: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No worker has taken it.
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
    /// The satellite has given new limits for the pieces asked for.
    Exchanged,
    /// The satellite has no other nodes, or did not answer.
    NotExchanged,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)] // callers must handle all
pub enum PieceDecision {
    /// Cancel what is still being sent and commit the segment with these pieces, in ascending
    /// order.
    Commit(Vec<u16>),
    /// Ask the satellite for other nodes for these pieces, in ascending order.
    Exchange(Vec<u16>),
    /// Cancel what is still being sent: too few nodes take pieces.
    Fail {
        /// Pieces stored.
        stored: u16,
        /// Pieces needed.
        needed: u16,
    },
}

impl Pieces {
    /// Starts with `total` pieces, numbered from 0, of which the rule must be satisfied.
    pub fn new(total: u16, rule: LongTail) -> Self {
        Self {
            rule,
            states: vec![State::Waiting; total.into()],
            exchanges: 0,
            exchanging: false,
            over: false,
        }
    }

    /// Takes the next piece nobody is sending; none when all are taken or the upload is over.
    ///
    /// There may be one again after [`PieceEvent::Exchanged`].
    pub fn next_piece(&mut self) -> Option<u16> {
        if self.over {
            return None;
        }
        let piece = self.states.iter().position(|&state| state == State::Waiting)?;
        self.states[piece] = State::Sending;
        u16::try_from(piece).ok()
    }

    /// Notes an event and decides what follows, if anything does.
    ///
    /// Events about pieces that are not being sent, and all events after the end, change nothing.
    pub fn on(&mut self, event: PieceEvent) -> Option<PieceDecision> {
        if self.over {
            return None;
        }
        match event {
            PieceEvent::Stored(piece) => self.resolve(piece, State::Stored)?,
            PieceEvent::Failed(piece) => self.resolve(piece, State::Failed)?,
            PieceEvent::Exchanged => self.answered(State::Waiting)?,
            PieceEvent::NotExchanged => {
                self.answered(State::Failed)?;
                // Asking again would get the same answer.
                self.exchanges = MAX_EXCHANGES;
            }
        }
        self.decide()
    }

    /// Whether the upload has ended, well or not.
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// The confirmed pieces in ascending order.
    pub fn stored(&self) -> Vec<u16> {
        self.numbers(State::Stored)
    }

    fn resolve(&mut self, piece: u16, outcome: State) -> Option<()> {
        let state = self.states.get_mut(usize::from(piece))?;
        (*state == State::Sending).then(|| *state = outcome)
    }

    fn answered(&mut self, outcome: State) -> Option<()> {
        std::mem::take(&mut self.exchanging).then_some(())?;
        let asked = self.states.iter_mut().filter(|state| **state == State::Exchanging);
        asked.for_each(|state| *state = outcome);
        Some(())
    }

    fn decide(&mut self) -> Option<PieceDecision> {
        let stored = self.count(State::Stored);
        let pending = self.count(State::Waiting) + self.count(State::Sending);
        match self.rule.judge(stored, pending) {
            Verdict::Enough => {
                self.over = true;
                Some(PieceDecision::Commit(self.stored()))
            }
            Verdict::Shortage if !self.exchanging => Some(self.exchange_or_fail(stored)),
            Verdict::OnTheWay | Verdict::Shortage => None,
        }
    }

    fn exchange_or_fail(&mut self, stored: u16) -> PieceDecision {
        let failed = self.numbers(State::Failed);
        if self.exchanges >= MAX_EXCHANGES || failed.is_empty() {
            self.over = true;
            return PieceDecision::Fail { stored, needed: self.rule.needed() };
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
        (0..).zip(&self.states).filter(|(_, s)| **s == state).map(|(number, _)| number).collect()
    }
}
