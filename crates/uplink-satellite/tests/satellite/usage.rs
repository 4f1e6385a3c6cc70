//! Storage and bandwidth limits of projects.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::*;
use uplink_rpc::status::{Code, Failure};
use uplink_satellite::Config;

use crate::calls::{ENCRYPTED, PIECE, PLAIN};
use crate::network::{Network, begin_object, begin_segment, inline_segment, limit_of};

/// 2026-11-30, a minute before midnight in UTC.
const NOW: u64 = 1_796_083_140;

async fn network(nodes: usize, config: Config) -> (Network, Arc<AtomicU64>) {
    let seconds = Arc::new(AtomicU64::new(NOW));
    let clock = Arc::clone(&seconds);
    let now = move || UNIX_EPOCH + Duration::from_secs(clock.load(Ordering::SeqCst));
    let network = Network::start_with(nodes, config, now).await;
    network.create_bucket("bucket").await;
    (network, seconds)
}

fn exceeded(text: &str) -> Failure {
    Failure::new(Code::RESOURCE_EXHAUSTED, text)
}

/// Stores an object with one inline segment.
async fn put(network: &Network, key: &[u8], size: usize) -> Result<(), Failure> {
    network.try_put_inline("bucket", key, &vec![7; size]).await.map(drop)
}

/// Begins a remote segment.
async fn begin(network: &Network, key: &[u8]) -> Result<(), Failure> {
    let requests = vec![
        Request::ObjectBegin(begin_object("bucket", key)),
        Request::SegmentBegin(begin_segment(0, 0)),
    ];
    network.batch(requests).await.map(drop)
}

async fn delete(network: &Network, key: &'static str) {
    let request = BeginDeleteObjectRequest {
        bucket: "bucket".into(),
        encrypted_object_key: key.into(),
        header: network.header(),
        ..BeginDeleteObjectRequest::default()
    };
    network.client().begin_delete_object(request).await.unwrap();
}

async fn download(
    network: &Network,
    key: &'static str,
    range: Option<range::Range>,
) -> Result<DownloadObjectResponse, Failure> {
    let request = DownloadObjectRequest {
        bucket: "bucket".into(),
        encrypted_object_key: key.into(),
        range: range.map(|range| Range { range: Some(range) }),
        header: network.header(),
        ..DownloadObjectRequest::default()
    };
    let answer = network.client().download_object(request).await;
    answer.map(|answer| answer.into_inner()).map_err(Failure::from)
}

/// Copies an object to the key `copy`.
async fn copy(network: &Network, key: &'static str) -> Result<(), Failure> {
    let request = BeginCopyObjectRequest {
        bucket: "bucket".into(),
        encrypted_object_key: key.into(),
        new_bucket: "bucket".into(),
        new_encrypted_object_key: "copy".into(),
        header: network.header(),
        ..Default::default()
    };
    let begun = network.client().begin_copy_object(request).await.unwrap().into_inner();
    let finish = FinishCopyObjectRequest {
        stream_id: begun.stream_id,
        new_bucket: "bucket".into(),
        new_encrypted_object_key: "copy".into(),
        new_segment_keys: begun.segment_keys,
        header: network.header(),
        ..Default::default()
    };
    network.client().finish_copy_object(finish).await.map(drop).map_err(Failure::from)
}

#[tokio::test]
async fn project_at_storage_limit_is_rejected_until_deletion() {
    let mut config = Config::dev();
    config.storage_per_project = 8_000;
    let (network, seconds) = network(10, config).await;
    let rejected = Err(exceeded("Exceeded Storage Limit"));
    assert_eq!(put(&network, b"one", 4_000).await, Ok(()));
    assert_eq!(put(&network, b"two", 4_001).await, rejected);
    assert_eq!(copy(&network, "one").await, Ok(()));
    for attempt in [begin(&network, b"two").await, put(&network, b"two", 1).await] {
        assert_eq!(attempt, rejected);
    }
    // A rejected upload is not readable.
    assert_eq!(download(&network, "two", None).await.unwrap_err().code, Code::NOT_FOUND);
    assert!(download(&network, "copy", None).await.is_ok());
    delete(&network, "copy").await;
    seconds.fetch_add(2, Ordering::SeqCst);
    assert_eq!(copy(&network, "one").await, Ok(()));
    assert_eq!(put(&network, b"two", 0).await, Ok(()));
    network.stop().await;
}

