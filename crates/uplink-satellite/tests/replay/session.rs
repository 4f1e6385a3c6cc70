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

use crate::accepted::{self, Difference};
use crate::network::Network;
use crate::recording::{self, Call, Scenario};
use crate::{Counts, fields, wire};

/// 2026-11-24 19:40:30: within the validity of the recorded keys and objects.
const NOW: u64 = 1_795_549_230;

/// A satellite configured like the recorded one, and the state of the replay.
pub(crate) struct Session {
    pub(crate) network: Network,
    pub(crate) counts: Counts,
    pub(crate) differences: Vec<String>,
    /// Names of the accepted differences that were seen.
    pub(crate) used: BTreeSet<&'static str>,
    /// Values of the recorded satellite and the corresponding values of ours.
    names: BTreeMap<Bytes, Bytes>,
    /// Order limits by segment id of our satellite.
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
        let head = key.head().to_vec();
        let secret = Secret::new(secret);
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
        for (index, call) in scenario.calls.iter().enumerate() {
            let location = format!("{}[{index}] {}", scenario.name, &call.path[19..]);
            let (request, response) = fields::of_call(call.path);
            let request = DynamicMessage::decode(request, call.request.clone()).unwrap();
            let request = self.adapt(request).encode_to_vec().into();
            let answer = wire::call(self.network.channel(), call.path, request).await;
            self.counts.calls += 1;
            self.compare(&location, call, answer, response);
        }
    }

    /// Replaces values of the recorded satellite in a request by those of ours.
    fn adapt(&self, mut request: DynamicMessage) -> DynamicMessage {
        if request.descriptor().name() == "CompressedBatchRequest" {
            let data = bytes_of(&request, "data");
            let batch = DynamicMessage::decode(fields::message("BatchRequest"), data).unwrap();
            let batch = self.adapt(batch).encode_to_vec();
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

    /// Replaces hashes of recorded nodes by hashes that our nodes sign.
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
        location: &str,
        call: &Call,
        answer: Result<Bytes, Failure>,
        response: MessageDescriptor,
    ) {
        match (&call.answer, answer) {
            (Some(Ok(recorded)), Ok(own)) => {
                let read = |wire: &Bytes| {
                    decompressed(DynamicMessage::decode(response.clone(), wire.clone()).unwrap())
                };
                self.compare_messages(location, &read(recorded), &read(&own));
            }
            (Some(Err(recorded)), Err(own)) => {
                self.counts.rejected += 1;
                self.compare_failures(location, recorded, &own);
            }
            (recorded, own) => {
                let own = format!("{:?}", own.map(hex::encode));
                match accepted::outcome(location, &own) {
                    Some(name) => _ = self.used.insert(name),
                    None => {
                        let text = format!("{location}: recorded {recorded:?}, own {own}");
                        self.differences.push(text);
                    }
                }
            }
        }
    }

    fn compare_failures(&mut self, location: &str, recorded: &Failure, own: &Failure) {
        self.counts.fields += 2;
        let other_text = || accepted::text(&recorded.message, &own.message);
        if recorded.code != own.code {
            self.differences.push(format!("{location}: recorded {recorded:?}, own {own:?}"));
        } else if recorded.message != own.message {
            match other_text() {
                Some(name) => _ = self.used.insert(name),
                None => {
                    self.differences.push(format!("{location}: recorded {recorded:?}, own {own:?}"))
                }
            }
        }
    }

    fn compare_messages(
        &mut self,
        location: &str,
        recorded: &DynamicMessage,
        own: &DynamicMessage,
    ) {
        self.record_names(location, recorded, own);
        let recorded = fields::fields(recorded);
        let own = fields::fields(own);
        let paths: BTreeSet<&String> = recorded.keys().chain(own.keys()).collect();
        for path in paths {
            self.counts.fields += 1;
            let pair = (recorded.get(path), own.get(path));
            if pair.0 == pair.1 {
                continue;
            }
            match accepted::difference(location, path, pair) {
                Difference::Accepted(name) => _ = self.used.insert(name),
                Difference::Unexplained => {
                    let (recorded, own) = pair;
                    let text = format!("{location} {path}: recorded {recorded:?}, own {own:?}");
                    self.differences.push(text);
                }
            }
        }
    }

    /// Records corresponding values of both satellites.
    fn record_names(&mut self, location: &str, recorded: &DynamicMessage, own: &DynamicMessage) {
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
                        let text = format!("{location} {}: changed", field.name());
                        self.differences.push(text);
                    }
                }
                (Value::Message(recorded), Value::Message(own)) => {
                    self.record_names(location, recorded, own)
                }
                (Value::List(recorded), Value::List(own)) => {
                    for pair in recorded.iter().zip(own) {
                        if let (Value::Message(recorded), Value::Message(own)) = pair {
                            self.record_names(location, recorded, own);
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

/// Fields whose values later requests contain.
const NAMES: [&str; 3] = ["stream_id", "segment_id", "object_version"];

/// Returns the response, or the batch inside a compressed one.
fn decompressed(response: DynamicMessage) -> DynamicMessage {
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
