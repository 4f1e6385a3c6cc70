//! Which pieces a download opens, and when another.
//!
//! Any k pieces restore a range of a segment, so a download opens a few more than k at once and
//! takes each stripe from the first k that deliver it. The *head* is how far all of these together
//! reach: the k-th furthest transfer. Once it has come [`RACE`] bytes far, the nodes have shown which
//! of them are fast: the slowest are closed, or every byte would cost a quarter more for nothing. Of
//! those that are left another piece is opened when the head is held up by a node that
//!
//! - *stands still*: the head makes no [`STEP`] for as long as it took the nodes to answer, twice;
//! - *creeps*: the fastest quarter has to wait for the head, being complete or a [`STRETCH`] ahead,
//!   and the head needs more than twice the time for a stretch that they have shown it to take.
//!
//! Fast transfers that wait are what tells a slow node from a slow network: where they do not
//! wait, another transfer would only take bandwidth from those that run. A download whose transfers
//! are all equally slow goes on as it is.
//!
//! When too few pieces are left, the satellite is asked once for all that exist.
//!
//! Shares may be corrupt. Bytes are *settled* once what they decode to is authentic, and every piece is
//! opened from there on, not from the head: when shares turn out to be corrupt, the others must be
//! able to make up for what lies between. All pieces are opened then, and a piece with corrupt shares
//! goes on, for its other shares may be needed.
//!
//! Positions count the bytes of a piece's share range from its start; all pieces have ranges of
//! one length. Shares that a transfer delivered before it failed still count.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

/// How long a head may stand still before anything is known about the nodes' speed.
pub const FIRST_PATIENCE: Duration = Duration::from_secs(1);

/// Shortest time the head must be held up for another piece to be opened.
pub const MIN_PATIENCE: Duration = Duration::from_millis(200);

/// Longest time the head may stand still without another piece being opened.
pub const MAX_PATIENCE: Duration = Duration::from_secs(3);

/// Bytes the head has to move for not standing still. Nodes send more in one message; one that sends
/// a little now and then gains nothing by it.
pub const STEP: u64 = 16 << 10;

/// Bytes that a transfer must be ahead of the head for it to count as waiting, and by which the
/// head's pace is measured. Callers should let transfers get well ahead of this before they stop
/// reading, at least by a message.
pub const STRETCH: u64 = 256 << 10;

/// How far the head has to come for the transfers beyond the required ones to be closed, and what
/// must be left of a range for that to be worth it.
pub const RACE: u64 = 256 << 10;

/// Pieces to open at once beyond the `required` ones: a quarter, at least one.
pub const fn extra(required: u16) -> u16 {
    required.div_ceil(4)
}

/// The download of one share range from many nodes.
#[derive(Clone, Debug)]
pub struct Hedge {
    required: u16,
    length: u64,
    /// Transfers beyond the required ones, until the race is over.
    extra: u16,
    /// Pieces that can be opened, in the satellite's order.
    offered: VecDeque<u16>,
    /// Every piece that was ever opened, but for those closed.
    transfers: BTreeMap<u16, Transfer>,
    head: u64,
    settled: u64,
    started_at: Duration,
    /// Since the head last made a step, or something was last done about its being held up.
    step: Mark,
    /// How long a step may take.
    patience: Duration,
    /// The same for a stretch, while fast transfers wait for the head.
    stretch: Option<Mark>,
    /// How long a stretch may take, once the fastest quarter has shown it.
    stretch_patience: Duration,
    all: AskedForAll,
    /// Whether decoded bytes were found not to be authentic: everything is opened then.
    corrupt: bool,
    given_up: bool,
}

#[derive(Clone, Copy, Debug)]
struct Transfer {
    position: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Delivers, or has delivered everything.
    Usable,
    /// Will deliver no more.
    Failed,
}

/// A head at a time.
#[derive(Clone, Copy, Debug)]
struct Mark {
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
    /// The pieces that the satellite has for us once it was asked for all; none if it failed.
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
    /// What was decoded after the settled bytes is not authentic: some shares are corrupt. This may
    /// come after the range is complete, and reopens it: recovery takes shares of more pieces. When
    /// to stop is then for the caller to say.
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
    /// End the transfer of a piece, and forget what it delivered. The order limit is used up: should
    /// the satellite offer the piece again, the new one counts.
    Close(u16),
    /// Ask the satellite for limits of all pieces, and report [`HedgeEvent::Offered`].
    AskForAll,
    /// Stop: too few pieces are left.
    GiveUp {
        /// Pieces that deliver, have delivered everything, or could have been opened.
        found: u16,
        /// Pieces needed.
        needed: u16,
    },
}

