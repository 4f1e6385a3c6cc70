use proptest::prelude::*;

use super::*;

const LENGTH: u64 = 1000;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn opened(actions: &[HedgeAction]) -> Vec<u16> {
    actions
        .iter()
        .filter_map(|action| match action {
            HedgeAction::Open { piece, .. } => Some(*piece),
            _ => None,
        })
        .collect()
}

fn progress(piece: u16, position: u64) -> HedgeEvent {
    HedgeEvent::Progress { piece, position }
}

#[test]
fn a_quarter_more_pieces_than_required_are_opened() {
    assert_eq!((extra(1), extra(4), extra(29)), (1, 1, 8));
    let (_, actions) = Hedge::start(4, extra(4), 0..10, LENGTH, millis(0));
    assert_eq!(opened(&actions), [0, 1, 2, 3, 4]);
    let (_, actions) = Hedge::start(4, 1, [7, 7, 9], LENGTH, millis(0));
    assert_eq!(opened(&actions), [7, 9]);
    assert_eq!(actions.last(), Some(&HedgeAction::RequestHolders));
}

#[test]
fn download_is_complete_when_required_pieces_are() {
    let (mut hedge, _) = Hedge::start(2, 1, 0..4, LENGTH, millis(0));
    assert!(hedge.on(progress(0, LENGTH), millis(1)).is_empty());
    assert!(!hedge.is_over());
    assert!(hedge.on(progress(2, LENGTH), millis(2)).is_empty());
    assert!(hedge.is_over() && hedge.head() == LENGTH);
    assert!(hedge.on(HedgeEvent::Failed(1), millis(3)).is_empty());
}

#[test]
fn stalled_head_opens_a_piece_at_the_settled_position() {
    let (mut hedge, _) = Hedge::start(2, 1, 0..5, LENGTH, millis(0));
    for piece in [0, 1] {
        hedge.on(progress(piece, 300), millis(400));
    }
    assert_eq!(hedge.head(), 300);
    assert_eq!(hedge.on(HedgeEvent::Settled(256), millis(400)), []);
    assert_eq!(hedge.next_tick(), Some(millis(400 + 800)));
    assert!(hedge.on(HedgeEvent::Tick, millis(1199)).is_empty());
    let another = |piece| vec![HedgeAction::Open { piece, from: 256 }];
    assert_eq!(hedge.on(HedgeEvent::Tick, millis(1200)), another(3));
    assert_eq!(hedge.on(HedgeEvent::Tick, millis(1300)), []);
    assert_eq!(hedge.on(HedgeEvent::Tick, millis(2000)), another(4));
    assert_eq!(hedge.on(HedgeEvent::Tick, millis(2800)), [HedgeAction::RequestHolders]);
    assert_eq!(hedge.next_tick(), None);
    assert_eq!(hedge.on(HedgeEvent::Tick, millis(9000)), []);
    assert_eq!(hedge.on(HedgeEvent::Offered(vec![0, 5, 6]), millis(9000)), []);
    assert_eq!(hedge.on(HedgeEvent::Tick, millis(9900)), another(5));
}

#[test]
fn trickling_head_counts_as_stalled() {
    let (mut hedge, _) = Hedge::start(2, 0, 0..3, 100 * STEP, millis(0));
    for tenth in 1..=10 {
        hedge.on(progress(0, tenth * STEP / 20), millis(tenth * 100));
        hedge.on(progress(1, tenth * STEP / 20), millis(tenth * 100));
    }
    let another = HedgeAction::Open { piece: 2, from: 0 };
    assert_eq!(hedge.next_tick(), Some(millis(100 + 200)));
    assert_eq!(hedge.on(HedgeEvent::Tick, millis(1000)), [another]);
}

#[test]
fn slow_head_opens_a_piece_while_fast_transfers_wait() {
    let (mut hedge, _) = Hedge::start(2, 0, 0..4, 100 * STRETCH, millis(0));
    // The fast node takes 300 ms for a stretch, so the timeout is 600 ms.
    hedge.on(progress(0, STRETCH), millis(300));
    hedge.on(progress(0, 2 * STRETCH), millis(310));
    for step in 1..=6 {
        hedge.on(progress(1, step * STEP), millis(299 + step * 100));
    }
    assert_eq!(hedge.next_tick(), Some(millis(300 + 600)));
    assert_eq!(hedge.on(HedgeEvent::Tick, millis(899)), []);
    let another = HedgeAction::Open { piece: 2, from: 0 };
    assert_eq!(hedge.on(HedgeEvent::Tick, millis(900)), [another]);
    // The replacement catches up: no transfer waits any more.
    hedge.on(progress(2, 6 * STEP + STRETCH), millis(1400));
    assert_eq!(hedge.on(HedgeEvent::Tick, millis(1600)), []);
}

