//! The file of recorded traffic: calls to the satellite with their responses.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;
use uplink_rpc::status::{Code, Failure};

static RECORDING: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../../../../tests/vectors/rpc-transcripts.json");
    serde_json::from_str(text).unwrap()
});

/// One use case of the reference client.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) calls: Vec<Call>,
}

/// A call to the satellite.
pub(crate) struct Call {
    /// The path, such as `/metainfo.Metainfo/GetObject`.
    pub(crate) path: &'static str,
    pub(crate) request: Bytes,
    /// `None` if the connection was lost.
    pub(crate) answer: Option<Result<Bytes, Failure>>,
}

/// Returns the scenarios of a set in order.
pub(crate) fn scenarios(set: &str) -> impl Iterator<Item = Scenario> {
    list(&RECORDING[set]["scenarios"]).iter().map(|scenario| Scenario {
        name: text(&scenario["name"]),
        calls: list(&scenario["calls"]).iter().filter_map(call).collect(),
    })
}

/// Returns the API key of a set's project in text form, and its secret.
pub(crate) fn api_key(set: &str) -> (&'static str, Vec<u8>) {
    let project = &RECORDING[set]["project"];
    (text(&project["api_key"]), hex::decode(text(&project["api_key_secret_hex"])).unwrap())
}

fn call(call: &'static Value) -> Option<Call> {
    let path = text(&call["rpc"]);
    path.starts_with("/metainfo.Metainfo/").then_some(())?;
    let messages = |side: &'static str| {
        list(&call["msgs"]).iter().filter(move |entry| entry[1] == side).map(|entry| &entry[2])
    };
    let wire =
        |value: &Value| value.as_str().map(|text| Bytes::from(STANDARD.decode(text).unwrap()));
    let failure = |value: &Value| {
        let code = value.get("error_code")?.as_u64()?;
        Some(Failure::new(Code(code), text_of(&value["error_text"])))
    };
    let answer = |value| wire(value).map(Ok).or_else(|| failure(value).map(Err));
    Some(Call {
        path,
        request: messages("c").find_map(wire).unwrap(),
        answer: messages("s").find_map(answer),
    })
}

fn list(value: &'static Value) -> &'static Vec<Value> {
    value.as_array().unwrap()
}

fn text(value: &'static Value) -> &'static str {
    value.as_str().unwrap()
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
