//! A network behind a malicious satellite, with both clients on it.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use uplink::Project;
use uplink_interop::{Driver, DriverError};

use super::world::{BUCKET, SEGMENT, World};

pub(crate) struct Clients {
    pub(crate) world: World,
    /// Our client, connected to the satellite itself.
    pub(crate) ours: Project,
    driver: Mutex<Driver>,
    honest_grant: String,
    malicious_grant: String,
}

/// Makes the reference client send single calls, which forgeries can answer.
const PLAIN_BATCHES: (&str, &str) = ("STORJ_COMPRESSED_BATCH", "false");

/// Timeout of the reference client, which retries for some seconds before it fails.
const TIMEOUT: Duration = Duration::from_secs(20);

impl Clients {
    pub(crate) async fn start() -> Self {
        let world = World::start().await;
        let grant = |access: &uplink::Access| access.serialize().expect("a grant");
        let honest_grant = grant(&world.honest_access);
        let malicious_grant = grant(&world.malicious_access);
        let ours = world.honest.clone();
        let driver = Mutex::new(start());
        Self { world, ours, driver, honest_grant, malicious_grant }
    }

    /// Calls the reference client, connected to the satellite itself.
    pub(crate) async fn call(&self, op: &str, command: Value) -> Value {
        let answer = self.run(op, &self.honest_grant, command).await;
        answer.unwrap_or_else(|error| panic!("{op}: {error}"))
    }

    /// Calls the reference client, connected to the proxy.
    pub(crate) async fn call_through_proxy(
        &self,
        op: &str,
        command: Value,
    ) -> Result<Value, String> {
        self.run(op, &self.malicious_grant, command).await
    }

    /// Copies or moves an object with the reference client.
    pub(crate) async fn copy_or_move(&self, op: &str, from: &str, to: &str) {
        let command = json!({"key": b64(from), "new_bucket": BUCKET, "new_key": b64(to)});
        self.call(op, command).await;
    }

    async fn run(&self, op: &str, grant: &str, mut command: Value) -> Result<Value, String> {
        let fields = command.as_object_mut().expect("an object");
        fields.insert("op".into(), op.into());
        fields.insert("access".into(), grant.into());
        fields.insert("bucket".into(), BUCKET.into());
        fields.insert("segment_size".into(), SEGMENT.into());
        let mut driver = self.driver.lock().await;
        match driver.call(&command).await {
            // The process is stuck; a new one replaces it.
            Err(error @ DriverError::TimedOut { .. }) => {
                *driver = start();
                Err(error.to_string())
            }
            answer => answer.map_err(|error| match error.client_error() {
                Ok(refusal) => refusal.text,
                Err(error) => panic!("{op}: {error}"),
            }),
        }
    }
}

fn start() -> Driver {
    let driver = Driver::go(&[PLAIN_BATCHES]).unwrap_or_else(|error| panic!("{error}"));
    driver.with_timeout(TIMEOUT)
}

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_STANDARD.encode(bytes)
}
