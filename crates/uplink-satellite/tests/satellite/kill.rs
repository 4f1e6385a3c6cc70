//! Durability: acknowledged writes survive SIGKILL.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use uplink_core::macaroon::ApiKey;
use uplink_core::node_url::NodeUrl;
use uplink_rpc::channel::Channel;
use uplink_rpc::client;
use uplink_rpc::dial::Dialer;
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::metainfo_client::MetainfoClient;
use uplink_rpc::r#gen::metainfo::*;
use uplink_rpc::pool::Pool;
use uplink_rpc::status::{Code, Failure};
use uplink_rpc::tls::Identity;

use crate::network::{begin_object, header, inline_segment};
use crate::program::{Program, free_port};

const ROUNDS: u64 = 10;
const WRITERS: usize = 4;
const KEYS: usize = 6;
const TIMEOUT: Duration = Duration::from_secs(10);

/// Allowed content of a key: that of the last acknowledged call and that of a call without response.
#[derive(Clone, Debug, Default)]
struct KeyState {
    acknowledged: Option<u64>,
    in_flight: Option<Option<u64>>,
}

struct Target {
    channel: Channel,
    api_key: ApiKey,
}

impl Target {
    fn client(&self) -> MetainfoClient<Channel> {
        client::metainfo(self.channel.clone())
    }

    async fn put(&self, key: &str, content: u64) -> Result<(), Failure> {
        let requests = [
            Request::ObjectBegin(begin_object("bucket", key.as_bytes())),
            Request::SegmentMakeInline(inline_segment(0, 0, &content.to_be_bytes())),
            Request::ObjectCommit(CommitObjectRequest::default()),
        ];
        let requests = requests.map(|request| BatchRequestItem { request: Some(request) });
        let request = BatchRequest { requests: requests.into(), header: header(&self.api_key) };
        self.client().batch(request).await.map(drop).map_err(Failure::from)
    }

    async fn delete(&self, key: &str) -> Result<(), Failure> {
        let request = BeginDeleteObjectRequest {
            bucket: "bucket".into(),
            encrypted_object_key: key.to_owned().into(),
            header: header(&self.api_key),
            ..Default::default()
        };
        self.client().begin_delete_object(request).await.map(drop).map_err(Failure::from)
    }

    async fn content(&self, key: &str) -> Option<u64> {
        let request = DownloadObjectRequest {
            bucket: "bucket".into(),
            encrypted_object_key: key.to_owned().into(),
            header: header(&self.api_key),
            ..Default::default()
        };
        match self.client().download_object(request).await {
            Ok(answer) => {
                let data = &answer.into_inner().segment_download[0].encrypted_inline_data;
                Some(u64::from_be_bytes(data[..].try_into().unwrap()))
            }
            Err(status) => {
                let failure = Failure::from(status);
                assert_eq!(failure.code, Code::NOT_FOUND, "{failure}");
                None
            }
        }
    }
}

/// Writes, overwrites and deletes the keys of one writer until a call fails.
async fn write(
    target: Arc<Target>,
    writer: usize,
    mut states: HashMap<String, KeyState>,
    mut content: u64,
) -> (usize, HashMap<String, KeyState>, u64, usize) {
    for acknowledged in 0.. {
        content += 1;
        let key = format!("{writer}-{}", content % KEYS as u64);
        let next = (!content.is_multiple_of(5)).then_some(content);
        let state = states.entry(key.clone()).or_default();
        state.in_flight = Some(next);
        let outcome = match next {
            Some(content) => timeout(TIMEOUT, target.put(&key, content)).await,
            None => timeout(TIMEOUT, target.delete(&key)).await,
        };
        if !matches!(outcome, Ok(Ok(()))) {
            return (writer, states, content, acknowledged);
        }
        *state = KeyState { acknowledged: next, in_flight: None };
    }
    unreachable!("a writer ends with a failed call")
}

#[tokio::test]
async fn acknowledged_commits_and_deletions_survive_sigkill() {
    let listen = format!("listen=127.0.0.1:{}", free_port());
    let program = Program::set_up(&["--set", &listen]);
    let made = program.json(&["project", "create", "project"]);
    let url: NodeUrl = made["satellite"].as_str().unwrap().parse().unwrap();
    let api_key = ApiKey::parse(made["api_key"].as_str().unwrap()).unwrap();
    let mut writers: HashMap<usize, (HashMap<String, KeyState>, u64)> =
        (0..WRITERS).map(|writer| (writer, Default::default())).collect();
    let mut acknowledged = 0;
    for round in 0..=ROUNDS {
        let (mut child, _) = program.serve().await;
        let pool = Pool::new(Dialer::new(&Identity::generate().unwrap()).unwrap());
        let channel = pool.peer(url.id.unwrap(), &url.address).channel();
        let target = Arc::new(Target { channel, api_key: api_key.clone() });
        if round == 0 {
            let request = CreateBucketRequest {
                name: "bucket".into(),
                header: header(&api_key),
                ..Default::default()
            };
            target.client().create_bucket(request).await.unwrap();
        }
        check(&target, &mut writers).await;
        if round == ROUNDS {
            child.kill().await.unwrap();
            break;
        }
        let mut tasks = JoinSet::new();
        for (writer, (states, content)) in writers.drain() {
            tasks.spawn(write(Arc::clone(&target), writer, states, content));
        }
        sleep(Duration::from_millis(40 + round * 53 % 400)).await;
        child.kill().await.unwrap();
        while let Some(done) = tasks.join_next().await {
            let (writer, states, content, count) = done.unwrap();
            writers.insert(writer, (states, content));
            acknowledged += count;
        }
    }
    assert!(acknowledged > 50, "too few acknowledged calls: {acknowledged}");
}

/// Verifies that every key has an allowed content, and records that content as acknowledged.
async fn check(target: &Target, writers: &mut HashMap<usize, (HashMap<String, KeyState>, u64)>) {
    for (states, _) in writers.values_mut() {
        for (key, state) in states {
            let found = target.content(key).await;
            let allowed = found == state.acknowledged || state.in_flight == Some(found);
            assert!(allowed, "{key}: found {found:?}, allowed {state:?}");
            *state = KeyState { acknowledged: found, in_flight: None };
        }
    }
}
