//! Durability of the store on full and failing disks and after power loss.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use uplink_core::id::{NodeId, PieceId};

use super::model::{FAILED, FULL, Model, Operation};
use super::{Files, PieceHeader, PieceName, PieceStore, StoreError, Usage};

const CAPACITY: u64 = 1 << 20;
const STEPS: [Operation; 6] = [
    Operation::Create,
    Operation::Write,
    Operation::Sync,
    Operation::CreateDirectory,
    Operation::Rename,
    Operation::SyncDirectory,
];

fn open(model: &Model) -> Result<PieceStore, StoreError> {
    PieceStore::open(Arc::new(model.clone()), Path::new("/data"), CAPACITY, 0)
}

/// Returns a disk with an empty data directory.
fn disk() -> Model {
    let model = Model::default();
    Files::create_directory(&model, Path::new("/data")).unwrap();
    Files::sync_directory(&model, Path::new("/")).unwrap();
    model
}

fn name(number: u8) -> PieceName {
    PieceName { satellite: NodeId::new([number % 2; 32]), piece: PieceId::new([number; 32]) }
}

/// Returns the bytes of piece `number`: several blocks, the last one partial.
fn content(number: u8) -> Vec<u8> {
    (0..3000 + usize::from(number)).map(|index| number ^ (index % 251) as u8).collect()
}

fn header(content: &[u8]) -> PieceHeader {
    let hash = Bytes::copy_from_slice(blake3::hash(content).as_bytes());
    PieceHeader { hash, order_limit: Bytes::from_static(&[1; 200]), ..PieceHeader::default() }
}

fn write(store: &PieceStore, number: u8) -> Result<(), StoreError> {
    let content = content(number);
    let mut writer = store.begin(name(number), 200, content.len() as u64)?;
    let (first, second) = content.split_at(1000);
    writer.write(first)?;
    writer.write(second)?;
    writer.commit(header(&content))
}

/// Reads a piece and verifies it against the hash in its header.
fn read(store: &PieceStore, number: u8) -> Result<Vec<u8>, StoreError> {
    let reader = store.read(name(number))?;
    let bytes = reader.read(0, reader.size() as usize)?;
    assert_eq!(reader.header().hash, blake3::hash(&bytes).as_bytes().as_slice(), "partial piece");
    Ok(bytes.to_vec())
}

fn random(seed: u64) -> impl FnMut(usize) -> usize {
    let mut stream = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    move |below| {
        let mut bytes = [0; 8];
        stream.fill(&mut bytes);
        (u64::from_le_bytes(bytes) % below.max(1) as u64) as usize
    }
}

#[test]
fn piece_and_directory_are_synced_before_acknowledgement() {
    let model = disk();
    let store = open(&model).unwrap();
    model.take_log();
    write(&store, 1).unwrap();
    let log = model.take_log();
    let index =
        |operation: Operation| log.iter().rposition(|(logged, _)| *logged == operation).unwrap();
    assert!(index(Operation::Write) < index(Operation::Sync));
    assert!(index(Operation::Sync) < index(Operation::Rename));
    assert!(index(Operation::Rename) < index(Operation::SyncDirectory));
    let renamed_to = log[index(Operation::Rename)].1.parent();
    assert_eq!(renamed_to, Some(log[index(Operation::SyncDirectory)].1.as_path()));
    let synced = |path: &Path| log.contains(&(Operation::SyncDirectory, path.to_owned()));
    assert!(renamed_to.unwrap().ancestors().take(3).all(synced), "new directories are durable too");
}

#[test]
fn acknowledged_pieces_survive_power_loss_at_any_operation() {
    const SEEDS: u64 = 3000;
    let mut acknowledged_count = 0;
    let mut failed_count = 0;
    for seed in 0..SEEDS {
        let mut random = random(seed);
        let model = disk();
        let store = open(&model).unwrap();
        model.cut_power_after(random(80));
        let acknowledged: Vec<u8> =
            (1..=6).filter(|&number| write(&store, number).is_ok()).collect();
        drop(store);
        model.restore(&mut random);
        model.take_log();
        let store = open(&model).unwrap();
        for number in 1..=6 {
            match read(&store, number) {
                Ok(bytes) => assert!(bytes == content(number), "seed {seed}"),
                Err(StoreError::NotFound(_)) => {
                    assert!(!acknowledged.contains(&number), "seed {seed} lost piece {number}");
                }
                Err(error) => panic!("seed {seed}: {error}"),
            }
        }
        acknowledged_count += acknowledged.len();
        failed_count += 6 - acknowledged.len();
        write(&store, 7).unwrap();
    }
    assert!(
        acknowledged_count > 1000 && failed_count > 1000,
        "{acknowledged_count} acknowledged, {failed_count} failed"
    );
}

