//! A network with a project, our client and the reference client.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uplink::{Access, Config, Error, Object, Project};
use uplink_interop::{ClientError, Driver};
use uplink_testnet::{Network, Options};

/// The bucket that every world starts with.
pub(crate) const BUCKET: &str = "bucket";
/// Segment size of tests that need several segments quickly.
pub(crate) const SMALL_SEGMENT: u64 = 1 << 20;
pub(crate) const PASSPHRASE: &str = "correct horse battery staple";

pub(crate) struct World<N = Network> {
    pub(crate) network: N,
    pub(crate) api_key: String,
    /// Requested by the reference client.
    pub(crate) grant: String,
    /// Our client with that grant.
    pub(crate) project: Project,
    pub(crate) driver: Driver,
    segment_size: u64,
}

impl World {
    /// Starts a network of ten nodes, scheme 4/6/8/10-256, with small segments.
    pub(crate) async fn start() -> Self {
        Self::start_with(Options::new(), SMALL_SEGMENT, &[]).await
    }

    /// Starts a network; `environment` configures the reference client.
    pub(crate) async fn start_with(
        options: Options,
        segment_size: u64,
        environment: &[(&str, &str)],
    ) -> Self {
        let network = Network::start(options).await.expect("the network starts");
        let api_key = network.project("test").await.expect("a project").api_key;
        let satellite = network.satellite_url();
        Self::on(network, &satellite, api_key, segment_size, environment).await
    }

    /// Starts a network; stores names unencrypted if `plain`.
    pub(crate) async fn with_names(plain: bool) -> Self {
        let mut world = Self::start().await;
        if plain {
            let satellite = world.network.satellite_url();
            world.grant = request(&satellite, &world.api_key, &mut world.driver, true).await;
            world.project = open(&world.grant, SMALL_SEGMENT);
        }
        world
    }
}

impl<N: Send + Sync> World<N> {
    /// Creates a world on any network, with an API key of its satellite.
    pub(crate) async fn on(
        network: N,
        satellite: &str,
        api_key: String,
        segment_size: u64,
        environment: &[(&str, &str)],
    ) -> Self {
        let mut driver = Driver::go(environment).unwrap_or_else(|error| panic!("{error}"));
        let grant = request(satellite, &api_key, &mut driver, false).await;
        let project = open(&grant, segment_size);
        project.create_bucket(BUCKET).await.expect("a bucket");
        Self { network, api_key, grant, project, driver, segment_size }
    }

    /// Runs an operation of the reference client with the world's grant, in the world's bucket,
    /// unless `command` names others.
    pub(crate) async fn call(&mut self, op: &str, command: Value) -> Value {
        let answer = self.driver.call(&self.command(op, command)).await;
        answer.unwrap_or_else(|error| panic!("{op}: {error}"))
    }

    /// Runs an operation that must fail.
    pub(crate) async fn call_err(&mut self, op: &str, command: Value) -> ClientError {
        let command = self.command(op, command);
        match self.driver.call(&command).await {
            Ok(answer) => panic!("{command} succeeded with {answer}"),
            Err(error) => error.client_error().unwrap_or_else(|error| panic!("{op}: {error}")),
        }
    }

    fn command(&self, op: &str, mut command: Value) -> Value {
        let fields = command.as_object_mut().expect("an object");
        fields.insert("op".into(), op.into());
        fields.entry("access").or_insert_with(|| self.grant.clone().into());
        fields.entry("bucket").or_insert_with(|| BUCKET.into());
        fields.entry("segment_size").or_insert_with(|| self.segment_size.into());
        command
    }

    /// Uploads a pattern with the reference client.
    pub(crate) async fn go_put(&mut self, key: impl AsRef<[u8]>, seed: u8, size: u64) -> Value {
        let custom = custom(size);
        let upload = json!({"key": b64(key), "seed": seed, "size": size, "custom": custom});
        self.call("upload", upload).await
    }

    /// Uploads the same pattern with our client.
    pub(crate) async fn rust_put(&self, key: impl AsRef<[u8]>, seed: u8, size: u64) -> Object {
        let mut upload = self.project.upload_object(BUCKET, key.as_ref()).expect("an upload");
        upload.set_custom_metadata(custom(size)).expect("metadata");
        let mut offset = 0;
        while offset < size {
            let end = size.min(offset + (1 << 20));
            upload.write(&pattern(seed, offset..end)).await.expect("written");
            offset = end;
        }
        upload.commit().await.expect("committed").object
    }

    /// Reads with the reference client, and returns length and SHA-256 of the content.
    pub(crate) async fn go_get(&mut self, key: impl AsRef<[u8]>) -> (u64, String) {
        let read = self.call("download", json!({"key": b64(key)})).await;
        (read["length"].as_u64().expect("a length"), text(&read["sha256"]).to_owned())
    }

