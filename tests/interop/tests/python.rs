//! The Python wheel `storj-uplink`, which wraps the C library of an older reference client, on our
//! network together with our client.

use serde_json::json;
use uplink_interop::Driver;

#[path = "go/world.rs"]
#[allow(dead_code, reason = "shared with the tests of the reference client")]
mod world;

mod foreign;

use foreign::{ForeignClient, assert_buckets_and_errors, assert_ranges_match};
use world::{World, b64, bytes, custom, digest, items, text};

fn start(world: &World) -> ForeignClient {
    ForeignClient::new(Driver::python(), world)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the Python wheel"]
async fn objects_of_both_clients_read_equal_in_both() {
    let mut world = World::start().await;
    let mut client = start(&world);
    for size in [0_u64, 1, 4096, 4097, 7408, 300_001, (2 << 20) + 5001] {
        let theirs = format!("docs/wheel {size}");
        let ours = format!("docs/rust {size}");
        let upload = json!({"key": b64(&theirs), "seed": 1, "size": size, "custom": custom(size)});
        assert_eq!(client.call("upload", upload).await["size"], size);
        world.rust_put(&ours, 2, size).await;
        for (key, seed) in [(&theirs, 1), (&ours, 2)] {
            world.assert_read(key, seed, size).await;
            let read = client.call("download", json!({"key": b64(key)})).await;
            assert_eq!(read["length"], size, "{key}");
            assert_eq!(text(&read["sha256"]), digest(seed, size), "{key}");
            let found = client.call("stat", json!({"key": b64(key)})).await;
            assert_eq!((&found["size"], &found["custom"]), (&json!(size), &json!(custom(size))));
        }
    }
    let listed = client.call("list", json!({"prefix": b64("docs/"), "system": true})).await;
    assert_eq!(items(&listed).len(), 14);
    let top = client.call("list", json!({})).await;
    assert_eq!((bytes(&top[0]["key"]), items(&top).len()), (b"docs/".to_vec(), 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the Python wheel"]
async fn ranges_of_our_objects_match_in_the_wheel() {
    let world = World::start().await;
    let mut client = start(&world);
    assert_ranges_match(&world, &mut client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the Python wheel"]
async fn buckets_and_errors_are_as_the_wheel_expects() {
    let world = World::start().await;
    let mut client = start(&world);
    let parsed = client.call("parse_access", json!({})).await;
    assert_eq!(text(&parsed["access"]), world.grant);
    assert_buckets_and_errors(&world, &mut client).await;
}