#[test]
fn failed_upload_leaves_no_piece_and_can_be_repeated() {
    for error in [FULL, FAILED] {
        for step in STEPS {
            let faults = (0..).take_while(|&successes| fails_at(step, successes, error)).count();
            assert!(faults > 0, "{step:?} does not occur in an upload");
        }
    }
}

/// Runs an upload with a fault. Returns false if the upload has fewer such steps.
fn fails_at(step: Operation, successes: usize, error: i32) -> bool {
    let model = disk();
    let store = open(&model).unwrap();
    write(&store, 1).unwrap();
    let before = store.usage().unwrap();
    model.fail(step, successes, error);
    let outcome = write(&store, 2);
    if !model.failed() {
        assert!(outcome.is_ok());
        return false;
    }
    match outcome.unwrap_err() {
        StoreError::NoSpace { .. } => assert_eq!(error, FULL, "{step:?}"),
        StoreError::Io { .. } => assert_eq!(error, FAILED, "{step:?}"),
        other => panic!("{step:?}: {other}"),
    }
    assert!(matches!(read(&store, 2), Err(StoreError::NotFound(_))), "{step:?} {successes}");
    assert_eq!(store.usage().unwrap(), before);
    assert_eq!(read(&store, 1).unwrap(), content(1));
    write(&store, 2).unwrap();
    assert_eq!(read(&store, 2).unwrap(), content(2));
    drop(store);
    assert_eq!(open(&model).unwrap().usage().unwrap().pieces, 2);
    true
}

#[test]
fn dropped_writer_releases_space_and_removes_its_file() {
    let model = disk();
    let store = open(&model).unwrap();
    let mut writer = store.begin(name(1), 200, 5000).unwrap();
    writer.write(&content(1)).unwrap();
    assert_eq!(store.usage().unwrap().reserved, 5512);
    drop(writer);
    let Usage { used, reserved, pieces, free, .. } = store.usage().unwrap();
    assert_eq!((used, reserved, pieces, free), (0, 0, 0, CAPACITY));
    assert!(matches!(read(&store, 1), Err(StoreError::NotFound(_))));
    let temp = Files::list(&model, Path::new("/data/temp")).unwrap();
    assert_eq!(temp, []);
}

#[test]
fn concurrent_upload_and_different_content_are_rejected() {
    let model = disk();
    let store = open(&model).unwrap();
    let first = store.begin(name(1), 200, 5000).unwrap();
    assert!(matches!(store.begin(name(1), 200, 5000), Err(StoreError::Busy(_))));
    drop(first);
    write(&store, 1).unwrap();
    write(&store, 1).unwrap();
    let mut other = store.begin(name(1), 200, 5000).unwrap();
    other.write(b"other").unwrap();
    assert!(matches!(other.commit(header(b"other")), Err(StoreError::Exists(_))));
    assert_eq!(read(&store, 1).unwrap(), content(1));
    assert_eq!(store.usage().unwrap().pieces, 1);
}

#[test]
fn upload_beyond_the_capacity_is_rejected() {
    let store = open(&disk()).unwrap();
    let all = CAPACITY - 512;
    let refused = store.begin(name(1), 200, all + 1).unwrap_err();
    assert!(
        matches!(refused, StoreError::Full { needed, free: CAPACITY } if needed == CAPACITY + 1)
    );
    let writer = store.begin(name(1), 200, all).unwrap();
    assert!(matches!(store.begin(name(2), 200, 0), Err(StoreError::Full { free: 0, .. })));
    drop(writer);
    store.begin(name(2), 200, 0).unwrap();
}

#[test]
fn corrupt_pieces_are_reported_not_served() {
    let model = disk();
    let store = open(&model).unwrap();
    write(&store, 1).unwrap();
    let (directory, file) = store.inner.location(name(1));
    let path = directory.join(file);
    Files::remove(&model, &path).unwrap();
    for bytes in [&b""[..], &[0; 100], &[0; 600], &[0xFF; 600]] {
        let mut file = Files::create(&model, &path).unwrap();
        file.write_at(0, bytes).unwrap();
        assert!(matches!(read(&store, 1), Err(StoreError::Header(_))));
        Files::remove(&model, &path).unwrap();
    }
}

mod trash;
