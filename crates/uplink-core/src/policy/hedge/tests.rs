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
fn a_few_pieces_more_than_required_are_opened() {
    assert_eq!((extra(1), extra(4), extra(29)), (1, 1, 8));
    let (_, actions) = Hedge::start(4, extra(4), 0..10, LENGTH, millis(0));
    assert_eq!(opened(&actions), [0, 1, 2, 3, 4]);
    let (_, actions) = Hedge::start(4, 1, [7, 7, 9], LENGTH, millis(0));
    assert_eq!(opened(&actions), [7, 9]);
    assert_eq!(actions.last(), Some(&HedgeAction::AskForAll));
}

#[test]
fn download_is_complete_when_the_required_pieces_are() {
    let (mut hedge, _) = Hedge::start(2, 1, 0..4, LENGTH, millis(0));
    assert!(hedge.on(progress(0, LENGTH), millis(1)).is_empty());
    assert!(!hedge.is_over());
    assert!(hedge.on(progress(2, LENGTH), millis(2)).is_empty());
    assert!(hedge.is_over() && hedge.head() == LENGTH);
    assert!(hedge.on(HedgeEvent::Failed(1), millis(3)).is_empty());
}

#[test]
fn a_standing_head_opens_another_piece_from_what_is_settled() {
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
    assert_eq!(hedge.on(HedgeEvent::Tick, millis(2800)), [HedgeAction::AskForAll]);
    assert_eq!(hedge.next_tick(), None);
    assert_eq!(hedge.on(HedgeEvent::Tick, millis(9000)), []);
    assert_eq!(hedge.on(HedgeEvent::Offered(vec![0, 5, 6]), millis(9000)), []);
    assert_eq!(hedge.on(HedgeEvent::Tick, millis(9900)), another(5));
}

#[test]
fn a_creeping_head_opens_another_piece() {
    let length = 100 * MIN_LEAD;
    let (mut hedge, _) = Hedge::start(2, 0, 0..3, length, millis(0));
    hedge.on(progress(0, MIN_LEAD + 1), millis(10));
    for tenth in 1..10 {
        hedge.on(progress(1, tenth), millis(tenth * 100));
        assert_eq!(hedge.on(HedgeEvent::Tick, millis(tenth * 100)), []);
    }
    let another = HedgeAction::Open { piece: 2, from: 0 };
    assert_eq!(hedge.on(HedgeEvent::Tick, millis(1100)), [another]);
}

#[test]
fn shortage_asks_for_all_and_then_gives_up() {
    let (mut hedge, _) = Hedge::start(2, 1, 0..3, LENGTH, millis(0));
    assert_eq!(hedge.on(HedgeEvent::Failed(0), millis(1)), []);
    assert_eq!(hedge.on(HedgeEvent::Failed(1), millis(2)), [HedgeAction::AskForAll]);
    let actions = hedge.on(HedgeEvent::Offered(vec![0, 1, 2, 3]), millis(3));
    assert_eq!(opened(&actions), [3], "pieces that failed are not opened again");
    let actions = hedge.on(HedgeEvent::Failed(2), millis(4));
    assert_eq!(actions, [HedgeAction::GiveUp { found: 1, needed: 2 }]);
    assert!(hedge.is_over());
}

#[test]
fn corruption_opens_everything_even_after_the_end() {
    let (mut hedge, _) = Hedge::start(2, 0, 0..4, LENGTH, millis(0));
    for piece in [0, 1] {
        hedge.on(progress(piece, LENGTH), millis(1));
    }
    assert!(hedge.is_over());
    assert_eq!(hedge.on(HedgeEvent::Settled(256), millis(1)), []);
    assert_eq!(hedge.on(HedgeEvent::Settled(128), millis(1)), [], "settled once and for all");
    let open = |piece| HedgeAction::Open { piece, from: 256 };
    let actions = hedge.on(HedgeEvent::Corrupt, millis(2));
    assert_eq!(actions, [open(2), open(3), HedgeAction::AskForAll]);
    assert!(!hedge.is_over());
    assert_eq!(hedge.on(HedgeEvent::Offered(vec![3, 8, 9]), millis(3)), [open(8), open(9)]);
}

#[test]
fn wrong_pieces_count_no_more_and_others_make_up_for_them() {
    let (mut hedge, _) = Hedge::start(2, 0, 0..3, LENGTH, millis(0));
    hedge.on(progress(0, LENGTH), millis(1));
    hedge.on(progress(1, 700), millis(1));
    hedge.on(HedgeEvent::Settled(512), millis(1));
    let opened = hedge.on(HedgeEvent::Corrupt, millis(2));
    assert_eq!(opened, [HedgeAction::Open { piece: 2, from: 512 }, HedgeAction::AskForAll]);
    hedge.on(progress(2, 600), millis(3));
    assert_eq!(hedge.head(), 700);
    assert_eq!(hedge.on(HedgeEvent::Wrong(0), millis(4)), []);
    assert_eq!(hedge.head(), 600);
    hedge.on(progress(0, LENGTH), millis(5));
    assert_eq!(hedge.head(), 600, "what it still delivers counts neither");
    assert_eq!(hedge.on(HedgeEvent::Offered(vec![0, 1, 2]), millis(6)), []);
    let actions = hedge.on(HedgeEvent::Failed(1), millis(7));
    assert_eq!(actions, [HedgeAction::GiveUp { found: 1, needed: 2 }]);
}

