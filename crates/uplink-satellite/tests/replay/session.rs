//! One project's scenarios, played in order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage, Value};
use uplink_core::macaroon::ApiKey;
use uplink_core::secret::Secret;
use uplink_rpc::r#gen::metainfo::{
    AddressedOrderLimit, BeginSegmentResponse, CommitSegmentRequest,
};
use uplink_rpc::status::Failure;
use uplink_satellite::{Config, DownloadOffer};

use crate::Counts;
use crate::accepted::{self, Difference};
use crate::fields;
use crate::network::Network;
use crate::recording::{self, Call, Scenario};
use crate::wire;

/// 2026-11-24 19:40:30: between the times that the recorded keys and objects were given.
const NOW: u64 = 1_795_549_230;

/// A satellite like the recorded one, and what the player knows about both.
pub(crate) struct Session {
    pub(crate) network: Network,
    pub(crate) counts: Counts,
    pub(crate) differences: Vec<String>,
    /// Names of the accepted differences that were seen.
    pub(crate) used: BTreeSet<&'static str>,
    /// What the recorded satellite called something, and what ours calls it.
    names: BTreeMap<Bytes, Bytes>,
    /// Order limits by the segment id that our satellite gave with them.
    limits: BTreeMap<Bytes, Vec<AddressedOrderLimit>>,
}

impl Session {
    pub(crate) async fn start(set: &str) -> Self {
        let mut config = Config::dev();
        config.scheme = "1/2/3/4-256".parse().unwrap();
        config.min_part_size = 5 << 20;
        config.download_offer = DownloadOffer::Narrow;
        let now = UNIX_EPOCH + Duration::from_secs(NOW);
        let network = Network::start_with(5, config, move || now).await;
        let (api_key, secret) = recording::api_key(set);
        let key = ApiKey::parse(api_key).unwrap();
        let (head, secret) = (key.head().to_vec(), Secret::new(secret));
        let project = network.admin.create_project(set).await.unwrap();
        let own = network.admin.import_api_key(&project, set, head, secret, 1).await.unwrap();
        assert_eq!(own.serialize(), api_key);
        Self {
            network,
            counts: Counts::default(),
            differences: Vec::new(),
            used: BTreeSet::new(),
            names: BTreeMap::new(),
            limits: BTreeMap::new(),
        }
    }

    pub(crate) async fn play(&mut self, scenario: &Scenario) {
        for (place, call) in scenario.calls.iter().enumerate() {
            let place = format!("{}[{place}] {}", scenario.name, &call.path[19..]);
            let (request, response) = fields::of_call(call.path);
            let request = DynamicMessage::decode(request, call.request.clone()).unwrap();
            let request = self.adapted(request).encode_to_vec().into();
            let answer = wire::call(self.network.channel(), call.path, request).await;
            self.counts.calls += 1;
            self.compare(&place, call, answer, response);
        }
    }

    /// A request as its sender would have made it had it talked to our satellite.
    fn adapted(&self, mut request: DynamicMessage) -> DynamicMessage {
        if request.descriptor().name() == "CompressedBatchRequest" {
            let data = bytes_of(&request, "data");
            let batch = DynamicMessage::decode(fields::message("BatchRequest"), data).unwrap();
            let batch = self.adapted(batch).encode_to_vec();
            request.set_field_by_name("data", Value::Bytes(batch.into()));
            return request;
        }
        fields::replace(&mut request, &self.names);
        match request.descriptor().name() {
            "CommitSegmentRequest" => self.sign(&mut request),
            "BatchRequest" => {
                let mut items = list_of(&request, "requests");
                for item in &mut items {
                    let Value::Message(item) = item else { unreachable!("a message") };
                    if item.has_field_by_name("segment_commit")
                        && let Some(Value::Message(commit)) =
                            item.get_field_by_name_mut("segment_commit")
                    {
                        self.sign(commit);
                    }
                }
                request.set_field_by_name("requests", Value::List(items));
            }
            _ => {}
        }
        request
    }

    /// Replaces what nodes signed by what the nodes of our limits sign.
    fn sign(&self, commit: &mut DynamicMessage) {
        let mut typed = CommitSegmentRequest::decode(&commit.encode_to_vec()[..]).unwrap();
        let Some(limits) = self.limits.get(&typed.segment_id) else { return };
        for result in &mut typed.upload_result {
            let size = result.hash.as_ref().unwrap().decode_typed().unwrap().piece_size;
            let limit = &limits[usize::try_from(result.piece_num).unwrap()];
            let (node, hash) = self.network.hash(limit, size);
            result.node_id = node.as_bytes().to_vec().into();
            result.hash = Some(hash.into());
        }
        *commit = typed_as_dynamic(&typed);
    }

