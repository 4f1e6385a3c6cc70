//! Copying and moving: keys change, pieces stay, failures change nothing.

use bytes::Bytes;
use uplink_core::macaroon::{ApiKey, Caveat, Operation};
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::*;
use uplink_rpc::status::{Code, Failure};

use crate::calls::{ENCRYPTED, PIECE, PLAIN};
use crate::network::{Network, begin_object, header, inline_segment};

/// Starts a network with an object of a remote and an inline segment, with metadata.
async fn network() -> Network {
    let network = Network::start(10).await;
    network.create_bucket("bucket").await;
    network.create_bucket("other").await;
    let (object, segment) = network.begin("bucket", b"key").await;
    let mut tail = inline_segment(0, 1, b"tail");
    tail.stream_id = object.stream_id.clone();
    let commit = CommitObjectRequest {
        stream_id: object.stream_id,
        encrypted_metadata: vec![0x0a, 1, 7].into(),
        encrypted_metadata_encrypted_key: vec![3; 48].into(),
        encrypted_metadata_nonce: vec![4; 24].into(),
        ..CommitObjectRequest::default()
    };
    let requests = vec![
        Request::SegmentCommit(network.commit_of(&segment, PLAIN, ENCRYPTED, PIECE)),
        Request::SegmentMakeInline(tail),
        Request::ObjectCommit(commit),
    ];
    network.batch(requests).await.unwrap();
    network
}

async fn begin_copy(network: &Network, key: &'static str) -> BeginCopyObjectResponse {
    let request = BeginCopyObjectRequest {
        bucket: "bucket".into(),
        encrypted_object_key: key.into(),
        new_bucket: "other".into(),
        new_encrypted_object_key: "new".into(),
        header: network.header(),
        ..Default::default()
    };
    network.client().begin_copy_object(request).await.unwrap().into_inner()
}

/// Changes one field of a request.
type Mutation = fn(&mut FinishCopyObjectRequest);

/// Returns keys wrapped again.
fn rewrapped(keys: &[EncryptedKeyAndNonce]) -> Vec<EncryptedKeyAndNonce> {
    let rewrap = |key: &EncryptedKeyAndNonce| EncryptedKeyAndNonce {
        encrypted_key_nonce: vec![8; 24].into(),
        encrypted_key: vec![9; 48].into(),
        ..key.clone()
    };
    keys.iter().map(rewrap).collect()
}

fn finish_copy(
    begun: &BeginCopyObjectResponse,
    bucket: &str,
    key: &str,
) -> FinishCopyObjectRequest {
    FinishCopyObjectRequest {
        stream_id: begun.stream_id.clone(),
        new_bucket: bucket.to_owned().into(),
        new_encrypted_object_key: key.to_owned().into(),
        new_encrypted_metadata_key_nonce: vec![4; 24].into(),
        new_encrypted_metadata_key: vec![5; 48].into(),
        new_segment_keys: rewrapped(&begun.segment_keys),
        ..Default::default()
    }
}

async fn copy(
    network: &Network,
    api_key: &ApiKey,
    mut request: FinishCopyObjectRequest,
) -> Result<Object, Failure> {
    request.header = header(api_key);
    let answer = network.client().finish_copy_object(request).await.map_err(Failure::from)?;
    Ok(answer.into_inner().object.unwrap())
}

async fn download(
    network: &Network,
    bucket: &str,
    key: &str,
) -> Result<DownloadObjectResponse, Failure> {
    let request = DownloadObjectRequest {
        bucket: bucket.to_owned().into(),
        encrypted_object_key: key.to_owned().into(),
        header: network.header(),
        ..Default::default()
    };
    let answer = network.client().download_object(request).await;
    answer.map(tonic::Response::into_inner).map_err(Failure::from)
}

async fn delete(network: &Network, bucket: &str, key: &str) {
    let request = BeginDeleteObjectRequest {
        bucket: bucket.to_owned().into(),
        encrypted_object_key: key.to_owned().into(),
        header: network.header(),
        ..Default::default()
    };
    let answer = network.client().begin_delete_object(request).await.unwrap().into_inner();
    assert!(answer.object.is_some());
}

