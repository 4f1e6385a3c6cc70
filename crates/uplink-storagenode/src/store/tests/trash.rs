//! Pieces on their way to the trash, back, and away.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use prost::Message;
use uplink_core::{bloom_filter::BloomFilter, order::OrderLimit};
use uplink_rpc::time::timestamp;

use super::*;
use crate::store::Keep;

/// Pieces 1 to 8 are half of one satellite and half of another.
const PIECES: std::ops::RangeInclusive<u8> = 1..=8;
const START: Duration = Duration::from_secs(1_000_000);
/// Rounds begin later than anything else happens.
const LATER: u64 = 5_000;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + START + Duration::from_secs(seconds)
}

/// Writes a piece whose limit was made at a time.
fn write_at(store: &PieceStore, number: u8, made: SystemTime) -> Result<(), StoreError> {
    let limit = OrderLimit { order_creation: Some(timestamp(made)), ..OrderLimit::default() };
    let content = content(number);
    let mut writer = store.begin(name(number), 200, content.len() as u64)?;
    writer.write(&content)?;
    writer.commit(PieceHeader { order_limit: limit.encode_to_vec().into(), ..header(&content) })
}

/// What to keep in a round whose number is the second in which it begins.
fn keep(pieces: impl IntoIterator<Item = u8>, before: SystemTime, round: u64) -> Keep {
    let mut filter = BloomFilter::new(7, 10, 4096);
    pieces.into_iter().for_each(|number| filter.add(&name(number).piece));
    let now = at(LATER + round);
    Keep::new(filter, Some(now), now.duration_since(before).unwrap(), now)
}

fn satellites() -> [NodeId; 2] {
    [name(0).satellite, name(1).satellite]
}

fn retain(store: &PieceStore, satellite: NodeId, keep: &Keep) -> Result<u64, StoreError> {
    let mut moved = 0;
    for prefix in store.prefixes(satellite)? {
        moved += store.retain(&prefix, keep)?;
    }
    Ok(moved)
}

fn restore(store: &PieceStore, satellite: NodeId) -> Result<u64, StoreError> {
    let mut restored = 0;
    for prefix in store.trash_prefixes(satellite)? {
        restored += store.restore(&prefix)?;
    }
    Ok(restored)
}

/// Deletes what earlier rounds up to that of a number brought.
fn empty(store: &PieceStore, round: u64) -> Result<u64, StoreError> {
    let mut removed = 0;
    for satellite in store.trash_satellites()? {
        for prefix in store.trash_prefixes(satellite)? {
            removed += store.empty_trash(&prefix, at(LATER + round))?;
        }
    }
    Ok(removed)
}

fn stored(store: &PieceStore) -> Vec<u8> {
    PIECES.filter(|&number| read(store, number).is_ok()).collect()
}

fn bytes_of(pieces: &[u8]) -> u64 {
    pieces.iter().map(|&number| content(number).len() as u64 + 512).sum()
}

#[test]
fn old_pieces_of_the_satellite_that_it_does_not_retain_go_to_the_trash() {
    let model = disk();
    let store = open(&model).unwrap();
    PIECES.for_each(|number| write_at(&store, number, at(u64::from(number))).unwrap());
    let [even, odd] = satellites();
    assert_eq!(retain(&store, odd, &keep([3], at(5), 50)).unwrap(), 1);
    assert_eq!(stored(&store), [2, 3, 4, 5, 6, 7, 8], "5 is as old as the limit, not older");
    let usage = store.usage().unwrap();
    assert_eq!((usage.pieces, usage.used), (7, bytes_of(&[2, 3, 4, 5, 6, 7, 8])));
    assert_eq!((usage.trashed, usage.trash), (1, bytes_of(&[1])));
    assert_eq!(usage.free, CAPACITY - usage.used - usage.trash);
    assert_eq!(retain(&store, even, &keep([], at(100), 60)).unwrap(), 4);
    assert_eq!(stored(&store), [3, 5, 7]);
    drop(store);
    let store = open(&model).unwrap();
    let again = store.usage().unwrap();
    assert_eq!((again.pieces, again.used), (3, bytes_of(&[3, 5, 7])));
    assert_eq!((again.trashed, again.trash), (5, bytes_of(&[1, 2, 4, 6, 8])));

    assert_eq!(empty(&store, 49).unwrap(), 0);
    assert_eq!(empty(&store, 50).unwrap(), 1);
    assert_eq!((restore(&store, odd).unwrap(), restore(&store, even).unwrap()), (0, 4));
    assert_eq!(stored(&store), [2, 3, 4, 5, 6, 7, 8]);
    let usage = store.usage().unwrap();
    assert_eq!((usage.pieces, usage.trashed, usage.trash), (7, 0, 0));
}

