//! The reference client as an executor of operations.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::{Value, json};
use uplink_interop::{Driver, DriverError};

use self::command::command;
use self::response::outcome;
use super::grant::Grant;
use super::kinds::kind_of;
use super::operation::{Operation, SEGMENT, Step};
use super::outcome::Outcome;
use super::slots::Slots;
use super::world::text;

mod command;
mod response;

/// The reference client with all grants.
pub(crate) struct Theirs {
    driver: Driver,
    grants: BTreeMap<Grant, String>,
    slots: Slots,
}

impl Theirs {
    pub(crate) async fn new(root: &str) -> Self {
        let mut driver = Driver::go(&[]).unwrap_or_else(|error| panic!("{error}"));
        let mut grants = BTreeMap::new();
        for grant in Grant::ALL {
            let shared = driver.call(&grant.share_command(root)).await;
            let shared = shared.unwrap_or_else(|error| panic!("{grant:?}: {error}"));
            grants.insert(grant, text(&shared["access"]).to_owned());
        }
        Self { driver, grants, slots: Slots::default() }
    }

    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Runs an operation at a time of the network.
    pub(crate) async fn run(&mut self, step: &Step, now: SystemTime) -> Outcome {
        if self.slots.skips(step) {
            return Outcome::Done;
        }
        let operation = &step.operation;
        let Some((op, fields)) = command(operation, &self.slots, now) else {
            // The runner advances the clock.
            return Outcome::Done;
        };
        match self.driver.call(&self.complete(op, fields, step.grant)).await {
            Ok(response) => {
                self.record(operation, &response);
                outcome(operation, &response, &self.slots, now)
            }
            Err(DriverError::Client(error)) => {
                let text = format!("{} ({}, code {})", error.text, error.kind, error.code);
                Outcome::failed(kind_of(operation, &error), text)
            }
            Err(error) => panic!("{step:?}: {error}"),
        }
    }

    /// Records what later operations on uploads need.
    fn record(&mut self, operation: &Operation, response: &Value) {
        match *operation {
            Operation::BeginUpload { slot, at, .. } => {
                self.slots.begin(slot, text(&response["upload_id"]), at);
            }
            Operation::UploadPart { slot, .. } => self.slots.add_part(slot),
            _ => {}
        }
    }

    fn complete(&self, op: &str, mut fields: Value, grant: Grant) -> Value {
        fields["op"] = op.into();
        fields["access"] = self.grants[&grant].clone().into();
        fields["segment_size"] = json!(SEGMENT);
        fields
    }
}
