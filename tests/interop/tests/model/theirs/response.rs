//! Responses of the driver.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::operation::Operation;
use super::super::outcome::{Item, Lifetime, Outcome, Seen, SeenPart};
use super::super::slots::Slots;
use super::super::world::{bytes, items, text};

/// Returns what the response says in the form that is equal for all clients.
pub(super) fn outcome(
    operation: &Operation,
    response: &Value,
    slots: &Slots,
    now: SystemTime,
) -> Outcome {
    match operation {
        Operation::CommitUpload { .. } | Operation::Copy { .. } | Operation::Stat { .. } => {
            Outcome::Object(seen(response, now))
        }
        Operation::Delete { .. } => Outcome::Deleted(!response.is_null()),
        Operation::Download { .. } => Outcome::Content {
            object: seen(&response["object"], now),
            length: number(&response["length"]),
            sha256: text(&response["sha256"]).to_owned(),
        },
        Operation::List(_) => {
            Outcome::Listed(items(response).iter().map(|entry| item(entry, now)).collect())
        }
        Operation::ListBuckets { .. } => {
            let name = |bucket: &Value| text(&bucket["name"]).to_owned();
            Outcome::Buckets(items(response).iter().map(name).collect())
        }
        Operation::ListParts { .. } => Outcome::Parts(items(response).iter().map(part).collect()),
        Operation::ListUploads { .. } => {
            Outcome::uploads(items(response).iter().map(|entry| upload(entry, slots)).collect())
        }
        Operation::Upload { .. } | Operation::UploadPart { .. } => {
            Outcome::Written(number(&response["size"]))
        }
        _ => Outcome::Done,
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is not a size"))
}

fn key(of: &Value) -> String {
    String::from_utf8_lossy(&bytes(&of["key"])).into_owned()
}

fn seen(object: &Value, now: SystemTime) -> Seen {
    let custom: Option<BTreeMap<String, String>> =
        serde_json::from_value(object["custom"].clone()).expect("custom metadata");
    let expires = object["expires"]
        .as_str()
        .map(|at| SystemTime::from(OffsetDateTime::parse(at, &Rfc3339).expect("a time")));
    Seen {
        key: key(object),
        size: number(&object["size"]),
        custom: custom.unwrap_or_default(),
        lifetime: Lifetime::new(expires, now),
    }
}

fn item(entry: &Value, now: SystemTime) -> Item {
    match entry["is_prefix"] == true {
        true => Item::Prefix(key(entry)),
        false => Item::Object(seen(entry, now)),
    }
}

fn part(entry: &Value) -> SeenPart {
    SeenPart {
        number: u32::try_from(number(&entry["part"])).expect("a part number"),
        size: number(&entry["size"]),
        etag: String::from_utf8_lossy(&bytes(&entry["etag"])).into_owned(),
    }
}

fn upload(entry: &Value, slots: &Slots) -> (String, Option<usize>) {
    let id = || slots.number(text(&entry["upload_id"])).unwrap_or(usize::MAX);
    (key(entry), (entry["is_prefix"] != true).then(id))
}