#[test]
fn piece_in_the_trash_comes_back_when_it_is_asked_for() {
    let store = open(&disk()).unwrap();
    write_at(&store, 1, at(0)).unwrap();
    assert!(!store.read_or_restore(name(1)).unwrap().1);
    retain(&store, name(1).satellite, &keep([], at(1), 1)).unwrap();
    assert!(matches!(read(&store, 1), Err(StoreError::NotFound(_))));
    assert!(store.read_or_restore(name(1)).unwrap().1);
    assert_eq!(read(&store, 1).unwrap(), content(1));
    let usage = store.usage().unwrap();
    assert_eq!((usage.pieces, usage.trashed), (1, 0));
    assert!(matches!(store.read_or_restore(name(2)), Err(StoreError::NotFound(_))));
}

#[test]
fn piece_that_is_stored_again_is_not_replaced_by_the_one_in_the_trash() {
    let store = open(&disk()).unwrap();
    let satellite = name(1).satellite;
    write_at(&store, 1, at(0)).unwrap();
    for round in [1, 2] {
        retain(&store, satellite, &keep([], at(1), round)).unwrap();
        write_at(&store, 1, at(0)).unwrap();
    }
    assert_eq!(store.usage().unwrap().trashed, 2);
    assert_eq!(restore(&store, satellite).unwrap(), 0);
    let usage = store.usage().unwrap();
    assert_eq!((usage.pieces, usage.used, usage.trash, usage.trashed), (1, bytes_of(&[1]), 0, 0));
}

#[test]
fn pieces_whose_age_is_not_known_and_pieces_being_uploaded_stay() {
    let model = disk();
    let store = open(&model).unwrap();
    let keep = keep([], at(1000), 1);
    // A header whose order limit is no message, one without a date, and no header.
    write(&store, 1).unwrap();
    let mut writer = store.begin(name(3), 200, 10).unwrap();
    writer.write(b"undated").unwrap();
    let undated = PieceHeader { order_limit: Bytes::new(), ..header(b"undated") };
    writer.commit(undated).unwrap();
    write_at(&store, 5, at(0)).unwrap();
    let (directory, file) = store.inner.place(name(5));
    let path = directory.join(file);
    Files::remove(&model, &path).unwrap();
    Files::create(&model, &path).unwrap().write_at(0, &[0xff; 600]).unwrap();
    // Somebody else's file.
    Files::create(&model, &directory.join("notes.sj1")).unwrap();
    write_at(&store, 7, at(0)).unwrap();
    let again = store.begin(name(7), 200, 10).unwrap();
    assert_eq!(retain(&store, name(1).satellite, &keep).unwrap(), 0);
    drop(again);
    assert_eq!(retain(&store, name(1).satellite, &keep).unwrap(), 1);
}

#[test]
fn kept_filter_is_read_back_until_it_is_dropped_or_damaged() {
    let model = disk();
    let store = open(&model).unwrap();
    let [satellite, other] = satellites();
    let filter = |seed| BloomFilter::new(seed, 3, 5000);
    assert_eq!(store.kept_filter(satellite).unwrap(), None);
    store.keep_filter(satellite, timestamp(at(1)), filter(1)).unwrap();
    store.keep_filter(satellite, timestamp(at(2)), filter(2)).unwrap();
    store.keep_filter(other, timestamp(at(3)), filter(3)).unwrap();
    drop(store);
    model.restore(&mut random(1));
    let store = open(&model).unwrap();
    let kept = store.kept_filter(satellite).unwrap();
    assert_eq!(kept, Some((timestamp(at(2)), filter(2))));
    store.drop_filter(satellite).unwrap();
    store.drop_filter(satellite).unwrap();
    assert_eq!(store.kept_filter(satellite).unwrap(), None);
    let path = Path::new("/data/filters").join(format!("{other}.filter"));
    Files::remove(&model, &path).unwrap();
    Files::create(&model, &path).unwrap().write_at(0, &[10, 200]).unwrap();
    assert_eq!(store.kept_filter(other).unwrap(), None);
    assert_eq!(Files::list(&model, Path::new("/data/filters")).unwrap(), []);
}

