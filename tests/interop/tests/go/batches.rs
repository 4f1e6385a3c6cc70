//! Calls in compressed batches, the default, and in plain ones.

use serde_json::{Value, json};
use uplink_testnet::Options;

use super::world::{BUCKET, SMALL_SEGMENT, World, b64, items};

/// `false` makes the reference client send plain batches.
const COMPRESSED: &str = "STORJ_COMPRESSED_BATCH";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn plain_batches_work_like_compressed_ones() {
    for compressed in ["true", "false"] {
        let environment = [(COMPRESSED, compressed)];
        let mut world = World::start_with(Options::new(), SMALL_SEGMENT, &environment).await;
        for size in [0, 1, 4096, 4097, 300_000, 2 * SMALL_SEGMENT + 100, 2 * SMALL_SEGMENT + 5000] {
            let key = format!("docs/{size}");
            world.go_put(&key, 1, size).await;
            world.assert_read(&key, 1, size).await;
        }
        every_other_call(&mut world).await;
    }
}

/// Makes every call that a batch can contain besides uploads and downloads.
async fn every_other_call(world: &mut World) {
    let listed = world.call("list", json!({"recursive": true, "with_custom": true})).await;
    assert_eq!(items(&listed).len(), 7);
    world.call("stat_bucket", json!({})).await;
    for (op, key) in [("copy", "docs/300000"), ("move", "docs/4097")] {
        let to = json!({"key": b64(key), "new_bucket": BUCKET, "new_key": b64(op)});
        world.call(op, to).await;
    }
    world.call("update_metadata", json!({"key": b64("copy"), "custom": {"a": "b"}})).await;
    assert_eq!(world.call("stat", json!({"key": b64("copy")})).await["custom"]["a"], "b");
    let missing = world.call_err("stat", json!({"key": b64("docs/4097")})).await;
    assert_eq!(missing.kind, "ErrObjectNotFound");
    let started = world.call("begin_upload", json!({"key": b64("parts")})).await;
    let part = json!({
        "key": b64("parts"), "upload_id": started["upload_id"], "part": 1, "size": 10_000,
    });
    world.call("upload_part", part).await;
    let upload = json!({"key": b64("parts"), "upload_id": started["upload_id"]});
    assert_eq!(items(&world.call("list_parts", upload.clone()).await).len(), 1);
    assert_eq!(items(&world.call("list_uploads", json!({})).await).len(), 1);
    world.call("commit_upload", upload).await;
    let deleted = world.call("delete", json!({"key": b64("parts")})).await;
    assert_ne!(deleted, Value::Null);
}

/// Nodes fail during the upload of a segment, so that the client exchanges their order limits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn uploads_succeed_with_offline_nodes_selected() {
    for compressed in ["true", "false"] {
        let environment = [(COMPRESSED, compressed)];
        let options = Options::new().nodes(16);
        let mut world = World::start_with(options, SMALL_SEGMENT, &environment).await;
        for index in [1, 5, 11] {
            world.network.nodes()[index].kill().await.expect("stopped");
        }
        for size in [10_000, 3 * SMALL_SEGMENT + 5000] {
            world.go_put("key", 2, size).await;
            world.assert_read("key", 2, size).await;
        }
    }
}
