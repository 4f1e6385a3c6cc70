//! Metadata updates, deletion of many objects, revocation of keys.

use std::time::Duration;

use bytes::Bytes;
use uplink_core::macaroon::{ApiKey, Caveat, Operation};
use uplink_rpc::r#gen::metainfo::delete_objects_response_item::Status;
use uplink_rpc::r#gen::metainfo::*;
use uplink_rpc::status::{Code, Failure};
use uplink_satellite::Config;

use crate::network::{Network, header};

async fn network() -> Network {
    let network = Network::start(0).await;
    network.create_bucket("bucket").await;
    network
}

fn without(network: &Network, operation: Operation) -> ApiKey {
    let caveat = Caveat { disallowed: [operation].into_iter().collect(), ..Caveat::default() };
    network.api_key.restrict(&caveat).unwrap()
}

fn update(network: &Network, object: &Object, etag: Option<u8>) -> UpdateObjectMetadataRequest {
    UpdateObjectMetadataRequest {
        bucket: "bucket".into(),
        encrypted_object_key: object.encrypted_object_key.clone(),
        stream_id: object.stream_id.clone(),
        encrypted_metadata: vec![0x0a, 1, 9].into(),
        encrypted_metadata_encrypted_key: vec![3; 48].into(),
        encrypted_metadata_nonce: vec![4; 24].into(),
        set_encrypted_etag: etag.is_some(),
        encrypted_etag: etag.map_or_else(Vec::new, |etag| vec![etag; 20]).into(),
        header: network.header(),
        ..Default::default()
    }
}

async fn send(network: &Network, request: UpdateObjectMetadataRequest) -> Result<(), Failure> {
    network.client().update_object_metadata(request).await.map(drop).map_err(Failure::from)
}

#[tokio::test]
async fn metadata_update_must_include_all_existing_parts() {
    let network = network().await;
    let object = network.put_inline("bucket", b"key", b"data").await;
    send(&network, update(&network, &object, None)).await.unwrap();
    send(&network, update(&network, &object, Some(1))).await.unwrap();
    let get = GetObjectRequest {
        bucket: "bucket".into(),
        encrypted_object_key: "key".into(),
        header: network.header(),
        ..Default::default()
    };
    let found = network.client().get_object(get).await.unwrap().into_inner().object.unwrap();
    assert_eq!(
        (&found.encrypted_etag[..], &found.encrypted_metadata[..3]),
        (&[1; 20][..], &[0x0a, 1, 9][..])
    );
    assert_eq!(found.stream_id, object.stream_id);
    // Without the ETag, whose key would be lost.
    let rejected = send(&network, update(&network, &object, None)).await.unwrap_err();
    assert_eq!(rejected.code, Code::NOT_FOUND);
    assert!(rejected.message.starts_with("object not found: "), "{rejected}");
    let include = |custom, etag| Some(ObjectMetadataIncludes { custom, etag, checksum: false });
    for (includes, code) in [
        (include(true, false), Code(10_034)),
        (include(false, true), Code(10_034)),
        (include(false, false), Code(10_033)),
        (include(true, true), Code::OK),
    ] {
        let request =
            UpdateObjectMetadataRequest { includes, ..update(&network, &object, Some(2)) };
        let outcome = send(&network, request).await;
        assert_eq!(outcome.err().map_or(Code::OK, |failure| failure.code), code, "{includes:?}");
    }
    network.stop().await;
}

#[tokio::test]
async fn metadata_of_other_upload_or_object_is_unchanged() {
    let network = network().await;
    let old = network.put_inline("bucket", b"key", b"data").await;
    network.put_inline("bucket", b"key", b"newer").await;
    let rejected = send(&network, update(&network, &old, None)).await.unwrap_err();
    assert_eq!(rejected.code, Code::NOT_FOUND);
    let other = network.put_inline("bucket", b"other", b"data").await;
    let mut request = update(&network, &other, None);
    request.encrypted_object_key = "key".into();
    assert_eq!(send(&network, request).await.unwrap_err().code, Code::INVALID_ARGUMENT);
    let mut request = update(&network, &other, None);
    request.encrypted_metadata_nonce = vec![0; 24].into();
    assert_eq!(send(&network, request).await.unwrap_err().code, Code::INVALID_ARGUMENT);
    network.stop().await;
}

/// Changes one field of a request.
type Mutation = fn(&mut DeleteObjectsRequest);

fn deletion(keys: &[&'static [u8]]) -> DeleteObjectsRequest {
    let item = |key: &&'static [u8]| DeleteObjectsRequestItem {
        encrypted_object_key: Bytes::from_static(key),
        ..Default::default()
    };
    let items = keys.iter().map(item).collect();
    DeleteObjectsRequest { bucket: "bucket".into(), items, ..Default::default() }
}

async fn delete(
    network: &Network,
    key: &ApiKey,
    mut request: DeleteObjectsRequest,
) -> Result<Vec<(Bytes, Status)>, Failure> {
    request.header = header(key);
    let answer = network.client().delete_objects(request).await.map_err(Failure::from)?;
    let items = answer.into_inner().items.into_iter();
    Ok(items.map(|item| (item.encrypted_object_key.clone(), item.status())).collect())
}

