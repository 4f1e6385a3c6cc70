//! The crate `storj`, another client in Rust, against a network of ours, and beside our client.
//!
//! Version 1.1.1 writes the entries of custom metadata under another field number than
//! `SerializableMeta` has for them, so that every other client takes the last one for the content
//! type. What counts of its metadata is that our client sees there what the reference client sees.

use serde_json::{Value, json};
use uplink_interop::{Judge, Refusal};

#[path = "go/world.rs"]
#[allow(dead_code, reason = "shared with the tests of the reference client")]
mod world;

use world::{BUCKET, World, b64, bytes, custom, digest, items, read, text};

struct Crate(Judge, String);

impl Crate {
    fn start(world: &World) -> Self {
        let judge = Judge::storj().unwrap_or_else(|error| panic!("{error}"));
        Self(judge, world.grant.clone())
    }

    async fn ask(&mut self, op: &str, command: Value) -> Value {
        let answer = self.0.ask(&self.command(op, command)).await;
        answer.unwrap_or_else(|error| panic!("{op}: {error}"))
    }

    async fn refused(&mut self, op: &str, command: Value) -> Refusal {
        match self.0.ask(&self.command(op, command)).await {
            Ok(answer) => panic!("{op} was not refused but answered {answer}"),
            Err(error) => error.refusal().unwrap_or_else(|error| panic!("{op}: {error}")),
        }
    }

    fn command(&self, op: &str, mut command: Value) -> Value {
        let fields = command.as_object_mut().expect("an object");
        fields.insert("op".into(), op.into());
        fields.insert("access".into(), self.1.clone().into());
        fields.entry("bucket").or_insert_with(|| BUCKET.into());
        command
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the crate storj"]
async fn objects_of_the_crate_and_of_our_client_read_equal_in_both() {
    let mut world = World::start().await;
    let mut other = Crate::start(&world);
    for size in [0_u64, 1, 4095, 4096, 4097, 7404, 7408, 300_001, (2 << 20) + 5001] {
        let (theirs, ours) = (format!("docs/crate {size}"), format!("docs/rust {size}"));
        let upload = json!({"key": b64(&theirs), "seed": 1, "size": size, "custom": custom(size)});
        assert_eq!(other.ask("upload", upload).await["size"], size);
        world.rust_put(&ours, 2, size).await;
        for (key, seed) in [(&theirs, 1), (&ours, 2)] {
            world.assert_content(key.as_bytes(), seed, size).await;
            world.assert_metadata(key.as_bytes(), size).await;
            let read = other.ask("download", json!({"key": b64(key)})).await;
            assert_eq!(read["length"], size, "{key}");
            assert_eq!(text(&read["sha256"]), digest(seed, size), "{key}");
            let found = other.ask("stat", json!({"key": b64(key)})).await;
            assert_eq!(found["size"], size, "{key}");
        }
    }
    let listed = other.ask("list", json!({"prefix": b64("docs/"), "system": true})).await;
    assert_eq!(items(&listed).len(), 18);
    let top = other.ask("list", json!({})).await;
    assert_eq!((bytes(&top[0]["key"]), items(&top).len()), (b"docs/".to_vec(), 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the crate storj"]
async fn copies_moves_parts_and_metadata_of_the_crate_read_equal_in_ours() {
    let mut world = World::start().await;
    let mut other = Crate::start(&world);
    let size = (2 << 20) + 5001;
    world.rust_put("ours", 1, size).await;
    let copy = json!({"key": b64("ours"), "new_bucket": BUCKET, "new_key": b64("a/copy")});
    other.ask("copy", copy).await;
    let to = json!({"key": b64("a/copy"), "new_bucket": BUCKET, "new_key": b64("b/moved")});
    other.ask("move", to).await;
    world.assert_read("b/moved", 1, size).await;
    assert!(read(&world.project, b"a/copy").await.is_err());
    let parts = json!({"key": b64("parts"), "seed": 2, "size": size, "custom": custom(size)});
    other.ask("upload_in_parts", parts).await;
    world.assert_content(b"parts", 2, size).await;
    world.assert_metadata(b"parts", size).await;
    other.ask("update_metadata", json!({"key": b64("ours"), "custom": {"a": "b"}})).await;
    assert_ne!(world.assert_metadata(b"ours", size).await, custom(size));
    world.assert_content(b"ours", 1, size).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the crate storj"]
async fn ranges_read_by_the_crate_are_those_of_our_objects() {
    let world = World::start().await;
    let mut other = Crate::start(&world);
    let size = (2 << 20) + 5001;
    world.rust_put("key", 3, size).await;
    for (start, length) in [(0, 1), (7407, 3), ((1 << 20) - 1, 2), ((2 << 20) + 5000, 1)] {
        let range = json!({"key": b64("key"), "offset": start, "length": length});
        let read = other.ask("download", range).await;
        let expected = world::pattern(3, start..start + length);
        assert_eq!(read["length"], length);
        assert_eq!(text(&read["sha256"]), world::sha256(&expected), "{start}, {length} bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the crate storj"]
async fn buckets_and_refusals_are_told_to_the_crate_as_it_expects_them() {
    let world = World::start().await;
    let mut other = Crate::start(&world);
    for name in ["zebra", "alpha"] {
        other.ask("create_bucket", json!({"bucket": name})).await;
        other.ask("ensure_bucket", json!({"bucket": name})).await;
        world.project.stat_bucket(name).await.expect("there");
    }
    let listed = other.ask("list_buckets", json!({})).await;
    let names: Vec<&str> = items(&listed).iter().map(|bucket| text(&bucket["name"])).collect();
    assert_eq!(names, ["alpha", BUCKET, "zebra"]);
    world.rust_put("key", 1, 10).await;
    for (op, command, kind) in [
        ("create_bucket", json!({"bucket": "alpha"}), "ErrBucketAlreadyExists"),
        ("create_bucket", json!({"bucket": "Not_Valid"}), "ErrBucketNameInvalid"),
        ("stat_bucket", json!({"bucket": "missing"}), "ErrBucketNotFound"),
        ("delete_bucket", json!({}), "ErrBucketNotEmpty"),
        ("stat", json!({"key": b64("nope")}), "ErrObjectNotFound"),
        ("download", json!({"key": b64("nope")}), "ErrObjectNotFound"),
        ("upload", json!({"key": ""}), "ErrObjectKeyInvalid"),
    ] {
        let refused = other.refused(op, command).await;
        assert_eq!(refused.kind, kind, "{op}: {}", refused.text);
    }
    let deleted = other.ask("delete", json!({"key": b64("key")})).await;
    assert_eq!(deleted["size"], 10);
    other.ask("delete_bucket", json!({})).await;
    assert!(world.project.stat_bucket(BUCKET).await.is_err());
}
