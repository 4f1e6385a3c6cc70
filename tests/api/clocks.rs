//! Clocks that step under the satellite, its storage nodes or all of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use uplink::{Error, UploadOptions};
use uplink_testnet::Options;

use super::shared_clocks::{Clocks, NODES};
use super::world::{BUCKET, SMALL_SEGMENT, World, bytes, config};

const SIZE: u64 = 100_000;
const DAY: i64 = 86_400;
/// Time in which everything works again after a correction: more than one regular check-in.
const RECOVERY: Duration = Duration::from_secs(30);

async fn world() -> (World, Arc<Clocks>) {
    let clocks = Arc::new(Clocks::default());
    let told = Arc::clone(&clocks);
    let options = Options::new().nodes(NODES).stepping_clocks(move |party| told.now(party));
    let world = World::start_with(options, &config().segment_size(SMALL_SEGMENT)).await;
    (world, clocks)
}

async fn moves(world: &World, seed: u8) -> Result<(), Error> {
    let data = bytes(seed, SIZE);
    let key = format!("object {seed}");
    world.try_put(&key, &data).await?;
    assert!(world.get(&key).await? == data, "{key}");
    Ok(())
}

/// Waits until transfers work, as after one check-in of every node.
async fn recovers(world: &World, what: &str) {
    let start = Instant::now();
    while let Err(error) = moves(world, 0).await {
        assert!(start.elapsed() < RECOVERY, "{what}: {error}");
        sleep(Duration::from_millis(200)).await;
    }
}

/// Waits until the satellite names itself; no transfer works before.
async fn refused_by_the_satellite(transfer: impl AsyncFn() -> Result<(), Error>, step: i64) {
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
async fn clock_steps_of_up_to_an_hour_disturb_no_transfer() {
    let (world, clocks) = world().await;
    world.put("before", &bytes(1, SIZE)).await;
    for step in [1, -1, 30, -30, 3500, -3500] {
        let rows: [(&str, i64, i64); 3] =
            [("satellite", step, 0), ("nodes", 0, step), ("all", step, step)];
        for (who, satellite, nodes) in rows {
            clocks.set(satellite, |_| nodes);
            let moved = moves(&world, 2).await;
            assert!(moved.is_ok(), "{step} s under {who}: {moved:?}");
            assert!(world.get("before").await.is_ok(), "{step} s under {who}");
        }
        clocks.set(0, |index| if index % 2 == 0 { step / 2 } else { -step / 2 });
        let moved = moves(&world, 3).await;
        assert!(moved.is_ok(), "{step} s between nodes: {moved:?}");
        clocks.set(0, |_| 0);
        let moved = moves(&world, 4).await;
        assert!(moved.is_ok(), "after {step} s: {moved:?}");
    }
    world.network.stop().await;
}

#[tokio::test]
async fn clock_steps_right_after_a_restart_of_the_satellite_disturb_no_transfer() {
    let (world, clocks) = world().await;
    for step in [3500, -3500] {
        world.network.kill_satellite().await.expect("killed");
        world.network.start_satellite().await.expect("started");
        clocks.set(step, |_| step);
        let moved = moves(&world, 1).await;
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
        let mut upload =
            world.project.upload_object(BUCKET, "key", UploadOptions::new()).expect("begun");
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
async fn day_long_steps_of_all_clocks_together_disturb_nothing() {
    let (world, clocks) = world().await;
    for step in [DAY, 0, -DAY, 0] {
        clocks.set(step, |_| step);
        let moved = moves(&world, 1).await;
        assert!(moved.is_ok(), "{step} s: {moved:?}");
    }
    world.network.stop().await;
}

#[tokio::test]
async fn satellite_with_a_wrong_clock_names_itself_and_recovers() {
    let (world, clocks) = world().await;
    world.put("kept", &bytes(1, SIZE)).await;
    for step in [7200, -7200, DAY, -DAY] {
        clocks.set(step, |_| 0);
        // The first refusals make the nodes check in, and the satellite learns of the difference.
        let put = async || world.try_put("new", &bytes(2, SIZE)).await.map(drop);
        let get = async || world.get("kept").await.map(drop);
        refused_by_the_satellite(put, step).await;
        refused_by_the_satellite(get, step).await;
        clocks.set(0, |_| 0);
        recovers(&world, "satellite").await;
        assert!(world.get("kept").await.expect("read") == bytes(1, SIZE));
    }
    world.network.stop().await;
}

#[tokio::test]
async fn nodes_with_a_wrong_clock_are_left_out_until_it_is_right() {
    let (world, clocks) = world().await;
    for step in [7200, -7200, DAY, -DAY] {
        // Two of ten: eight are enough.
        let wrong = |index: usize| index < 2;
        clocks.set(0, |index| if wrong(index) { step } else { 0 });
        for node in world.network.nodes().iter().filter(|node| wrong(node.index())) {
            let error = node.check_in().await.expect_err("told so").to_string();
            assert!(error.contains("the clock of this storage node is"), "{error}");
        }
        for seed in 0..3 {
            let uploaded = world.put(&format!("object {seed}"), &bytes(seed, SIZE)).await;
            for (_, holder) in &uploaded.placement[0].holders {
                let holder = world.network.node_by_id(holder.parse().expect("an id"));
                assert!(!wrong(holder.expect("a node").index()), "{step} s");
            }
        }
        // Three of ten: too few are left.
        clocks.set(0, |index| if index < 3 { step } else { 0 });
        world.network.node(2).expect("a node").check_in().await.expect_err("told so");
        let refused = world.try_put("new", &bytes(9, SIZE)).await.expect_err("refused").to_string();
        assert!(refused.contains("3 left out because of their clocks"), "{step} s: {refused}");
        clocks.set(0, |_| 0);
        world.network.online().await.expect("all are online after one check-in");
        moves(&world, 8).await.expect("works");
    }
    world.network.stop().await;
}