#[test]
fn head_within_twice_the_fastest_time_is_tolerated() {
    let (mut hedge, _) = Hedge::start(2, 0, 0..3, 100 * STRETCH, millis(0));
    hedge.on(progress(0, 2 * STRETCH), millis(300));
    for step in 1..=64 {
        let now = millis(300 + step * 37);
        hedge.on(progress(0, step * STEP + 2 * STRETCH), now);
        hedge.on(progress(1, step * STEP), now);
        assert_eq!(hedge.on(HedgeEvent::Tick, now), []);
    }
}

#[test]
fn slow_end_of_a_range_opens_another_piece() {
    let (mut hedge, _) = Hedge::start(2, 0, 0..3, 3 * STEP, millis(0));
    hedge.on(progress(0, 3 * STEP), millis(50));
    hedge.on(progress(1, STEP), millis(60));
    hedge.on(progress(1, 2 * STEP), millis(240));
    let another = HedgeAction::Open { piece: 2, from: 0 };
    assert_eq!(hedge.on(HedgeEvent::Tick, millis(249)), []);
    assert_eq!(hedge.on(HedgeEvent::Tick, millis(250)), [another]);
}

#[test]
fn shortage_asks_for_all_pieces_and_then_aborts() {
    let (mut hedge, _) = Hedge::start(2, 1, 0..3, LENGTH, millis(0));
    assert_eq!(hedge.on(HedgeEvent::Failed(0), millis(1)), []);
    assert_eq!(hedge.on(HedgeEvent::Failed(1), millis(2)), [HedgeAction::RequestHolders]);
    let actions = hedge.on(HedgeEvent::Offered(vec![0, 1, 2, 3]), millis(3));
    assert_eq!(opened(&actions), [3], "pieces that failed are not opened again");
    let actions = hedge.on(HedgeEvent::Failed(2), millis(4));
    assert_eq!(actions, [HedgeAction::Abort { found: 1, required: 2 }]);
    assert!(hedge.is_over());
}

#[test]
fn corruption_opens_all_pieces_even_after_completion() {
    let (mut hedge, _) = Hedge::start(2, 0, 0..4, LENGTH, millis(0));
    for piece in [0, 1] {
        hedge.on(progress(piece, LENGTH), millis(1));
    }
    assert!(hedge.is_over());
    assert_eq!(hedge.on(HedgeEvent::Settled(256), millis(1)), []);
    assert_eq!(
        hedge.on(HedgeEvent::Settled(128), millis(1)),
        [],
        "the settled position never decreases"
    );
    let open = |piece| HedgeAction::Open { piece, from: 256 };
    let actions = hedge.on(HedgeEvent::Corrupt, millis(2));
    assert_eq!(actions, [open(2), open(3), HedgeAction::RequestHolders]);
    assert!(!hedge.is_over());
    assert_eq!(hedge.on(HedgeEvent::Offered(vec![3, 8, 9]), millis(3)), [open(8), open(9)]);
}

#[test]
fn empty_range_opens_no_piece() {
    let (hedge, actions) = Hedge::start(2, 1, 0..4, 0, millis(0));
    assert!(actions.is_empty() && hedge.is_over());
}

#[test]
fn slowest_transfers_are_closed_once_the_race_is_over() {
    let (mut hedge, _) = Hedge::start(2, 2, 0..6, 3 * RACE, millis(0));
    for piece in [0, 1, 3] {
        assert_eq!(hedge.on(progress(piece, RACE - 1), millis(10)), []);
    }
    assert_eq!(hedge.on(progress(3, RACE), millis(11)), []);
    let closed = hedge.on(progress(1, RACE), millis(12));
    assert_eq!(closed, [HedgeAction::Close(2), HedgeAction::Close(0)]);
    assert_eq!(hedge.head(), RACE);
    let another = HedgeAction::Open { piece: 4, from: 0 };
    assert_eq!(hedge.on(HedgeEvent::Failed(1), millis(13)), [another], "k transfers suffice now");
    let again = hedge.on(HedgeEvent::Corrupt, millis(14));
    assert_eq!(again, [HedgeAction::Open { piece: 5, from: 0 }, HedgeAction::RequestHolders]);
    let offered = HedgeEvent::Offered((0..6).collect());
    assert_eq!(opened(&hedge.on(offered, millis(15))), [0, 2], "with new order limits");
}

