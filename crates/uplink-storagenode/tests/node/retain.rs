//! Garbage collection: filters, trash, restoration and deletion.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use uplink_core::bloom_filter::BloomFilter;
use uplink_core::id::PieceId;
use uplink_core::order::{PieceAction, PieceHashAlgorithm};
use uplink_rpc::client;
use uplink_rpc::r#gen::piecestore::{
    DeletePiecesRequest, ExistsRequest, PieceDeleteRequest, RestoreTrashRequest, RetainRequest,
};
use uplink_rpc::piece::retain::{FILTER_PART, retain};
use uplink_rpc::status::{Code, Failure};
use uplink_rpc::time::timestamp;
use uplink_rpc::tls::Identity;
use uplink_storagenode::Usage;

use crate::world::{Draft, World, until};

const SIZE: usize = 10_000;
const HOUR: i64 = 3600;
/// Longer than the creation margin.
const LATER: i64 = 73 * HOUR;
const WEEK: i64 = 7 * 24 * HOUR;

/// Returns a filter with `pieces` and a low false positive rate.
fn filter(pieces: &[&Draft], table_bytes: usize) -> BloomFilter {
    let mut filter = BloomFilter::new(1, 10, table_bytes);
    for piece in pieces {
        filter.add(&PieceId::from_slice(&piece.limit.piece_id).unwrap());
    }
    filter
}

impl World {
    /// Advances the clocks of satellite and node.
    fn advance(&self, seconds: i64) {
        self.clock.fetch_add(seconds, Ordering::Relaxed);
    }

    async fn retain(&self, created: SystemTime, filter: BloomFilter) -> Result<(), Failure> {
        let connection = self.peer(&self.satellite);
        retain(&connection, timestamp(created), filter.into_bytes().into()).await
    }

    async fn restore_trash(&self, identity: &Identity) -> Result<(), Failure> {
        let mut node = client::piecestore(self.peer(identity).channel());
        node.restore_trash(RestoreTrashRequest {}).await.map(drop).map_err(Failure::from)
    }

    fn filter_file(&self) -> PathBuf {
        let name = format!("filters/{}.filter", self.satellite.node_id());
        self.directory.path().join(name)
    }

    /// Waits until the received filter is applied, and returns the usage.
    async fn applied(&self) -> Usage {
        until("the filter is applied", || !self.filter_file().exists()).await;
        self.node.usage().unwrap()
    }

    async fn has(&self, piece: &Draft, data: &[u8]) -> bool {
        match self.download(piece, 0, SIZE as i64).await {
            Ok(found) => found == data,
            Err(failure) => {
                assert_eq!(failure.code, Code::NOT_FOUND, "{failure}");
                false
            }
        }
    }
}

#[tokio::test]
async fn garbage_is_trashed_and_deleted_a_week_later() {
    let world = World::start().await;
    let (kept, kept_data) = world.stored(SIZE).await;
    let (garbage, garbage_data) = world.stored(SIZE).await;
    world.advance(LATER);
    let (recent, recent_data) = world.stored(SIZE).await;
    let before = world.node.usage().unwrap();
    world.retain(world.now(), filter(&[&kept], 500)).await.unwrap();
    let after = world.applied().await;
    assert_eq!((after.pieces, after.trashed), (2, 1));
    assert_eq!((after.used, after.trash), (before.used / 3 * 2, before.used / 3));
    assert!(world.has(&kept, &kept_data).await && world.has(&recent, &recent_data).await);

    // The clock runs on while the test does.
    world.advance(WEEK - 60);
    assert_eq!(world.node.empty_trash().await.unwrap(), 0);
    world.advance(61);
    assert_eq!(world.node.empty_trash().await.unwrap(), 1);
    let usage = world.node.usage().unwrap();
    assert_eq!((usage.pieces, usage.trashed, usage.trash), (2, 0, 0));
    assert!(!world.has(&garbage, &garbage_data).await);
    world.restore_trash(&world.satellite).await.unwrap();
    assert!(!world.has(&garbage, &garbage_data).await, "deleted permanently");
}

#[tokio::test]
async fn satellite_restores_the_trash() {
    let world = World::start().await;
    let mut pieces = Vec::new();
    for _ in 0..5 {
        pieces.push(world.stored(SIZE).await);
    }
    world.advance(LATER);
    world.retain(world.now(), filter(&[], 500)).await.unwrap();
    assert_eq!(world.applied().await.trashed, 5);
    world.restore_trash(&world.satellite).await.unwrap();
    let usage = world.node.usage().unwrap();
    assert_eq!((usage.pieces, usage.trashed), (5, 0));
    for (piece, data) in &pieces {
        assert!(world.has(piece, data).await);
    }
}

