//! Copying and moving objects, and replacing their metadata.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use uplink::{
    Authenticity, CopyOptions, EncryptionKey, ErrorKind, Permission, Project, SharePrefix,
    UploadOptions,
};

use super::world::{BUCKET, SMALL_SEGMENT, World, bytes, config};

fn entries(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Rejects everything that is not sealed.
fn strict(world: &World) -> Project {
    let config = config().segment_size(SMALL_SEGMENT).require_seal(true);
    Project::open_with(&world.access, &config).expect("a project")
}

async fn upload(world: &World, key: &str, content: &[u8], options: &UploadOptions) {
    let mut upload = world.project.upload_object_with(BUCKET, key, options).expect("an upload");
    upload.write(content).await.expect("written");
    upload.commit().await.expect("committed");
}

async fn read(project: &Project, bucket: &str, key: &str) -> Vec<u8> {
    let mut download = project.download_object(bucket, key).await.expect("a download");
    download.read_to_end(u64::MAX).await.expect("read").into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_and_moves_keep_content_metadata_expiry_and_seal() {
    let world = World::start().await;
    world.project.create_bucket("other").await.expect("a bucket");
    let strict = strict(&world);
    let metadata = entries(&[("kind", "test")]);
    let expires = SystemTime::now() + Duration::from_secs(7200);
    let options = UploadOptions::new()
        .custom_metadata(metadata.clone())
        .etag(*b"an etag")
        .expires_at(expires);
    // Nothing, inline, one segment, several with an inline tail, several full ones.
    for size in [0, 4096, 100_000, 2 * SMALL_SEGMENT + 7, 2 * SMALL_SEGMENT] {
        let content = bytes(7, size);
        upload(&world, "a/source", &content, &options).await;
        let copy = strict.copy_object(BUCKET, "a/source", "other", "b/copy").await.expect("copied");
        assert_eq!((copy.key.to_string().as_str(), copy.size), ("b/copy", size));
        assert_eq!(copy.authenticity, Authenticity::Sealed);
        strict.move_object("other", "b/copy", BUCKET, "c/moved").await.expect("moved");
        let gone = strict.stat_object("other", "b/copy").await.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::ObjectNotFound);
        for key in ["a/source", "c/moved"] {
            assert!(read(&strict, BUCKET, key).await == content, "{key}, {size} bytes");
            let object = strict.stat_object(BUCKET, key).await.expect("exists");
            assert_eq!(object.custom_metadata, metadata, "{key}");
            assert_eq!(object.etag, b"an etag");
            let at = object.expires_at.expect("it expires");
            assert!(at.duration_since(expires).unwrap_or_default() < Duration::from_secs(1));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copy_may_have_other_metadata_and_keeps_its_seal() {
    let world = World::start().await;
    let strict = strict(&world);
    let options = UploadOptions::new().custom_metadata(entries(&[("a", "1")])).etag(*b"etag");
    let content = bytes(1, SMALL_SEGMENT + 100_000);
    upload(&world, "source", &content, &options).await;
    let other = entries(&[("b", "2")]);
    let options = CopyOptions::new().custom_metadata(other.clone());
    let copied = strict.copy_object_with(BUCKET, "source", BUCKET, "copy", &options).await;
    let copied = copied.expect("copied");
    assert_eq!((copied.custom_metadata, copied.etag.as_slice()), (other, &b"etag"[..]));
    assert!(read(&strict, BUCKET, "copy").await == content);
    // Onto itself: the object gets the metadata.
    let options = CopyOptions::new().custom_metadata(BTreeMap::new());
    let copied = strict.copy_object_with(BUCKET, "copy", BUCKET, "copy", &options).await;
    assert_eq!(copied.expect("copied").custom_metadata, BTreeMap::new());
    assert!(read(&strict, BUCKET, "copy").await == content);
    let invalid = CopyOptions::new().custom_metadata(entries(&[("", "x")]));
    let error = strict.copy_object_with(BUCKET, "copy", BUCKET, "b", &invalid).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CustomMetadataInvalid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_update_keeps_content_etag_and_seal() {
    let world = World::start().await;
    let strict = strict(&world);
    let content = bytes(1, 2 * SMALL_SEGMENT + 7);
    upload(&world, "key", &content, &UploadOptions::new().etag(*b"etag")).await;
    for metadata in [entries(&[("a", "1"), ("b", "2")]), entries(&[("a", "3")]), BTreeMap::new()] {
        let updated = strict.update_object_metadata(BUCKET, "key", metadata.clone()).await;
        updated.expect("updated");
        let object = strict.stat_object(BUCKET, "key").await.expect("exists");
        assert_eq!((object.custom_metadata, object.etag.as_slice()), (metadata, &b"etag"[..]));
        assert_eq!(object.authenticity, Authenticity::Sealed);
        assert!(read(&strict, BUCKET, "key").await == content);
    }
    for (key, kind) in [("missing", ErrorKind::ObjectNotFound), ("", ErrorKind::ObjectKeyInvalid)] {
        let error = strict.update_object_metadata(BUCKET, key, BTreeMap::new()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditional_writes_do_not_replace_an_object() {
    let world = World::start().await;
    let project = &world.project;
    world.put("old", b"old").await;
    world.put("source", b"source").await;
    let create = UploadOptions::new().if_absent(true);
    for size in [3, 100_000] {
        let mut upload = project.upload_object_with(BUCKET, "old", &create).expect("an upload");
        upload.write(&bytes(1, size)).await.expect("written");
        let error = upload.commit().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ObjectAlreadyExists, "{error}");
        assert_eq!(error.to_string(), "object \"old\" already exists in bucket \"bucket\"");
    }
    let create_copy = CopyOptions::new().if_absent(true);
    let error = project.copy_object_with(BUCKET, "source", BUCKET, "old", &create_copy).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::ObjectAlreadyExists);
    assert_eq!(world.get("old").await.expect("read"), b"old");
    upload(&world, "new", b"new", &create).await;
    let copied = project.copy_object_with(BUCKET, "source", BUCKET, "copy", &create_copy).await;
    copied.expect("copied");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_sources_and_buckets_are_named() {
    let world = World::start().await;
    world.put("source", b"x").await;
    let project = &world.project;
    for (from, to, kind, text) in [
        (("bucket", "no"), ("bucket", "b"), ErrorKind::ObjectNotFound, "\"no\""),
        (("nobucket", "a"), ("bucket", "b"), ErrorKind::BucketNotFound, "\"nobucket\""),
        (("bucket", "source"), ("nobucket", "b"), ErrorKind::BucketNotFound, "\"nobucket\""),
        (("bucket", ""), ("bucket", "b"), ErrorKind::ObjectKeyInvalid, "empty"),
        (("bucket", "source"), ("", "b"), ErrorKind::BucketNameInvalid, "empty"),
    ] {
        let error = project.copy_object(from.0, from.1, to.0, to.1).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(text), "{error}");
        let error = project.move_object(from.0, from.1, to.0, to.1).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
    assert_eq!(world.get("source").await.expect("still there"), b"x");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copy_crosses_encryption_keys_of_tenants() {
    let world = World::start().await;
    let content = bytes(3, 100_000);
    world.put("user/report", &content).await;
    let shared = [SharePrefix::bucket(BUCKET)];
    let mut access = world.access.share(&Permission::full(), &shared).expect("shared");
    let key = EncryptionKey::derive("tenant", b"salt").await.expect("a key");
    access.override_encryption_key(BUCKET, "tenant/", &key).expect("overridden");
    let both = Project::open_with(&access, &config()).expect("a project");
    both.copy_object(BUCKET, "user/report", BUCKET, "tenant/report").await.expect("copied");
    assert!(read(&both, BUCKET, "tenant/report").await == content);
    let without = world.project.stat_object(BUCKET, "tenant/report").await.unwrap_err();
    assert!(matches!(without.kind(), ErrorKind::ObjectNotFound | ErrorKind::Decryption));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copy_without_permission_to_read_or_write_is_denied() {
    let world = World::start().await;
    world.put("source", b"x").await;
    for permission in [Permission::read_only(), Permission::write_only()] {
        let access = world.access.share(&permission, &[]).expect("shared");
        let project = Project::open_with(&access, &config()).expect("a project");
        let error = project.copy_object(BUCKET, "source", BUCKET, "copy").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        let error = project.move_object(BUCKET, "source", BUCKET, "copy").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    }
}
