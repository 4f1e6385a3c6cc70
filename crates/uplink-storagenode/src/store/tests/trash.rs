//! Moving pieces to the trash, restoring and deleting them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use prost::Message;
use uplink_core::bloom_filter::BloomFilter;
use uplink_core::order::OrderLimit;
use uplink_rpc::time::timestamp;

use super::*;
use crate::store::Keep;

/// Half of the pieces 1 to 8 belong to one satellite, half to another.
const PIECES: std::ops::RangeInclusive<u8> = 1..=8;
const START: Duration = Duration::from_secs(1_000_000);
/// Offset of the rounds, after all other times.
const LATER: u64 = 5_000;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + START + Duration::from_secs(seconds)
}

/// Writes a piece whose order limit was created at a time.
fn write_at(store: &PieceStore, number: u8, created: SystemTime) -> Result<(), StoreError> {
    let limit = OrderLimit { order_creation: Some(timestamp(created)), ..OrderLimit::default() };
    let content = content(number);
    let mut writer = store.begin(name(number), 200, content.len() as u64)?;
    writer.write(&content)?;
    writer.commit(PieceHeader { order_limit: limit.encode_to_vec().into(), ..header(&content) })
}

/// Returns what to keep in a round that begins `round` seconds after [`LATER`].
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

/// Deletes the pieces of all rounds up to `round`.
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
fn old_unretained_pieces_of_the_satellite_are_trashed() {
    let model = disk();
    let store = open(&model).unwrap();
    PIECES.for_each(|number| write_at(&store, number, at(u64::from(number))).unwrap());
    let [even, odd] = satellites();
    assert_eq!(retain(&store, odd, &keep([3], at(5), 50)).unwrap(), 1);
    assert_eq!(stored(&store), [2, 3, 4, 5, 6, 7, 8], "5 is exactly as old as the margin");
    let usage = store.usage().unwrap();
    assert_eq!((usage.pieces, usage.used), (7, bytes_of(&[2, 3, 4, 5, 6, 7, 8])));
    assert_eq!((usage.trashed, usage.trash), (1, bytes_of(&[1])));
    assert_eq!(usage.free, CAPACITY - usage.used - usage.trash);
    assert_eq!(retain(&store, even, &keep([], at(100), 60)).unwrap(), 4);
    assert_eq!(stored(&store), [3, 5, 7]);
    drop(store);
    let store = open(&model).unwrap();
    let reopened = store.usage().unwrap();
    assert_eq!((reopened.pieces, reopened.used), (3, bytes_of(&[3, 5, 7])));
    assert_eq!((reopened.trashed, reopened.trash), (5, bytes_of(&[1, 2, 4, 6, 8])));

    assert_eq!(empty(&store, 49).unwrap(), 0);
    assert_eq!(empty(&store, 50).unwrap(), 1);
    assert_eq!((restore(&store, odd).unwrap(), restore(&store, even).unwrap()), (0, 4));
    assert_eq!(stored(&store), [2, 3, 4, 5, 6, 7, 8]);
    let usage = store.usage().unwrap();
    assert_eq!((usage.pieces, usage.trashed, usage.trash), (7, 0, 0));
}

