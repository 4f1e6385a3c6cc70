use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const TICK: Duration = Duration::from_millis(25);

fn started(total: u16, optimal: u16) -> Pieces {
    let mut pieces = Pieces::new(total, LongTail::new(optimal));
    assert_eq!(std::iter::from_fn(|| pieces.next_piece()).count(), usize::from(total));
    pieces
}

#[test]
fn upload_ends_with_the_optimal_piece() {
    let mut pieces = started(10, 8);
    for piece in [9, 0, 1, 2, 3, 4, 5] {
        assert_eq!(pieces.on(PieceEvent::Stored(piece)), None);
    }
    let commit = PieceDecision::Commit(vec![0, 1, 2, 3, 4, 5, 7, 9]);
    assert_eq!(pieces.on(PieceEvent::Stored(7)), Some(commit));
    assert_eq!(pieces.on(PieceEvent::Stored(6)), None);
    assert!(pieces.is_over());
}

#[test]
fn failures_beyond_the_reserve_are_exchanged_immediately() {
    let mut pieces = started(10, 8);
    assert_eq!(pieces.on(PieceEvent::Failed(4)), None);
    assert_eq!(pieces.on(PieceEvent::Failed(2)), None);
    let exchange = PieceDecision::Exchange(vec![2, 4, 6]);
    assert_eq!(pieces.on(PieceEvent::Failed(6)), Some(exchange));
    assert_eq!(pieces.on(PieceEvent::Failed(7)), None, "one exchange at a time");
    assert_eq!(pieces.on(PieceEvent::Exchanged), None, "the reserve covers 7");
    assert_eq!(std::iter::from_fn(|| pieces.next_piece()).collect::<Vec<_>>(), [2, 4, 6]);
}

#[test]
fn upload_fails_after_the_last_exchange() {
    let mut pieces = started(2, 2);
    for _ in 0..MAX_EXCHANGES {
        assert_eq!(pieces.on(PieceEvent::Failed(1)), Some(PieceDecision::Exchange(vec![1])));
        assert_eq!(pieces.on(PieceEvent::Exchanged), None);
        assert_eq!(pieces.next_piece(), Some(1));
    }
    assert_eq!(pieces.on(PieceEvent::Stored(0)), None);
    let failed = PieceDecision::Fail { stored: 1, target_pieces: 2 };
    assert_eq!(pieces.on(PieceEvent::Failed(1)), Some(failed));
}

#[test]
fn upload_without_other_nodes_fails() {
    let mut pieces = started(4, 4);
    assert_eq!(pieces.on(PieceEvent::Failed(3)), Some(PieceDecision::Exchange(vec![3])));
    let failed = PieceDecision::Fail { stored: 0, target_pieces: 4 };
    assert_eq!(pieces.on(PieceEvent::NotExchanged), Some(failed));
    assert_eq!(pieces.next_piece(), None);
}

#[derive(Clone, Debug)]
enum Step {
    Take,
    Report { pick: prop::sample::Index, stored: bool },
    Answer(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Take),
        6 => (any::<prop::sample::Index>(), prop::bool::weighted(0.6))
            .prop_map(|(pick, stored)| Step::Report { pick, stored }),
        2 => prop::bool::weighted(0.9).prop_map(Step::Answer),
    ];
    proptest::collection::vec(step, 0..120)
}

proptest! {
    #![proptest_config(crate::cases(10_000))]

    /// For any events:
    ///
    /// - each order limit is used once: a piece is returned again only after its limit was exchanged,
    ///   so that no failed node is retried and no piece number has two live limits;
    /// - the commit happens exactly with the optimal piece and contains exactly the stored ones;
    /// - an exchange contains exactly the failed pieces; exchanges are sequential and bounded;
    /// - a failure reports the actual counts, and only when no exchange is left;
    /// - the upload ends once, which cancels the transfers in flight;
    /// - until then at least one piece is pending or being exchanged.
    #[test]
    fn every_event_sequence_matches_the_model(
        total in 1..12_u16, reserve in 0..4_u16, steps in steps(),
    ) {
        let optimal = total.saturating_sub(reserve).max(1);
        let mut model = Model::new(total, optimal);
        for step in steps {
            let Some(event) = model.event(step)? else { continue };
            let decision = model.pieces.on(event);
            model.check(decision)?;
        }
    }
}

/// An upload as the caller sees it.
struct Model {
    pieces: Pieces,
    total: u16,
    optimal: u16,
    /// The current limit of each piece, numbered.
    limits: Vec<u32>,
    /// All limits ever used.
    used: BTreeSet<u32>,
    sending: BTreeSet<u16>,
    stored: BTreeSet<u16>,
    failed: BTreeSet<u16>,
    asked: BTreeSet<u16>,
    exchanges: u32,
    rejected: bool,
    ended: bool,
}

impl Model {
    fn new(total: u16, optimal: u16) -> Self {
        Self {
            pieces: Pieces::new(total, LongTail::new(optimal)),
            total,
            optimal,
            limits: (0..u32::from(total)).collect(),
            used: BTreeSet::new(),
            sending: BTreeSet::new(),
            stored: BTreeSet::new(),
            failed: BTreeSet::new(),
            asked: BTreeSet::new(),
            exchanges: 0,
            rejected: false,
            ended: false,
        }
    }

