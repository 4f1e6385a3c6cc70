//! Bit rot: single bits that flip at rest, scattered over many pieces.

use uplink::{DownloadOptions, ErrorKind, Project};
use uplink_testnet::{Node, Options, Scheme};

use super::world::{BUCKET, World, bytes, config};

/// Required pieces.
const REQUIRED: usize = 4;
/// Pieces of each segment.
const PIECES: usize = 8;
/// Bytes of a share.
const SHARE: u64 = 256;
/// Size of an object with one segment, whose pieces have 685 shares each.
const SIZE: u64 = 700_000;

/// Starts a network of eight nodes, all of which hold a piece of each segment.
async fn world() -> World {
    let scheme: Scheme = "4/6/8/8-256".parse().expect("a scheme");
    World::start_with(Options::new().nodes(PIECES).scheme(scheme), &config()).await
}

async fn assert_readable(world: &World, plain: &[u8]) {
    for _ in 0..3 {
        assert!(world.get_with_new_client(DownloadOptions::new()).await.expect("read") == plain);
    }
}

/// Flips one bit in one share of each piece that the node holds.
fn flip(node: &Node, share: u64) {
    assert_eq!(node.flip_bit(share * SHARE + 77).expect("flipped"), 1);
}

/// Flips a bit in a piece of each of the nodes, all in different stripes and blocks.
fn scatter(nodes: &[Node]) {
    (0..).zip(nodes).for_each(|(share, node)| flip(node, 17 + share * 83));
}

/// Stops all but the first `left` nodes.
async fn stop_all_but(world: &World, left: usize) {
    for node in &world.network.nodes()[left..] {
        node.kill().await.expect("killed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bits_in_five_of_eight_pieces_are_corrected() {
    let world = world().await;
    let plain = bytes(1, SIZE);
    world.put("key", &plain).await;
    scatter(&world.network.nodes()[..5]);
    assert_readable(&world, &plain).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bits_in_all_pieces_are_corrected_in_any_range() {
    let world = world().await;
    let plain = bytes(2, SIZE);
    world.put("key", &plain).await;
    scatter(&world.network.nodes()[..7]);
    assert_readable(&world, &plain).await;
    // A second round: at most one flipped bit per stripe, several per piece.
    for round in 1..5 {
        for (share, node) in (0..).zip(world.network.nodes()) {
            flip(node, 17 + share * 83 + round * 10);
        }
    }
    assert_readable(&world, &plain).await;
    for (start, length) in [(0, 1), (17_000, 200_000), (350_001, 7408), (SIZE - 9, 9), (1, SIZE)] {
        let read = world
            .get_with_new_client(DownloadOptions::new().range(start..start + length))
            .await
            .expect("read");
        let end = (start + length).min(SIZE) as usize;
        assert!(read == plain[start as usize..end], "{length} bytes from {start}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_corrupt_of_five_reachable_pieces_is_corrected() {
    let world = world().await;
    let plain = bytes(3, SIZE);
    world.put("key", &plain).await;
    stop_all_but(&world, REQUIRED + 1).await;
    for node in &world.network.nodes()[..=REQUIRED] {
        flip(node, 300);
        assert!(world.get_with_new_client(DownloadOptions::new()).await.expect("read") == plain);
        flip(node, 300);
        // The whole piece instead of one bit.
        assert_eq!(node.damage_pieces(0).expect("damaged"), 1);
        assert!(world.get_with_new_client(DownloadOptions::new()).await.expect("read") == plain);
        assert_eq!(node.damage_pieces(0).expect("repaired"), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bits_in_all_of_five_reachable_pieces_are_corrected() {
    let world = world().await;
    let plain = bytes(4, SIZE);
    world.put("key", &plain).await;
    stop_all_but(&world, REQUIRED + 1).await;
    scatter(&world.network.nodes()[..=REQUIRED]);
    // Two stripes of one block, each in a different piece.
    flip(&world.network.nodes()[1], 596);
    flip(&world.network.nodes()[3], 599);
    assert_readable(&world, &plain).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_of_eight_pieces_corrupt_in_one_byte_are_corrected() {
    let world = world().await;
    let plain = bytes(5, SIZE);
    world.put("key", &plain).await;
    for corrupt in [[0, 1, 2], [5, 6, 7], [0, 3, 7]] {
        corrupt.iter().for_each(|node| flip(&world.network.nodes()[*node], 400));
        assert!(world.get_with_new_client(DownloadOptions::new()).await.expect("read") == plain);
        corrupt.iter().for_each(|node| flip(&world.network.nodes()[*node], 400));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn corrupt_nodes_with_bit_rot_elsewhere_are_corrected() {
    let world = world().await;
    let plain = bytes(6, SIZE);
    world.put("key", &plain).await;
    let nodes = world.network.nodes();
    scatter(&nodes[2..]);
    for node in &nodes[..2] {
        assert_eq!(node.damage_pieces(0).expect("damaged"), 1);
    }
    assert_readable(&world, &plain).await;
    let read = world
        .get_with_new_client(DownloadOptions::new().range(123_456..523_456))
        .await
        .expect("read");
    assert!(read == plain[123_456..523_456]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bit_rot_with_unreachable_holders_is_retryable() {
    let world = world().await;
    let plain = bytes(7, SIZE);
    world.put("key", &plain).await;
    let nodes = world.network.nodes();
    for (left, corrupt) in [(REQUIRED, 1), (REQUIRED + 1, 2)] {
        stop_all_but(&world, left).await;
        nodes[..corrupt].iter().for_each(|node| flip(node, 200));
        let project = Project::open_with(&world.access, &config()).expect("a project");
        let reading =
            || async { project.download_object(BUCKET, "key").await?.read_to_end(u64::MAX).await };
        let error = reading().await.expect_err("only three intact pieces");
        assert_eq!(error.kind(), ErrorKind::NotEnoughNodes, "{error}");
        assert!(error.is_retryable());
        let counts = format!(
            "at least {corrupt} of {left} pieces are corrupt, {} are unreachable",
            PIECES - left
        );
        assert!(error.to_string().contains(&counts), "{error}");
        for node in &nodes[left..] {
            node.start().await.expect("started");
        }
        assert!(reading().await.expect("read") == plain);
        nodes[..corrupt].iter().for_each(|node| flip(node, 200));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_of_eight_pieces_corrupt_in_one_byte_fail() {
    let world = world().await;
    let plain = bytes(8, SIZE);
    world.put("key", &plain).await;
    world.network.nodes()[..5].iter().for_each(|node| flip(node, 500));
    let error = world
        .get_with_new_client(DownloadOptions::new())
        .await
        .expect_err("only three intact pieces");
    assert_eq!(error.kind(), ErrorKind::Decryption, "{error}");
    let counts = "at least 4 of 8 pieces are corrupt, 0 are unreachable";
    assert!(error.to_string().contains(counts), "{error}");
    assert!(error.to_string().contains("cannot be recovered"), "{error}");
    // All other blocks are readable.
    let read =
        world.get_with_new_client(DownloadOptions::new().range(..400_000)).await.expect("read");
    assert!(read == plain[..400_000]);
    let read =
        world.get_with_new_client(DownloadOptions::new().suffix(150_000)).await.expect("read");
    assert!(read == plain[SIZE as usize - 150_000..]);
}
