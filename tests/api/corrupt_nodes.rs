//! Storage nodes that return corrupt pieces.

use std::time::Duration;

use uplink::{DownloadOptions, ErrorKind, Project, Uploaded};
use uplink_testnet::{Node, Options, Scheme};

use super::world::{BUCKET, SMALL_SEGMENT, World, bytes, config};

/// Required pieces in most of these networks.
const REQUIRED: usize = 4;

/// Returns the nodes that hold pieces of an object's only segment.
fn holders<'a>(world: &'a World, uploaded: &Uploaded) -> Vec<&'a Node> {
    assert_eq!(uploaded.placement.len(), 1);
    let holders = uploaded.placement[0].holders.iter();
    holders.map(|holder| world.network.node_by_id(holder.node).expect("a node")).collect()
}

/// Corrupts the pieces of these holders from a byte on.
fn corrupt_from(holders: &[&Node], from: u64) {
    for node in holders {
        assert_eq!(node.damage_pieces(from).expect("damaged"), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_are_exact_with_any_one_corrupt_node() {
    let world = World::start().await;
    let plain = bytes(1, 700_001);
    let uploaded = world.put("key", &plain).await;
    for corrupt_node in holders(&world, &uploaded) {
        corrupt_from(&[corrupt_node], 0);
        assert!(world.get_with_new_client(DownloadOptions::new()).await.expect("read") == plain);
        corrupt_from(&[corrupt_node], 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_are_exact_with_max_correctable_corrupt_nodes() {
    let config = config().segment_size(SMALL_SEGMENT);
    for (scheme, min) in [("4/6/8/10-256", 2), ("2/3/11/12-256", 4)] {
        let scheme: Scheme = scheme.parse().expect("a scheme");
        let world = World::start_with(Options::new().scheme(scheme), &config).await;
        let plain = bytes(2, 900_000);
        let holders = &holders(&world, &world.put("key", &plain).await);
        let bound = (holders.len() - usize::from(scheme.required())) / 2;
        assert!(bound >= min);
        corrupt_from(&holders[..bound], 0);
        for _ in 0..4 {
            assert!(
                world.get_with_new_client(DownloadOptions::new()).await.expect("read") == plain
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_corrupt_nodes_give_an_error_with_their_number() {
    let world = World::start().await;
    let plain = bytes(3, 300_000);
    let holders = &holders(&world, &world.put("key", &plain).await);
    let bound = (holders.len() - REQUIRED) / 2;
    corrupt_from(&holders[..=bound], 0);
    // One more than can be corrected: excluded by trial decoding.
    for _ in 0..4 {
        assert!(world.get_with_new_client(DownloadOptions::new()).await.expect("read") == plain);
    }
    // With three intact holders no four pieces agree.
    corrupt_from(&holders[bound + 1..holders.len() - (REQUIRED - 1)], 0);
    for _ in 0..2 {
        let error = world
            .get_with_new_client(DownloadOptions::new())
            .await
            .expect_err("nothing is authentic");
        assert_eq!(error.kind(), ErrorKind::Decryption, "{error}");
        assert!(error.to_string().contains("segment cannot be recovered"), "{error}");
        let corrupt = format!("at least {} of {} pieces are corrupt", bound + 2, holders.len());
        assert!(error.to_string().contains(&corrupt), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn corrupt_nodes_are_detected_with_too_few_others_online() {
    let world = World::start().await;
    let plain = bytes(4, 200_000);
    let uploaded = world.put("key", &plain).await;
    world.stop_holders(&uploaded, REQUIRED + 1).await;
    let holders = &holders(&world, &uploaded)[..=REQUIRED];
    corrupt_from(&holders[..2], 0);
    let error = world
        .get_with_new_client(DownloadOptions::new())
        .await
        .expect_err("three intact holders are left");
    assert_eq!(error.kind(), ErrorKind::NotEnoughNodes, "{error}");
    assert!(error.to_string().contains("at least 2 of 5 pieces are corrupt"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_are_exact_with_pieces_corrupt_from_the_middle() {
    let world = World::start_with(Options::new(), &config()).await;
    let plain = bytes(5, 6 << 20);
    let uploaded = world.put("key", &plain).await;
    let holders = &holders(&world, &uploaded);
    // Two nodes, corrupt from different windows on, far apart.
    corrupt_from(&holders[..1], 700_001);
    corrupt_from(&holders[1..2], 1_200_000);
    for _ in 0..3 {
        assert!(world.get_with_new_client(DownloadOptions::new()).await.expect("read") == plain);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_are_exact_with_corrupt_nodes() {
    let world = World::start().await;
    let size = 800_000;
    let plain = bytes(6, size);
    let holders = &holders(&world, &world.put("key", &plain).await);
    corrupt_from(&holders[..2], 0);
    for (start, length) in [
        (0, 1),
        (1, 7408),
        (7407, 2),
        (7408, 7408),
        (123_456, 300_000),
        (size - 1, 1),
        (9999, size),
    ] {
        let read =
            world.get_with_new_client(DownloadOptions::new().range(start..start + length)).await;
        let end = (start + length).min(size) as usize;
        assert!(read.expect("read") == plain[start as usize..end], "{length} bytes from {start}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_fail_if_transfer_limit_prevents_correction() {
    let world = World::start_with(Options::new(), &config()).await;
    let holders = &holders(&world, &world.put("key", &bytes(8, 6 << 20)).await);
    corrupt_from(&holders[..holders.len() - (REQUIRED - 1)], 0);
    // The four permitted transfers wait for a fifth, which waits for one of them to end.
    let timeout = Duration::from_secs(2);
    let config = config().transfers(REQUIRED).progress_timeout(timeout);
    let project = Project::open_with(&world.access, &config).expect("a project");
    let reading = async {
        let download = project.download_object(BUCKET, "key").await?;
        { download }.read_to_end(u64::MAX).await
    };
    let read =
        tokio::time::timeout(Duration::from_secs(60), reading).await.expect("completes in time");
    let error = read.expect_err("nothing is authentic");
    assert_eq!(error.kind(), ErrorKind::NotEnoughNodes, "{error}");
    assert!(error.to_string().contains("at least 1 of 4 pieces are corrupt"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_found_corrupt_is_avoided_in_later_segments() {
    const SEGMENTS: u64 = 24;
    let world = World::start().await;
    let plain = bytes(7, SEGMENTS * SMALL_SEGMENT);
    let uploaded = world.put("key", &plain).await;
    assert_eq!(uploaded.placement.len() as u64, SEGMENTS);
    let corrupt_node = &world.network.nodes()[4];
    assert!(corrupt_node.damage_pieces(0).expect("damaged") > 0);
    assert!(world.get_with_new_client(DownloadOptions::new()).await.expect("read") == plain);
    let mut others = 0;
    for node in world.network.nodes().iter().filter(|node| node.index() != corrupt_node.index()) {
        others += node.served().await;
    }
    let mean = others / 9;
    let from_corrupt = corrupt_node.served().await;
    assert!(
        from_corrupt < mean,
        "{from_corrupt} bytes of the corrupt node, {mean} of each other node"
    );
}
