//! Authorization: every call with every combination of caveats of the public test vectors.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::Value;
use uplink_core::macaroon::{ApiKey, Caveat};
use uplink_core::secret::Secret;
use uplink_rpc::channel::Channel;
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::metainfo_client::MetainfoClient;
use uplink_rpc::r#gen::metainfo::*;
use uplink_rpc::status::{Code, Failure};
use uplink_satellite::Config;

use crate::calls::{ENCRYPTED, PIECE, PLAIN};
use crate::network::{Network, begin_object, begin_segment, header, inline_segment};

const VECTORS: &str = include_str!("../../../../tests/vectors/access.json");
const NOW: u64 = 1_750_000_000;

/// An operation, bucket and path; operations are numbered as in the vectors.
type Action = (i64, &'static str, &'static str);

/// A call.
struct Call {
    /// Actions of which the key must allow at least one.
    needs: Vec<Action>,
    request: Request,
    /// Code of the response if the call is allowed.
    allowed: Code,
}

/// Objects that calls refer to; created for each round.
struct Fixture {
    pending: Bytes,
    segment: BeginSegmentResponse,
    committed: Object,
}

impl Fixture {
    async fn create(network: &Network) -> Self {
        let committed = network.put_inline("bucket", b"pre/obj", b"data").await;
        let (object, segment) = network.begin("bucket", b"pre/obj").await;
        Self { pending: object.stream_id, segment, committed }
    }

    /// Returns all calls, destructive ones last. Written from the table of permissions, not from the
    /// code.
    fn calls(&self, network: &Network) -> Vec<Call> {
        let mut calls = self.reads();
        calls.extend(self.non_destructive());
        calls.extend(self.writes(network));
        calls
    }

