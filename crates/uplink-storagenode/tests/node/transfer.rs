//! Successful uploads and downloads.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use uplink_core::identity::{split_chain, verify_chain};
use uplink_core::order::{PieceAction, PieceHash, PieceHashAlgorithm};
use uplink_rpc::client;

use crate::world::{World, digest, noise};

const ALGORITHMS: [PieceHashAlgorithm; 2] =
    [PieceHashAlgorithm::Blake3, PieceHashAlgorithm::Sha256];
/// Sizes around every boundary in the node.
const SIZES: [usize; 12] =
    [1, 2, 511, 512, 513, 16_384, 65_536, 262_143, 262_144, 262_145, 1 << 20, 2_319_872];

#[tokio::test]
async fn pieces_of_all_sizes_round_trip_with_a_signed_hash() {
    let world = World::start().await;
    for algorithm in ALGORITHMS {
        for size in SIZES {
            let draft = world.limit(PieceAction::Put, i64::try_from(size).unwrap());
            let data = noise(size, 1);
            let reply = world.send(draft.messages(&data, algorithm)).await.unwrap();
            let raw = reply.done.unwrap();
            let chain = split_chain(&reply.node_certchain).unwrap();
            let signer = verify_chain(&chain).unwrap();
            assert_eq!(signer.node_id(), world.node.node_id());
            let hash = PieceHash::verify_from_node(raw.wire(), signer.leaf_key()).unwrap();
            assert_eq!(hash.hash, digest(&data, algorithm), "{size} bytes");
            assert_eq!(hash.piece_id, draft.limit.piece_id);
            assert_eq!(hash.hash_algorithm, i32::from(algorithm));
            let size = i64::try_from(size).unwrap();
            assert_eq!(hash.piece_size, size);
            assert!(world.download(&draft, 0, size).await.unwrap() == data, "{size} bytes");
        }
    }
    let usage = world.node.usage().unwrap();
    let pieces = SIZES.len() as u64 * 2;
    assert_eq!(usage.pieces, pieces);
    assert_eq!(usage.used, 2 * SIZES.iter().sum::<usize>() as u64 + 512 * pieces);
    assert_eq!(usage.reserved, 0);
}

#[tokio::test]
async fn ranges_at_every_boundary_are_served_exactly() {
    let world = World::start().await;
    let size = 600_000;
    let (piece, data) = world.stored(size).await;
    let boundaries = [0, 1, 16_383, 16_384, 262_143, 262_144, 262_145, size - 1, size];
    for start in boundaries {
        for end in boundaries {
            if start < end {
                let offset = start as i64;
                let length = (end - start) as i64;
                let received = world.download(&piece, offset, length).await.unwrap();
                assert!(received == data[start..end], "bytes {start} to {end}");
            }
        }
    }
}

#[tokio::test]
async fn bytes_are_sent_only_up_to_the_orders() {
    let world = World::start().await;
    let (piece, data) = world.stored(600_000).await;
    let get = world.limit_for(&piece, PieceAction::Get, 600_000);
    let (sender, requests) = mpsc::channel(4);
    sender.send(get.range(1000, 500_000, None)).await.unwrap();
    let mut client = client::piecestore(world.channel());
    let mut replies = client.download(ReceiverStream::new(requests)).await.unwrap().into_inner();
    let mut received = Vec::new();
    for granted in [1, 16_384, 20_000, 300_000, 300_000, 500_000] {
        sender.send(get.grant(granted)).await.unwrap();
        while received.len() < granted as usize {
            let chunk = replies.message().await.unwrap().unwrap().chunk.unwrap();
            assert_eq!(chunk.offset, 1000 + received.len() as i64);
            assert!(chunk.data.len() <= 16_384);
            received.extend_from_slice(&chunk.data);
        }
        assert_eq!(received.len(), granted as usize, "exactly the granted bytes");
        if granted < 500_000 {
            let more = timeout(Duration::from_millis(100), replies.message()).await;
            assert!(more.is_err(), "nothing is sent before the next order");
        }
    }
    assert!(received == data[1000..501_000]);
    drop(sender);
    assert!(replies.message().await.unwrap().is_none());
}

#[tokio::test]
async fn message_size_follows_the_request_within_limits() {
    let world = World::start().await;
    let (piece, data) = world.stored(600_000).await;
    for (requested, expected) in [
        (0, 256 << 10),
        (-1, 256 << 10),
        (1024, 256 << 10),
        (1025, 1025),
        (16_384, 16_384),
        ((1 << 20) - 1, 256 << 10),
        (1 << 20, 256 << 10),
        (i32::MAX, 256 << 10),
    ] {
        let get = world.limit_for(&piece, PieceAction::Get, 600_000);
        let mut first = get.range(0, 600_000, Some(600_000));
        first.maximum_chunk_size = requested;
        let mut replies = world.request(vec![first]).await.unwrap();
        let mut largest = 0;
        let mut received = Vec::new();
        while let Some(message) = replies.message().await.unwrap() {
            let chunk = message.chunk.unwrap();
            largest = largest.max(chunk.data.len());
            received.extend_from_slice(&chunk.data);
        }
        assert!(received == data);
        assert_eq!(largest, expected, "requested {requested}");
    }
}

#[tokio::test]
async fn client_that_closes_early_gets_the_ordered_bytes() {
    let world = World::start().await;
    let (piece, data) = world.stored(100_000).await;
    let get = world.limit_for(&piece, PieceAction::Get, 100_000);
    let (received, end) = world.collect(vec![get.range(10, 90_000, Some(40_000))]).await;
    assert_eq!(end, Ok(()));
    assert!(received == data[10..40_010]);
}

#[tokio::test]
async fn repair_receives_hash_and_limit_of_the_upload() {
    let world = World::start().await;
    let (piece, data) = world.stored(5000).await;
    let get = world.limit_for(&piece, PieceAction::GetRepair, 5000);
    let mut replies = world.request(vec![get.range(0, 5000, Some(5000))]).await.unwrap();
    let first = replies.message().await.unwrap().unwrap();
    let hash = first.hash.unwrap();
    let hash = PieceHash::verify_from_uplink(hash.wire(), &piece.key.public()).unwrap();
    assert_eq!(hash, piece.hash(&data, PieceHashAlgorithm::Blake3));
    assert_eq!(first.limit.unwrap().decode_typed().unwrap(), piece.limit);
    let mut received = Vec::new();
    while let Some(message) = replies.message().await.unwrap() {
        received.extend_from_slice(&message.chunk.unwrap().data);
    }
    assert!(received == data);
}

#[tokio::test]
async fn pieces_survive_a_restart() {
    let world = World::start().await;
    let (piece, data) = world.stored(100_000).await;
    let before = world.node.usage().unwrap();
    let world = world.restart(|_| {}).await;
    assert_eq!(world.node.usage().unwrap().used, before.used);
    assert!(world.download(&piece, 0, 100_000).await.unwrap() == data);
}