#[test]
fn an_empty_range_opens_nothing() {
    let (hedge, actions) = Hedge::start(2, 1, 0..4, 0, millis(0));
    assert!(actions.is_empty() && hedge.is_over());
}

#[derive(Clone, Debug)]
enum Step {
    Advance { pick: prop::sample::Index, by: u64 },
    Fail(prop::sample::Index),
    Answer(Vec<u16>),
    Corrupt,
    Settle(u64),
    Wait(u64),
    Wrong(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pick = any::<prop::sample::Index>;
    let step = prop_oneof![
        8 => (pick(), 0..700_u64).prop_map(|(pick, by)| Step::Advance { pick, by }),
        3 => pick().prop_map(Step::Fail),
        2 => proptest::collection::vec(0..14_u16, 0..14).prop_map(Step::Answer),
        1 => Just(Step::Corrupt),
        2 => (0..LENGTH).prop_map(Step::Settle),
        1 => pick().prop_map(Step::Wrong),
        4 => (0..4000_u64).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 0..80)
}

proptest! {
    #![proptest_config(crate::cases(10_000))]

    /// Whatever happens: no piece is opened twice, every transfer starts where settled bytes end,
    /// the head is what the required number of transfers that are not wrong has reached and goes
    /// back for no other reason, the satellite is asked once, and while the download is not over
    /// either enough transfers run or an answer is awaited.
    #[test]
    fn downloads_never_hang_and_never_open_twice(
        required in 1..6_u16, extra in 0..4_u16, offered in 0..10_u16, steps in steps(),
    ) {
        let mut now = millis(0);
        let (mut hedge, mut actions) = Hedge::start(required, extra, 0..offered, LENGTH, now);
        let mut positions: BTreeMap<u16, u64> = BTreeMap::new();
        let (mut opened, mut failed) = (BTreeSet::new(), BTreeSet::new());
        let (mut asked, mut answered, mut head) = (false, false, 0);
        let (mut corrupt, mut settled) = (false, 0);
        let mut steps = steps.into_iter();
        loop {
            for action in actions.drain(..) {
                match action {
                    HedgeAction::Open { piece, from } => {
                        prop_assert_eq!(from, settled);
                        prop_assert!(opened.insert(piece));
                        positions.insert(piece, from);
                    }
                    HedgeAction::AskForAll => prop_assert!(!std::mem::replace(&mut asked, true)),
                    HedgeAction::GiveUp { found, needed } => {
                        prop_assert!(found < needed && answered && hedge.is_over());
                        prop_assert!(usize::from(found) >= positions.len() - failed.len());
                    }
                }
            }
            let mut reached: Vec<u64> = positions.values().copied().collect();
            reached.sort_unstable_by(|a, b| b.cmp(a));
            let expected = reached.get(usize::from(required) - 1).copied().unwrap_or(0);
            prop_assert_eq!(hedge.head(), expected.max(settled));
            prop_assert!(hedge.head() >= head);
            head = hedge.head();
            if hedge.is_over() {
                break;
            }
            prop_assert!(head < LENGTH || corrupt);
            let running = positions.len() - failed.len();
            prop_assert!(running >= usize::from(required) || (asked && !answered));
            let Some(step) = steps.next() else { break };
            let open: Vec<u16> =
                positions.keys().copied().filter(|piece| !failed.contains(piece)).collect();
            let event = match step {
                Step::Advance { pick, by } if !open.is_empty() => {
                    let piece = *pick.get(&open);
                    let position = positions.get_mut(&piece).unwrap();
                    *position = (*position + by).min(LENGTH);
                    progress(piece, *position)
                }
                Step::Fail(pick) if !open.is_empty() => {
                    let piece = *pick.get(&open);
                    if positions[&piece] < LENGTH {
                        failed.insert(piece);
                    }
                    HedgeEvent::Failed(piece)
                }
                Step::Answer(pieces) if asked && !answered => {
                    answered = true;
                    HedgeEvent::Offered(pieces)
                }
                Step::Corrupt => {
                    corrupt = true;
                    HedgeEvent::Corrupt
                }
                Step::Settle(position) => {
                    settled = position.min(head).max(settled);
                    HedgeEvent::Settled(position)
                }
                Step::Wait(time) => {
                    now += millis(time);
                    HedgeEvent::Tick
                }
                Step::Wrong(pick) if !positions.is_empty() => {
                    let pieces: Vec<u16> = positions.keys().copied().collect();
                    let piece = *pick.get(&pieces);
                    positions.remove(&piece);
                    failed.remove(&piece);
                    head = 0;
                    HedgeEvent::Wrong(piece)
                }
                _ => continue,
            };
            actions = hedge.on(event, now);
        }
    }
}
