//! Project limits set by the operator: both clients recognize them by the satellite's texts.

use serde_json::json;
use uplink::ErrorKind;
use uplink_satellite::Config;
use uplink_testnet::Options;

use super::world::{SMALL_SEGMENT, World, b64, read, write};

/// Size of an inline object.
const SIZE: u64 = 4_000;
/// Bytes that encryption adds.
const TAG: u64 = 16;

async fn world(limit: impl Fn(&mut Config) + Send + Sync + 'static) -> World {
    World::start_with(Options::new().satellite_config(limit), SMALL_SEGMENT, &[]).await
}

/// Reaches the limit, then asserts that inline and remote uploads are refused.
async fn assert_full(mut world: World, kind: &str, ours: ErrorKind) {
    world.go_put("one", 1, SIZE).await;
    world.rust_put("two", 2, SIZE).await;
    for size in [SIZE, 100_000] {
        let upload = json!({"key": b64("three"), "seed": 3, "size": size});
        let refused = world.call_err("upload", upload).await;
        assert_eq!((refused.kind.as_str(), refused.code), (kind, 8), "{}", refused.text);
        let content = vec![3; usize::try_from(size).expect("a size")];
        let refused = write(&world.project, b"three", &content).await.expect_err("full");
        assert_eq!(refused.kind(), ours, "{refused}");
    }
    world.assert_content(b"one", 1, SIZE).await;
    world.assert_content(b"two", 2, SIZE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn both_clients_recognize_project_limits() {
    let storage = world(|config| config.storage_per_project = 2 * (SIZE + TAG)).await;
    assert_full(storage, "ErrStorageLimitExceeded", ErrorKind::StorageLimitExceeded).await;
    let segments = world(|config| config.segments_per_project = 2).await;
    assert_full(segments, "ErrSegmentsLimitExceeded", ErrorKind::SegmentsLimitExceeded).await;

    let mut world = world(|config| config.bandwidth_per_project_and_month = 5_000).await;
    world.go_put("one", 1, SIZE).await;
    world.assert_content(b"one", 1, SIZE).await;
    let refused = world.call_err("download", json!({"key": b64("one")})).await;
    let found = (refused.kind.as_str(), refused.code);
    assert_eq!(found, ("ErrBandwidthLimitExceeded", 8), "{}", refused.text);
    let refused = read(&world.project, b"one").await.expect_err("fetched enough");
    assert_eq!(refused.kind(), ErrorKind::BandwidthLimitExceeded, "{refused}");
}