    fn reads(&self) -> Vec<Call> {
        let read = (1, "bucket", "pre/obj");
        let list = |prefix: &'static str| ListObjectsRequest {
            bucket: "bucket".into(),
            encrypted_prefix: prefix.into(),
            ..ListObjectsRequest::default()
        };
        vec![
            ok([(1, "bucket", "")], Request::BucketGet(get_bucket("bucket"))),
            ok([(1, "other", "")], Request::BucketGet(get_bucket("other"))),
            ok(
                [(1, "", "")],
                Request::BucketList(ListBucketsRequest { direction: 2, ..Default::default() }),
            ),
            ok(
                [read, (3, "bucket", "pre/obj")],
                Request::ObjectGet(GetObjectRequest {
                    bucket: "bucket".into(),
                    encrypted_object_key: "pre/obj".into(),
                    ..Default::default()
                }),
            ),
            ok(
                [read],
                Request::ObjectDownload(DownloadObjectRequest {
                    bucket: "bucket".into(),
                    encrypted_object_key: "pre/obj".into(),
                    ..Default::default()
                }),
            ),
            ok(
                [read],
                Request::SegmentDownload(DownloadSegmentRequest {
                    stream_id: self.committed.stream_id.clone(),
                    cursor_position: Some(SegmentPosition::default()),
                    ..Default::default()
                }),
            ),
            ok(
                [read],
                Request::SegmentList(ListSegmentsRequest {
                    stream_id: self.committed.stream_id.clone(),
                    ..Default::default()
                }),
            ),
            ok([(3, "bucket", "")], Request::ObjectList(list(""))),
            ok([(3, "bucket", "pre")], Request::ObjectList(list("pre"))),
            ok([(3, "bucket", "prefix")], Request::ObjectList(list("prefix"))),
        ]
    }

    /// Returns calls that do not change the fixture.
    fn non_destructive(&self) -> Vec<Call> {
        let read = (1, "bucket", "pre/obj");
        let list = (3, "bucket", "pre/obj");
        let item = DeleteObjectsRequestItem {
            encrypted_object_key: "none".into(),
            ..DeleteObjectsRequestItem::default()
        };
        vec![
            ok(
                [(1, "bucket", "")],
                Request::BucketGetLocation(GetBucketLocationRequest {
                    name: "bucket".into(),
                    ..Default::default()
                }),
            ),
            ok(
                [list],
                Request::ObjectListPendingStreams(ListPendingObjectStreamsRequest {
                    bucket: "bucket".into(),
                    encrypted_object_key: "pre/obj".into(),
                    ..Default::default()
                }),
            ),
            ok(
                [read, list],
                Request::ObjectGetIps(GetObjectIPsRequest {
                    bucket: "bucket".into(),
                    encrypted_object_key: "pre/obj".into(),
                    ..Default::default()
                }),
            ),
            // Permission to delete is reported per item.
            ok(
                [(1, "bucket", "")],
                Request::ObjectsDelete(DeleteObjectsRequest {
                    bucket: "bucket".into(),
                    items: vec![item],
                    ..Default::default()
                }),
            ),
            ok(
                [(2, "bucket", "pre/obj")],
                Request::ObjectUpdateMetadata(UpdateObjectMetadataRequest {
                    bucket: "bucket".into(),
                    encrypted_object_key: "pre/obj".into(),
                    stream_id: self.committed.stream_id.clone(),
                    encrypted_metadata: vec![0x0a, 1, 7].into(),
                    encrypted_metadata_encrypted_key: vec![3; 48].into(),
                    encrypted_metadata_nonce: vec![4; 24].into(),
                    ..Default::default()
                }),
            ),
        ]
    }

    fn writes(&self, network: &Network) -> Vec<Call> {
        let write = (2, "bucket", "pre/obj");
        let new_bucket = CreateBucketRequest { name: "bucket".into(), ..Default::default() };
        let full_bucket = DeleteBucketRequest { name: "bucket".into(), ..Default::default() };
        let mut inline = inline_segment(0, 1, b"data");
        inline.stream_id = self.pending.clone();
        let mut begin = begin_segment(0, 0);
        begin.stream_id = self.pending.clone();
        let commit = network.commit_of(&self.segment, PLAIN, ENCRYPTED, PIECE);
        let retry = RetryBeginSegmentPiecesRequest {
            segment_id: self.segment.segment_id.clone(),
            retry_piece_numbers: vec![3],
            ..Default::default()
        };
        let commit_object =
            CommitObjectRequest { stream_id: self.pending.clone(), ..Default::default() };
        let exists = Code::ALREADY_EXISTS;
        vec![
            call([(2, "bucket", "")], Request::BucketCreate(new_bucket), exists),
            // The vectors have no deletion of a bucket; their caveats do not distinguish it from a write.
            call(
                [(2, "bucket", "")],
                Request::BucketDelete(full_bucket),
                Code::FAILED_PRECONDITION,
            ),
            ok([write], Request::ObjectBegin(begin_object("bucket", b"pre/obj"))),
            ok(
                [(2, "bucket", "prefix/x")],
                Request::ObjectBegin(begin_object("bucket", b"prefix/x")),
            ),
            ok([write], Request::SegmentBegin(begin)),
            ok([write], Request::SegmentBeginRetryPieces(retry)),
            ok([write], Request::SegmentCommit(commit)),
            ok([write], Request::SegmentMakeInline(inline)),
            ok([write], Request::ObjectCommit(commit_object)),
            ok(
                [(4, "other", "pre/x")],
                Request::ObjectBeginDelete(delete_object("other", "pre/x")),
            ),
            ok(
                [(4, "bucket", "pre/obj")],
                Request::ObjectBeginDelete(delete_object("bucket", "pre/obj")),
            ),
        ]
    }
}

fn ok(needs: impl IntoIterator<Item = Action>, request: Request) -> Call {
    call(needs, request, Code::OK)
}

fn call(needs: impl IntoIterator<Item = Action>, request: Request, allowed: Code) -> Call {
    Call { needs: needs.into_iter().collect(), request, allowed }
}

fn get_bucket(name: &'static str) -> GetBucketRequest {
    GetBucketRequest { name: name.into(), ..Default::default() }
}

fn delete_object(bucket: &'static str, key: &'static str) -> BeginDeleteObjectRequest {
    BeginDeleteObjectRequest {
        bucket: bucket.into(),
        encrypted_object_key: key.into(),
        ..Default::default()
    }
}

