//! Multipart uploads: listing, metadata, and parts that are uploaded again.

use bytes::Bytes;
use uplink_rpc::r#gen::metainfo::*;
use uplink_rpc::status::{Code, Failure};

use crate::calls::{ENCRYPTED, PIECE, PLAIN};
use crate::network::{Network, begin_object, begin_segment, inline_segment};

async fn begin(network: &Network, key: &[u8]) -> Bytes {
    let mut request = begin_object("bucket", key);
    request.encrypted_metadata = vec![0x0a, 1, 7].into();
    request.encrypted_metadata_encrypted_key = vec![3; 48].into();
    request.encrypted_metadata_nonce = vec![4; 24].into();
    request.header = network.header();
    network.client().begin_object(request).await.unwrap().into_inner().stream_id
}

async fn streams(
    network: &Network,
    cursor: Bytes,
    limit: i32,
) -> Result<(Vec<Bytes>, bool), Failure> {
    let request = ListPendingObjectStreamsRequest {
        bucket: "bucket".into(),
        encrypted_object_key: "key".into(),
        stream_id_cursor: cursor,
        limit,
        header: network.header(),
    };
    let answer = network.client().list_pending_object_streams(request).await;
    let page = answer.map_err(Failure::from)?.into_inner();
    assert!(page.items.iter().all(|item| item.encrypted_object_key == "key"));
    Ok((page.items.into_iter().map(|item| item.stream_id).collect(), page.more))
}

#[tokio::test]
async fn uploads_of_one_key_are_listed_by_the_ids_from_begin() {
    let network = Network::start(0).await;
    network.create_bucket("bucket").await;
    let mut begun = Vec::new();
    for _ in 0..3 {
        begun.push(begin(&network, b"key").await);
    }
    begin(&network, b"other").await;
    network.put_inline("bucket", b"key", b"committed").await;
    let (all, more) = streams(&network, Bytes::new(), 0).await.unwrap();
    assert!(!more && all.len() == 3 && begun.iter().all(|id| all.contains(id)));
    let (first, more) = streams(&network, Bytes::new(), 2).await.unwrap();
    assert!(more && first == all[..2]);
    assert_eq!(streams(&network, first[1].clone(), 2).await, Ok((all[2..].to_vec(), false)));
    let forged = streams(&network, Bytes::from_static(b"forged"), 2).await.unwrap_err();
    assert_eq!(forged.code, Code::INVALID_ARGUMENT);
    assert_eq!(streams(&network, Bytes::new(), -1).await.unwrap_err().code, Code::INVALID_ARGUMENT);
    // A listing of all uploads has the same ids.
    let request = ListObjectsRequest {
        bucket: "bucket".into(),
        status: object::Status::Uploading.into(),
        recursive: true,
        header: network.header(),
        ..Default::default()
    };
    let listed = network.client().list_objects(request).await.unwrap().into_inner().items;
    assert!(begun.iter().all(|id| listed.iter().any(|item| item.stream_id == id)));
    network.stop().await;
}

#[tokio::test]
async fn metadata_from_begin_is_readable_until_commit() {
    let network = Network::start(0).await;
    network.create_bucket("bucket").await;
    let stream_id = begin(&network, b"key").await;
    let get = async |key: &'static str| {
        let request = GetPendingObjectMetadataRequest {
            bucket: "bucket".into(),
            encrypted_object_key: key.into(),
            stream_id: stream_id.clone(),
            header: network.header(),
        };
        let answer = network.client().get_pending_object_metadata(request).await;
        answer
            .map(|answer| answer.into_inner().encrypted_metadata)
            .map_err(|e| Failure::from(e).code)
    };
    assert_eq!(get("key").await, Ok(vec![0x0a, 1, 7].into()));
    assert_eq!(get("other").await, Err(Code::INVALID_ARGUMENT));
    let commit = CommitObjectRequest {
        stream_id: stream_id.clone(),
        header: network.header(),
        ..Default::default()
    };
    network.client().commit_object(commit).await.unwrap();
    assert_eq!(get("key").await, Err(Code::NOT_FOUND));
    network.stop().await;
}

async fn sizes(network: &Network, stream_id: &Bytes) -> Vec<i64> {
    let request = ListSegmentsRequest {
        stream_id: stream_id.clone(),
        header: network.header(),
        ..Default::default()
    };
    let listed = network.client().list_segments(request).await.unwrap().into_inner();
    listed.items.iter().map(|item| item.plain_size).collect()
}

#[tokio::test]
async fn shorter_part_replaces_longer_one_completely() {
    let network = Network::start(10).await;
    network.create_bucket("bucket").await;
    let stream_id = begin(&network, b"key").await;
    let put = async |part, index, plain| {
        let mut request = begin_segment(part, index);
        request.stream_id = stream_id.clone();
        request.header = network.header();
        let begun = network.client().begin_segment(request).await.unwrap().into_inner();
        let commit = network.commit_of(&begun, plain, ENCRYPTED, PIECE);
        network.client().commit_segment(commit).await.unwrap();
    };
    let inline = async |part, index, data: &[u8]| {
        let mut request = inline_segment(part, index, data);
        request.stream_id = stream_id.clone();
        request.header = network.header();
        network.client().make_inline_segment(request).await.unwrap();
    };
    put(1, 0, PLAIN).await;
    put(1, 1, PLAIN - 1).await;
    inline(1, 2, b"tail").await;
    put(2, 0, PLAIN - 2).await;
    assert_eq!(sizes(&network, &stream_id).await, [PLAIN, PLAIN - 1, 4, PLAIN - 2]);
    put(1, 0, PLAIN - 3).await;
    assert_eq!(sizes(&network, &stream_id).await, [PLAIN - 3, PLAIN - 2]);
    put(1, 1, PLAIN).await;
    inline(1, 0, b"small").await;
    assert_eq!(sizes(&network, &stream_id).await, [5, PLAIN - 2]);
    let delete = async |stream_id: Bytes, part_number| {
        let request = DeletePartRequest { stream_id, part_number, header: network.header() };
        network.client().delete_part(request).await.map(drop).map_err(|e| Failure::from(e).code)
    };
    assert_eq!(delete(Bytes::new(), 2).await, Ok(()));
    assert_eq!(delete(stream_id.clone(), -1).await, Err(Code::INVALID_ARGUMENT));
    assert_eq!(delete(stream_id.clone(), 2).await, Ok(()));
    assert_eq!(sizes(&network, &stream_id).await, [5]);
    network.stop().await;
}
