//! Copies and moves of objects of either client by either client.

use serde_json::json;
use uplink::ErrorKind;

use super::world::{BUCKET, SMALL_SEGMENT, World, b64, custom, digest, items, open};

const OTHER: &str = "other-bucket";

/// Inline, one segment, several segments with a remote and with an inline tail.
const SIZES: [u64; 5] = [0, 1001, 10_001, 2 * SMALL_SEGMENT + 5001, 2 * SMALL_SEGMENT + 101];

/// Writes an object of each size with each client. Returns keys, seeds and sizes.
async fn objects(world: &mut World) -> Vec<(String, u8, u64)> {
    let mut objects = Vec::new();
    for size in SIZES {
        let go = format!("docs/go {size}");
        let rust = format!("docs/rust {size}");
        world.go_put(&go, 1, size).await;
        world.rust_put(&rust, 2, size).await;
        objects.extend([(go, 1, size), (rust, 2, size)]);
    }
    objects
}

/// Copies or moves an object with our client or the reference client.
async fn transfer(
    world: &mut World,
    by_us: bool,
    op: &str,
    from: &str,
    (bucket, to): (&str, &str),
) {
    if !by_us {
        let command = json!({"key": b64(from), "new_bucket": bucket, "new_key": b64(to)});
        world.call(op, command).await;
        return;
    }
    let done = match op {
        "copy" => world.project.copy_object(BUCKET, from, bucket, to).await.map(drop),
        _ => world.project.move_object(BUCKET, from, bucket, to).await,
    };
    done.unwrap_or_else(|error| panic!("{op} of {from}: {error}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn copies_outlive_the_source_and_read_equal_in_both() {
    let mut world = World::start().await;
    for (key, seed, size) in objects(&mut world).await {
        let targets = [false, true].map(|by_us| (by_us, format!("copies/{by_us}/{key}")));
        for (by_us, target) in &targets {
            transfer(&mut world, *by_us, "copy", &key, (BUCKET, target)).await;
            world.assert_read(&key, seed, size).await;
        }
        world.call("delete", json!({"key": b64(&key)})).await;
        for (_, target) in &targets {
            world.assert_read(target, seed, size).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn copy_replaces_its_target_even_if_that_is_the_source() {
    let mut world = World::start().await;
    world.rust_put("a", 1, 20_000).await;
    world.rust_put("b", 2, 30_001).await;
    let copy = json!({"key": b64("a"), "new_bucket": BUCKET, "new_key": b64("b")});
    world.call("copy", copy).await;
    world.assert_read("b", 1, 20_000).await;
    let copy = json!({"key": b64("a"), "new_bucket": BUCKET, "new_key": b64("a")});
    world.call("copy", copy).await;
    world.assert_read("a", 1, 20_000).await;
    let listed = world.call("list", json!({"recursive": true})).await;
    assert_eq!(items(&listed).len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn moved_objects_exist_only_at_the_new_key_in_both() {
    let mut world = World::start().await;
    for (key, seed, size) in objects(&mut world).await {
        // By the reference client, and on by ours.
        let targets = [format!("moved/deeper/{key}"), format!("moved again/{key}")];
        let mut from = key;
        for (target, by_us) in targets.into_iter().zip([false, true]) {
            transfer(&mut world, by_us, "move", &from, (BUCKET, &target)).await;
            let missing = world.project.stat_object(BUCKET, &from).await.unwrap_err();
            assert_eq!(missing.kind(), ErrorKind::ObjectNotFound);
            world.assert_read(&target, seed, size).await;
            from = target;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn objects_are_copied_and_moved_between_buckets() {
    let mut world = World::start().await;
    world.project.create_bucket(OTHER).await.expect("a bucket");
    let size = 2 * SMALL_SEGMENT + 5001;
    for (by_us, op, seed) in
        [(false, "copy", 1), (true, "copy", 2), (false, "move", 3), (true, "move", 4)]
    {
        world.rust_put("key", seed, size).await;
        transfer(&mut world, by_us, op, "key", (OTHER, op)).await;
        let there = json!({"bucket": OTHER, "key": b64(op)});
        assert_eq!(world.call("download", there).await["sha256"], digest(seed, size));
        let found = world.project.stat_object(OTHER, op).await.expect("exists");
        assert_eq!((found.size, found.custom_metadata), (size, custom(size)));
    }
    let missing = world.call_err("stat", json!({"key": b64("key")})).await;
    assert_eq!(missing.kind, "ErrObjectNotFound");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn seal_of_our_objects_survives_copy_and_move() {
    let mut world = World::start().await;
    let size = 2 * SMALL_SEGMENT + 5001;
    world.rust_put("key", 1, size).await;
    for (by_us, op, from, to) in [
        (false, "copy", "key", "first"),
        (true, "copy", "first", "second"),
        (false, "move", "second", "third"),
        (true, "move", "third", "moved"),
    ] {
        transfer(&mut world, by_us, op, from, (BUCKET, to)).await;
    }
    let access = uplink::Access::parse(&world.grant).expect("a grant");
    let config = uplink::Config::new().segment_size(SMALL_SEGMENT).require_seal(true);
    world.project = uplink::Project::open_with(&access, &config).expect("a project");
    assert_eq!(world.rust_get("moved").await, (size, digest(1, size)));
    // The reference client seals nothing, so our client with that setting refuses its objects.
    world.go_put("unsealed", 1, size).await;
    let refused = super::world::read(&world.project, b"unsealed").await;
    assert!(refused.is_err(), "an object without a seal was read");
    let usual = open(&world.grant, SMALL_SEGMENT);
    assert_eq!(super::world::read(&usual, b"unsealed").await.expect("read").len() as u64, size);
}
