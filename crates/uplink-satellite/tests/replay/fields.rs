//! Decoding of messages into named fields by the protocol files.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage, Value};

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto");
    let files = protox::compile(["metainfo.proto"], [folder]).unwrap();
    DescriptorPool::from_file_descriptor_set(files).unwrap()
});

/// Seconds of the start of year 1, which means "not set".
const YEAR_ONE: i64 = -62_135_596_800;

/// Returns the descriptor of a message of the metadata service.
pub(crate) fn message(name: &str) -> MessageDescriptor {
    POOL.get_message_by_name(&format!("metainfo.{name}")).unwrap()
}

/// Returns the request and response descriptors of a call.
pub(crate) fn of_call(path: &str) -> (MessageDescriptor, MessageDescriptor) {
    let service = POOL.get_service_by_name("metainfo.Metainfo").unwrap();
    let name = path.rsplit('/').next().unwrap();
    let method = service.methods().find(|method| method.name() == name).unwrap();
    (method.input(), method.output())
}

/// Returns all set fields with their values as texts. A list has an entry with its length and one per
/// element. Values that mean "none" on the public network (a time in year 1, an all-zero nonce, empty
/// bytes) count as not set.
pub(crate) fn fields(message: &DynamicMessage) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    collect(message, "", &mut fields);
    fields
}

fn collect(message: &DynamicMessage, path: &str, into: &mut BTreeMap<String, String>) {
    for (field, value) in message.fields() {
        let dot = if path.is_empty() { "" } else { "." };
        let path = format!("{path}{dot}{}", field.name());
        match value {
            Value::List(list) => {
                into.insert(path.clone(), format!("{} elements", list.len()));
                for (index, element) in in_order(list).into_iter().enumerate() {
                    insert(element, format!("{path}[{index}]"), into);
                }
            }
            value => insert(value, path, into),
        }
    }
}

fn insert(value: &Value, path: String, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Message(time) if time.descriptor().name() == "Timestamp" => {
            let part = |name: &str| time.get_field_by_name(name).unwrap().into_owned();
            let seconds = part("seconds");
            let nanos = part("nanos");
            if seconds.as_i64() != Some(YEAR_ONE) {
                into.insert(
                    path,
                    format!("{}.{:09}", seconds.as_i64().unwrap(), nanos.as_i32().unwrap()),
                );
            }
        }
        Value::Message(message) => {
            into.insert(path.clone(), "present".to_owned());
            collect(message, &path, into);
        }
        Value::Bytes(bytes) if path.ends_with("nonce") && bytes.iter().all(|byte| *byte == 0) => {}
        Value::Bytes(bytes) => {
            into.insert(path, hex::encode(bytes));
        }
        value => {
            into.insert(path, format!("{value:?}"));
        }
    }
}

/// Returns the elements of a list. The pieces offered for a download are random, so offered ones are
/// sorted first.
fn in_order(list: &[Value]) -> Vec<&Value> {
    let mut list: Vec<&Value> = list.iter().collect();
    list.sort_by_key(|element| match element.as_message() {
        Some(limit) if limit.descriptor().name() == "AddressedOrderLimit" => {
            !limit.has_field_by_name("limit")
        }
        _ => false,
    });
    list
}

/// Replaces byte strings anywhere in a message.
pub(crate) fn replace(message: &mut DynamicMessage, with: &BTreeMap<Bytes, Bytes>) {
    for (_, value) in message.fields_mut() {
        replace_in(value, with);
    }
}

fn replace_in(value: &mut Value, with: &BTreeMap<Bytes, Bytes>) {
    match value {
        Value::Bytes(bytes) => {
            if let Some(other) = with.get(bytes) {
                *bytes = other.clone();
            }
        }
        Value::List(list) => list.iter_mut().for_each(|value| replace_in(value, with)),
        Value::Message(message) => replace(message, with),
        _ => {}
    }
}