    fn compare(
        &mut self,
        place: &str,
        call: &Call,
        answer: Result<Bytes, Failure>,
        response: MessageDescriptor,
    ) {
        match (&call.answer, answer) {
            (Some(Ok(recorded)), Ok(own)) => {
                let read = |wire: &Bytes| {
                    opened(DynamicMessage::decode(response.clone(), wire.clone()).unwrap())
                };
                self.compare_messages(place, &read(recorded), &read(&own));
            }
            (Some(Err(recorded)), Err(own)) => {
                self.counts.refused += 1;
                self.compare_failures(place, recorded, &own);
            }
            (recorded, own) => {
                let own = format!("{:?}", own.map(hex::encode));
                match accepted::ending(place, &own) {
                    Some(name) => _ = self.used.insert(name),
                    None => {
                        let text = format!("{place}: recorded {recorded:?}, own {own}");
                        self.differences.push(text);
                    }
                }
            }
        }
    }

    fn compare_failures(&mut self, place: &str, recorded: &Failure, own: &Failure) {
        self.counts.fields += 2;
        let other_text = || accepted::text(&recorded.message, &own.message);
        if recorded.code != own.code {
            self.differences.push(format!("{place}: recorded {recorded:?}, own {own:?}"));
        } else if recorded.message != own.message {
            match other_text() {
                Some(name) => _ = self.used.insert(name),
                None => {
                    self.differences.push(format!("{place}: recorded {recorded:?}, own {own:?}"))
                }
            }
        }
    }

    fn compare_messages(&mut self, place: &str, recorded: &DynamicMessage, own: &DynamicMessage) {
        self.learn(place, recorded, own);
        let (recorded, own) = (fields::fields(recorded), fields::fields(own));
        let paths: BTreeSet<&String> = recorded.keys().chain(own.keys()).collect();
        for path in paths {
            self.counts.fields += 1;
            let pair = (recorded.get(path), own.get(path));
            if pair.0 == pair.1 {
                continue;
            }
            match accepted::difference(place, path, pair) {
                Difference::Accepted(name) => _ = self.used.insert(name),
                Difference::Unexplained => {
                    let (recorded, own) = pair;
                    let text = format!("{place} {path}: recorded {recorded:?}, own {own:?}");
                    self.differences.push(text);
                }
            }
        }
    }

    /// Takes down what both satellites call the same thing.
    fn learn(&mut self, place: &str, recorded: &DynamicMessage, own: &DynamicMessage) {
        if own.descriptor().name() == "BeginSegmentResponse" {
            let begun = BeginSegmentResponse::decode(&own.encode_to_vec()[..]).unwrap();
            self.limits.insert(begun.segment_id.clone(), begun.addressed_limits);
        }
        for (field, value) in recorded.fields() {
            let other = own.get_field(&field);
            match (value, other.as_ref()) {
                (Value::Bytes(recorded), Value::Bytes(own))
                    if NAMES.contains(&field.name()) && !recorded.is_empty() =>
                {
                    let known = self.names.insert(recorded.clone(), own.clone());
                    if known.is_some_and(|known| known != own) {
                        let text = format!("{place} {}: is another than before", field.name());
                        self.differences.push(text);
                    }
                }
                (Value::Message(recorded), Value::Message(own)) => self.learn(place, recorded, own),
                (Value::List(recorded), Value::List(own)) => {
                    for pair in recorded.iter().zip(own) {
                        if let (Value::Message(recorded), Value::Message(own)) = pair {
                            self.learn(place, recorded, own);
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

/// Fields in which satellites name things for later requests.
const NAMES: [&str; 3] = ["stream_id", "segment_id", "object_version"];

/// A response, or the batch inside a compressed one.
fn opened(response: DynamicMessage) -> DynamicMessage {
    if response.descriptor().name() != "CompressedBatchResponse" {
        return response;
    }
    let mut data = bytes_of(&response, "data");
    if response.get_field_by_name("selected").unwrap().as_enum_number() == Some(1) {
        data = zstd::decode_all(&data[..]).unwrap().into();
    }
    DynamicMessage::decode(fields::message("BatchResponse"), data).unwrap()
}

fn bytes_of(message: &DynamicMessage, field: &str) -> Bytes {
    message.get_field_by_name(field).unwrap().as_bytes().unwrap().clone()
}

fn list_of(message: &DynamicMessage, field: &str) -> Vec<Value> {
    message.get_field_by_name(field).unwrap().as_list().unwrap().to_vec()
}

fn typed_as_dynamic(commit: &CommitSegmentRequest) -> DynamicMessage {
    let descriptor = fields::message("CommitSegmentRequest");
    DynamicMessage::decode(descriptor, &commit.encode_to_vec()[..]).unwrap()
}
