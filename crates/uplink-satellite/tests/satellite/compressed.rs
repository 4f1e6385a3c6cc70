//! Compressed batches: same behaviour as plain batches.

use prost::Message;
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::batch_response_item::Response;
use uplink_rpc::r#gen::metainfo::compressed_batch_request::CompressionType;
use uplink_rpc::r#gen::metainfo::*;
use uplink_rpc::status::{Code, Failure};

use crate::network::{Network, begin_object, inline_segment};

async fn send(
    network: &Network,
    selected: CompressionType,
    data: Vec<u8>,
) -> Result<CompressedBatchResponse, Failure> {
    let request = CompressedBatchRequest {
        supported: vec![CompressionType::Zstd.into()],
        selected: selected.into(),
        data: data.into(),
    };
    let answer = network.client().compressed_batch(request).await;
    answer.map(tonic::Response::into_inner).map_err(Failure::from)
}

fn encoded(network: &Network, requests: Vec<Request>) -> Vec<u8> {
    let item = |request| BatchRequestItem { request: Some(request) };
    let requests = requests.into_iter().map(item).collect();
    BatchRequest { requests, header: network.header() }.encode_to_vec()
}

fn upload(key: &[u8]) -> Vec<Request> {
    vec![
        Request::ObjectBegin(begin_object("bucket", key)),
        Request::SegmentMakeInline(inline_segment(0, 0, b"data")),
        Request::ObjectCommit(CommitObjectRequest::default()),
    ]
}

#[tokio::test]
async fn both_forms_of_compressed_batch_act_like_a_batch() {
    let network = Network::start(0).await;
    network.create_bucket("bucket").await;
    for (selected, key) in [(CompressionType::None, b"one"), (CompressionType::Zstd, b"two")] {
        let mut data = encoded(&network, upload(key));
        if selected == CompressionType::Zstd {
            data = zstd::encode_all(&data[..], 0).unwrap();
        }
        let answer = send(&network, selected, data).await.unwrap();
        assert_eq!(answer.selected(), CompressionType::None);
        let batch = BatchResponse::decode(answer.data).unwrap();
        let [begun, made, committed] = batch.responses.as_slice() else { panic!("{batch:?}") };
        assert!(matches!(made.response, Some(Response::SegmentMakeInline(_))));
        let (Some(Response::ObjectBegin(begun)), Some(Response::ObjectCommit(committed))) =
            (&begun.response, &committed.response)
        else {
            panic!("{batch:?}")
        };
        assert_eq!(committed.object.as_ref().unwrap().stream_id, begun.stream_id);
    }
    network.stop().await;
}

#[tokio::test]
async fn empty_batch_without_api_key_gets_empty_response() {
    let network = Network::start(0).await;
    let empty = send(&network, CompressionType::None, Vec::new()).await;
    assert_eq!(empty, Ok(CompressedBatchResponse::default()));
    let plain = network.client().batch(BatchRequest::default()).await.unwrap().into_inner();
    assert_eq!(plain, BatchResponse::default());
    network.stop().await;
}

#[tokio::test]
async fn invalid_batch_is_rejected_with_unknown_code() {
    let network = Network::start(0).await;
    for (selected, data) in [
        (CompressionType::None, vec![0x0f]),
        (CompressionType::Zstd, b"not compressed".to_vec()),
        (CompressionType::Zstd, zstd::encode_all(&[0x0f][..], 0).unwrap()),
        (CompressionType::Zstd, zstd::encode_all(&vec![0; 5 << 20][..], 0).unwrap()),
    ] {
        let rejected = send(&network, selected, data).await.unwrap_err();
        assert_eq!(rejected.code, Code::UNKNOWN, "{rejected}");
    }
    let request = CompressedBatchRequest { selected: 2, ..Default::default() };
    let rejected = network.client().compressed_batch(request).await.map_err(Failure::from);
    assert_eq!(rejected.unwrap_err(), Failure::new(Code::UNKNOWN, "unsupported compression type"));
    network.stop().await;
}

#[tokio::test]
async fn first_failure_ends_compressed_batch_and_effects_remain() {
    let network = Network::start(0).await;
    network.create_bucket("bucket").await;
    let mut requests = upload(b"kept");
    requests.push(Request::BucketGet(GetBucketRequest {
        name: "missing".into(),
        ..Default::default()
    }));
    requests.extend(upload(b"never"));
    let data = encoded(&network, requests);
    let rejected = send(&network, CompressionType::None, data).await;
    assert_eq!(rejected, Err(Failure::new(Code::NOT_FOUND, "bucket not found: missing")));
    let list = ListObjectsRequest {
        bucket: "bucket".into(),
        header: network.header(),
        ..Default::default()
    };
    let listed = network.client().list_objects(list).await.unwrap().into_inner();
    let keys: Vec<_> = listed.items.iter().map(|item| &item.encrypted_object_key[..]).collect();
    assert_eq!(keys, [b"kept"]);
    network.stop().await;
}
