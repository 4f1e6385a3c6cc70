//! Pieces on storage nodes of the public network.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};
use uplink::DownloadOptions;
use uplink_testnet::{Network, Options};

use super::ours::Ours;
use super::process::folder;
use super::stock::StockNode;
use super::world::{BUCKET, SMALL_SEGMENT, World, b64, bytes, pattern};

/// Sizes around every limit; objects above 4096 bytes are stored on nodes.
const SIZES: [u64; 8] =
    [0, 1, 4096, 4097, 300_001, SMALL_SEGMENT, SMALL_SEGMENT + 1, 3 * SMALL_SEGMENT + 5001];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: storage nodes of the public network"]
async fn objects_on_stock_nodes_survive_loss_of_two_of_five() {
    let mut world = Ours::start("2/3/4/5-256", 5).await;
    for size in SIZES {
        world.go_put(format!("go {size}"), 1, size).await;
        world.rust_put(format!("rust {size}"), 2, size).await;
    }
    assert_all_read(&mut world).await;
    for node in &world.network.nodes {
        let uploads = node.uploads();
        let downloads = node.downloads();
        assert!(uploads > 0 && downloads > 0, "{}: {uploads}, {downloads}", node.id);
    }
    world.network.nodes.iter().for_each(StockNode::assert_quiet);
    world.network.nodes.truncate(3);
    assert_all_read(&mut world).await;
}

async fn assert_all_read(world: &mut World<Ours>) {
    for size in SIZES {
        world.assert_read(format!("go {size}"), 1, size).await;
        world.assert_read(format!("rust {size}"), 2, size).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: storage nodes of the public network"]
async fn ranges_on_stock_nodes_are_exact_in_both_clients() {
    let mut world = Ours::start("2/3/4/4-256", 4).await;
    let size = 2 * SMALL_SEGMENT + 5001;
    world.rust_put("object", 3, size).await;
    for start in [0, 1, 511, 512, 7408, SMALL_SEGMENT - 1, SMALL_SEGMENT, size - 1] {
        for end in [start + 1, start + 512, start + 100_003, size] {
            let end = end.min(size);
            let expected = pattern(3, start..end);
            let shown = format!("{start}..{end}");
            let options = DownloadOptions::new().range(start..end);
            let ours = world.project.download_object_with(BUCKET, b"object", &options).await;
            let ours = ours.expect("opened").read_to_end(u64::MAX).await.expect("read");
            assert!(ours == expected, "{shown} read by ours");
            let range = json!({
                "key": b64("object"), "offset": start, "length": end - start, "bytes": true,
            });
            let theirs = world.call("download", range).await;
            assert!(bytes(&theirs["bytes"]) == expected, "{shown} read by the reference client");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: storage nodes of the public network"]
async fn stock_nodes_and_ours_share_segments() {
    let options = Options::new().nodes(3).scheme("2/2/3/3-256".parse().expect("a scheme"));
    let network = Network::start(options).await.expect("the network starts");
    let home = tempfile::tempdir().expect("a folder");
    let nodes = (0..3).map(|index| {
        let home = home.path().join(format!("node-{index}"));
        StockNode::start(folder(&home), &network.satellite_url(), &[])
    });
    let nodes: Vec<StockNode> = nodes.collect();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let seen = network.satellite_nodes().await.expect("the nodes");
        if seen.iter().filter(|node| node.online).count() == 6 {
            break;
        }
        assert!(Instant::now() < deadline, "{seen:?}");
        sleep(Duration::from_millis(100)).await;
    }
    let api_key = network.project("test").await.expect("a project").api_key;
    let url = network.satellite_url();
    let mut world = World::on(network, &url, api_key, SMALL_SEGMENT, &[]).await;
    for turn in 0..8 {
        let go = format!("go {turn}");
        let rust = format!("rust {turn}");
        let size = 200_001 + turn;
        world.go_put(&go, 1, size).await;
        world.rust_put(&rust, 2, size).await;
        world.assert_read(&go, 1, size).await;
        world.assert_read(&rust, 2, size).await;
    }
    let stock: usize = nodes.iter().map(StockNode::uploads).sum();
    let all = 8 * 2 * 3;
    assert!(stock > 0 && stock < all, "{stock} of about {all} pieces lie on stock nodes");
}