#[tokio::test]
async fn copy_keeps_pieces_and_metadata_and_survives_its_source() {
    let network = network().await;
    let begun = begin_copy(&network, "key").await;
    assert_eq!(begun.segment_keys.len(), 2);
    assert_eq!(begun.encrypted_metadata_key, Bytes::from(vec![3; 48]));
    assert_eq!(begun.encryption_parameters.as_ref().unwrap().block_size, 7424);
    let object =
        copy(&network, &network.api_key, finish_copy(&begun, "other", "new")).await.unwrap();
    assert_eq!(
        (&object.bucket[..], &object.encrypted_object_key[..]),
        (&b"other"[..], &b"new"[..])
    );
    assert_eq!((object.plain_size, object.total_size), (PLAIN + 4, ENCRYPTED + 4));
    assert_ne!(object.stream_id, begun.stream_id);
    delete(&network, "bucket", "key").await;

    let found = download(&network, "other", "new").await.unwrap();
    let found_object = found.object.unwrap();
    assert_eq!(found_object.stream_id, object.stream_id);
    assert_eq!(found_object.encrypted_metadata_encrypted_key, Bytes::from(vec![5; 48]));
    assert_eq!(found_object.encrypted_metadata[..3], [0x0a, 1, 7]);
    let segments = found.segment_list.unwrap().items;
    let shape: Vec<_> = segments.iter().map(|item| (item.plain_offset, item.plain_size)).collect();
    assert_eq!(shape, [(0, PLAIN), (PLAIN, 4)]);
    assert!(segments.iter().all(|item| item.encrypted_key == vec![9; 48]));
    assert_eq!(found.segment_download[0].addressed_limits.len(), 10);
    network.stop().await;
}

#[tokio::test]
async fn copy_to_its_own_key_replaces_the_source() {
    let network = network().await;
    let begun = begin_copy(&network, "key").await;
    let object =
        copy(&network, &network.api_key, finish_copy(&begun, "bucket", "key")).await.unwrap();
    let found = download(&network, "bucket", "key").await.unwrap();
    assert_eq!(found.object.unwrap().stream_id, object.stream_id);
    assert_eq!(found.segment_list.unwrap().items.len(), 2);
    // The first source no longer exists, so a copy with its keys fails.
    let again = copy(&network, &network.api_key, finish_copy(&begun, "bucket", "key")).await;
    let again = again.unwrap_err();
    assert_eq!(again.code, Code::NOT_FOUND);
    assert!(again.message.starts_with("object not found: "), "{again}");
    network.stop().await;
}

#[tokio::test]
async fn invalid_copy_is_rejected_and_changes_nothing() {
    let network = network().await;
    let begun = begin_copy(&network, "key").await;
    let mutated: [(Code, Mutation); 9] = [
        (Code::INVALID_ARGUMENT, |r| drop(r.new_segment_keys.pop())),
        (Code::INVALID_ARGUMENT, |r| {
            r.new_segment_keys[1].position = Some(SegmentPosition { part_number: 1, index: 1 })
        }),
        (Code::INVALID_ARGUMENT, |r| {
            r.new_segment_keys[1].position = r.new_segment_keys[0].position
        }),
        (Code::INVALID_ARGUMENT, |r| r.new_segment_keys[0].encrypted_key = vec![9; 47].into()),
        (Code::INVALID_ARGUMENT, |r| r.new_encrypted_metadata_key = Bytes::new()),
        (Code::INVALID_ARGUMENT, |r| r.new_encrypted_object_key = Bytes::new()),
        (Code::NOT_FOUND, |r| r.new_bucket = "missing".into()),
        (Code::UNIMPLEMENTED, |r| r.if_none_match = vec!["x".to_owned()]),
        (Code(10_003), |r| r.legal_hold = true),
    ];
    for (index, (code, mutate)) in mutated.into_iter().enumerate() {
        let mut request = finish_copy(&begun, "other", "new");
        mutate(&mut request);
        let rejected = copy(&network, &network.api_key, request).await.unwrap_err();
        assert_eq!(rejected.code, code, "{index}: {rejected}");
    }
    assert_eq!(download(&network, "other", "new").await.unwrap_err().code, Code::NOT_FOUND);
    network.put_inline("other", b"new", b"there").await;
    let mut unless = finish_copy(&begun, "other", "new");
    unless.if_none_match = vec!["*".to_owned()];
    let rejected = copy(&network, &network.api_key, unless).await.unwrap_err();
    assert_eq!(rejected.code, Code::FAILED_PRECONDITION);
    let may_not_delete =
        Caveat { disallowed: [Operation::Delete].into_iter().collect(), ..Caveat::default() };
    let key = network.api_key.restrict(&may_not_delete).unwrap();
    let rejected = copy(&network, &key, finish_copy(&begun, "other", "new")).await.unwrap_err();
    assert_eq!(rejected.code, Code::PERMISSION_DENIED);
    assert_eq!(download(&network, "other", "new").await.unwrap().object.unwrap().plain_size, 5);
    network.stop().await;
}