/// Sends a request as a separate call.
async fn direct(
    client: &mut MetainfoClient<Channel>,
    api_key: &ApiKey,
    request: Request,
) -> Result<(), Failure> {
    macro_rules! dispatch {
        ($($item:ident => $call:ident;)*) => {
            match request {
                $(Request::$item(mut request) => {
                    request.header = header(api_key);
                    client.$call(request).await.map(drop)
                })*
                other => panic!("{other:?}"),
            }
        };
    }
    let response = dispatch! {
        BucketCreate => create_bucket;
        BucketGet => get_bucket;
        BucketGetLocation => get_bucket_location;
        ObjectGetIps => get_object_i_ps;
        ObjectListPendingStreams => list_pending_object_streams;
        ObjectUpdateMetadata => update_object_metadata;
        ObjectsDelete => delete_objects;
        BucketDelete => delete_bucket;
        BucketList => list_buckets;
        ObjectBegin => begin_object;
        ObjectCommit => commit_object;
        ObjectGet => get_object;
        ObjectList => list_objects;
        ObjectBeginDelete => begin_delete_object;
        ObjectDownload => download_object;
        SegmentBegin => begin_segment;
        SegmentBeginRetryPieces => retry_begin_segment_pieces;
        SegmentCommit => commit_segment;
        SegmentMakeInline => make_inline_segment;
        SegmentList => list_segments;
        SegmentDownload => download_segment;
    };
    response.map_err(Failure::from)
}

fn code_of<T>(outcome: &Result<T, Failure>) -> Code {
    outcome.as_ref().err().map_or(Code::OK, |failure| failure.code)
}

/// Returns whether batches may contain the request.
fn is_batched(request: &Request) -> bool {
    !matches!(
        request,
        Request::ObjectGetIps(_)
            | Request::ObjectListPendingStreams(_)
            | Request::ObjectUpdateMetadata(_)
    )
}

/// Checks one key with every call, made directly or in a batch.
async fn check_case(
    network: &Network,
    api_key: &ApiKey,
    allows: impl Fn(&Action) -> bool,
    batched: bool,
) -> usize {
    let fixture = Fixture::create(network).await;
    let calls = fixture.calls(network);
    let count = calls.len();
    for Call { needs, request, allowed } in calls {
        let name = format!("{request:?}");
        if batched && !is_batched(&request) {
            continue;
        }
        let outcome = if batched {
            network.batch_as(api_key, vec![request]).await.map(drop)
        } else {
            direct(&mut network.client(), api_key, request).await
        };
        let expected = if needs.iter().any(&allows) { allowed } else { Code::PERMISSION_DENIED };
        assert_eq!(code_of(&outcome), expected, "{name}: {outcome:?}");
        if expected == Code::PERMISSION_DENIED {
            let text = outcome.unwrap_err().message;
            assert_eq!(text, "Unauthorized API credentials", "{name}");
        }
    }
    count
}

#[tokio::test]
async fn every_call_obeys_every_caveat_of_the_vectors() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let matrix = &vectors["check_matrix"];
    let actions: Vec<(i64, &str, &str)> = matrix["actions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|action| {
            let text = |index: usize| action[index].as_str().unwrap();
            (action[0].as_i64().unwrap(), text(1), text(2))
        })
        .collect();
    let secret = hex::decode(matrix["secret_hex"].as_str().unwrap()).unwrap();
    let cases = matrix["cases"].as_array().unwrap();
    let mut checked = 0;
    let mut calls = 0;
    for version in [0, 1, 4, 7] {
        let network = network_at(11).await;
        let cases: Vec<&Value> =
            cases.iter().filter(|case| case["key_version"] == version).collect();
        let keys: Vec<ApiKey> = cases
            .iter()
            .map(|case| ApiKey::parse(case["api_key"].as_str().unwrap()).unwrap())
            .collect();
        let head = keys[0].head().to_vec();
        assert!(keys.iter().all(|key| key.head() == head));
        let secret = Secret::new(secret.clone());
        let imported =
            network.admin.import_api_key(&network.project, "vectors", head, secret, version);
        imported.await.unwrap();
        for (case, key) in cases.into_iter().zip(&keys) {
            assert_eq!(case["time_unix"], NOW);
            let allowed = case["allowed"].as_str().unwrap().as_bytes();
            let allows = |action: &Action| {
                let index = actions.iter().position(|known| known == action).unwrap();
                allowed[index] == b'1'
            };
            // The version only affects operations that no call here needs.
            let batched = version % 2 == 0;
            calls += check_case(&network, key, allows, batched).await;
            check_project_info(&network, key, allows(&(5, "", ""))).await;
            check_listed_buckets(&network, key, &case["allowed_buckets"]).await;
            checked += 1;
        }
        network.stop().await;
    }
    assert_eq!((checked, calls), (cases.len(), cases.len() * 26));
}

