//! A network behind a satellite that can lie, with both clients on it.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use uplink::Project;
use uplink_interop::{Judge, JudgeError};

use super::world::{BUCKET, SEGMENT, World};

pub(crate) struct Clients {
    pub(crate) world: World,
    /// Our client before the satellite itself.
    pub(crate) ours: Project,
    judge: Mutex<Judge>,
    honest_grant: String,
    lying_grant: String,
}

/// The stories answer calls one by one, as the reference client makes them with this setting.
const PLAIN_BATCHES: (&str, &str) = ("STORJ_COMPRESSED_BATCH", "false");

/// Time for the reference client, which retries for some seconds before it gives up.
const DEADLINE: Duration = Duration::from_secs(20);

impl Clients {
    pub(crate) async fn start() -> Self {
        let world = World::start().await;
        let grant = |access: &uplink::Access| access.serialize().expect("a grant");
        let (honest_grant, lying_grant) = (grant(&world.honest_access), grant(&world.lying_access));
        let (ours, judge) = (world.honest.clone(), Mutex::new(start()));
        Self { world, ours, judge, honest_grant, lying_grant }
    }

    /// Lets the reference client do something through the satellite itself.
    pub(crate) async fn ask(&self, op: &str, command: Value) -> Value {
        let answer = self.command(op, &self.honest_grant, command).await;
        answer.unwrap_or_else(|error| panic!("{op}: {error}"))
    }

    /// Lets the reference client do something through the proxy.
    pub(crate) async fn ask_lied_to(&self, op: &str, command: Value) -> Result<Value, String> {
        self.command(op, &self.lying_grant, command).await
    }

    /// Lets the reference client copy or move an object.
    pub(crate) async fn carry(&self, op: &str, from: &str, to: &str) {
        let command = json!({"key": b64(from), "new_bucket": BUCKET, "new_key": b64(to)});
        self.ask(op, command).await;
    }

    async fn command(&self, op: &str, grant: &str, mut command: Value) -> Result<Value, String> {
        let fields = command.as_object_mut().expect("an object");
        fields.insert("op".into(), op.into());
        fields.insert("access".into(), grant.into());
        fields.insert("bucket".into(), BUCKET.into());
        fields.insert("segment_size".into(), SEGMENT.into());
        let mut judge = self.judge.lock().await;
        match judge.ask(&command).await {
            // It would never answer: another one takes its place.
            Err(error @ JudgeError::Deadline { .. }) => {
                *judge = start();
                Err(error.to_string())
            }
            answer => answer.map_err(|error| match error.refusal() {
                Ok(refusal) => refusal.text,
                Err(error) => panic!("{op}: {error}"),
            }),
        }
    }
}

fn start() -> Judge {
    let judge = Judge::go(&[PLAIN_BATCHES]).unwrap_or_else(|error| panic!("{error}"));
    judge.with_deadline(DEADLINE)
}

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_STANDARD.encode(bytes)
}