#[tokio::test]
async fn copy_can_replace_all_metadata() {
    let network = network().await;
    let begun = begin_copy(&network, "key").await;
    let mut request = finish_copy(&begun, "other", "new");
    request.override_metadata = true;
    request.new_encrypted_metadata = vec![0x0a, 1, 9].into();
    request.new_encrypted_etag = vec![6; 20].into();
    let object = copy(&network, &network.api_key, request).await.unwrap();
    assert_eq!(object.encrypted_metadata[..3], [0x0a, 1, 9]);
    assert_eq!(object.encrypted_etag.len(), 20);
    network.stop().await;
}

async fn begin_move(
    network: &Network,
    key: &'static str,
) -> Result<BeginMoveObjectResponse, Failure> {
    let request = BeginMoveObjectRequest {
        bucket: "bucket".into(),
        encrypted_object_key: key.into(),
        new_bucket: "other".into(),
        new_encrypted_object_key: "new".into(),
        header: network.header(),
    };
    let answer = network.client().begin_move_object(request).await;
    answer.map(tonic::Response::into_inner).map_err(Failure::from)
}

async fn finish_move(
    network: &Network,
    begun: &BeginMoveObjectResponse,
    bucket: &'static str,
    key: &'static str,
) -> Result<(), Failure> {
    let request = FinishMoveObjectRequest {
        stream_id: begun.stream_id.clone(),
        new_bucket: bucket.into(),
        new_encrypted_object_key: key.into(),
        new_encrypted_metadata_key_nonce: vec![4; 24].into(),
        new_encrypted_metadata_key: vec![5; 48].into(),
        new_segment_keys: rewrapped(&begun.segment_keys),
        header: network.header(),
        ..Default::default()
    };
    network.client().finish_move_object(request).await.map(drop).map_err(Failure::from)
}

#[tokio::test]
async fn moved_object_has_only_its_new_key() {
    let network = network().await;
    network.put_inline("other", b"new", b"replaced").await;
    let begun = begin_move(&network, "key").await.unwrap();
    finish_move(&network, &begun, "other", "new").await.unwrap();
    assert_eq!(download(&network, "bucket", "key").await.unwrap_err().code, Code::NOT_FOUND);
    let found = download(&network, "other", "new").await.unwrap();
    assert_eq!(found.object.as_ref().unwrap().plain_size, PLAIN + 4);
    assert!(found.segment_list.unwrap().items.iter().all(|item| item.encrypted_key == vec![9; 48]));
    // A move to its own key leaves the object unchanged.
    network.put_inline("bucket", b"key", b"again").await;
    let begun = begin_move(&network, "key").await.unwrap();
    let twice = BeginMoveObjectResponse { ..begun.clone() };
    let mut keyless = begun;
    keyless.segment_keys.clear();
    assert_eq!(
        finish_move(&network, &keyless, "bucket", "key").await.unwrap_err().code,
        Code::INVALID_ARGUMENT
    );
    finish_move(&network, &twice, "bucket", "key").await.unwrap();
    assert_eq!(download(&network, "bucket", "key").await.unwrap().object.unwrap().plain_size, 5);
    assert_eq!(begin_move(&network, "none").await.unwrap_err().code, Code::NOT_FOUND);
    network.stop().await;
}

#[tokio::test]
async fn object_ips_returns_addresses_of_its_nodes() {
    let network = network().await;
    let request = GetObjectIPsRequest {
        bucket: "bucket".into(),
        encrypted_object_key: "key".into(),
        header: network.header(),
        ..Default::default()
    };
    let found = network.client().get_object_i_ps(request).await.unwrap().into_inner();
    assert_eq!((found.segment_count, found.piece_count, found.reliable_piece_count), (2, 10, 10));
    let mut expected: Vec<Bytes> =
        network.nodes.iter().map(|node| node.running.address().to_string().into()).collect();
    expected.sort();
    assert_eq!(found.ips, expected);
    network.stop().await;
}

#[tokio::test]
async fn copy_needs_read_and_write_permission() {
    let network = network().await;
    let begun = begin_copy(&network, "key").await;
    for operation in [Operation::Read, Operation::Write] {
        let without = Caveat { disallowed: [operation].into_iter().collect(), ..Caveat::default() };
        let key = network.api_key.restrict(&without).unwrap();
        let rejected = copy(&network, &key, finish_copy(&begun, "other", "new")).await.unwrap_err();
        assert_eq!(rejected.code, Code::PERMISSION_DENIED, "{operation:?}");
    }
    let pending =
        network.batch(vec![Request::ObjectBegin(begin_object("bucket", b"pending"))]).await;
    assert!(pending.is_ok());
    assert_eq!(begin_move(&network, "pending").await.unwrap_err().code, Code::NOT_FOUND);
    network.stop().await;
}
