use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

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
fn failures_beyond_the_reserve_are_exchanged_at_once() {
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
    let failed = PieceDecision::Fail { stored: 1, needed: 2 };
    assert_eq!(pieces.on(PieceEvent::Failed(1)), Some(failed));
}

#[test]
fn upload_fails_when_there_are_no_other_nodes() {
    let mut pieces = started(4, 4);
    assert_eq!(pieces.on(PieceEvent::Failed(3)), Some(PieceDecision::Exchange(vec![3])));
    let failed = PieceDecision::Fail { stored: 0, needed: 4 };
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

    /// Whatever happens:
    ///
    /// - each order limit is used once: a piece is handed out again only after its limit was
    ///   exchanged, so that no failed node is asked again and no piece number has two live limits;
    /// - the commit comes with the optimal piece, not before and not after, and holds exactly the
    ///   stored ones;
    /// - an exchange names exactly the failed pieces, one is made at a time, and they are bounded;
    /// - a failure tells the true counts, and comes only when there is no exchange left;
    /// - the end comes once and for all: whatever is being sent then is cancelled by it;
    /// - until then somebody is left to bring the upload on.
    #[test]
    fn limits_are_used_once_and_uploads_go_on_to_one_end(
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

/// What a caller knows about an upload.
struct Model {
    pieces: Pieces,
    total: u16,
    optimal: u16,
    /// The number of each piece's limit, and all limits that were ever used.
    limits: Vec<u32>,
    used: BTreeSet<u32>,
    sending: BTreeSet<u16>,
    stored: BTreeSet<u16>,
    failed: BTreeSet<u16>,
    asked: BTreeSet<u16>,
    exchanges: u32,
    refused: bool,
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
            refused: false,
            ended: false,
        }
    }

    /// What a step means now; none if it is no event or cannot happen.
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
                let place = pick.index(self.sending.len().max(1));
                let Some(&piece) = self.sending.iter().nth(place) else { return Ok(None) };
                self.sending.remove(&piece);
                if stored { &mut self.stored } else { &mut self.failed }.insert(piece);
                Some(if stored { PieceEvent::Stored(piece) } else { PieceEvent::Failed(piece) })
            }
            Step::Answer(given) => {
                // An answer that nobody waits for must change nothing.
                self.refused |= !given && !self.asked.is_empty();
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
            Some(PieceDecision::Fail { stored, needed }) => {
                prop_assert_eq!((usize::from(stored), needed), (self.stored.len(), self.optimal));
                prop_assert!(self.refused || self.exchanges == MAX_EXCHANGES);
                let best = usize::from(self.total) - self.failed.len();
                prop_assert!(best < usize::from(needed));
                self.ended = true;
            }
            None => {}
        }
        prop_assert_eq!(self.pieces.is_over(), self.ended);
        let resting = self.stored.len() + self.failed.len();
        prop_assert!(self.ended || resting < usize::from(self.total), "nobody moves");
        Ok(())
    }
}
