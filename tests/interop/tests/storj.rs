//! The crate `storj`, another client in Rust, on our network together with our client.
//!
//! Version 1.1.1 writes the entries of custom metadata with a field number other than that of
//! `SerializableMeta`, so that every other client decodes the last entry as the content type. Its
//! metadata is therefore compared between our client and the reference client only.

use serde_json::json;
use uplink_interop::Driver;

#[path = "go/world.rs"]
#[allow(dead_code, reason = "shared with the tests of the reference client")]
mod world;

mod foreign;

use foreign::{ForeignClient, assert_buckets_and_errors, assert_ranges_match};
use world::{BUCKET, World, b64, bytes, custom, digest, items, read, text};

fn start(world: &World) -> ForeignClient {
    ForeignClient::new(Driver::storj(), world)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the crate storj"]
async fn objects_of_both_clients_read_equal_in_both() {
    let mut world = World::start().await;
    let mut client = start(&world);
    for size in [0_u64, 1, 4095, 4096, 4097, 7404, 7408, 300_001, (2 << 20) + 5001] {
        let theirs = format!("docs/crate {size}");
        let ours = format!("docs/rust {size}");
        let upload = json!({"key": b64(&theirs), "seed": 1, "size": size, "custom": custom(size)});
        assert_eq!(client.call("upload", upload).await["size"], size);
        world.rust_put(&ours, 2, size).await;
        for (key, seed) in [(&theirs, 1), (&ours, 2)] {
            world.assert_content(key.as_bytes(), seed, size).await;
            world.assert_metadata(key.as_bytes(), size).await;
            let read = client.call("download", json!({"key": b64(key)})).await;
            assert_eq!(read["length"], size, "{key}");
            assert_eq!(text(&read["sha256"]), digest(seed, size), "{key}");
            let found = client.call("stat", json!({"key": b64(key)})).await;
            assert_eq!(found["size"], size, "{key}");
        }
    }
    let listed = client.call("list", json!({"prefix": b64("docs/"), "system": true})).await;
    assert_eq!(items(&listed).len(), 18);
    let top = client.call("list", json!({})).await;
    assert_eq!((bytes(&top[0]["key"]), items(&top).len()), (b"docs/".to_vec(), 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the crate storj"]
async fn copies_moves_parts_and_metadata_read_equal_in_ours() {
    let mut world = World::start().await;
    let mut client = start(&world);
    let size = (2 << 20) + 5001;
    world.rust_put("ours", 1, size).await;
    let copy = json!({"key": b64("ours"), "new_bucket": BUCKET, "new_key": b64("a/copy")});
    client.call("copy", copy).await;
    let to = json!({"key": b64("a/copy"), "new_bucket": BUCKET, "new_key": b64("b/moved")});
    client.call("move", to).await;
    world.assert_read("b/moved", 1, size).await;
    assert!(read(&world.project, b"a/copy").await.is_err());
    let parts = json!({"key": b64("parts"), "seed": 2, "size": size, "custom": custom(size)});
    client.call("upload_in_parts", parts).await;
    world.assert_content(b"parts", 2, size).await;
    world.assert_metadata(b"parts", size).await;
    client.call("update_metadata", json!({"key": b64("ours"), "custom": {"a": "b"}})).await;
    assert_ne!(world.assert_metadata(b"ours", size).await, custom(size));
    world.assert_content(b"ours", 1, size).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the crate storj"]
async fn ranges_of_our_objects_match_in_the_crate() {
    let world = World::start().await;
    let mut client = start(&world);
    assert_ranges_match(&world, &mut client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the crate storj"]
async fn buckets_and_errors_are_as_the_crate_expects() {
    let world = World::start().await;
    let mut client = start(&world);
    let deleted = assert_buckets_and_errors(&world, &mut client).await;
    assert_eq!(deleted["size"], 10);
}