async fn network_at(nodes: usize) -> Network {
    let now = || -> SystemTime { UNIX_EPOCH + Duration::from_secs(NOW) };
    let network = Network::start_with(nodes, Config::dev(), now).await;
    network.create_bucket("bucket").await;
    network.create_bucket("other").await;
    network
}

async fn check_project_info(network: &Network, key: &ApiKey, allowed: bool) {
    let request = ProjectInfoRequest { header: header(key) };
    let answer = network.client().project_info(request).await.map_err(Failure::from);
    if allowed {
        let info = answer.unwrap().into_inner();
        assert_eq!(info.project_salt, network.project.salt[..]);
        assert_eq!(info.project_public_id, network.project.public_id[..]);
    } else {
        assert_eq!(code_of(&answer), Code::PERMISSION_DENIED);
    }
}

async fn check_listed_buckets(network: &Network, key: &ApiKey, expected: &Value) {
    let request = ListBucketsRequest { direction: 2, header: header(key), ..Default::default() };
    let answer = network.client().list_buckets(request).await.map_err(Failure::from);
    if !expected["error"].is_null() {
        assert_eq!(code_of(&answer), Code::PERMISSION_DENIED);
        return;
    }
    let items = answer.unwrap().into_inner().items;
    let names: Vec<&str> =
        items.iter().map(|item| std::str::from_utf8(&item.name).unwrap()).collect();
    let expected: Vec<&str> = match expected["all"].as_bool().unwrap() {
        true => vec!["bucket", "other"],
        false => {
            let listed = expected["buckets"].as_array().unwrap().iter();
            listed.map(|name| name.as_str().unwrap()).collect()
        }
    };
    assert_eq!(names, expected);
}

/// Whether a call contains a stream id or segment id.
fn has_token(request: &Request) -> bool {
    matches!(
        request,
        Request::SegmentBegin(_)
            | Request::SegmentBeginRetryPieces(_)
            | Request::SegmentCommit(_)
            | Request::SegmentMakeInline(_)
            | Request::SegmentList(_)
            | Request::SegmentDownload(_)
            | Request::ObjectCommit(_)
    )
}

#[tokio::test]
async fn bucket_and_path_of_segment_call_come_from_its_token() {
    let network = network_at(11).await;
    let restrict = |bucket: &str, prefix: &str| {
        let path = uplink_core::encryption::PathScope {
            bucket: bucket.as_bytes().to_vec(),
            encrypted_path_prefix: prefix.as_bytes().to_vec(),
        };
        let caveat = Caveat { allowed_paths: vec![path], ..Caveat::default() };
        network.api_key.restrict(&caveat).unwrap()
    };
    let mut seen = 0;
    for (bucket, prefix, expected) in [
        ("bucket", "pre/obj", Code::OK),
        ("bucket", "pre/obj/", Code::PERMISSION_DENIED),
        ("bucket", "zzz", Code::PERMISSION_DENIED),
        ("other", "pre", Code::PERMISSION_DENIED),
    ] {
        let key = restrict(bucket, prefix);
        let fixture = Fixture::create(&network).await;
        let calls = fixture.calls(&network).into_iter();
        for Call { request, .. } in calls.filter(|call| has_token(&call.request)) {
            let name = format!("{request:?}");
            let outcome = direct(&mut network.client(), &key, request).await;
            assert_eq!(code_of(&outcome), expected, "{name} with {bucket}/{prefix}: {outcome:?}");
            seen += 1;
        }
    }
    assert_eq!(seen, 4 * 7);
    network.stop().await;
}