#[test]
fn no_transfer_is_closed_without_replacement_or_in_short_range() {
    for (offered, length) in [(6, 2 * RACE - 1), (3, 3 * RACE)] {
        let (mut hedge, _) = Hedge::start(2, 1, 0..offered, length, millis(0));
        hedge.on(progress(0, RACE), millis(10));
        assert_eq!(hedge.on(progress(1, RACE), millis(10)), []);
    }
}

/// Length of the ranges below, long enough for a race.
const LONG: u64 = 4 * RACE;

#[derive(Clone, Debug)]
enum Step {
    Advance { pick: prop::sample::Index, by: u64 },
    Fail(prop::sample::Index),
    Answer(Vec<u16>),
    Corrupt,
    Settle(u64),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pick = any::<prop::sample::Index>;
    let step = prop_oneof![
        8 => (pick(), 0..2 * RACE).prop_map(|(pick, by)| Step::Advance { pick, by }),
        3 => pick().prop_map(Step::Fail),
        2 => proptest::collection::vec(0..14_u16, 0..14).prop_map(Step::Answer),
        1 => Just(Step::Corrupt),
        2 => (0..LONG).prop_map(Step::Settle),
        4 => (0..4000_u64).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 0..80)
}

proptest! {
    #![proptest_config(crate::cases(10_000))]

    /// For any events:
    ///
    /// - no piece is opened twice unless it was closed and offered again, and every transfer starts
    ///   at the settled position;
    /// - a closed transfer has the required number of running ones ahead of it;
    /// - the head is the position reached by the required number of transfers, and never decreases;
    /// - beyond the initial pieces and replacements of failed ones, at most one piece is opened per
    ///   minimum stall timeout;
    /// - the satellite is asked once;
    /// - until the download is over, enough transfers run or a response is pending, and the next tick
    ///   acts as long as a piece can be opened;
    /// - an abort reports exactly the pieces that are running, complete or not opened yet.
    #[test]
    fn every_event_sequence_matches_the_model(
        required in 1..6_u16, extra in 0..4_u16, offered in 0..10_u16, steps in steps(),
    ) {
        let (hedge, actions) = Hedge::start(required, extra, 0..offered, LONG, millis(0));
        let mut model = Model::new(hedge, required, extra, offered);
        model.check(actions)?;
        for step in steps {
            if model.hedge.is_over() {
                break;
            }
            let Some(event) = model.event(step) else { continue };
            let actions = model.hedge.on(event, model.now);
            model.check(actions)?;
        }
    }
}

/// A download as the caller sees it.
struct Model {
    hedge: Hedge,
    required: u16,
    /// Pieces that may be opened without hedging.
    allowed: usize,
    now: Duration,
    unopened: BTreeSet<u16>,
    opened: BTreeSet<u16>,
    /// Positions of all opened pieces.
    positions: BTreeMap<u16, u64>,
    failed: BTreeSet<u16>,
    asked: bool,
    answered: bool,
    head: u64,
    settled: u64,
    corrupt: bool,
    last_hedge: Option<Duration>,
}

impl Model {
    fn new(hedge: Hedge, required: u16, extra: u16, offered: u16) -> Self {
        Self {
            hedge,
            required,
            allowed: usize::from(required + extra),
            now: millis(0),
            unopened: (0..offered).collect(),
            opened: BTreeSet::new(),
            positions: BTreeMap::new(),
            failed: BTreeSet::new(),
            asked: false,
            answered: false,
            head: 0,
            settled: 0,
            corrupt: false,
            last_hedge: None,
        }
    }