#[test]
fn wanted_pieces_survive_a_loss_of_power_at_any_moment_and_nothing_is_deleted_early() {
    const SEEDS: u64 = 3000;
    let (mut cut, mut trashed, mut restored) = (0, 0, 0);
    for seed in 0..SEEDS {
        let mut random = random(seed);
        let model = disk();
        let store = open(&model).unwrap();
        PIECES.for_each(|number| write_at(&store, number, at(0)).unwrap());
        let wanted: Vec<u8> = PIECES.filter(|_| random(2) == 0).collect();
        model.cut_power_after(random(150));
        // Rounds, restorations and downloads in any order; the trash is not old enough to go.
        let mut failed = false;
        for round in 1..=4 {
            let satellite = satellites()[random(2)];
            let done = match random(3) {
                0 => restore(&store, satellite),
                1 => store.read_or_restore(name(1 + random(8) as u8)).map(|_| 0),
                _ => retain(&store, satellite, &keep(wanted.iter().copied(), at(1), round)),
            };
            match done {
                Ok(_) | Err(StoreError::NotFound(_)) => {}
                Err(_) => failed = true,
            }
            failed |= empty(&store, 0).is_err();
        }
        cut += u32::from(failed);
        drop(store);
        model.restore(&mut random);
        let store = open(&model).unwrap();
        let usage = store.usage().unwrap();
        for &number in &wanted {
            assert_eq!(read(&store, number).unwrap(), content(number), "seed {seed}");
        }
        trashed += usage.trashed;
        for satellite in satellites() {
            restored += restore(&store, satellite).unwrap();
        }
        let after = store.usage().unwrap();
        assert_eq!((after.pieces, after.trashed, after.trash), (8, 0, 0), "seed {seed}");
        assert_eq!(after.used, bytes_of(&PIECES.collect::<Vec<_>>()), "seed {seed}");
        assert_eq!(stored(&store).len(), 8, "seed {seed}");
    }
    println!("{cut} cut, {trashed} trashed, {restored} restored");
    assert!(cut > 500 && trashed > 1000 && restored == trashed);
}

#[test]
fn failure_of_the_disk_at_any_step_leaves_every_piece_in_one_of_the_two_places() {
    let steps = [
        Operation::List,
        Operation::Open,
        Operation::CreateDirectory,
        Operation::Rename,
        Operation::SyncDirectory,
    ];
    for step in steps {
        for restoring in [false, true] {
            let faults = (0..).take_while(|&successes| fails(step, successes, restoring)).count();
            // The directory that a piece comes back to is there.
            let never = restoring && step == Operation::CreateDirectory;
            assert!(faults > 0 || never, "{step:?} does not occur");
        }
    }
}

/// A round or a restoration with a fault; false when there are fewer such steps.
fn fails(step: Operation, successes: usize, restoring: bool) -> bool {
    let model = disk();
    let store = open(&model).unwrap();
    PIECES.for_each(|number| write_at(&store, number, at(0)).unwrap());
    let satellite = name(1).satellite;
    let work = |store: &PieceStore| {
        let keep = keep([3], at(1), 1);
        if restoring { restore(store, satellite) } else { retain(store, satellite, &keep) }
    };
    retain(&store, satellite, &keep([1, 3], at(1), 1)).unwrap();
    model.fail(step, successes, FAILED);
    let outcome = work(&store);
    if !model.failed() {
        assert!(outcome.is_ok());
        return false;
    }
    assert!(matches!(outcome, Err(StoreError::Io { .. })), "{step:?}");
    let usage = store.usage().unwrap();
    assert_eq!(usage.pieces + usage.trashed, 8, "{step:?}");
    assert!(stored(&store).contains(&3));
    work(&store).unwrap();
    restore(&store, satellite).unwrap();
    assert_eq!(stored(&store).len(), 8, "{step:?}");
    true
}

/// One segment's piece on a node, in seconds of the satellite's clock.
struct Story {
    piece: PieceId,
    /// When the order limit was made.
    made: u64,
    /// When the segment was committed, if it was.
    committed: Option<u64>,
    /// When it was deleted, if it was.
    deleted: Option<u64>,
}

