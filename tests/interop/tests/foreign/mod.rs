//! Tests of foreign clients that support only UTF-8 keys, independent of the client.

use serde_json::{Value, json};
use uplink_interop::{ClientError, Driver, DriverError};

use super::world::{self, BUCKET, World, b64, items, text};

/// A foreign client with the world's grant.
pub(crate) struct ForeignClient {
    driver: Driver,
    grant: String,
}

impl ForeignClient {
    pub(crate) fn new(driver: Result<Driver, DriverError>, world: &World) -> Self {
        let driver = driver.unwrap_or_else(|error| panic!("{error}"));
        Self { driver, grant: world.grant.clone() }
    }

    /// Runs an operation with the world's grant, in the world's bucket unless `command` names another.
    pub(crate) async fn call(&mut self, op: &str, command: Value) -> Value {
        let response = self.driver.call(&self.command(op, command)).await;
        response.unwrap_or_else(|error| panic!("{op}: {error}"))
    }

    /// Runs an operation that must fail.
    pub(crate) async fn call_err(&mut self, op: &str, command: Value) -> ClientError {
        match self.driver.call(&self.command(op, command)).await {
            Ok(response) => panic!("{op} succeeded with {response}"),
            Err(error) => error.client_error().unwrap_or_else(|error| panic!("{op}: {error}")),
        }
    }

    fn command(&self, op: &str, mut command: Value) -> Value {
        let fields = command.as_object_mut().expect("an object");
        fields.insert("op".into(), op.into());
        fields.insert("access".into(), self.grant.clone().into());
        fields.entry("bucket").or_insert_with(|| BUCKET.into());
        command
    }
}

/// Asserts that ranges of an object of our client are equal in the foreign client.
pub(crate) async fn assert_ranges_match(world: &World, client: &mut ForeignClient) {
    let size = (2 << 20) + 5001;
    world.rust_put("key", 3, size).await;
    for (start, length) in [(0, 1), (7407, 3), ((1 << 20) - 1, 2), ((2 << 20) + 5000, 1)] {
        let range = json!({"key": b64("key"), "offset": start, "length": length});
        let read = client.call("download", range).await;
        let expected = world::pattern(3, start..start + length);
        assert_eq!(read["length"], length);
        assert_eq!(text(&read["sha256"]), world::sha256(&expected), "{start}, {length} bytes");
    }
}

/// Asserts that the foreign client sees buckets and errors as it expects them. Returns the response to
/// the deletion of an object of 10 bytes.
pub(crate) async fn assert_buckets_and_errors(world: &World, client: &mut ForeignClient) -> Value {
    for name in ["zebra", "alpha"] {
        client.call("create_bucket", json!({"bucket": name})).await;
        client.call("ensure_bucket", json!({"bucket": name})).await;
        world.project.stat_bucket(name).await.expect("exists");
    }
    let listed = client.call("list_buckets", json!({})).await;
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
        let error = client.call_err(op, command).await;
        assert_eq!(error.kind, kind, "{op}: {}", error.text);
    }

    let deleted = client.call("delete", json!({"key": b64("key")})).await;
    client.call("delete_bucket", json!({})).await;
    assert!(world.project.stat_bucket(BUCKET).await.is_err());
    deleted
}