    /// Returns the event of a step; `None` if it cannot happen now.
    fn event(&mut self, step: Step) -> Option<HedgeEvent> {
        let running = self.positions.keys().filter(|piece| !self.failed.contains(piece));
        let running: Vec<u16> = running.copied().collect();
        let picked = |pick: prop::sample::Index| (!running.is_empty()).then(|| *pick.get(&running));
        Some(match step {
            Step::Advance { pick, by } => {
                let piece = picked(pick)?;
                let position = self.positions.get_mut(&piece)?;
                *position = (*position + by).min(LONG);
                progress(piece, *position)
            }
            Step::Fail(pick) => {
                let piece = picked(pick)?;
                if self.positions[&piece] < LONG {
                    self.failed.insert(piece);
                }
                HedgeEvent::Failed(piece)
            }
            Step::Answer(pieces) if self.asked && !self.answered => {
                self.answered = true;
                let new = pieces.iter().filter(|piece| !self.opened.contains(piece));
                self.unopened.extend(new);
                HedgeEvent::Offered(pieces)
            }
            Step::Answer(_) => return None,
            Step::Corrupt => {
                self.corrupt = true;
                HedgeEvent::Corrupt
            }
            Step::Settle(position) => {
                self.settled = position.min(self.head).max(self.settled);
                HedgeEvent::Settled(position)
            }
            Step::Wait(time) => {
                self.now += millis(time);
                HedgeEvent::Tick
            }
        })
    }

    fn check(&mut self, actions: Vec<HedgeAction>) -> Result<(), TestCaseError> {
        for action in actions {
            match action {
                HedgeAction::Open { piece, from } => {
                    prop_assert_eq!(from, self.settled);
                    prop_assert!(self.opened.insert(piece));
                    self.positions.insert(piece, from);
                    prop_assert!(self.unopened.remove(&piece));
                    self.check_number()?;
                }
                HedgeAction::Close(piece) => {
                    let position = self.positions.remove(&piece);
                    prop_assert!(self.opened.remove(&piece) && !self.failed.contains(&piece));
                    let running =
                        self.positions.iter().filter(|(other, _)| !self.failed.contains(other));
                    let ahead = running.filter(|(_, reached)| Some(**reached) >= position);
                    prop_assert!(ahead.count() >= self.required.into() && !self.corrupt);
                    self.allowed -= 1;
                }
                HedgeAction::RequestHolders => {
                    prop_assert!(!std::mem::replace(&mut self.asked, true));
                }
                HedgeAction::Abort { found, required } => {
                    prop_assert!(found < required && self.answered && self.hedge.is_over());
                    prop_assert_eq!(usize::from(found), self.running() + self.unopened.len());
                }
            }
        }
        let mut reached: Vec<u64> = self.positions.values().copied().collect();
        reached.sort_unstable_by(|a, b| b.cmp(a));
        let head = reached.get(usize::from(self.required) - 1).copied().unwrap_or(0);
        let head = head.max(self.settled);
        prop_assert_eq!(self.hedge.head(), head);
        prop_assert!(head >= std::mem::replace(&mut self.head, head));
        if !self.hedge.is_over() {
            self.check_progress()?;
        }
        Ok(())
    }

    /// A piece beyond the needed ones is a hedge; hedges are at least a stall timeout apart.
    fn check_number(&mut self) -> Result<(), TestCaseError> {
        let allowed = self.allowed + self.failed.len();
        if self.positions.len() > allowed && !self.corrupt {
            self.allowed += 1;
            let last = self.last_hedge.replace(self.now);
            prop_assert!(self.now >= last.unwrap_or_default() + MIN_STALL_TIMEOUT);
        }
        Ok(())
    }

    fn check_progress(&self) -> Result<(), TestCaseError> {
        prop_assert!(self.head < LONG || self.corrupt);
        let is_waiting = self.asked && !self.answered;
        prop_assert!(self.running() >= usize::from(self.required) || is_waiting);
        let has_more = !self.unopened.is_empty() || !self.asked;
        prop_assert_eq!(self.hedge.next_tick().is_some(), has_more);
        if let Some(tick) = self.hedge.next_tick() {
            let mut later = self.hedge.clone();
            prop_assert!(
                later.on(HedgeEvent::Tick, tick - millis(1).min(tick)).is_empty()
                    || tick <= self.now
            );
            prop_assert!(!later.on(HedgeEvent::Tick, tick).is_empty());
        }
        Ok(())
    }

    /// Number of transfers that have not failed.
    fn running(&self) -> usize {
        self.positions.len() - self.failed.len()
    }
}
