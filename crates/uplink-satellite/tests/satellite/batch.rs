//! Batches: order, carried-over ids, failures.

use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::batch_response_item::Response;
use uplink_rpc::r#gen::metainfo::*;
use uplink_rpc::status::{Code, Failure};

use crate::calls::{ENCRYPTED, PIECE, PLAIN};
use crate::network::{Network, begin_object, begin_segment, inline_segment};

#[tokio::test]
async fn stream_id_is_carried_from_begin_to_segment_and_commit() {
    let network = Network::start(0).await;
    network.create_bucket("bucket").await;
    let object = network.put_inline("bucket", b"key", b"sixteen bytes ..").await;
    assert_eq!((object.plain_size, object.total_size), (16, 16));
    assert_eq!(object.status(), object::Status::CommittedUnversioned);
    let responses = network
        .batch(vec![
            Request::ObjectGet(GetObjectRequest {
                bucket: "bucket".into(),
                encrypted_object_key: "key".into(),
                ..Default::default()
            }),
            Request::SegmentList(ListSegmentsRequest::default()),
            Request::ObjectDownload(DownloadObjectRequest {
                bucket: "bucket".into(),
                encrypted_object_key: "key".into(),
                ..Default::default()
            }),
            Request::SegmentDownload(DownloadSegmentRequest {
                cursor_position: Some(SegmentPosition::default()),
                ..Default::default()
            }),
        ])
        .await
        .unwrap();
    let [
        Response::ObjectGet(got),
        Response::SegmentList(segments),
        Response::ObjectDownload(download),
        Response::SegmentDownload(segment),
    ] = responses.as_slice()
    else {
        panic!("{responses:?}")
    };
    assert_eq!(got.object.as_ref().unwrap(), &object);
    assert_eq!(segments.items.len(), 1);
    assert_eq!(&segments.items, &download.segment_list.as_ref().unwrap().items);
    assert_eq!(segment.encrypted_inline_data, "sixteen bytes ..");
    assert_eq!(segment.encrypted_inline_data, download.segment_download[0].encrypted_inline_data);
    network.stop().await;
}

#[tokio::test]
async fn segment_id_is_carried_from_begin_to_commit_and_retry() {
    let network = Network::start(11).await;
    network.create_bucket("bucket").await;
    let (object, segment) = network.begin("bucket", b"key").await;
    let mut commit = network.commit_of(&segment, PLAIN, ENCRYPTED, PIECE);
    commit.segment_id.clear();
    let mut begin = begin_segment(0, 1);
    begin.stream_id = object.stream_id;
    // The commit has pieces of the first segment, but the carried id is that of the second one.
    let carried = vec![Request::SegmentBegin(begin.clone()), Request::SegmentCommit(commit)];
    let rejected = network.batch(carried).await.unwrap_err();
    let text = "not enough valid pieces: have 0, need 8";
    assert_eq!(rejected, Failure::new(Code::INVALID_ARGUMENT, text));
    let retry =
        RetryBeginSegmentPiecesRequest { retry_piece_numbers: vec![0], ..Default::default() };
    let carried = vec![Request::SegmentBegin(begin), Request::SegmentBeginRetryPieces(retry)];
    assert_eq!(network.batch(carried).await.unwrap().len(), 2);
    network.stop().await;
}

#[tokio::test]
async fn own_stream_id_is_kept_and_not_carried_across_batches() {
    let network = Network::start(0).await;
    network.create_bucket("bucket").await;
    let begun = network.batch(vec![Request::ObjectBegin(begin_object("bucket", b"one"))]).await;
    let [Response::ObjectBegin(one)] = begun.as_deref().unwrap() else { panic!("{begun:?}") };
    let commit = CommitObjectRequest { stream_id: one.stream_id.clone(), ..Default::default() };
    let responses = network
        .batch(vec![
            Request::ObjectBegin(begin_object("bucket", b"two")),
            Request::ObjectCommit(commit),
        ])
        .await
        .unwrap();
    let Response::ObjectCommit(committed) = &responses[1] else { panic!("{responses:?}") };
    assert_eq!(committed.object.as_ref().unwrap().encrypted_object_key, "one");
    let rejected = network.batch(vec![Request::ObjectCommit(CommitObjectRequest::default())]).await;
    let text = "signature verification: signature is not valid";
    assert_eq!(rejected.unwrap_err(), Failure::new(Code::INVALID_ARGUMENT, text));
    network.stop().await;
}