    /// Reads with our client, and returns length and SHA-256 of the content.
    pub(crate) async fn rust_get(&self, key: impl AsRef<[u8]>) -> (u64, String) {
        let download = self.project.download_object(BUCKET, key.as_ref()).await;
        let mut download = download.expect("opened");
        let mut length = 0;
        let mut hash = Sha256::new();
        while let Some(bytes) = download.chunk().await.expect("read") {
            length += bytes.len() as u64;
            hash.update(&bytes);
        }
        (length, hex::encode(hash.finalize()))
    }

    /// Asserts that both clients read an object as the pattern, with its metadata.
    pub(crate) async fn assert_read(&mut self, key: impl AsRef<[u8]>, seed: u8, size: u64) {
        let key = key.as_ref();
        self.assert_content(key, seed, size).await;
        let found = self.assert_metadata(key, size).await;
        assert_eq!(found, custom(size), "{}", String::from_utf8_lossy(key));
    }

    /// Asserts that both clients read an object as the pattern.
    pub(crate) async fn assert_content(&mut self, key: &[u8], seed: u8, size: u64) {
        let shown = String::from_utf8_lossy(key);
        let expected = (size, digest(seed, size));
        assert_eq!(self.rust_get(key).await, expected, "{shown} read by ours");
        assert_eq!(self.go_get(key).await, expected, "{shown} read by the reference client");
    }

    /// Asserts that both clients see the same size, metadata and key, and returns the metadata.
    pub(crate) async fn assert_metadata(
        &mut self,
        key: &[u8],
        size: u64,
    ) -> BTreeMap<String, String> {
        let shown = String::from_utf8_lossy(key);
        let ours = self.project.stat_object(BUCKET, key).await.expect("exists");
        let theirs = self.call("stat", json!({"key": b64(key)})).await;
        assert_eq!((ours.size, &theirs["size"]), (size, &json!(size)), "{shown}");
        assert_eq!(json!(ours.custom_metadata), theirs["custom"], "{shown} in both clients");
        assert_eq!(bytes(&theirs["key"]), key);
        ours.custom_metadata
    }
}

/// Opens a grant with our client.
pub(crate) fn open(grant: &str, segment_size: u64) -> Project {
    let access = Access::parse(grant).expect("the reference client's grant");
    Project::open_with(&access, &Config::new().segment_size(segment_size)).expect("a project")
}

async fn request(satellite: &str, api_key: &str, driver: &mut Driver, plain: bool) -> String {
    let command = json!({
        "op": "request_access",
        "satellite": satellite,
        "api_key": api_key,
        "passphrase": PASSPHRASE,
        "plain_names": plain,
    });
    let answer = driver.call(&command).await.unwrap_or_else(|error| panic!("a grant: {error}"));
    text(&answer["access"]).to_owned()
}

/// Reads a whole object of the world's bucket with our client.
pub(crate) async fn read(project: &Project, key: &[u8]) -> Result<Vec<u8>, Error> {
    project.download_object(BUCKET, key).await?.read_to_end(u64::MAX).await.map(Vec::from)
}

/// Writes an object into the world's bucket with our client.
pub(crate) async fn write(project: &Project, key: &[u8], content: &[u8]) -> Result<(), Error> {
    let mut upload = project.upload_object(BUCKET, key)?;
    upload.write(content).await?;
    upload.commit().await.map(drop)
}

/// Returns metadata that depends on the size, with names beyond ASCII.
pub(crate) fn custom(size: u64) -> BTreeMap<String, String> {
    let entry = |name: &str, value: String| (name.to_owned(), value);
    let all = [entry("size", size.to_string()), entry("größe", "ключ: 鍵".into())];
    // Some objects have no metadata.
    all.into_iter().filter(|_| !size.is_multiple_of(5)).collect()
}

/// Returns a range of the pattern that the driver generates from a seed.
pub(crate) fn pattern(seed: u8, range: std::ops::Range<u64>) -> Vec<u8> {
    range.map(|i| (i * 131 + (i >> 8) * 17 + u64::from(seed)) as u8).collect()
}

/// Returns the SHA-256 of a pattern.
pub(crate) fn digest(seed: u8, size: u64) -> String {
    let mut hash = Sha256::new();
    for start in (0..size).step_by(1 << 20) {
        hash.update(pattern(seed, start..size.min(start + (1 << 20))));
    }
    hex::encode(hash.finalize())
}

/// Returns the SHA-256 of some bytes.
#[allow(dead_code, reason = "not all tests that share this need it")]
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// Decodes the bytes of a response field; empty for null.
pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    value.as_str().map(|text| BASE64_STANDARD.decode(text).expect("Base64")).unwrap_or_default()
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

pub(crate) fn items(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}
