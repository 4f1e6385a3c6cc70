//! Hedged downloads: which pieces to open, and when to open another.
//!
//! Any k pieces restore a range of a segment. A download opens a few more than k concurrently and
//! decodes each stripe from the first k that deliver it. The *head* is the position of the k-th
//! furthest transfer. Once the head has passed [`RACE`] bytes, the slowest transfers are closed:
//! keeping them would transfer a quarter more bytes without benefit. From then on, another piece is
//! opened when a straggler holds up the head:
//!
//! - *stalled*: the head advances less than a [`STEP`] in twice the nodes' time to the first byte;
//! - *slow*: the fastest quarter waits for the head (complete, or a [`STRETCH`] ahead of it), and the
//!   head needs more than twice their time for a stretch.
//!
//! Waiting fast transfers distinguish a slow node from a slow network. If none waits, another
//! transfer would only compete for bandwidth. A download whose transfers are all equally slow is
//! not hedged.
//!
//! When too few pieces are left, the satellite is asked once for all that exist.
//!
//! Shares may be corrupt. Bytes are *settled* once the decoded data has been authenticated. Every
//! piece is opened at the settled position, not at the head, so that its shares can correct corrupt
//! ones in between. Corruption opens all pieces; a piece with corrupt shares stays open, because its
//! other shares may be needed.
//!
//! Positions count bytes from the start of a piece's share range; all ranges have the same length.
//! Shares that a transfer delivered before it failed still count.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

/// Stall timeout until the first bytes arrive.
pub const INITIAL_STALL_TIMEOUT: Duration = Duration::from_secs(1);

/// Minimum time between two hedges.
pub const MIN_STALL_TIMEOUT: Duration = Duration::from_millis(200);

/// Maximum time the head may stall before another piece is opened.
pub const MAX_STALL_TIMEOUT: Duration = Duration::from_secs(3);

/// Bytes the head must advance to reset the stall timeout. Nodes send more than this in one message,
/// so trickling single bytes does not reset it.
pub const STEP: u64 = 16 << 10;

/// Distance ahead of the head at which a transfer counts as waiting, and the distance over which the
/// head's speed is measured. Callers must buffer at least one message more than this before they
/// stop reading.
pub const STRETCH: u64 = 256 << 10;

/// Head position at which the transfers beyond the required ones are closed. At least as many bytes
/// of the range must remain.
pub const RACE: u64 = 256 << 10;

/// Returns the number of pieces to open beyond the `required` ones: a quarter, rounded up.
pub const fn extra(required: u16) -> u16 {
    required.div_ceil(4)
}

/// The download of one share range from many nodes.
#[derive(Clone, Debug)]
pub struct Hedge {
    required: u16,
    length: u64,
    /// Transfers beyond the required ones; zero once the race is over.
    extra: u16,
    /// Pieces that can be opened, in the satellite's order.
    offered: VecDeque<u16>,
    /// All opened pieces except closed ones.
    transfers: BTreeMap<u16, Transfer>,
    head: u64,
    settled: u64,
    started_at: Duration,
    /// The head's last step, or the last hedge if later.
    step: Checkpoint,
    /// Maximum time for a step.
    stall_timeout: Duration,
    /// Start of the current stretch, while fast transfers wait for the head.
    stretch: Option<Checkpoint>,
    /// Maximum time for a stretch; unlimited until the fastest quarter has completed one.
    stretch_timeout: Duration,
    all: AskedForAll,
    /// Set when decoded bytes failed authentication; all pieces are opened then.
    corrupt: bool,
    aborted: bool,
}

#[derive(Clone, Copy, Debug)]
struct Transfer {
    position: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Running or complete.
    Usable,
    /// Delivers no further bytes.
    Failed,
}

/// Position of the head at a point in time.
#[derive(Clone, Copy, Debug)]
struct Checkpoint {
    head: u64,
    at: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AskedForAll {
    No,
    Waiting,
    Answered,
}

/// What happened to a download.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)] // inputs of the machine
pub enum HedgeEvent {
    /// The satellite's response to [`HedgeAction::RequestHolders`]; empty if the request failed.
    Offered(Vec<u16>),
    /// The transfer of a piece has reached a position.
    Progress {
        /// The piece number.
        piece: u16,
        /// Position in the share range, counted from its start.
        position: u64,
    },
    /// The transfer of a piece failed.
    Failed(u16),
    /// Data decoded after the settled position failed authentication: some shares are corrupt.
    ///
    /// Reopens a range that is already complete, because recovery needs shares of more pieces. From
    /// then on the caller decides when to stop.
    Corrupt,
    /// Everything up to a position in the share range is authentic.
    Settled(u64),
    /// Time has passed.
    Tick,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)] // callers must handle all
