//! What was acknowledged survives the death of the process.

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
const DEADLINE: Duration = Duration::from_secs(10);

/// What a key may hold: the last acknowledged content, and that of a call which got no answer.
#[derive(Clone, Debug, Default)]
struct Held {
    acknowledged: Option<u64>,
    open: Option<Option<u64>>,
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

/// Writes, overwrites and deletes the keys of one writer until a call gets no answer.
async fn write(
    target: Arc<Target>,
    writer: usize,
    mut held: HashMap<String, Held>,
    mut content: u64,
) -> (usize, HashMap<String, Held>, u64, usize) {
    for acknowledged in 0.. {
        content += 1;
        let key = format!("{writer}-{}", content % KEYS as u64);
        let next = (!content.is_multiple_of(5)).then_some(content);
        let state = held.entry(key.clone()).or_default();
        state.open = Some(next);
        let outcome = match next {
            Some(content) => timeout(DEADLINE, target.put(&key, content)).await,
            None => timeout(DEADLINE, target.delete(&key)).await,
        };
        if !matches!(outcome, Ok(Ok(()))) {
            return (writer, held, content, acknowledged);
        }
        *state = Held { acknowledged: next, open: None };
    }
    unreachable!("a writer ends with a call that fails")
}

#[tokio::test]
async fn acknowledged_commits_and_deletions_survive_sigkill() {
    let listen = format!("listen=127.0.0.1:{}", free_port());
    let program = Program::set_up(&["--set", &listen]);
    let made = program.json(&["project", "create", "project"]);
    let url: NodeUrl = made["satellite"].as_str().unwrap().parse().unwrap();
    let api_key = ApiKey::parse(made["api_key"].as_str().unwrap()).unwrap();
    let mut writers: HashMap<usize, (HashMap<String, Held>, u64)> =
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
        for (writer, (held, content)) in writers.drain() {
            tasks.spawn(write(Arc::clone(&target), writer, held, content));
        }
        sleep(Duration::from_millis(40 + round * 53 % 400)).await;
        child.kill().await.unwrap();
        while let Some(done) = tasks.join_next().await {
            let (writer, held, content, count) = done.unwrap();
            writers.insert(writer, (held, content));
            acknowledged += count;
        }
    }
    assert!(acknowledged > 50, "{acknowledged} calls are too few to mean anything");
}

/// Compares every key with what it may hold, and takes what it does hold as known.
async fn check(target: &Target, writers: &mut HashMap<usize, (HashMap<String, Held>, u64)>) {
    for (held, _) in writers.values_mut() {
        for (key, state) in held {
            let found = target.content(key).await;
            let allowed = found == state.acknowledged || state.open == Some(found);
            assert!(allowed, "{key} holds {found:?}, may hold {state:?}");
            *state = Held { acknowledged: found, open: None };
        }
    }
}
