//! Deletion of buckets: which content prevents it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use uplink_rpc::r#gen::metainfo::*;
use uplink_rpc::status::{Code, Failure};
use uplink_rpc::time::timestamp;
use uplink_satellite::Config;

use crate::network::{Network, begin_object, inline_segment};

async fn begin(network: &Network, key: &[u8], expires: Option<SystemTime>) -> Bytes {
    let mut request = begin_object("bucket", key);
    request.expires_at = expires.map(timestamp);
    request.header = network.header();
    let begun = network.client().begin_object(request).await.unwrap().into_inner();
    let mut segment = inline_segment(0, 0, b"data");
    segment.stream_id = begun.stream_id.clone();
    segment.header = network.header();
    network.client().make_inline_segment(segment).await.unwrap();
    begun.stream_id
}

async fn commit(network: &Network, stream_id: Bytes) {
    let request = CommitObjectRequest { stream_id, header: network.header(), ..Default::default() };
    network.client().commit_object(request).await.unwrap();
}

async fn delete(network: &Network, delete_all: bool) -> Result<i64, Failure> {
    let request = DeleteBucketRequest {
        name: "bucket".into(),
        delete_all,
        header: network.header(),
        ..Default::default()
    };
    let answer = network.client().delete_bucket(request).await.map_err(Failure::from)?;
    Ok(answer.into_inner().deleted_objects_count)
}

fn not_empty(text: &str) -> Failure {
    Failure::new(Code::FAILED_PRECONDITION, format!("bucket not empty: contains {text}"))
}

#[tokio::test]
async fn bucket_with_only_expired_content_is_deleted() {
    let seconds = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&seconds);
    let start = SystemTime::now();
    let now = move || start + Duration::from_secs(clock.load(Ordering::Relaxed));
    let network = Network::start_with(0, Config::dev(), now).await;
    for delete_all in [false, true] {
        network.create_bucket("bucket").await;
        let now = start + Duration::from_secs(seconds.load(Ordering::Relaxed));
        let expires = Some(now + Duration::from_secs(60));
        let object = begin(&network, b"object", expires).await;
        commit(&network, object).await;
        let late = begin(&network, b"upload", expires).await;
        assert_eq!(delete(&network, false).await, Err(not_empty("objects and 1 pending upload")));
        seconds.fetch_add(61, Ordering::Relaxed);
        assert_eq!(delete(&network, delete_all).await, Ok(0));
        // The expired rows are deleted, too.
        network.create_bucket("bucket").await;
        let request =
            CommitObjectRequest { stream_id: late, header: network.header(), ..Default::default() };
        let gone = network.client().commit_object(request).await.unwrap_err();
        assert_eq!(Failure::from(gone).code, Code::NOT_FOUND);
        assert_eq!(delete(&network, false).await, Ok(0));
    }
    network.stop().await;
}

#[tokio::test]
async fn rejected_deletion_reports_uploads_that_can_be_aborted() {
    let network = Network::start(0).await;
    network.create_bucket("bucket").await;
    for key in [b"a", b"b"] {
        begin(&network, key, None).await;
    }
    assert_eq!(delete(&network, false).await, Err(not_empty("2 pending uploads")));
    network.put_inline("bucket", b"object", b"data").await;
    assert_eq!(delete(&network, false).await, Err(not_empty("objects and 2 pending uploads")));
    let list = async || {
        let request = ListObjectsRequest {
            bucket: "bucket".into(),
            status: object::Status::Uploading.into(),
            recursive: true,
            header: network.header(),
            ..Default::default()
        };
        network.client().list_objects(request).await.unwrap().into_inner().items
    };
    for upload in list().await {
        let abort = BeginDeleteObjectRequest {
            bucket: "bucket".into(),
            encrypted_object_key: upload.encrypted_object_key,
            stream_id: upload.stream_id,
            status: object::Status::Uploading.into(),
            header: network.header(),
            ..Default::default()
        };
        network.client().begin_delete_object(abort).await.unwrap();
    }
    assert!(list().await.is_empty());
    assert_eq!(delete(&network, false).await, Err(not_empty("objects")));
    assert_eq!(delete(&network, true).await, Ok(1));
    network.stop().await;
}
