//! The Python wheel `storj-uplink`, which wraps the C library of an older reference client, against
//! a network of ours, and beside our client.

use serde_json::{Value, json};
use uplink_interop::{Judge, Refusal};

#[path = "go/world.rs"]
#[allow(dead_code, reason = "shared with the tests of the reference client")]
mod world;

use world::{BUCKET, World, b64, bytes, custom, digest, items, text};

struct Python(Judge, String);

impl Python {
    fn start(world: &World) -> Self {
        let judge = Judge::python().unwrap_or_else(|error| panic!("{error}"));
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
#[ignore = "slow: the Python wheel"]
async fn objects_of_the_wheel_and_of_our_client_read_equal_in_both() {
    let mut world = World::start().await;
    let mut python = Python::start(&world);
    for size in [0_u64, 1, 4096, 4097, 7408, 300_001, (2 << 20) + 5001] {
        let (theirs, ours) = (format!("docs/wheel {size}"), format!("docs/rust {size}"));
        let upload = json!({"key": b64(&theirs), "seed": 1, "size": size, "custom": custom(size)});
        assert_eq!(python.ask("upload", upload).await["size"], size);
        world.rust_put(&ours, 2, size).await;
        for (key, seed) in [(&theirs, 1), (&ours, 2)] {
            world.assert_read(key, seed, size).await;
            let read = python.ask("download", json!({"key": b64(key)})).await;
            assert_eq!(read["length"], size, "{key}");
            assert_eq!(text(&read["sha256"]), digest(seed, size), "{key}");
            let found = python.ask("stat", json!({"key": b64(key)})).await;
            assert_eq!((&found["size"], &found["custom"]), (&json!(size), &json!(custom(size))));
        }
    }
    let listed = python.ask("list", json!({"prefix": b64("docs/"), "system": true})).await;
    assert_eq!(items(&listed).len(), 14);
    let top = python.ask("list", json!({})).await;
    assert_eq!((bytes(&top[0]["key"]), items(&top).len()), (b"docs/".to_vec(), 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the Python wheel"]
async fn ranges_read_by_the_wheel_are_those_of_our_objects() {
    let world = World::start().await;
    let mut python = Python::start(&world);
    let size = (2 << 20) + 5001;
    world.rust_put("key", 3, size).await;
    for (start, length) in [(0, 1), (7407, 3), ((1 << 20) - 1, 2), ((2 << 20) + 5000, 1)] {
        let range = json!({"key": b64("key"), "offset": start, "length": length});
        let read = python.ask("download", range).await;
        let expected = world::pattern(3, start..start + length);
        assert_eq!(read["length"], length);
        assert_eq!(text(&read["sha256"]), world::sha256(&expected), "{start}, {length} bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the Python wheel"]
async fn buckets_and_refusals_are_told_to_the_wheel_as_it_expects_them() {
    let world = World::start().await;
    let mut python = Python::start(&world);
    let parsed = python.ask("parse_access", json!({})).await;
    assert_eq!(text(&parsed["access"]), world.grant);
    for name in ["zebra", "alpha"] {
        python.ask("create_bucket", json!({"bucket": name})).await;
        python.ask("ensure_bucket", json!({"bucket": name})).await;
        world.project.stat_bucket(name).await.expect("there");
    }
    let listed = python.ask("list_buckets", json!({})).await;
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
        let refused = python.refused(op, command).await;
        assert_eq!(refused.kind, kind, "{op}: {}", refused.text);
    }
    python.ask("delete", json!({"key": b64("key")})).await;
    python.ask("delete_bucket", json!({})).await;
    assert!(world.project.stat_bucket(BUCKET).await.is_err());
}