pub enum HedgeAction {
    /// Open the transfer of a piece.
    Open {
        /// The piece number.
        piece: u16,
        /// Position in the share range to start at.
        from: u64,
    },
    /// Close the transfer of a piece and discard its shares. Its order limit is used up; if the
    /// satellite offers the piece again, use the new limit.
    Close(u16),
    /// Request order limits of all pieces from the satellite and report [`HedgeEvent::Offered`].
    RequestHolders,
    /// Abort: too few pieces are left.
    Abort {
        /// Pieces that are running, complete or not opened yet.
        found: u16,
        /// Pieces required (k).
        required: u16,
    },
}

impl Hedge {
    /// Starts the download of `length` bytes of each piece; `required` of the `offered` pieces are
    /// needed.
    ///
    /// Opens up to `extra` pieces more than required.
    pub fn start(
        required: u16,
        extra: u16,
        offered: impl IntoIterator<Item = u16>,
        length: u64,
        now: Duration,
    ) -> (Self, Vec<HedgeAction>) {
        let mut seen = BTreeSet::new();
        let mut hedge = Self {
            required,
            length,
            extra,
            offered: offered.into_iter().filter(|&piece| seen.insert(piece)).collect(),
            transfers: BTreeMap::new(),
            head: 0,
            settled: 0,
            started_at: now,
            step: Checkpoint { head: 0, at: now },
            stall_timeout: INITIAL_STALL_TIMEOUT,
            stretch: None,
            stretch_timeout: Duration::MAX,
            all: AskedForAll::No,
            corrupt: false,
            aborted: false,
        };
        let actions = hedge.replenish();
        (hedge, actions)
    }

    /// Handles an event at time `now` and returns the next actions.
    ///
    /// Ignores events for pieces that are not open, and events after the end other than
    /// [`HedgeEvent::Corrupt`] and [`HedgeEvent::Settled`].
    pub fn on(&mut self, event: HedgeEvent, now: Duration) -> Vec<HedgeAction> {
        let over = match event {
            HedgeEvent::Corrupt | HedgeEvent::Settled(_) => self.aborted,
            _ => self.is_over(),
        };
        if over {
            return Vec::new();
        }
        match event {
            HedgeEvent::Offered(pieces) => {
                self.offer(pieces);
                self.replenish()
            }
            HedgeEvent::Progress { piece, position } => {
                self.progress(piece, position, now);
                self.end_race()
            }
            HedgeEvent::Failed(piece) => {
                self.fail(piece);
                self.replenish()
            }
            HedgeEvent::Corrupt => {
                self.corrupt = true;
                let mut actions = self.open(usize::MAX);
                actions.extend(self.ask_for_all());
                actions
            }
            HedgeEvent::Settled(position) => {
                self.settled = position.min(self.head).max(self.settled);
                Vec::new()
            }
            HedgeEvent::Tick => self.tick(now),
        }
    }

    /// Returns when the next [`HedgeEvent::Tick`] is due; `None` when nothing is left to open.
    pub fn next_tick(&self) -> Option<Duration> {
        let more = !self.offered.is_empty() || self.all == AskedForAll::No;
        (more && !self.is_over()).then(|| self.deadline())
    }

    /// Returns the position that the required number of transfers has reached.
    pub const fn head(&self) -> u64 {
        self.head
    }

    /// Returns whether the range is complete or the download was aborted.
    pub const fn is_over(&self) -> bool {
        self.aborted || (self.head == self.length && !self.corrupt)
    }

    fn offer(&mut self, pieces: Vec<u16>) {
        if self.all == AskedForAll::Waiting {
            self.all = AskedForAll::Answered;
        }
        for piece in pieces {
            if !self.transfers.contains_key(&piece) && !self.offered.contains(&piece) {
                self.offered.push_back(piece);
            }
        }
    }

    fn progress(&mut self, piece: u16, position: u64, now: Duration) {
        let usable = |transfer: &&mut Transfer| transfer.state == State::Usable;
        let Some(transfer) = self.transfers.get_mut(&piece).filter(usable) else { return };
        transfer.position = position.min(self.length).max(transfer.position);
        let [fast, head] = self.furthest([extra(self.required), self.required]);
        let head = head.max(self.head);
        let since_start = now.saturating_sub(self.started_at);
        let is_first = self.head == 0 && head > 0 && !self.corrupt;
        if is_first {
            // Scaled to the network: twice the time to the first byte.
            self.stall_timeout =
                since_start.saturating_mul(2).clamp(MIN_STALL_TIMEOUT, MAX_STALL_TIMEOUT);
        }
        if self.stretch_timeout == Duration::MAX && fast >= STRETCH.min(self.length) {
            self.stretch_timeout = since_start.saturating_mul(2).max(MIN_STALL_TIMEOUT);
        }

        self.head = head;
        let checkpoint = Checkpoint { head, at: now };
        if is_first || head - self.step.head >= STEP {
            self.step = checkpoint;
        }

        let fast_wait = fast == self.length || fast.saturating_sub(head) >= STRETCH;
        let current = self.stretch.filter(|since| head - since.head < STRETCH);
        self.stretch = fast_wait.then(|| current.unwrap_or(checkpoint));
    }