#[tokio::test]
async fn token_of_another_project_is_rejected() {
    let network = network_at(11).await;
    let other = network.admin.create_project("other").await.unwrap();
    let key = network.admin.create_api_key(&other, "key").await.unwrap();
    let fixture = Fixture::create(&network).await;
    let mut seen = 0;
    for Call { request, .. } in fixture.calls(&network) {
        if has_token(&request) {
            let name = format!("{request:?}");
            let outcome = direct(&mut network.client(), &key, request).await;
            assert_eq!(code_of(&outcome), Code::INVALID_ARGUMENT, "{name}");
            seen += 1;
        }
    }
    assert_eq!(seen, 7);
    // Buckets of the first project are not visible.
    let request = Request::BucketGet(get_bucket("bucket"));
    let outcome = direct(&mut network.client(), &key, request).await;
    assert_eq!(code_of(&outcome), Code::NOT_FOUND);
    network.stop().await;
}

#[tokio::test]
async fn token_with_any_changed_byte_is_rejected() {
    let network = network_at(11).await;
    let fixture = Fixture::create(&network).await;
    let key = &network.api_key;
    let mut client = network.client();
    for index in 0..fixture.pending.len() {
        let mut token = fixture.pending.to_vec();
        token[index] ^= 0x10;
        let request = ListSegmentsRequest { stream_id: token.into(), ..Default::default() };
        let outcome = direct(&mut client, key, Request::SegmentList(request)).await;
        assert_eq!(code_of(&outcome), Code::INVALID_ARGUMENT, "byte {index}");
    }
    for index in 0..fixture.segment.segment_id.len() {
        let mut token = fixture.segment.segment_id.to_vec();
        token[index] ^= 0x10;
        let request = RetryBeginSegmentPiecesRequest {
            segment_id: token.into(),
            retry_piece_numbers: vec![0],
            ..Default::default()
        };
        let outcome = direct(&mut client, key, Request::SegmentBeginRetryPieces(request)).await;
        assert_eq!(code_of(&outcome), Code::INVALID_ARGUMENT, "byte {index}");
    }
    network.stop().await;
}

#[tokio::test]
async fn invalid_keys_get_codes_and_texts_of_the_network() {
    let network = network_at(0).await;
    let denied = Failure::new(Code::PERMISSION_DENIED, "Unauthorized API credentials");
    let malformed = Failure::new(Code::INVALID_ARGUMENT, "Invalid API credentials");
    let info = async |header: Option<RequestHeader>| {
        let answer = network.client().project_info(ProjectInfoRequest { header }).await;
        answer.map(drop).map_err(Failure::from)
    };
    let raw = |bytes: Vec<u8>| Some(RequestHeader { api_key: bytes.into(), ..Default::default() });
    assert_eq!(info(None).await, Err(malformed.clone()));
    for bytes in [vec![], b"garbage".to_vec(), [network.api_key.to_bytes(), vec![0]].concat()] {
        assert_eq!(info(raw(bytes)).await, Err(malformed.clone()));
    }
    let unknown = ApiKey::new(&[1; 32], vec![2; 32]);
    let forged = ApiKey::new(&[1; 32], network.api_key.head().to_vec());
    for key in [unknown, forged] {
        assert_eq!(info(header(&key)).await, Err(denied.clone()));
    }
    assert_eq!(info(network.header()).await, Ok(()));
    network.admin.disable_project("project", true).await.unwrap();
    assert_eq!(info(network.header()).await, Err(denied.clone()));
    network.admin.disable_project("project", false).await.unwrap();
    assert_eq!(info(network.header()).await, Ok(()));
    network.admin.delete_api_key(&network.project, "key").await.unwrap();
    assert_eq!(info(network.header()).await, Err(denied));
    network.stop().await;
}

#[tokio::test]
async fn deleted_key_works_until_its_cached_look_up_expires() {
    let clock = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(NOW));
    let mut config = Config::dev();
    config.api_key_cache = Duration::from_secs(30);
    let seconds = std::sync::Arc::clone(&clock);
    let network = Network::start_with(0, config, move || {
        UNIX_EPOCH + Duration::from_secs(seconds.load(std::sync::atomic::Ordering::SeqCst))
    })
    .await;
    let info = async || {
        let request = ProjectInfoRequest { header: network.header() };
        network.client().project_info(request).await.is_ok()
    };
    assert!(info().await);
    network.admin.delete_api_key(&network.project, "key").await.unwrap();
    assert!(info().await);
    clock.fetch_add(30, std::sync::atomic::Ordering::SeqCst);
    assert!(!info().await);
    network.stop().await;
}