#[tokio::test]
async fn first_failure_ends_batch_and_earlier_effects_remain() {
    let network = Network::start(0).await;
    network.create_bucket("bucket").await;
    let create = |name: &'static str| {
        Request::BucketCreate(CreateBucketRequest { name: name.into(), ..Default::default() })
    };
    let get = |name: &'static str| {
        Request::BucketGet(GetBucketRequest { name: name.into(), ..Default::default() })
    };
    let failed = network.batch(vec![create("first"), get("missing"), create("last")]).await;
    let text = "bucket not found: missing";
    assert_eq!(failed.unwrap_err(), Failure::new(Code::NOT_FOUND, text));
    assert!(network.batch(vec![get("first")]).await.is_ok());
    assert!(network.batch(vec![get("last")]).await.is_err());
    assert_eq!(network.batch(Vec::new()).await.unwrap(), []);
    network.stop().await;
}

#[tokio::test]
async fn empty_item_fails_with_unknown_code() {
    let network = Network::start(0).await;
    let unsupported = Failure::new(Code::UNKNOWN, "unsupported request type");
    let request = BatchRequest {
        requests: vec![BatchRequestItem { request: None }],
        header: network.header(),
    };
    let rejected = network.client().batch(request).await.unwrap_err();
    assert_eq!(Failure::from(rejected), unsupported);
    let many = vec![Request::BucketList(ListBucketsRequest::default()); 1_001];
    assert_eq!(network.batch(many).await.unwrap_err().code, Code::INVALID_ARGUMENT);
    network.stop().await;
}

/// Satellites of the public network reject them, and a client that batches them works only here.
#[tokio::test]
async fn copies_moves_and_updates_are_rejected_in_batches() {
    let network = Network::start(0).await;
    for item in [
        Request::BucketGetTagging(Default::default()),
        Request::ObjectBeginCopy(Default::default()),
        Request::ObjectBeginMove(Default::default()),
        Request::ObjectFinishCopy(Default::default()),
        Request::ObjectFinishMove(Default::default()),
        Request::ObjectGetIps(Default::default()),
        Request::ObjectGetLegalHold(Default::default()),
        Request::ObjectGetPendingMetadata(Default::default()),
        Request::ObjectListPendingStreams(Default::default()),
        Request::ObjectUpdateMetadata(Default::default()),
        Request::PartDelete(Default::default()),
    ] {
        let rejected = network.batch(vec![item]).await.unwrap_err();
        assert_eq!(rejected, Failure::new(Code::UNKNOWN, "unsupported request type"));
    }
    network.stop().await;
}

#[tokio::test]
async fn single_begin_is_multipart_and_listed_by_its_stream_id() {
    let network = Network::start(0).await;
    network.create_bucket("bucket").await;
    let mut request = begin_object("bucket", b"key");
    request.header = network.header();
    let begun = network.client().begin_object(request).await.unwrap().into_inner();
    for part in [7, 2] {
        let mut inline = inline_segment(part, 0, b"data");
        inline.stream_id = begun.stream_id.clone();
        network.batch(vec![Request::SegmentMakeInline(inline)]).await.unwrap();
    }
    let request = ListObjectsRequest {
        bucket: "bucket".into(),
        status: 1,
        header: network.header(),
        ..Default::default()
    };
    let listed = network.client().list_objects(request).await.unwrap().into_inner();
    assert_eq!(listed.items.len(), 1);
    assert_eq!(listed.items[0].stream_id, begun.stream_id);
    let request = ListSegmentsRequest {
        stream_id: begun.stream_id.clone(),
        header: network.header(),
        ..Default::default()
    };
    let parts = network.client().list_segments(request).await.unwrap().into_inner();
    let numbers: Vec<_> =
        parts.items.iter().map(|item| item.position.unwrap().part_number).collect();
    assert_eq!(numbers, [2, 7]);
    let request = CommitObjectRequest {
        stream_id: begun.stream_id.clone(),
        header: network.header(),
        ..Default::default()
    };
    let object =
        network.client().commit_object(request).await.unwrap().into_inner().object.unwrap();
    assert_eq!((object.plain_size, object.stream_id), (8, begun.stream_id));
    network.stop().await;
}