#[tokio::test]
async fn repair_download_reports_restoration_from_trash() {
    let world = World::start().await;
    let (piece, data) = world.stored(SIZE).await;
    world.advance(LATER);
    world.retain(world.now(), filter(&[], 500)).await.unwrap();
    assert_eq!(world.applied().await.trashed, 1);
    for in_trash in [true, false] {
        let draft = world.limit_for(&piece, PieceAction::GetRepair, SIZE as i64);
        let range = draft.range(0, SIZE as i64, Some(SIZE as i64));
        let mut replies = world.request(vec![range]).await.unwrap();
        let first = replies.message().await.unwrap().unwrap();
        assert_eq!(first.restored_from_trash, in_trash);
        assert!(first.hash.is_some() && first.limit.is_some());
        let mut found = Vec::new();
        while let Some(reply) = replies.message().await.unwrap() {
            assert!(!reply.restored_from_trash);
            found.extend(reply.chunk.into_iter().flat_map(|chunk| chunk.data));
        }
        assert!(found == data);
        assert_eq!(world.node.usage().unwrap().trashed, 0);
    }
}

#[tokio::test]
async fn filter_larger_than_a_message_is_sent_in_parts() {
    let world = World::start().await;
    let (kept, kept_data) = world.stored(SIZE).await;
    let (garbage, garbage_data) = world.stored(SIZE).await;
    world.advance(LATER);
    // The largest filter in one message, then one in three parts.
    for table_bytes in [FILTER_PART - 3, 2 * FILTER_PART + 7] {
        world.retain(world.now(), filter(&[&kept], table_bytes)).await.unwrap();
        assert_eq!(world.applied().await.trashed, 1, "{table_bytes}");
        world.restore_trash(&world.satellite).await.unwrap();
    }
    assert!(world.has(&kept, &kept_data).await && world.has(&garbage, &garbage_data).await);
}

#[tokio::test]
async fn untrusted_satellite_is_denied() {
    let world = World::start().await;
    let (piece, data) = world.stored(SIZE).await;
    world.advance(LATER);
    let other = Identity::generate().unwrap();
    let untrusted = world.peer(&other);
    let created = timestamp(world.now());
    for table_bytes in [100, FILTER_PART] {
        let filter = Bytes::from(filter(&[], table_bytes).into_bytes());
        let rejected = retain(&untrusted, created, filter).await.unwrap_err();
        assert_eq!(rejected.code, Code::PERMISSION_DENIED, "{rejected}");
    }
    let rejected = world.restore_trash(&other).await.unwrap_err();
    assert_eq!(rejected.code, Code::PERMISSION_DENIED, "{rejected}");
    assert_eq!(world.applied().await.trashed, 0);
    assert!(world.has(&piece, &data).await);
}

/// Returns messages with one invalid value each.
fn malformed(created: SystemTime) -> Vec<(&'static str, RetainRequest)> {
    let valid = || RetainRequest {
        creation_date: Some(timestamp(created)),
        filter: filter(&[], 100).into_bytes().into(),
        ..RetainRequest::default()
    };
    let hash = Bytes::copy_from_slice(blake3::hash(&valid().filter).as_bytes());
    vec![
        ("no date", RetainRequest { creation_date: None, ..valid() }),
        ("no filter", RetainRequest { filter: Bytes::new(), ..valid() }),
        ("version 2", RetainRequest { filter: vec![2, 0, 1, 0].into(), ..valid() }),
        ("no hashes", RetainRequest { filter: vec![1, 0, 0, 0].into(), ..valid() }),
        ("a wrong hash", RetainRequest { hash: vec![1; 32].into(), ..valid() }),
        ("another algorithm", RetainRequest { hash: hash.clone(), ..valid() }),
        ("an unknown algorithm", RetainRequest { hash, hash_algorithm: 9, ..valid() }),
    ]
}

#[tokio::test]
async fn malformed_filters_are_rejected_without_effect() {
    let world = World::start().await;
    let (piece, data) = world.stored(SIZE).await;
    world.advance(LATER);
    let mut node = client::piecestore(world.peer(&world.satellite).channel());
    for (case, request) in malformed(world.now()) {
        let rejected = Failure::from(node.retain(request.clone()).await.unwrap_err());
        assert_eq!(rejected.code, Code::INVALID_ARGUMENT, "{case}: {rejected}");
        let parts = tokio_stream::iter([request]);
        let rejected = Failure::from(node.retain_big(parts).await.unwrap_err());
        assert_eq!(rejected.code, Code::INVALID_ARGUMENT, "{case}: {rejected}");
    }
    assert_eq!(world.applied().await.trashed, 0);
    assert!(world.has(&piece, &data).await);
}

