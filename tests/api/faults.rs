//! Nodes and satellite that fail during uploads and downloads.

use std::time::Duration;

use uplink::ErrorKind;
use uplink_testnet::Options;

use super::world::{BUCKET, SMALL_SEGMENT, World, bytes, config};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upload_succeeds_while_two_of_ten_nodes_fail() {
    let world = World::start().await;
    let mut upload = world.project.upload_object(BUCKET, "key").unwrap();
    upload.write(&bytes(1, SMALL_SEGMENT / 2)).await.expect("written");
    for node in [1, 6] {
        world.network.nodes()[node].kill().await.expect("killed");
    }
    let rest = bytes(1, 2 * SMALL_SEGMENT);
    upload.write(&rest[SMALL_SEGMENT as usize / 2..]).await.expect("written");
    let uploaded = upload.commit().await.expect("eight of ten nodes are left");
    assert!(uploaded.placement.iter().all(|segment| segment.holders.len() == 8));
    assert!(world.get("key").await.expect("read") == rest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_of_failed_nodes_go_to_replacement_nodes() {
    // Fourteen nodes are online and ten are selected: four replacements exist.
    let config = config().segment_size(SMALL_SEGMENT);
    let world = World::start_with(Options::new().nodes(14), &config).await;
    for node in [0, 3, 5, 9] {
        world.network.nodes()[node].kill().await.expect("killed");
    }
    for round in 0..8 {
        let plain = bytes(round, 100_000);
        let uploaded = world.put("key", &plain).await;
        assert!(uploaded.placement[0].holders.len() >= 8);
        assert!(world.get("key").await.expect("read") == plain);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_few_nodes_error_names_available_and_required() {
    let world = World::start().await;
    for node in [0, 1, 2] {
        world.network.nodes()[node].kill().await.expect("killed");
    }
    let error = world.try_put("key", &bytes(1, 50_000)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotEnoughNodes, "{error}");
    assert!(error.to_string().contains("3 of 10 failed and 8 are required"), "{error}");
    assert_eq!(world.get("key").await.unwrap_err().kind(), ErrorKind::ObjectNotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn download_continues_when_holders_fail() {
    let config = config();
    let world = World::start_with(Options::new(), &config).await;
    let plain = bytes(1, 24 << 20);
    world.put("key", &plain).await;
    let download =
        world.project.download_object_with(BUCKET, "key", &uplink::DownloadOptions::new()).await;
    let mut download = download.expect("opened");
    let mut read = download.chunk().await.expect("read").expect("bytes").to_vec();
    for node in [0, 2, 4, 6] {
        world.network.nodes()[node].kill().await.expect("killed");
    }
    read.extend(download.read_to_end(u64::MAX).await.expect("six nodes are left"));
    assert!(read == plain);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn satellite_killed_during_upload_leaves_no_object() {
    let world = World::start().await;
    let mut upload = world.project.upload_object(BUCKET, "key").unwrap();
    upload.write(&bytes(1, SMALL_SEGMENT / 2)).await.expect("written");
    world.network.kill_satellite().await.expect("killed");
    let error = upload.commit().await.expect_err("the satellite is down");
    assert!(
        matches!(error.kind(), ErrorKind::Network | ErrorKind::CommitUnknown),
        "{:?} {error}",
        error.kind()
    );
    world.network.start_satellite().await.expect("started");
    assert_eq!(world.get("key").await.unwrap_err().kind(), ErrorKind::ObjectNotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_node_ends_at_the_progress_timeout() {
    let config = config().progress_timeout(Duration::from_secs(2));
    let world = World::start_with(Options::new(), &config).await;
    let plain = bytes(1, 400_000);
    world.put("key", &plain).await;
    // A port that accepts and never responds takes the place of a node.
    let node = &world.network.nodes()[4];
    let address = node.address();
    node.stop().await.expect("stopped");
    let silent = tokio::net::TcpListener::bind(address).await.expect("its port");
    assert!(world.get("key").await.expect("read without it") == plain);
    drop(silent);
}