    /// Returns the event of a step; `None` if it causes none or cannot happen now.
    fn event(&mut self, step: Step) -> Result<Option<PieceEvent>, TestCaseError> {
        Ok(match step {
            Step::Take => {
                if let Some(piece) = self.pieces.next_piece() {
                    prop_assert!(!self.ended && piece < self.total && self.sending.insert(piece));
                    prop_assert!(self.used.insert(self.limits[usize::from(piece)]));
                }
                None
            }
            Step::Report { pick, stored } => {
                let index = pick.index(self.sending.len().max(1));
                let Some(&piece) = self.sending.iter().nth(index) else { return Ok(None) };
                self.sending.remove(&piece);
                if stored { &mut self.stored } else { &mut self.failed }.insert(piece);
                Some(if stored { PieceEvent::Stored(piece) } else { PieceEvent::Failed(piece) })
            }
            Step::Answer(given) => {
                // A response without a pending request must be ignored.
                self.rejected |= !given && !self.asked.is_empty();
                for piece in std::mem::take(&mut self.asked) {
                    if given {
                        self.limits[usize::from(piece)] += u32::from(self.total);
                    } else {
                        self.failed.insert(piece);
                    }
                }
                Some(if given { PieceEvent::Exchanged } else { PieceEvent::NotExchanged })
            }
        })
    }

    fn check(&mut self, decision: Option<PieceDecision>) -> Result<(), TestCaseError> {
        if self.ended {
            prop_assert!(decision.is_none() && self.pieces.is_over());
            return Ok(());
        }
        let enough = self.stored.len() >= usize::from(self.optimal);
        prop_assert_eq!(enough, matches!(decision, Some(PieceDecision::Commit(_))));
        match decision {
            Some(PieceDecision::Commit(numbers)) => {
                prop_assert_eq!(numbers.len(), usize::from(self.optimal));
                prop_assert!(numbers.iter().eq(&self.stored));
                self.ended = true;
            }
            Some(PieceDecision::Exchange(numbers)) => {
                prop_assert!(self.asked.is_empty() && numbers.iter().eq(&self.failed));
                self.asked.append(&mut self.failed);
                self.exchanges += 1;
                prop_assert!(self.exchanges <= MAX_EXCHANGES);
            }
            Some(PieceDecision::Fail { stored, target_pieces }) => {
                prop_assert_eq!(usize::from(stored), self.stored.len());
                prop_assert_eq!(target_pieces, self.optimal);
                prop_assert!(self.rejected || self.exchanges == MAX_EXCHANGES);
                let best = usize::from(self.total) - self.failed.len();
                prop_assert!(best < usize::from(target_pieces));
                self.ended = true;
            }
            None => {}
        }
        prop_assert_eq!(self.pieces.is_over(), self.ended);
        let settled = self.stored.len() + self.failed.len();
        prop_assert!(self.ended || settled < usize::from(self.total), "deadlock");
        Ok(())
    }
}

#[test]
fn status_changes_at_the_optimal_number() {
    let rule = LongTail::new(8);
    assert_eq!(rule.status(8, 0), UploadStatus::Enough);
    assert_eq!(rule.status(7, 1), UploadStatus::Pending);
    assert_eq!(rule.status(7, 0), UploadStatus::Shortage);
}

proptest! {
    #![proptest_config(crate::cases(10_000))]

    /// In any order of confirmations and failures, the status is `Enough` from the optimal
    /// confirmation on, and `Shortage` exactly when all pending pieces together would be too few.
    #[test]
    fn upload_ends_exactly_at_the_optimal_confirmation(
        optimal in 1..300_u16, outcomes in proptest::collection::vec(any::<bool>(), 0..300),
    ) {
        let rule = LongTail::new(optimal);
        let mut confirmed = 0;
        let mut pending = outcomes.len() as u16;
        let mut outcomes = outcomes.into_iter();
        loop {
            let best = confirmed + pending;
            let expected = match confirmed {
                enough if enough >= optimal => UploadStatus::Enough,
                _ if best < optimal => UploadStatus::Shortage,
                _ => UploadStatus::Pending,
            };
            prop_assert_eq!(rule.status(confirmed, pending), expected);
            let Some(good) = outcomes.next() else { break };
            pending -= 1;
            confirmed += u16::from(good);
        }
    }

    #[test]
    fn counts_never_overflow(optimal: u16, confirmed: u16, pending: u16) {
        let best = u32::from(confirmed) + u32::from(pending);
        let short = LongTail::new(optimal).status(confirmed, pending) == UploadStatus::Shortage;
        prop_assert_eq!(short, best < u32::from(optimal));
    }
}

#[test]
fn stalled_upload_sends_spare_pieces_a_quarter_at_a_time() {
    let mut spares = Spares::new(80, 110);
    let mut seen = vec![spares.max_active()];
    while spares.has_more() {
        (0..6).for_each(|_| spares.passed(TICK, true));
        seen.push(spares.max_active());
    }
    assert_eq!(seen, [80, 88, 96, 104, 110]);
}

#[test]
fn upload_stalled_under_a_quarter_of_the_time_sends_no_spare() {
    let mut spares = Spares::new(8, 10);
    for tick in 0..10_000 {
        spares.passed(TICK, tick % 5 == 0);
    }
    assert_eq!(spares.max_active(), 8);
    for tick in 0..100 {
        spares.passed(TICK, tick % 2 == 0);
    }
    assert_eq!(spares.max_active(), 10);
}

proptest! {
    #![proptest_config(crate::cases(10_000))]

    #[test]
    fn active_pieces_never_decrease_and_stay_within_bounds(
        target in 0..256_u16, spare in 0..256_u16,
        times in proptest::collection::vec((0..1_000_u64, any::<bool>()), 0..50),
    ) {
        let mut spares = Spares::new(target, target + spare);
        let mut before = target;
        for (time, stalled) in times {
            spares.passed(Duration::from_millis(time), stalled);
            prop_assert!((before..=target + spare).contains(&spares.max_active()));
            prop_assert_eq!(spares.has_more(), spares.max_active() < target + spare);
            before = spares.max_active();
        }
    }
}
