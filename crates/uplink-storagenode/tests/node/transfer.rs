//! Pieces up and down when nothing is wrong.

use uplink_core::{
    identity::{split_chain, verify_chain},
    order::{PieceAction, PieceHash, PieceHashAlgorithm},
};

use crate::world::{World, digest, noise};

const ALGORITHMS: [PieceHashAlgorithm; 2] =
    [PieceHashAlgorithm::Blake3, PieceHashAlgorithm::Sha256];
/// Around every size that something in the node cuts at.
const SIZES: [usize; 12] =
    [1, 2, 511, 512, 513, 16_384, 65_536, 262_143, 262_144, 262_145, 1 << 20, 2_319_872];

#[tokio::test]
async fn pieces_of_all_sizes_come_back_equal_and_are_signed_for() {
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
async fn ranges_at_every_edge_come_back_equal() {
    let world = World::start().await;
    let size = 600_000;
    let (piece, data) = world.stored(size).await;
    let edges = [0, 1, 16_383, 16_384, 262_143, 262_144, 262_145, size - 1, size];
    for start in edges {
        for end in edges {
            if start < end {
                let (offset, length) = (start as i64, (end - start) as i64);
                let got = world.download(&piece, offset, length).await.unwrap();
                assert!(got == data[start..end], "bytes {start} to {end}");
            }
        }
    }
}
