//! The project of a set: its keys, and the objects that its scenarios have stored.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use uplink_core::access_grant::AccessGrant;
use uplink_core::encryption::EncryptionStore;
use uplink_core::encryption::path::decrypt_path;
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;

use super::recording::{RECORDING, Scenario, text};

/// Returns the encryption keys of a scenario's access grant, or of the set's project.
pub(crate) fn keys(set: &str, scenario: &Scenario<'_>) -> EncryptionStore {
    let project = text(&RECORDING[set]["project"]["access"]);
    let grant = AccessGrant::parse(scenario.input("access").unwrap_or(project)).expect("a grant");
    grant.encryption().clone()
}

/// Returns the name of the object that a scenario writes or reads.
///
/// Prefers the name in the request: the recording's own text is inexact if the name is not UTF-8.
pub(crate) fn name(keys: &EncryptionStore, scenario: &Scenario<'_>) -> Vec<u8> {
    for (request, _) in scenario.exchanges() {
        if let Request::ObjectBegin(begin) = request {
            return decrypt_path(keys, &begin.bucket, &begin.encrypted_object_key).expect("a name");
        }
    }
    scenario.input("key").expect("a name").as_bytes().to_vec()
}

/// Generates the bytes that a scenario describes by length and seed.
pub(crate) fn plaintext(data: &Value) -> Vec<u8> {
    let number = |name: &str| data[name].as_u64().expect("a number");
    let length = number("len");
    let seed = number("seed");
    (0..length).map(|i| (i * 131 + (i >> 8) * 17 + seed) as u8).collect()
}

/// Returns the custom metadata in a scenario's input or output.
pub(crate) fn custom(value: &Value) -> BTreeMap<String, String> {
    match &value["custom"] {
        Value::Null => BTreeMap::new(),
        custom => serde_json::from_value(custom.clone()).expect("texts"),
    }
}

/// A stored object in plaintext.
#[derive(Clone, Debug, Default)]
pub(crate) struct Object {
    pub(crate) custom: BTreeMap<String, String>,
    pub(crate) data: Vec<u8>,
}

/// The objects of a project by bucket and name.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    by_name: HashMap<(String, String), Object>,
    parts: Vec<u8>,
}

impl Objects {
    /// Returns an object that an earlier scenario stored.
    pub(crate) fn object(&self, bucket: &[u8], name: &[u8]) -> &Object {
        let key = [bucket, name].map(|text| String::from_utf8_lossy(text).into_owned());
        let [bucket, name] = key;
        let object = self.by_name.get(&(bucket.clone(), name.clone()));
        object.unwrap_or_else(|| panic!("{name} in {bucket} is not stored"))
    }

    /// Applies the effect of a scenario.
    pub(crate) fn apply(&mut self, scenario: &Scenario<'_>) {
        if !scenario.succeeded() {
            return;
        }
        let input = scenario.input;
        let place = |bucket: &str, key: &str| {
            Some((scenario.input(bucket)?.to_owned(), scenario.input(key)?.to_owned()))
        };
        let kind = scenario.name.trim_start_matches("c/").split('_').next().unwrap_or_default();
        match (kind, place("bucket", "key"), place("from_bucket", "from_key")) {
            ("upload", Some(place), _) if !input["data"].is_null() => {
                let object = Object { custom: custom(input), data: plaintext(&input["data"]) };
                self.by_name.insert(place, object);
            }
            ("metadata", Some(place), _) if !input["custom"].is_null() => {
                let object = self.by_name.get_mut(&place).expect("an object");
                object.custom = custom(input);
            }
            ("copy" | "move", _, Some(from)) => {
                let object = self.by_name.get(&from).expect("an object").clone();
                let to = ("to_bucket", "to_key");
                self.by_name.insert(place(to.0, to.1).expect("a target"), object);
            }
            ("multipart", Some(place), _) => match scenario.name {
                "multipart_part_1" | "multipart_part_2_two_segments" => {
                    self.parts.extend(plaintext(&input["data"]));
                }
                "multipart_commit" | "multipart_part_zero_bytes" => {
                    let data = std::mem::take(&mut self.parts);
                    self.by_name.insert(place, Object { custom: custom(input), data });
                }
                _ => {}
            },
            _ => {}
        }
    }
}
