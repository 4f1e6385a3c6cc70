//! Clock steps of the satellite, its storage nodes or all of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use uplink::Error;
use uplink_testnet::Options;

use super::shared_clocks::{Clocks, NODES};
use super::world::{BUCKET, SMALL_SEGMENT, World, bytes, config};

const SIZE: u64 = 100_000;
const DAY: i64 = 86_400;
/// Time limit of recovery after a correction: more than one check-in interval.
const RECOVERY: Duration = Duration::from_secs(30);

async fn world() -> (World, Arc<Clocks>) {
    let clocks = Arc::new(Clocks::default());
    let test_clocks = Arc::clone(&clocks);
    let options = Options::new().nodes(NODES).stepping_clocks(move |party| test_clocks.now(party));
    let world = World::start_with(options, &config().segment_size(SMALL_SEGMENT)).await;
    (world, clocks)
}

async fn transfers(world: &World, seed: u8) -> Result<(), Error> {
    let data = bytes(seed, SIZE);
    let key = format!("object {seed}");
    world.try_put(&key, &data).await?;
    assert!(world.get(&key).await? == data, "{key}");
    Ok(())
}

/// Waits until transfers work, at the latest after one check-in of every node.
async fn wait_until_recovered(world: &World, what: &str) {
    let start = Instant::now();
    while let Err(error) = transfers(world, 0).await {
        assert!(start.elapsed() < RECOVERY, "{what}: {error}");
        sleep(Duration::from_millis(200)).await;
    }
}

/// Waits until the satellite reports its own clock; asserts that no transfer succeeds before.
async fn wait_until_satellite_reports_clock(
    transfer: impl AsyncFn() -> Result<(), Error>,
    step: i64,
) {
    let start = Instant::now();
    loop {
        let error = transfer().await.expect_err("refused").to_string();
        if error.contains("the clock of this satellite is") {
            return;
        }
        assert!(start.elapsed() < RECOVERY, "{step} s: {error}");
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn clock_steps_of_up_to_an_hour_fail_no_transfer() {
    let (world, clocks) = world().await;
    world.put("before", &bytes(1, SIZE)).await;
    for step in [1, -1, 30, -30, 3500, -3500] {
        let rows: [(&str, i64, i64); 3] =
            [("satellite", step, 0), ("nodes", 0, step), ("all", step, step)];
        for (who, satellite, nodes) in rows {
            clocks.set(satellite, |_| nodes);
            let moved = transfers(&world, 2).await;
            assert!(moved.is_ok(), "{step} s under {who}: {moved:?}");
            assert!(world.get("before").await.is_ok(), "{step} s under {who}");
        }
        clocks.set(0, |index| if index % 2 == 0 { step / 2 } else { -step / 2 });
        let moved = transfers(&world, 3).await;
        assert!(moved.is_ok(), "{step} s between nodes: {moved:?}");
        clocks.set(0, |_| 0);
        let moved = transfers(&world, 4).await;
        assert!(moved.is_ok(), "after {step} s: {moved:?}");
    }
    world.network.stop().await;
}

#[tokio::test]
async fn clock_steps_after_satellite_restart_fail_no_transfer() {
    let (world, clocks) = world().await;
    for step in [3500, -3500] {
        world.network.kill_satellite().await.expect("killed");
        world.network.start_satellite().await.expect("started");
        clocks.set(step, |_| step);
        let moved = transfers(&world, 1).await;
        assert!(moved.is_ok(), "{step} s: {moved:?}");
        clocks.set(0, |_| 0);
        world.network.online().await.expect("online");
    }
    world.network.stop().await;
}

#[tokio::test]
async fn clock_steps_during_an_upload_do_not_fail_it() {
    let (world, clocks) = world().await;
    for (seed, step) in [(1, 3500), (2, -3500)] {
        let data = bytes(seed, 3 * SMALL_SEGMENT);
        let mut upload = world.project.upload_object(BUCKET, "key").expect("started");
        let (first, rest) = data.split_at(data.len() / 2);
        upload.write(first).await.expect("written");
        clocks.set(step, |_| 0);
        upload.write(rest).await.expect("written");
        clocks.set(0, |_| 0);
        upload.commit().await.expect("committed");
        assert!(world.get("key").await.expect("read") == data, "{step} s");
    }
    world.network.stop().await;
}

#[tokio::test]
async fn day_long_steps_of_all_clocks_fail_no_transfer() {
    let (world, clocks) = world().await;
    for step in [DAY, 0, -DAY, 0] {
        clocks.set(step, |_| step);
        let moved = transfers(&world, 1).await;
        assert!(moved.is_ok(), "{step} s: {moved:?}");
    }
    world.network.stop().await;
}

#[tokio::test]
async fn wrong_satellite_clock_is_reported_until_corrected() {
    let (world, clocks) = world().await;
    world.put("kept", &bytes(1, SIZE)).await;
    for step in [7200, -7200, DAY, -DAY] {
        clocks.set(step, |_| 0);
        // The first refusals trigger check-ins, from which the satellite learns the difference.
        let put = async || world.try_put("new", &bytes(2, SIZE)).await.map(drop);
        let get = async || world.get("kept").await.map(drop);
        wait_until_satellite_reports_clock(put, step).await;
        wait_until_satellite_reports_clock(get, step).await;
        clocks.set(0, |_| 0);
        wait_until_recovered(&world, "satellite").await;
        assert!(world.get("kept").await.expect("read") == bytes(1, SIZE));
    }
    world.network.stop().await;
}

#[tokio::test]
async fn nodes_with_a_wrong_clock_are_excluded_until_corrected() {
    let (world, clocks) = world().await;
    for step in [7200, -7200, DAY, -DAY] {
        // Eight of ten nodes are enough.
        let wrong = |index: usize| index < 2;
        clocks.set(0, |index| if wrong(index) { step } else { 0 });
        for node in world.network.nodes().iter().filter(|node| wrong(node.index())) {
            let error = node.check_in().await.expect_err("reported").to_string();
            assert!(error.contains("the clock of this storage node is"), "{error}");
        }
        for seed in 0..3 {
            let uploaded = world.put(&format!("object {seed}"), &bytes(seed, SIZE)).await;
            for holder in &uploaded.placement[0].holders {
                let holder = world.network.node_by_id(holder.node);
                assert!(!wrong(holder.expect("a node").index()), "{step} s");
            }
        }
        // Seven of ten nodes are too few.
        clocks.set(0, |index| if index < 3 { step } else { 0 });
        world.network.node(2).expect("a node").check_in().await.expect_err("reported");
        let refused = world.try_put("new", &bytes(9, SIZE)).await.expect_err("refused").to_string();
        assert!(refused.contains("3 excluded because of clock skew"), "{step} s: {refused}");
        clocks.set(0, |_| 0);
        world.network.online().await.expect("all are online after one check-in");
        transfers(&world, 8).await.expect("works");
    }
    world.network.stop().await;
}
