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

    /// Whatever happens: a piece is with one worker at most, a commit holds exactly the stored
    /// pieces and enough of them, an exchange names exactly the failed ones, and while the upload
    /// is not over there is always somebody left to bring it on.
    #[test]
    fn pieces_are_sent_once_and_somebody_always_moves(
        total in 1..12_u16, reserve in 0..4_u16, steps in steps(),
    ) {
        let optimal = total.saturating_sub(reserve).max(1);
        let mut pieces = Pieces::new(total, LongTail::new(optimal));
        let (mut sending, mut stored) = (BTreeSet::new(), BTreeSet::new());
        let (mut failed, mut asked) = (BTreeSet::new(), BTreeSet::new());
        let mut exchanges = 0;
        for step in steps {
            let decision = match step {
                Step::Take => {
                    if let Some(piece) = pieces.next_piece() {
                        prop_assert!(piece < total && sending.insert(piece));
                        prop_assert!(!stored.contains(&piece) && !asked.contains(&piece));
                        failed.remove(&piece);
                    }
                    None
                }
                Step::Report { pick, stored: good } => {
                    let Some(&piece) = sending.iter().nth(pick.index(sending.len().max(1))) else {
                        continue;
                    };
                    sending.remove(&piece);
                    if good { &mut stored } else { &mut failed }.insert(piece);
                    let event = if good { PieceEvent::Stored } else { PieceEvent::Failed };
                    pieces.on(event(piece))
                }
                Step::Answer(given) => {
                    if given {
                        asked.clear();
                    } else {
                        failed.append(&mut asked);
                    }
                    pieces.on(if given { PieceEvent::Exchanged } else { PieceEvent::NotExchanged })
                }
            };
            match decision {
                Some(PieceDecision::Commit(numbers)) => {
                    prop_assert!(numbers.len() >= usize::from(optimal));
                    prop_assert!(numbers.iter().eq(&stored));
                    break;
                }
                Some(PieceDecision::Exchange(numbers)) => {
                    prop_assert!(asked.is_empty() && numbers.iter().eq(&failed));
                    asked.append(&mut failed);
                    exchanges += 1;
                    prop_assert!(exchanges <= MAX_EXCHANGES);
                }
                Some(PieceDecision::Fail { stored: count, needed }) => {
                    prop_assert!(count < needed && usize::from(count) == stored.len());
                    break;
                }
                None => {}
            }
            let waiting = usize::from(total) - sending.len() - stored.len() - failed.len() - asked.len();
            prop_assert!(!pieces.is_over());
            prop_assert!(waiting + sending.len() + asked.len() > 0, "nobody moves");
        }
    }
}
