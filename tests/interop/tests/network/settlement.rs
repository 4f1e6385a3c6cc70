//! Orders of storage nodes of the public network.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, sleep};
use uplink_interop::go;
use uplink_satellite::Clock;

use super::ours::Ours;
use super::stock::StockNode;

const HOUR: u64 = 3600;
/// Time between the clients' transfers and the end of the hour on the satellite's clock.
const LEFT: u64 = 40;
/// Maximum time that a node waits after the grace period; its sender runs every two seconds.
const SETTLED_TIMEOUT: Duration = Duration::from_secs(120);

/// A node submits the orders of an hour once the hour and the grace period of order limits are
/// over. To avoid waiting for an hour, the satellite's clock is behind, shortly before a full hour,
/// and the nodes' grace period is about as long as that offset.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: storage nodes of the public network"]
async fn orders_of_stock_nodes_are_accepted() {
    // Builds take longer than the rest of the hour.
    let built = go::storagenode().and_then(|_| go::program("driver"));
    built.unwrap_or_else(|error| panic!("{error}"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
    let behind = Duration::from_secs((now + LEFT) % HOUR);
    let clock = Clock::new(move || SystemTime::now() - behind);
    let grace = format!("{}s", behind.as_secs() + LEFT);
    let flags = [
        format!("--storage2.order-limit-grace-period={grace}"),
        "--storage2.orders.sender-interval=2s".to_owned(),
        "--storage2.orders.max-sleep=1s".to_owned(),
        // Nodes do not start if the clocks of all their satellites are half an hour off.
        "--preflight.local-time-check=false".to_owned(),
    ];
    let mut world = Ours::start_with("2/3/4/4-256", 4, clock, &flags).await;
    for size in [5000, 300_001] {
        world.go_put(format!("go {size}"), 1, size).await;
        world.rust_put(format!("rust {size}"), 2, size).await;
        world.assert_read(format!("go {size}"), 1, size).await;
        world.assert_read(format!("rust {size}"), 2, size).await;
    }
    let deadline = Instant::now() + Duration::from_secs(2 * LEFT) + SETTLED_TIMEOUT;
    while let Some(node) = world.network.nodes.iter().find(|node| !settled(&world.network, node)) {
        assert!(
            Instant::now() < deadline,
            "{} settled no orders:\n{}",
            node.id,
            node.process.end()
        );
        sleep(Duration::from_millis(500)).await;
    }
}

/// Returns whether a node's orders of an hour were settled, and asserts that they were accepted.
fn settled(network: &Ours, node: &StockNode) -> bool {
    let index = network.nodes.iter().position(|other| other.id == node.id).expect("one of them");
    let archive = network.home.path().join(format!("node-{index}/config/orders/archive"));
    let files = std::fs::read_dir(&archive).expect("the node's archive of orders");
    let names = files.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned());
    let names: Vec<String> = names.collect();
    for name in &names {
        assert!(name.contains("-ACCEPTED"), "{name}");
    }
    !names.is_empty()
}