impl Story {
    /// Any time up to that of the filter and some after it.
    fn random(number: usize, random: &mut impl FnMut(usize) -> usize) -> Self {
        let piece = PieceId::new(*blake3::hash(&(number as u64).to_le_bytes()).as_bytes());
        let made = random((WALK + LIFETIME) as usize) as u64;
        let committed = (random(4) > 0).then(|| made + random(LIFETIME as usize + 1) as u64);
        let deleted = committed.filter(|_| random(2) == 0);
        let deleted = deleted.map(|at| at + 1 + random(WALK as usize) as u64);
        Self { piece, made, committed, deleted }
    }

    fn is_live(&self, at: u64) -> bool {
        self.committed.is_some_and(|committed| committed <= at)
            && self.deleted.is_none_or(|deleted| deleted > at)
    }
}

/// When the walk began, and the longest time between a limit and the commit of its segment.
const WALK: u64 = 400_000;
const LIFETIME: u64 = 48 * 3600;
const MARGIN: Duration = Duration::from_secs(72 * 3600);
/// Clocks of nodes that satellites accept differ by this much.
const SKEW: usize = 3600;

/// Pieces after a round of garbage collection.
#[derive(Default)]
struct Counts {
    live: u32,
    garbage: u32,
    left: u32,
}

const RATE: f64 = 0.1;

/// One round on a node with a random history. Panics when a live piece is lost.
fn round(seed: u64) -> Counts {
    let mut random = random(seed);
    let store = open(&disk()).unwrap();
    let satellite = name(1).satellite;
    let stories: Vec<_> = (0..30).map(|i| Story::random(i, &mut random)).collect();
    // Pieces arrive while the filter is on its way, which may take days.
    let arrives = WALK + random(LIFETIME as usize) as u64;
    let on_node = |story: &&Story| story.made <= arrives;
    for story in stories.iter().filter(on_node) {
        let order_creation = Some(timestamp(at(story.made)));
        let limit = OrderLimit { order_creation, ..OrderLimit::default() };
        let name = PieceName { satellite, piece: story.piece };
        let mut writer = store.begin(name, 200, 7).unwrap();
        writer.write(b"a piece").unwrap();
        let order_limit = limit.encode_to_vec().into();
        writer.commit(PieceHeader { order_limit, ..header(b"a piece") }).unwrap();
    }
    let in_filter: Vec<_> = stories.iter().filter(|story| story.is_live(WALK)).collect();
    let (seed, expected) = (random(256) as u8, in_filter.len() as u64);
    let mut filter = BloomFilter::for_rate(seed, expected, RATE, 1 << 20);
    in_filter.iter().for_each(|story| filter.add(&story.piece));
    let clock = at(arrives + SKEW as u64) - Duration::from_secs(random(2 * SKEW) as u64);
    let keep = Keep::new(filter, Some(at(WALK)), MARGIN, clock);
    retain(&store, satellite, &keep).unwrap();
    let mut counts = Counts::default();
    for story in stories.iter().filter(on_node) {
        let stays = store.read(PieceName { satellite, piece: story.piece }).is_ok();
        // What is live then, and what becomes live later.
        let wanted =
            story.committed.is_some() && story.deleted.is_none_or(|deleted| deleted > arrives);
        assert!(stays || !wanted, "a piece made at {} is lost", story.made);
        counts.live += u32::from(wanted);
        if !story.is_live(WALK) && at(story.made) < at(WALK) - MARGIN {
            counts.garbage += 1;
            counts.left += u32::from(stays);
        }
    }
    counts
}

#[test]
fn garbage_goes_but_for_the_rate_of_the_filters() {
    let mut all = Counts::default();
    for seed in 0..300 {
        let Counts { live, garbage, left } = round(seed);
        all.live += live;
        all.garbage += garbage;
        all.left += left;
    }
    let Counts { live, garbage, left } = all;
    println!("{live} live, {garbage} garbage, {left} left");
    assert!(live > 1_000 && garbage > 1_000);
    assert!(f64::from(left) <= RATE * f64::from(garbage));
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn live_pieces_are_never_trashed_whatever_clocks_say(seed: u64) {
        round(seed);
    }
}

/// So many cases of a property, or more if `PROPTEST_CASES` asks for more.
fn cases(at_least: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = default.cases.max(at_least);
    println!("{cases} cases"); // `cargo xtask soak` reads it
    ProptestConfig { cases, ..default }
}
