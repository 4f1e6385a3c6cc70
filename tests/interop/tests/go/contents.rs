//! Objects of sizes around every limit, written by one client and read by the other.

use serde_json::{Value, json};
use uplink::{Authenticity, DownloadOptions};
use uplink_testnet::Options;

use super::world::{BUCKET, SMALL_SEGMENT, World, b64, bytes, custom, digest};

const INLINE_LIMIT: u64 = 4096;
const STRIPE: u64 = 4 * 256;
/// Plain bytes of an encryption block, and the maximum in the last block, which holds the padding.
const BLOCK: u64 = 7408;
const LAST_IN_BLOCK: u64 = 7404;
const SEGMENT: u64 = 64 << 20;

/// Returns sizes around every limit of the formats.
fn sizes() -> Vec<u64> {
    let limits = [
        INLINE_LIMIT,
        STRIPE,
        7 * STRIPE,
        29 * STRIPE,
        LAST_IN_BLOCK,
        BLOCK,
        2 * BLOCK,
        29 * BLOCK,
        SMALL_SEGMENT,
        SMALL_SEGMENT + INLINE_LIMIT,
        2 * SMALL_SEGMENT,
    ];
    let around = limits.into_iter().flat_map(|size| [size - 1, size, size + 1]);
    let more = [0, 1, 3 * SMALL_SEGMENT, 3 * SMALL_SEGMENT + 77];
    more.into_iter().chain(around).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn every_size_reads_equal_in_both_clients() {
    let mut world = World::start().await;
    for size in sizes() {
        let seed = size as u8;
        let go = world.go_put(format!("go {size}"), seed, size).await;
        assert_eq!(go["size"], size);
        let rust = world.rust_put(format!("rust {size}"), seed.wrapping_add(1), size).await;
        assert_eq!(rust.size, size);
    }
    for size in sizes() {
        let seed = size as u8;
        world.assert_read(format!("go {size}"), seed, size).await;
        world.assert_read(format!("rust {size}"), seed.wrapping_add(1), size).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn full_size_segments_read_equal_in_both_clients() {
    let mut world = World::start_with(Options::new(), SEGMENT, &[]).await;
    for size in [SEGMENT - 1, SEGMENT, SEGMENT + 1, SEGMENT + INLINE_LIMIT + 1, 2 * SEGMENT + 77] {
        world.go_put("go", 3, size).await;
        world.assert_read("go", 3, size).await;
        world.rust_put("rust", 4, size).await;
        world.assert_read("rust", 4, size).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn objects_of_both_clients_read_with_four_nodes_stopped() {
    let mut world = World::start().await;
    let size = 2 * SMALL_SEGMENT + 5000;
    world.go_put("go", 1, size).await;
    world.rust_put("rust", 2, size).await;
    // Four of ten pieces are required and at least eight are stored: any four nodes may fail.
    for stopped in 1..=4 {
        world.network.nodes()[2 * stopped - 1].kill().await.expect("stopped");
        world.assert_read("go", 1, size).await;
        world.assert_read("rust", 2, size).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn other_redundancy_schemes_serve_both_clients() {
    for scheme in ["1/2/2/3-256", "7/9/11/13-1024", "29/32/35/38-256"] {
        let options = Options::new().scheme(scheme.parse().expect("a scheme"));
        let mut world = World::start_with(options, SMALL_SEGMENT, &[]).await;
        for size in [1, 4097, 300_000, SMALL_SEGMENT + 5000] {
            world.go_put(format!("go {size}"), 1, size).await;
            world.assert_read(format!("go {size}"), 1, size).await;
            world.rust_put(format!("rust {size}"), 2, size).await;
            world.assert_read(format!("rust {size}"), 2, size).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn write_sizes_and_concurrency_give_equal_objects() {
    let mut world = World::start().await;
    let size = 3 * SMALL_SEGMENT + 5000;
    let settings = [
        json!({"write": 1 << 20}),
        json!({"write": 4097}),
        json!({"write": 3 << 20, "segments": 1}),
        json!({"pieces": 10, "segments": 2}),
        json!({"pieces": 1000, "segments": 100}),
    ];
    for setting in settings {
        let mut upload =
            json!({"key": b64("key"), "seed": 9, "size": size, "custom": custom(size)});
        merge(&mut upload, &setting);
        world.call("upload", upload).await;
        world.assert_read("key", 9, size).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn overwrite_replaces_objects_of_either_client() {
    let mut world = World::start().await;
    world.go_put("key", 1, 20_000).await;
    world.rust_put("key", 2, 11).await;
    world.assert_read("key", 2, 11).await;
    world.go_put("key", 3, 30_001).await;
    world.assert_read("key", 3, 30_001).await;
    let listed = world.call("list", json!({"recursive": true})).await;
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn object_with_etag_is_readable_and_keeps_the_etag() {
    let mut world = World::start().await;
    for size in [100_u64, 10_001] {
        let etag = format!("etag {size}");
        let upload = json!({
            "key": b64("key"), "seed": 5, "size": size, "custom": custom(size), "etag": b64(&etag),
        });
        let committed = world.call("upload", upload).await;
        assert_eq!(bytes(&committed["etag"]), etag.as_bytes());
        world.assert_read("key", 5, size).await;
        let found = world.call("stat", json!({"key": b64("key")})).await;
        assert_eq!(bytes(&found["etag"]), etag.as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn aborted_upload_leaves_nothing_behind() {
    let mut world = World::start().await;
    for (size, seed) in [(0, 1), (10, 2), (10_000, 3), (2 * SMALL_SEGMENT + 5000, 4)] {
        let upload = json!({"key": b64("key"), "seed": seed, "size": size, "abort": true});
        world.call("upload", upload).await;
    }
    let missing = world.call_err("stat", json!({"key": b64("key")})).await;
    assert_eq!(missing.kind, "ErrObjectNotFound");
    assert_eq!(world.call("list_uploads", json!({"recursive": true})).await, json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn replacing_metadata_keeps_the_content() {
    let mut world = World::start().await;
    for (key, size) in [("inline", 100_u64), ("remote", 2 * SMALL_SEGMENT + 5000)] {
        world.rust_put(key, 6, size).await;
        let fresh = json!({"key": b64(key), "custom": {"fresh": "значение"}});
        world.call("update_metadata", fresh).await;
        let ours = world.project.stat_object(BUCKET, key).await.expect("exists");
        let kept: Vec<_> = ours.custom_metadata.into_iter().collect();
        assert_eq!(kept, [("fresh".to_owned(), "значение".to_owned())]);
        assert_eq!(world.rust_get(key).await, (size, digest(6, size)));
        assert_eq!(world.go_get(key).await, (size, digest(6, size)));
        world.call("update_metadata", json!({"key": b64(key), "custom": {}})).await;
        let ours = world.project.stat_object(BUCKET, key).await.expect("exists");
        assert!(ours.custom_metadata.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn objects_deleted_by_one_client_are_gone_for_the_other() {
    let mut world = World::start().await;
    for size in [0_u64, 100, 10_001] {
        world.rust_put("key", 1, size).await;
        let deleted = world.call("delete", json!({"key": b64("key")})).await;
        assert_eq!(deleted["size"], size);
        assert_eq!(deleted["custom"], json!(custom(size)));
        let again = world.call("delete", json!({"key": b64("key")})).await;
        assert_eq!(again, Value::Null);
        let missing = world.project.stat_object(BUCKET, "key").await.unwrap_err();
        assert_eq!(missing.kind(), uplink::ErrorKind::ObjectNotFound);

        world.go_put("key", 1, size).await;
        assert!(world.project.delete_object(BUCKET, "key").await.expect("deleted"));
        let missing = world.call_err("download", json!({"key": b64("key")})).await;
        assert_eq!(missing.kind, "ErrObjectNotFound");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn concurrent_clients_write_independent_objects() {
    const CLIENTS: u8 = 4;
    let mut world = World::start().await;
    let size = SMALL_SEGMENT + 5001;
    let mut drivers = Vec::new();
    for number in 0..CLIENTS {
        let upload = json!({
            "op": "upload", "access": world.grant, "bucket": BUCKET, "segment_size": SMALL_SEGMENT,
            "key": b64(format!("go {number}")), "seed": number, "size": size, "custom": custom(size),
        });
        drivers.push(tokio::spawn(async move {
            let mut driver = uplink_interop::Driver::go(&[]).expect("a driver");
            driver.call(&upload).await.map(drop)
        }));
    }
    for number in 0..CLIENTS {
        world.rust_put(format!("rust {number}"), number, size).await;
    }
    for driver in drivers {
        driver.await.expect("joined").expect("uploaded");
    }
    for number in 0..CLIENTS {
        world.assert_read(format!("go {number}"), number, size).await;
        world.assert_read(format!("rust {number}"), number, size).await;
    }
}

fn merge(command: &mut Value, more: &Value) {
    let fields = command.as_object_mut().expect("an object");
    let more = more.as_object().expect("an object");
    fields.extend(more.iter().map(|(name, value)| (name.clone(), value.clone())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn our_objects_read_exactly_after_metadata_replacement() {
    let mut world = World::start().await;
    let cut = 2 * SMALL_SEGMENT;
    for size in [0, 1, INLINE_LIMIT + 1, SMALL_SEGMENT, cut, cut + 77, cut + 3 * BLOCK, cut + 6] {
        world.rust_put("key", 7, size).await;
        let command = json!({"key": b64("key"), "custom": custom(size)});
        world.call("update_metadata", command).await;
        world.assert_read("key", 7, size).await;
        let copy = json!({"key": b64("key"), "new_bucket": BUCKET, "new_key": b64("copy")});
        world.call("copy", copy).await;
        world.assert_read("copy", 7, size).await;
        if size > 2 {
            let range = DownloadOptions::new().range(size / 2..size / 2 + 1);
            let found =
                world.project.download_object_with(BUCKET, "key", &range).await.expect("opened");
            assert_eq!(found.object().authenticity, Authenticity::Claimed, "{size}");
        }
    }
}