    /// Closes the slowest transfers beyond the required ones, once the head has passed [`RACE`] and
    /// as many unopened pieces are left to replace stragglers.
    fn end_race(&mut self) -> Vec<HedgeAction> {
        let surplus = self.usable().saturating_sub(self.required.into());
        let worth_it = self.head >= RACE && self.length.saturating_sub(self.head) >= RACE;
        if self.extra == 0 || self.corrupt || !worth_it || self.offered.len() < surplus {
            return Vec::new();
        }
        self.extra = 0;
        let mut usable: Vec<(u64, u16)> = self
            .transfers
            .iter()
            .filter(|(_, transfer)| transfer.state == State::Usable)
            .map(|(piece, transfer)| (transfer.position, *piece))
            .collect();
        // Ties close the highest number: low numbers are data shares, which decode by copying.
        usable.sort_unstable_by_key(|(position, piece)| (*position, std::cmp::Reverse(*piece)));
        usable
            .into_iter()
            .take(surplus)
            .map(|(_, piece)| {
                self.transfers.remove(&piece);
                HedgeAction::Close(piece)
            })
            .collect()
    }

    /// When the head counts as stalled or slow.
    fn deadline(&self) -> Duration {
        let stalled_at = self.step.at.saturating_add(self.stall_timeout);
        match self.stretch {
            Some(since) => stalled_at.min(since.at.saturating_add(self.stretch_timeout)),
            None => stalled_at,
        }
    }

    fn fail(&mut self, piece: u16) {
        // A complete transfer can no longer fail.
        let length = self.length;
        let running = self.transfers.get_mut(&piece).filter(|transfer| transfer.position < length);
        if let Some(transfer) = running.filter(|transfer| transfer.state == State::Usable) {
            transfer.state = State::Failed;
        }
    }

    fn tick(&mut self, now: Duration) -> Vec<HedgeAction> {
        if now < self.deadline() {
            return Vec::new();
        }
        self.step = Checkpoint { head: self.head, at: now };
        self.stretch = self.stretch.map(|_| self.step);
        let mut actions = self.open(1);
        if actions.is_empty() {
            actions.extend(self.ask_for_all());
        }
        actions
    }

    /// Opens pieces up to the wanted number of concurrent transfers; aborts if too few are left.
    fn replenish(&mut self) -> Vec<HedgeAction> {
        if self.is_over() {
            return Vec::new();
        }
        let required = usize::from(self.required);
        let found = self.usable() + self.offered.len();
        if found < required && self.all == AskedForAll::Answered {
            self.aborted = true;
            return vec![HedgeAction::Abort { found: found as u16, required: self.required }];
        }
        let wanted = if self.corrupt { usize::MAX } else { required + usize::from(self.extra) };
        let mut actions = self.open(wanted.saturating_sub(self.usable()));
        if found < required {
            actions.extend(self.ask_for_all());
        }
        actions
    }

    fn open(&mut self, count: usize) -> Vec<HedgeAction> {
        let from = self.settled;
        let count = count.min(self.offered.len());
        self.offered
            .drain(..count)
            .map(|piece| {
                self.transfers.insert(piece, Transfer { position: from, state: State::Usable });
                HedgeAction::Open { piece, from }
            })
            .collect()
    }

    fn ask_for_all(&mut self) -> Option<HedgeAction> {
        (self.all == AskedForAll::No).then(|| {
            self.all = AskedForAll::Waiting;
            HedgeAction::RequestHolders
        })
    }

    /// Number of transfers that have not failed.
    fn usable(&self) -> usize {
        self.transfers.values().filter(|transfer| transfer.state == State::Usable).count()
    }

    /// For each count, the position that this many transfers have reached.
    fn furthest<const N: usize>(&self, counts: [u16; N]) -> [u64; N] {
        let mut positions: Vec<u64> =
            self.transfers.values().map(|transfer| transfer.position).collect();
        positions.sort_unstable_by(|a, b| b.cmp(a));
        counts.map(|count| {
            let index = usize::from(count).saturating_sub(1);
            positions.get(index).copied().unwrap_or(0)
        })
    }
}