#[tokio::test]
async fn committed_segment_counts_before_and_after_its_object() {
    let mut config = Config::dev();
    config.storage_per_project = u64::try_from(ENCRYPTED).unwrap();
    let (network, seconds) = network(10, config).await;
    let (object, segment) = network.begin("bucket", b"key").await;
    // Other segments may begin until it is committed.
    let (_, other) = network.begin("bucket", b"other").await;
    let commit =
        |segment| Request::SegmentCommit(network.commit_of(segment, PLAIN, ENCRYPTED, PIECE));
    network.batch(vec![commit(&segment)]).await.unwrap();
    let rejected = Err(exceeded("Exceeded Storage Limit"));
    assert_eq!(put(&network, b"third", 1).await, rejected);
    assert_eq!(network.batch(vec![commit(&other)]).await.map(drop), rejected);
    // Later the database counts it, first in a pending upload, then in an object.
    seconds.fetch_add(11, Ordering::SeqCst);
    assert_eq!(put(&network, b"third", 1).await, rejected);
    let commit = CommitObjectRequest { stream_id: object.stream_id, ..Default::default() };
    network.batch(vec![Request::ObjectCommit(commit)]).await.unwrap();
    seconds.fetch_add(11, Ordering::SeqCst);
    assert_eq!(put(&network, b"third", 1).await, rejected);
    network.stop().await;
}

#[tokio::test]
async fn project_at_segment_limit_is_rejected() {
    let mut config = Config::dev();
    config.segments_per_project = 2;
    let (network, _) = network(0, config).await;
    let rejected = Err(exceeded("Exceeded Segments Limit"));
    assert_eq!(put(&network, b"one", 0).await, Ok(()));
    assert_eq!(put(&network, b"two", 10).await, Ok(()));
    assert_eq!(put(&network, b"three", 10).await, rejected);
    assert_eq!(begin(&network, b"three").await, rejected);
    assert_eq!(copy(&network, "one").await, rejected);
    // Limits apply to each project separately.
    let other = network.admin.create_project("other").await.unwrap();
    let key = network.admin.create_api_key(&other, "key").await.unwrap();
    let create = CreateBucketRequest { name: "bucket".into(), ..Default::default() };
    network.batch_as(&key, vec![Request::BucketCreate(create)]).await.unwrap();
    let requests = vec![
        Request::ObjectBegin(begin_object("bucket", b"one")),
        Request::SegmentMakeInline(inline_segment(0, 0, b"data")),
        Request::ObjectCommit(CommitObjectRequest::default()),
    ];
    assert!(network.batch_as(&key, requests).await.is_ok());
    network.stop().await;
}

#[tokio::test]
async fn project_at_bandwidth_limit_is_rejected_until_next_month() {
    let mut config = Config::dev();
    config.bandwidth_per_project_and_month = 5_000;
    let (network, seconds) = network(0, config).await;
    assert_eq!(put(&network, b"key", 4_000).await, Ok(()));
    for _ in 0..2 {
        assert!(download(&network, "key", None).await.is_ok());
    }
    let rejected = exceeded("Exceeded Usage Limit");
    assert_eq!(download(&network, "key", None).await, Err(rejected.clone()));
    assert_eq!(download(&network, "none", None).await, Err(rejected));
    seconds.fetch_add(59, Ordering::SeqCst);
    assert!(download(&network, "key", None).await.is_err());
    seconds.fetch_add(1, Ordering::SeqCst);
    assert!(download(&network, "key", None).await.is_ok());
    network.stop().await;
}

#[tokio::test]
async fn download_counts_bytes_allowed_by_required_order_limits() {
    let mut config = Config::dev();
    let stripe = 4 * 256;
    let whole = u64::try_from(4 * PIECE).unwrap();
    // A block of 7,424 bytes covers eight stripes.
    config.bandwidth_per_project_and_month = whole + 9 * stripe;
    let (network, _) = network(10, config).await;
    let (object, segment) = network.begin("bucket", b"key").await;
    let commit = CommitObjectRequest { stream_id: object.stream_id, ..Default::default() };
    let requests = vec![
        Request::SegmentCommit(network.commit_of(&segment, PLAIN, ENCRYPTED, PIECE)),
        Request::ObjectCommit(commit),
    ];
    network.batch(requests).await.unwrap();
    let first = range::Range::StartLimit(RangeStartLimit { plain_start: 0, plain_limit: 1 });
    let answer = download(&network, "key", Some(first)).await.unwrap();
    let limits = &answer.segment_download[0].addressed_limits;
    let allowed = limits.iter().filter(|limit| limit.limit.is_some()).map(limit_of);
    let allowed: Vec<i64> = allowed.map(|limit| limit.limit).collect();
    assert_eq!(allowed, [8 * 256; 10]);
    let object = download(&network, "key", None).await.unwrap().object.unwrap();
    // After 8 stripes and the whole object, one stripe is left.
    let segment = || DownloadSegmentRequest {
        stream_id: object.stream_id.clone(),
        cursor_position: Some(SegmentPosition::default()),
        header: network.header(),
        ..DownloadSegmentRequest::default()
    };
    assert!(network.client().download_segment(segment()).await.is_ok());
    let rejected = network.client().download_segment(segment()).await.unwrap_err();
    assert_eq!(Failure::from(rejected), exceeded("Exceeded Usage Limit"));
    network.stop().await;
}