#[tokio::test]
async fn inconsistent_filter_parts_are_rejected() {
    let world = World::start().await;
    world.stored(SIZE).await;
    world.advance(LATER);
    let whole = Bytes::from(filter(&[], 100).into_bytes());
    let part = |range: std::ops::Range<usize>, seconds, hash: Option<&[u8]>| RetainRequest {
        creation_date: Some(timestamp(world.now() - Duration::from_secs(seconds))),
        filter: whole.slice(range),
        hash_algorithm: hash.map_or(0, |_| PieceHashAlgorithm::Blake3.into()),
        hash: hash.map(Bytes::copy_from_slice).unwrap_or_default(),
    };
    let digest = blake3::hash(&whole);
    let hash = Some(&digest.as_bytes()[..]);
    let huge = RetainRequest { filter: vec![1; FILTER_PART].into(), ..part(0..0, 1000, None) };
    for (case, mut parts) in [
        ("nothing", vec![]),
        ("no hash", vec![part(0..50, 1000, None), part(50..103, 1000, None)]),
        ("a part is missing", vec![part(0..50, 1000, None), part(51..103, 1000, hash)]),
        ("other dates", vec![part(0..50, 1000, None), part(50..103, 1500, hash)]),
        ("more after the hash", vec![part(0..103, 1000, hash), part(0..1, 1000, None)]),
        ("too many", vec![huge; 17]),
    ] {
        // The clock is running, so equal times must come from one reading.
        let dates: Vec<_> = parts.iter().map(|part| part.creation_date).collect();
        if case != "other dates" {
            parts.iter_mut().for_each(|part| part.creation_date = dates[0]);
        }
        let mut node = client::piecestore(world.peer(&world.satellite).channel());
        let status = node.retain_big(tokio_stream::iter(parts)).await.unwrap_err();
        let rejected = Failure::from(status);
        assert_eq!(rejected.code, Code::INVALID_ARGUMENT, "{case}: {rejected}");
    }
    assert_eq!(world.applied().await.trashed, 0);
}

#[tokio::test]
async fn obsolete_calls_are_unimplemented() {
    let world = World::start().await;
    let mut node = client::piecestore(world.peer(&world.satellite).channel());
    for reply in [
        node.delete(PieceDeleteRequest::default()).await.map(drop),
        node.delete_pieces(DeletePiecesRequest::default()).await.map(drop),
        node.exists(ExistsRequest::default()).await.map(drop),
    ] {
        assert_eq!(Failure::from(reply.unwrap_err()).code, Code::UNIMPLEMENTED);
    }
}

#[tokio::test]
async fn pending_filter_is_applied_after_a_restart() {
    let mut world = World::start().await;
    let (kept, data) = world.stored(SIZE).await;
    for _ in 0..5 {
        world.stored(SIZE).await;
    }
    world.advance(LATER);
    world.retain(world.now(), filter(&[&kept], 500)).await.unwrap();
    let applied = world.applied().await;
    assert_eq!(applied.trashed, 5);
    world.restore_trash(&world.satellite).await.unwrap();
    // The file that a process killed between reply and round leaves behind.
    let message = RetainRequest {
        creation_date: Some(timestamp(world.now())),
        filter: filter(&[&kept], 500).into_bytes().into(),
        hash_algorithm: PieceHashAlgorithm::Blake3.into(),
        hash: Bytes::copy_from_slice(blake3::hash(filter(&[&kept], 500).as_bytes()).as_bytes()),
    };
    let file = world.filter_file();
    world = world
        .restart(|_| std::fs::write(&file, prost::Message::encode_to_vec(&message)).unwrap())
        .await;
    let usage = world.applied().await;
    assert_eq!((usage.pieces, usage.trashed), (1, 5));
    assert!(world.has(&kept, &data).await);
}

#[tokio::test]
async fn filter_date_in_the_future_does_not_reduce_the_margin() {
    let world = World::start().await;
    let (piece, data) = world.stored(SIZE).await;
    let future = world.now() + Duration::from_secs(400 * 24 * 3600);
    world.retain(future, filter(&[], 100)).await.unwrap();
    assert_eq!(world.applied().await.trashed, 0);
    assert!(world.has(&piece, &data).await);
}