impl Hedge {
    /// Starts the download of `length` bytes of each piece, with `required` of the `offered`
    /// pieces needed.
    ///
    /// Opens `extra` pieces more than required, as far as there are.
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
            step: Mark { head: 0, at: now },
            patience: FIRST_PATIENCE,
            stretch: None,
            stretch_patience: Duration::MAX,
            all: AskedForAll::No,
            corrupt: false,
            given_up: false,
        };
        let actions = hedge.replenish();
        (hedge, actions)
    }

    /// Notes an event at time `now` and decides what follows.
    ///
    /// Events about pieces that are not open change nothing, nor do events after the end, unless
    /// they tell of corrupt shares.
    pub fn on(&mut self, event: HedgeEvent, now: Duration) -> Vec<HedgeAction> {
        let over = match event {
            HedgeEvent::Corrupt | HedgeEvent::Settled(_) => self.given_up,
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

    /// When the next [`HedgeEvent::Tick`] can have an effect; none when nothing is left to open.
    pub fn next_tick(&self) -> Option<Duration> {
        let more = !self.offered.is_empty() || self.all == AskedForAll::No;
        (more && !self.is_over()).then(|| self.deadline())
    }

    /// How far the required number of transfers has come.
    pub const fn head(&self) -> u64 {
        self.head
    }

    /// Whether the range is complete, or was given up.
    pub const fn is_over(&self) -> bool {
        self.given_up || (self.head == self.length && !self.corrupt)
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
        let begins = self.head == 0 && head > 0 && !self.corrupt;
        if begins {
            // The nodes' own time to answer tells how long is long.
            self.patience = since_start.saturating_mul(2).clamp(MIN_PATIENCE, MAX_PATIENCE);
        }
        if self.stretch_patience == Duration::MAX && fast >= STRETCH.min(self.length) {
            self.stretch_patience = since_start.saturating_mul(2).max(MIN_PATIENCE);
        }
        self.head = head;
        let mark = Mark { head, at: now };
        if begins || head - self.step.head >= STEP {
            self.step = mark;
        }
        let fast_wait = fast == self.length || fast.saturating_sub(head) >= STRETCH;
        let going_on = self.stretch.filter(|since| head - since.head < STRETCH);
        self.stretch = fast_wait.then(|| going_on.unwrap_or(mark));
    }

    /// Closes the slowest transfers beyond the required ones, if the nodes have shown their speed and
    /// enough others are left to be opened should one of these get slow.
    fn end_race(&mut self) -> Vec<HedgeAction> {
        let surplus = self.usable().saturating_sub(self.required.into());
        let worth_it = self.head >= RACE && self.length.saturating_sub(self.head) >= RACE;
        if self.extra == 0 || self.corrupt || !worth_it || self.offered.len() < surplus {
            return Vec::new();
        }
        self.extra = 0;
        let usable = self.transfers.iter().filter(|(_, open)| open.state == State::Usable);
        let mut usable: Vec<(u64, u16)> =
            usable.map(|(piece, open)| (open.position, *piece)).collect();
        // Of equals the highest number goes: data shares are only copied.
        usable.sort_unstable_by_key(|(position, piece)| (*position, std::cmp::Reverse(*piece)));
        let slowest = usable.into_iter().take(surplus).map(|(_, piece)| piece);
        slowest
            .map(|piece| {
                self.transfers.remove(&piece);
                HedgeAction::Close(piece)
            })
            .collect()
    }

    /// When the head will have been held up for too long.
    fn deadline(&self) -> Duration {
        let standing = self.step.at.saturating_add(self.patience);
        match self.stretch {
            Some(since) => standing.min(since.at.saturating_add(self.stretch_patience)),
            None => standing,
        }
    }

    fn fail(&mut self, piece: u16) {
        // One that has delivered everything cannot fail any more.
        let length = self.length;
        let open = self.transfers.get_mut(&piece).filter(|open| open.position < length);
        if let Some(transfer) = open.filter(|open| open.state == State::Usable) {
            transfer.state = State::Failed;
        }
    }

    fn tick(&mut self, now: Duration) -> Vec<HedgeAction> {
        if now < self.deadline() {
            return Vec::new();
        }
        self.step = Mark { head: self.head, at: now };
        self.stretch = self.stretch.map(|_| self.step);
        let mut actions = self.open(1);
        if actions.is_empty() {
            actions.extend(self.ask_for_all());
        }
        actions
    }

    /// Opens what is missing to the number wanted at once, or finds that there is too little.
    fn replenish(&mut self) -> Vec<HedgeAction> {
        if self.is_over() {
            return Vec::new();
        }
        let required = usize::from(self.required);
        let found = self.usable() + self.offered.len();
        if found < required && self.all == AskedForAll::Answered {
            self.given_up = true;
            return vec![HedgeAction::GiveUp { found: found as u16, needed: self.required }];
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
        let opened = self.offered.drain(..count);
        opened
            .map(|piece| {
                self.transfers.insert(piece, Transfer { position: from, state: State::Usable });
                HedgeAction::Open { piece, from }
            })
            .collect()
    }

    fn ask_for_all(&mut self) -> Option<HedgeAction> {
        (self.all == AskedForAll::No).then(|| {
            self.all = AskedForAll::Waiting;
            HedgeAction::AskForAll
        })
    }

    /// Transfers that have not failed.
    fn usable(&self) -> usize {
        self.transfers.values().filter(|transfer| transfer.state == State::Usable).count()
    }

    /// For each number of transfers the position that so many have reached or passed.
    fn furthest<const N: usize>(&self, counts: [u16; N]) -> [u64; N] {
        let mut positions: Vec<u64> =
            self.transfers.values().map(|transfer| transfer.position).collect();
        positions.sort_unstable_by(|a, b| b.cmp(a));
        counts.map(|count| {
            let place = usize::from(count).saturating_sub(1);
            positions.get(place).copied().unwrap_or(0)
        })
    }
}