#[test]
fn requested_piece_is_restored_from_the_trash() {
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
fn piece_uploaded_again_is_not_replaced_by_the_trash() {
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
fn pieces_of_unknown_age_or_in_upload_are_kept() {
    let model = disk();
    let store = open(&model).unwrap();
    let keep = keep([], at(1000), 1);
    // An order limit that is not a message, one without a date, and a corrupt header.
    write(&store, 1).unwrap();
    let mut writer = store.begin(name(3), 200, 10).unwrap();
    writer.write(b"undated").unwrap();
    let undated = PieceHeader { order_limit: Bytes::new(), ..header(b"undated") };
    writer.commit(undated).unwrap();
    write_at(&store, 5, at(0)).unwrap();
    let (directory, file) = store.inner.location(name(5));
    let path = directory.join(file);
    Files::remove(&model, &path).unwrap();
    Files::create(&model, &path).unwrap().write_at(0, &[0xff; 600]).unwrap();
    // An unrelated file.
    Files::create(&model, &directory.join("notes.sj1")).unwrap();
    write_at(&store, 7, at(0)).unwrap();
    let again = store.begin(name(7), 200, 10).unwrap();
    assert_eq!(retain(&store, name(1).satellite, &keep).unwrap(), 0);
    drop(again);
    assert_eq!(retain(&store, name(1).satellite, &keep).unwrap(), 1);
}

#[test]
fn filter_is_stored_until_dropped_or_corrupt() {
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
fn live_pieces_survive_power_loss_at_any_operation() {
    const SEEDS: u64 = 3000;
    let mut interrupted = 0;
    let mut trashed = 0;
    let mut restored = 0;
    for seed in 0..SEEDS {
        let mut random = random(seed);
        let model = disk();
        let store = open(&model).unwrap();
        PIECES.for_each(|number| write_at(&store, number, at(0)).unwrap());
        let live: Vec<u8> = PIECES.filter(|_| random(2) == 0).collect();
        model.cut_power_after(random(150));
        // Rounds, restorations and downloads in random order. The trash is too recent to be
        // deleted.
        let mut failed = false;
        for round in 1..=4 {
            let satellite = satellites()[random(2)];
            let done = match random(3) {
                0 => restore(&store, satellite),
                1 => store.read_or_restore(name(1 + random(8) as u8)).map(|_| 0),
                _ => retain(&store, satellite, &keep(live.iter().copied(), at(1), round)),
            };
            match done {
                Ok(_) | Err(StoreError::NotFound(_)) => {}
                Err(_) => failed = true,
            }
            failed |= empty(&store, 0).is_err();
        }
        interrupted += u32::from(failed);
        drop(store);
        model.restore(&mut random);
        let store = open(&model).unwrap();
        let usage = store.usage().unwrap();
        for &number in &live {
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
    println!("{interrupted} interrupted, {trashed} trashed, {restored} restored");
    assert!(interrupted > 500 && trashed > 1000 && restored == trashed);
}

#[test]
fn disk_failure_at_any_step_loses_no_piece() {
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
            // The directory of a restored piece already exists.
            let never = restoring && step == Operation::CreateDirectory;
            assert!(faults > 0 || never, "{step:?} does not occur");
        }
    }
}

/// Runs a round or a restoration with a fault. Returns false if there are fewer such steps.
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

/// History of a segment's piece on a node, in seconds of the satellite's clock.
struct History {
    piece: PieceId,
    /// Creation time of the order limit.
    created: u64,
    /// When the segment was committed, if at all.
    committed: Option<u64>,
    /// When the segment was deleted, if at all.
    deleted: Option<u64>,
}

impl History {
    /// Random times up to and shortly after that of the filter.
    fn random(number: usize, random: &mut impl FnMut(usize) -> usize) -> Self {
        let piece = PieceId::new(*blake3::hash(&(number as u64).to_le_bytes()).as_bytes());
        let created = random((FILTER_START + LIFETIME) as usize) as u64;
        let committed = (random(4) > 0).then(|| created + random(LIFETIME as usize + 1) as u64);
        let deleted = committed.filter(|_| random(2) == 0);
        let deleted = deleted.map(|at| at + 1 + random(FILTER_START as usize) as u64);
        Self { piece, created, committed, deleted }
    }

    fn is_live(&self, at: u64) -> bool {
        self.committed.is_some_and(|committed| committed <= at)
            && self.deleted.is_none_or(|deleted| deleted > at)
    }
}

/// When the satellite started to build the filter.
const FILTER_START: u64 = 400_000;
/// Maximum time between the creation of a limit and the commit of its segment.
const LIFETIME: u64 = 48 * 3600;
const MARGIN: Duration = Duration::from_secs(72 * 3600);
/// Maximum clock difference between node and satellite.
const SKEW: usize = 3600;

/// Number of pieces after a round of garbage collection.
#[derive(Default)]
struct Counts {
    live: u32,
    garbage: u32,
    left: u32,
}

const RATE: f64 = 0.1;

/// Runs one round on a node with random histories. Panics if a live piece is lost.
fn round(seed: u64) -> Counts {
    let mut random = random(seed);
    let store = open(&disk()).unwrap();
    let satellite = name(1).satellite;
    let histories: Vec<_> = (0..30).map(|i| History::random(i, &mut random)).collect();
    // Pieces arrive while the filter is in transit, which may take days.
    let arrives = FILTER_START + random(LIFETIME as usize) as u64;
    let on_node = |history: &&History| history.created <= arrives;
    for history in histories.iter().filter(on_node) {
        let order_creation = Some(timestamp(at(history.created)));
        let limit = OrderLimit { order_creation, ..OrderLimit::default() };
        let name = PieceName { satellite, piece: history.piece };
        let mut writer = store.begin(name, 200, 7).unwrap();
        writer.write(b"a piece").unwrap();
        let order_limit = limit.encode_to_vec().into();
        writer.commit(PieceHeader { order_limit, ..header(b"a piece") }).unwrap();
    }
    let in_filter: Vec<_> =
        histories.iter().filter(|history| history.is_live(FILTER_START)).collect();
    let seed = random(256) as u8;
    let expected = in_filter.len() as u64;
    let mut filter = BloomFilter::for_rate(seed, expected, RATE, 1 << 20);
    in_filter.iter().for_each(|history| filter.add(&history.piece));
    let clock = at(arrives + SKEW as u64) - Duration::from_secs(random(2 * SKEW) as u64);
    let keep = Keep::new(filter, Some(at(FILTER_START)), MARGIN, clock);
    retain(&store, satellite, &keep).unwrap();
    let mut counts = Counts::default();
    for history in histories.iter().filter(on_node) {
        let kept = store.read(PieceName { satellite, piece: history.piece }).is_ok();
        // Live now or later.
        let live =
            history.committed.is_some() && history.deleted.is_none_or(|deleted| deleted > arrives);
        assert!(kept || !live, "a piece created at {} is lost", history.created);
        counts.live += u32::from(live);
        if !history.is_live(FILTER_START) && at(history.created) < at(FILTER_START) - MARGIN {
            counts.garbage += 1;
            counts.left += u32::from(kept);
        }
    }
    counts
}

#[test]
fn garbage_is_trashed_except_for_false_positives() {
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
    fn live_pieces_are_never_trashed_with_skewed_clocks(seed: u64) {
        round(seed);
    }
}

/// Returns a configuration of `at_least` cases, or more if `PROPTEST_CASES` is larger.
fn cases(at_least: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = default.cases.max(at_least);
    println!("{cases} cases"); // `cargo xtask soak` reads it
    ProptestConfig { cases, ..default }
}
