//! Settlement of the orders that storage nodes received from clients.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{sleep, timeout};
use uplink::Uploaded;
use uplink_testnet::{NetworkError, Node, Options, SettlementRecord};

use super::world::{World, bytes, config};

const PUT: i64 = 1;
const GET: i64 = 2;
const SIZE: u64 = 300_000;
/// Header of each stored piece.
const HEADER: u64 = 512;
/// The first order of an upload, if the limit permits it.
const ORDER_STEP: u64 = 256 << 10;

/// Starts a world whose clocks are in the middle of an hour.
async fn world() -> (World, Arc<AtomicU64>) {
    let second = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs() % 3600;
    let ahead = Arc::new(AtomicU64::new((5400 - second) % 3600));
    let clock = Arc::clone(&ahead);
    let options =
        Options::new().clock(move || SystemTime::now() + Duration::from_secs(clock.load(Relaxed)));
    (World::start_with(options, &config()).await, ahead)
}

/// Returns the possible order sums of an upload of `stored` bytes: orders run ahead of the bytes.
fn ordered(stored: u64) -> Range<u64> {
    stored..stored + ORDER_STEP
}

fn two_hours_pass(ahead: &AtomicU64) {
    ahead.fetch_add(7200, Relaxed);
}

/// Waits for a condition, at most 30 s.
async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !reached().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(
        timeout(Duration::from_secs(30), waiting).await.is_ok(),
        "timeout waiting until {what}"
    );
}

fn holders<'a>(world: &'a World, uploaded: &Uploaded) -> Vec<&'a Node> {
    let holders = uploaded.placement[0].holders.iter();
    holders.map(|holder| world.network.node_by_id(holder.node).expect("a node")).collect()
}

async fn settlements(world: &World, node: &Node) -> Vec<SettlementRecord> {
    let admin = world.network.admin().await.expect("the satellite runs");
    admin.settlements(node.id()).await.expect("settlements")
}

fn sum(settlements: &[SettlementRecord], action: i64) -> u64 {
    let of_action = settlements.iter().filter(|record| record.action == action);
    of_action.map(|record| u64::try_from(record.bytes).expect("bytes")).sum()
}

/// Returns a node's order files with this extension.
fn files(world: &World, node: &Node, extension: &str) -> Vec<PathBuf> {
    let url = world.network.satellite_url();
    let satellite = url.split('@').next().expect("an id");
    let directory = node.directory().join("data/orders").join(satellite);
    let files = fs::read_dir(directory).into_iter().flatten();
    let files = files.map(|file| file.expect("a file").path());
    files.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

/// Returns a node that has stored and served, with its order file of the hour, which it could not
/// submit because the satellite was offline.
async fn unsettled<'a>(world: &World, nodes: &[&'a Node]) -> (&'a Node, PathBuf, Vec<u8>) {
    let mut witness = None;
    for node in nodes {
        if node.served().await > 0 {
            witness = Some(*node);
        }
    }
    let witness = witness.expect("a node that served");
    until("the hour is closed", async || {
        let refused = witness.settle().await;
        assert!(matches!(refused, Err(NetworkError::Settlement { .. })) || refused.is_ok());
        !files(world, witness, "closed").is_empty()
    })
    .await;
    let refused = witness.settle().await;
    assert!(matches!(refused, Err(NetworkError::Settlement { .. })), "{refused:?}");
    let file = files(world, witness, "closed").remove(0);
    let orders = fs::read(&file).expect("orders");
    (witness, file, orders)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_settled_after_the_satellite_was_offline() {
    let (world, ahead) = world().await;
    let uploaded = world.put("one", &bytes(1, SIZE)).await;
    assert!(world.get("one").await.expect("downloaded") == bytes(1, SIZE));
    let nodes = holders(&world, &uploaded);
    world.network.stop_satellite().await.expect("stopped");
    two_hours_pass(&ahead);
    let (witness, file, orders) = unsettled(&world, &nodes).await;
    world.network.start_satellite().await.expect("started");

    for node in &nodes {
        until("the hour is settled", async || {
            node.settle().await.is_ok() && !settlements(&world, node).await.is_empty()
        })
        .await;
        let settled = settlements(&world, node).await;
        let stored = node.usage().await.expect("usage").used - HEADER;
        assert!(ordered(stored).contains(&sum(&settled, PUT)), "{settled:?}");
        assert!((node.served().await..=stored).contains(&sum(&settled, GET)), "{settled:?}");
        assert!(files(&world, node, "closed").is_empty());
    }
    let before = settlements(&world, witness).await;
    assert!(sum(&before, GET) > 0);

    // After a lost reply: the same orders again.
    fs::write(&file, &orders).expect("written");
    witness.settle().await.expect("settled");
    assert!(files(&world, witness, "closed").is_empty());
    assert!(files(&world, witness, "rejected").is_empty());
    // Other sums for the same hour.
    let first = 4 + u32::from_be_bytes(orders[..4].try_into().expect("a length")) as usize + 4;
    assert!(first < orders.len());
    fs::write(&file, &orders[..first]).expect("written");
    witness.settle().await.expect("settled");
    assert_eq!(files(&world, witness, "rejected"), [file.with_extension("rejected")]);
    assert_eq!(settlements(&world, witness).await, before);
    world.network.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_offline_at_the_end_of_the_hour_settles_later() {
    let (world, ahead) = world().await;
    let uploaded = world.put("one", &bytes(1, SIZE)).await;
    let node = holders(&world, &uploaded)[0];
    let stored = node.usage().await.expect("usage").used - HEADER;
    node.stop().await.expect("stopped");
    two_hours_pass(&ahead);
    node.start().await.expect("started");
    until("the hour is settled", async || !settlements(&world, node).await.is_empty()).await;
    assert!(ordered(stored).contains(&sum(&settlements(&world, node).await, PUT)));
    world.network.stop().await;
}