#[tokio::test]
async fn deletion_of_many_objects_reports_each_outcome() {
    let network = network().await;
    let key = &network.api_key;
    for name in [&b"b"[..], b"a", b"aa", b"version"] {
        network.put_inline("bucket", name, b"data").await;
    }
    let outcome = delete(&network, key, deletion(&[b"aa", b"none", b"b", b"b"])).await.unwrap();
    let expected = [("b", Status::Ok), ("aa", Status::Ok), ("none", Status::NotFound)];
    assert_eq!(outcome, expected.map(|(name, status)| (name.into(), status)));
    let mut quiet = deletion(&[b"a", b"none"]);
    quiet.quiet = true;
    assert_eq!(delete(&network, key, quiet).await.unwrap(), [("none".into(), Status::NotFound)]);
    let restricted = without(&network, Operation::Delete);
    let denied = delete(&network, &restricted, deletion(&[b"version"]));
    assert_eq!(denied.await.unwrap(), [("version".into(), Status::Unauthorized)]);
    let mut other = deletion(&[b"version"]);
    other.items[0].object_version = vec![1; 16].into();
    assert_eq!(delete(&network, key, other).await.unwrap(), [("version".into(), Status::NotFound)]);
    network.stop().await;
}

#[tokio::test]
async fn deletion_of_many_objects_has_specific_codes() {
    let network = network().await;
    let cases: [(u64, Mutation); 9] = [
        (10_014, |r| r.bucket = Bytes::new()),
        (10_015, |r| r.bucket = "b".into()),
        (10_019, |r| r.bucket = "missing".into()),
        (10_020, |r| r.items.clear()),
        (10_021, |r| r.items = vec![r.items[0].clone(); 1_001]),
        (10_016, |r| r.items[0].encrypted_object_key = Bytes::new()),
        (10_017, |r| r.items[0].encrypted_object_key = vec![1; 4_001].into()),
        (10_018, |r| r.items[0].object_version = vec![1; 15].into()),
        (10_018, |r| r.items[0].object_version = vec![0; 16].into()),
    ];
    for (code, mutate) in cases {
        let mut request = deletion(&[b"key"]);
        mutate(&mut request);
        let rejected = delete(&network, &network.api_key, request).await.unwrap_err();
        assert_eq!(rejected.code, Code(code), "{rejected}");
    }
    let max = DeleteObjectsRequest {
        items: vec![deletion(&[b"key"]).items[0].clone(); 1_000],
        ..deletion(&[])
    };
    assert_eq!(delete(&network, &network.api_key, max).await.unwrap().len(), 1);
    network.stop().await;
}

async fn revoke(network: &Network, by: &ApiKey, target: Vec<u8>) -> Result<(), Failure> {
    let request = RevokeApiKeyRequest { api_key: target.into(), header: header(by) };
    network.client().revoke_api_key(request).await.map(drop).map_err(Failure::from)
}

async fn works(network: &Network, key: &ApiKey) -> bool {
    let request = ProjectInfoRequest { header: header(key) };
    match network.client().project_info(request).await.map_err(Failure::from) {
        Ok(_) => true,
        Err(failure) => {
            let denied = Failure::new(Code::PERMISSION_DENIED, "Unauthorized API credentials");
            assert_eq!(failure, denied);
            false
        }
    }
}

#[tokio::test]
async fn revoked_key_and_descendants_are_rejected_despite_cache() {
    let mut config = Config::dev();
    config.api_key_cache = Duration::from_secs(3_600);
    let network = Network::start_with(0, config, std::time::SystemTime::now).await;
    let root = &network.api_key;
    let child = without(&network, Operation::Delete);
    let other = without(&network, Operation::List);
    let nonce = Caveat { nonce: vec![1, 2], ..Caveat::default() };
    let grandchild = child.restrict(&nonce).unwrap();
    for key in [root, &child, &other, &grandchild] {
        assert!(works(&network, key).await);
    }
    let denied = Failure::new(Code::PERMISSION_DENIED, "Unauthorized attempt to revoke macaroon");
    for (by, target) in [(root, root), (&child, root), (&child, &child), (&other, &grandchild)] {
        assert_eq!(revoke(&network, by, target.to_bytes()).await, Err(denied.clone()));
    }
    let foreign = ApiKey::new(&[1; 32], root.head().to_vec()).to_bytes();
    for garbage in [foreign, Vec::new(), b"garbage".to_vec()] {
        let rejected = revoke(&network, root, garbage).await.unwrap_err();
        assert_eq!(rejected.code, Code::INVALID_ARGUMENT, "{rejected}");
    }
    revoke(&network, root, child.to_bytes()).await.unwrap();
    revoke(&network, root, child.to_bytes()).await.unwrap();
    assert!(works(&network, root).await && works(&network, &other).await);
    assert!(!works(&network, &child).await && !works(&network, &grandchild).await);
    assert_eq!(
        revoke(&network, &child, grandchild.to_bytes()).await.unwrap_err().code,
        Code::PERMISSION_DENIED
    );
    network.stop().await;
}
