//! Types of responses and their fields, read from the protocol files.

use std::collections::HashMap;
use std::sync::LazyLock;

use bytes::Bytes;
use prost_reflect::{DescriptorPool, FieldDescriptor, MessageDescriptor};
use uplink_testnet::Call;
use uplink_testnet::wire::{self, Value};

/// The response that contains the responses of a batch.
pub(crate) const BATCH: &str = "BatchResponse";

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/malicious");
    let files = protox::compile(["metainfo.proto", "stream_meta.proto"], [proto, own]);
    let files = files.expect("the protocol files");
    DescriptorPool::from_file_descriptor_set(files).expect("descriptors")
});

/// Names of the responses in a batch, by field number.
static ITEMS: LazyLock<HashMap<u32, String>> = LazyLock::new(|| {
    let name = |field: FieldDescriptor| {
        let kind = field.kind();
        (field.number(), kind.as_message().expect("an answer").name().to_owned())
    };
    message("BatchResponseItem").fields().map(name).collect()
});

/// Returns a message of the metadata service.
pub(crate) fn message(name: &str) -> MessageDescriptor {
    POOL.get_message_by_name(&format!("metainfo.{name}")).expect("a message")
}

/// Returns the message that is encoded in a bytes field, if there is one.
pub(crate) fn within(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.full_name() {
        "metainfo.Object.encrypted_metadata" | "metainfo.ObjectListItem.encrypted_metadata" => {
            POOL.get_message_by_name("stream_meta.StreamMeta")
        }
        _ => None,
    }
}

/// Returns the name of a method's response.
fn response_of(method: &str) -> String {
    let service = POOL.get_service_by_name("metainfo.Metainfo").expect("the service");
    let found = service.methods().find(|known| known.name() == method).expect("a method");
    found.output().name().to_owned()
}

/// Passes every response in an encoded response to `visit`, those of a batch before the batch, and
/// returns the response with the results of `visit` in their place.
pub(crate) fn rewrite(
    call: &Call,
    answer: Bytes,
    visit: &mut dyn FnMut(&str, Bytes) -> Bytes,
) -> Bytes {
    if call.method != "Batch" {
        return visit(&response_of(&call.method), answer);
    }
    let mut responses = wire::decode(answer).expect("a valid response");
    for response in &mut responses {
        let Value::Bytes(item) = &mut response.value else { continue };
        let mut fields = wire::decode(item.clone()).expect("an item");
        for field in &mut fields {
            let name = ITEMS.get(&field.number);
            if let (Some(name), Value::Bytes(bytes)) = (name, &mut field.value) {
                *bytes = visit(name, bytes.clone());
            }
        }
        *item = wire::encode(&fields);
    }
    visit(BATCH, wire::encode(&responses))
}
