//! The recording file and its messages in order.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::batch_response_item::Response;

use super::message::{self, Content, Read};

pub(crate) static RECORDING: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../../../../tests/vectors/rpc-transcripts.json");
    serde_json::from_str(text).expect("transcripts are JSON")
});

pub(crate) const SETS: [&str; 3] = ["plain", "compressed", "noise"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// The data removed from a piece message.
#[derive(Debug)]
pub(crate) struct Cut<'a> {
    pub(crate) data_length: u64,
    pub(crate) data_hash: &'a str,
    pub(crate) full_hash: &'a str,
}

/// A message as on the wire, without the removed data.
pub(crate) struct Message<'a> {
    pub(crate) side: Side,
    pub(crate) rpc: &'a str,
    pub(crate) wire: Bytes,
    pub(crate) cut: Option<Cut<'a>>,
}

impl Message<'_> {
    pub(crate) fn read(&self) -> Read {
        message::read(self.rpc, self.side, self.wire.clone())
    }
}

/// One call with its messages in order.
pub(crate) struct Call<'a> {
    pub(crate) peer: &'a str,
    pub(crate) messages: Vec<Message<'a>>,
}

impl Call<'_> {
    pub(crate) fn contents(&self) -> impl Iterator<Item = Content> {
        self.messages.iter().map(|message| message.read().content)
    }

    /// Returns requests with their responses. Responses are missing if the satellite failed.
    pub(crate) fn exchanges(&self) -> Vec<(Request, Option<Response>)> {
        let mut requests = Vec::new();
        let mut responses = Vec::new();
        for content in self.contents() {
            match content {
                Content::Requests(more) => requests.extend(more),
                Content::Responses(more) => responses.extend(more),
                _ => {}
            }
        }
        let responses = responses.into_iter().map(Some).chain(std::iter::repeat(None));
        requests.into_iter().zip(responses).collect()
    }
}

/// One operation of the reference client.
pub(crate) struct Scenario<'a> {
    pub(crate) name: &'a str,
    pub(crate) input: &'a Value,
    pub(crate) output: &'a Value,
    pub(crate) calls: Vec<Call<'a>>,
}

impl<'a> Scenario<'a> {
    /// Returns a text in the inputs.
    pub(crate) fn input(&self, name: &str) -> Option<&'a str> {
        self.input[name].as_str()
    }

    /// Returns all requests to the satellite with their responses.
    pub(crate) fn exchanges(&self) -> Vec<(Request, Option<Response>)> {
        self.calls.iter().flat_map(Call::exchanges).collect()
    }

    /// Returns whether the reference client reported success.
    pub(crate) fn succeeded(&self) -> bool {
        self.output["error"].is_null()
    }
}

/// Returns the scenarios of a set in order.
pub(crate) fn scenarios(set: &str) -> Vec<Scenario<'static>> {
    array(&RECORDING[set]["scenarios"]).iter().map(scenario).collect()
}

fn scenario(value: &Value) -> Scenario<'_> {
    Scenario {
        name: text(&value["name"]),
        input: &value["in"],
        output: &value["out"],
        calls: array(&value["calls"]).iter().map(call).collect(),
    }
}

fn call(value: &Value) -> Call<'_> {
    let rpc = text(&value["rpc"]);
    let messages = array(&value["msgs"]).iter().filter_map(|entry| message(rpc, entry)).collect();
    Call { peer: text(&value["peer"]), messages }
}

/// Parses a message; `None` for other entries: errors and ends of streams.
fn message<'a>(rpc: &'a str, entry: &'a Value) -> Option<Message<'a>> {
    let side = if entry[1] == "c" { Side::Client } else { Side::Server };
    let payload = &entry[2];
    let (wire, cut) = match payload {
        Value::String(wire) => (wire.as_str(), None),
        Value::Object(fields) if fields.contains_key("rest") => {
            let cut = Cut {
                data_length: payload["data_len"].as_u64().expect("a length"),
                data_hash: text(&payload["data_sha256"]),
                full_hash: text(&payload["full_sha256"]),
            };
            (text(&payload["rest"]), Some(cut))
        }
        _ => return None,
    };
    let wire = STANDARD.decode(wire).expect("Base64").into();
    Some(Message { side, rpc, wire, cut })
}

pub(crate) fn array(value: &Value) -> &Vec<Value> {
    value.as_array().expect("a list")
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}
