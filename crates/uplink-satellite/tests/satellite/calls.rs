//! Calls for buckets, objects and segments.

use std::collections::HashSet;

use uplink_core::order::{OrderLimit, PiecePrivateKey};
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::batch_response_item::Response;
use uplink_rpc::r#gen::metainfo::*;
use uplink_rpc::status::{Code, Failure};

use crate::network::{Network, begin_object, begin_segment, limit_of};

/// Sizes of a segment of 14 encryption blocks, 102 stripes at four shares of 256 bytes.
pub(crate) const PLAIN: i64 = 100_000;
pub(crate) const ENCRYPTED: i64 = 14 * 7424;
pub(crate) const PIECE: i64 = 102 * 256;

#[tokio::test]
async fn object_of_one_segment_from_begin_to_delete() {
    let network = Network::start(10).await;
    network.create_bucket("bucket").await;
    let begun = network
        .batch(vec![
            Request::ObjectBegin(begin_object("bucket", b"key")),
            Request::SegmentBegin(begin_segment(0, 0)),
        ])
        .await
        .unwrap();
    let [Response::ObjectBegin(object), Response::SegmentBegin(segment)] = begun.as_slice() else {
        panic!("{begun:?}")
    };
    check_put_limits(&network, segment);

    let commit = network.commit_of(segment, PLAIN, ENCRYPTED, PIECE);
    let done = network
        .batch(vec![
            Request::SegmentCommit(commit),
            Request::ObjectCommit(CommitObjectRequest {
                stream_id: object.stream_id.clone(),
                ..CommitObjectRequest::default()
            }),
        ])
        .await
        .unwrap();
    let [Response::SegmentCommit(segment), Response::ObjectCommit(committed)] = done.as_slice()
    else {
        panic!("{done:?}")
    };
    assert_eq!(segment.successful_pieces, 10);
    let committed = committed.object.as_ref().unwrap();
    assert_eq!(committed.stream_id, object.stream_id);
    assert_eq!((committed.plain_size, committed.total_size), (PLAIN, ENCRYPTED));
    assert_eq!(committed.object_version.len(), 16);

    check_download(&network).await;
    check_list_and_delete(&network).await;
    network.stop().await;
}

fn check_put_limits(network: &Network, segment: &BeginSegmentResponse) {
    let satellite = network.satellite.node_url().id.unwrap();
    let key = PiecePrivateKey::from_bytes(&segment.private_key).unwrap();
    let scheme = segment.redundancy_scheme.as_ref().unwrap();
    assert_eq!((scheme.min_req, scheme.success_threshold, scheme.total), (4, 8, 10));
    let limits: Vec<OrderLimit> = segment.addressed_limits.iter().map(limit_of).collect();
    assert_eq!(limits.len(), 10);
    let nodes: HashSet<_> = limits.iter().map(|limit| &limit.storage_node_id).collect();
    assert_eq!(nodes.len(), 10);
    for limit in &limits {
        assert_eq!(limit.satellite_id, satellite.as_bytes());
        assert_eq!(limit.uplink_public_key, key.public().as_bytes());
        assert_eq!(limit.limit, 16_813_568);
        assert_eq!(limit.action, 1);
        assert_eq!(limit.serial_number, limits[0].serial_number);
        let expires = limit.order_expiration.unwrap().seconds.to_be_bytes();
        assert_eq!(limit.serial_number[..8], expires);
    }
}

async fn check_download(network: &Network) {
    let range =
        range::Range::StartLimit(RangeStartLimit { plain_start: 8_000, plain_limit: 8_001 });
    let request = DownloadObjectRequest {
        bucket: "bucket".into(),
        encrypted_object_key: "key".into(),
        range: Some(Range { range: Some(range) }),
        header: network.header(),
        ..DownloadObjectRequest::default()
    };
    let answer = network.client().download_object(request).await.unwrap().into_inner();
    let listed = answer.segment_list.unwrap();
    assert_eq!(listed.items.len(), 1);
    let [download] = answer.segment_download.as_slice() else { panic!("one segment") };
    assert_eq!(download.segment_size, ENCRYPTED);
    assert_eq!(download.addressed_limits.len(), 10);
    // Block 1 is bytes 7424..14848: stripes 7 to 14.
    assert!(download.addressed_limits.iter().all(|limit| limit_of(limit).limit == 8 * 256));

    let request = DownloadSegmentRequest {
        stream_id: answer.object.unwrap().stream_id,
        cursor_position: Some(SegmentPosition::default()),
        header: network.header(),
        ..DownloadSegmentRequest::default()
    };
    let answer = network.client().download_segment(request).await.unwrap().into_inner();
    assert!(answer.addressed_limits.iter().all(|limit| limit_of(limit).limit == PIECE));
    assert!(answer.addressed_limits.iter().all(|limit| limit_of(limit).action == 2));
}

async fn check_list_and_delete(network: &Network) {
    let list = || ListObjectsRequest {
        bucket: "bucket".into(),
        header: network.header(),
        ..ListObjectsRequest::default()
    };
    let listed = network.client().list_objects(list()).await.unwrap().into_inner();
    assert_eq!(listed.items.len(), 1);
    assert_eq!(listed.items[0].plain_size, PLAIN);
    let delete = || BeginDeleteObjectRequest {
        bucket: "bucket".into(),
        encrypted_object_key: "key".into(),
        header: network.header(),
        ..BeginDeleteObjectRequest::default()
    };
    let deleted = network.client().begin_delete_object(delete()).await.unwrap().into_inner();
    assert_eq!(deleted.object.unwrap().plain_size, PLAIN);
    let again = network.client().begin_delete_object(delete()).await.unwrap().into_inner();
    assert_eq!(again.object, None);
    let listed = network.client().list_objects(list()).await.unwrap().into_inner();
    assert!(listed.items.is_empty());
}

#[tokio::test]
async fn too_few_nodes_error_reports_have_and_need() {
    let network = Network::start(7).await;
    network.create_bucket("bucket").await;
    let begun = network
        .batch(vec![
            Request::ObjectBegin(begin_object("bucket", b"key")),
            Request::SegmentBegin(begin_segment(0, 0)),
        ])
        .await;
    let text = "not enough storage nodes: have 7, need 8";
    assert_eq!(begun, Err(Failure::new(Code::FAILED_PRECONDITION, text)));
}
