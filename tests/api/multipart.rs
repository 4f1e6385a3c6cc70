//! Multipart uploads.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;
use tokio::io::AsyncWriteExt;
use uplink::{
    Access, Authenticity, BeginUploadOptions, CommitUploadOptions, ErrorKind, ListPartsOptions,
    MAX_PART_NUMBER, Part, PartReceipt, Permission, Project,
};
use uplink_testnet::Options;

use super::world::{BUCKET, SMALL_SEGMENT, World, bytes, config};

/// The satellite accepts smaller parts only at the end.
const PART: u64 = 5 << 20;

fn open(access: &Access) -> Project {
    let config = config().segment_size(SMALL_SEGMENT);
    Project::open_with(access, &config).expect("a project")
}

async fn part(project: &Project, id: &str, number: u32, content: &[u8]) -> PartReceipt {
    let mut part = project.upload_part(BUCKET, "key", id, number).expect("a part");
    part.write(content).await.expect("written");
    part.set_etag(format!("etag {number}"));
    part.commit().await.expect("committed")
}

async fn parts(project: &Project, id: &str, options: ListPartsOptions) -> Vec<Part> {
    let list = project.list_parts_with(BUCKET, "key", id, &options).expect("a listing");
    list.try_collect().await.expect("listed")
}

async fn read(project: &Project) -> Vec<u8> {
    let mut download = project.download_object(BUCKET, "key").await.expect("a download");
    download.read_to_end(u64::MAX).await.expect("read").into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_uploaded_concurrently_make_one_sealed_object() {
    let world = World::start().await;
    let metadata = BTreeMap::from([("kind".to_owned(), "parts".to_owned())]);
    let expires = SystemTime::now() + Duration::from_secs(7200);
    let options = BeginUploadOptions::new().custom_metadata(metadata.clone()).expires_at(expires);
    let project = &world.project;
    let id = project.begin_upload_with(BUCKET, "key", &options).await.expect("begun");
    let contents = [bytes(1, PART), bytes(2, PART + 3), bytes(3, 100)];
    let (third, first, second) = tokio::join!(
        part(project, &id, 9, &contents[2]),
        part(project, &id, 1, &contents[0]),
        part(project, &id, 5, &contents[1]),
    );
    let missing = project.stat_object(BUCKET, "key").await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::ObjectNotFound, "visible before the commit");
    let listed = parts(project, &id, ListPartsOptions::new()).await;
    let seen: Vec<_> = listed.iter().map(|part| (part.number, part.size)).collect();
    assert_eq!(seen, [(1, PART), (5, PART + 3), (9, 100)]);
    assert!(listed.iter().all(|part| part.etag == format!("etag {}", part.number).as_bytes()));
    assert!(listed.iter().all(|part| part.modified_at.is_some()));
    assert_eq!(parts(project, &id, ListPartsOptions::new().cursor(5)).await, listed[2..]);

    let options = CommitUploadOptions::new().receipts([second, third, first]).etag(*b"whole");
    let object = project.commit_upload_with(BUCKET, "key", &id, &options).await.expect("committed");
    assert_eq!((object.size, object.authenticity), (2 * PART + 103, Authenticity::Sealed));
    assert_eq!((object.custom_metadata, object.etag.as_slice()), (metadata, &b"whole"[..]));
    assert!(object.expires_at.is_some());
    assert!(read(project).await == contents.concat());
    let again = project.commit_upload(BUCKET, "key", &id).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::ObjectNotFound, "{again}");

    let strict = config().require_seal(true);
    let strict = Project::open_with(&world.access, &strict).expect("a project");
    strict.copy_object(BUCKET, "key", BUCKET, "copy").await.expect("copied");
    strict.move_object(BUCKET, "copy", BUCKET, "moved").await.expect("moved");
    let updated = strict.update_object_metadata(BUCKET, "moved", BTreeMap::new()).await;
    updated.expect("updated");
    let mut download = strict.download_object(BUCKET, "moved").await.expect("a download");
    assert!(download.read_to_end(u64::MAX).await.expect("read") == contents.concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upload_without_parts_and_without_metadata_is_an_empty_object() {
    let world = World::start().await;
    let id = world.project.begin_upload(BUCKET, "key").await.expect("begun");
    let object = world.project.commit_upload(BUCKET, "key", &id).await.expect("committed");
    assert_eq!((object.size, object.authenticity), (0, Authenticity::Sealed));
    assert_eq!(read(&world.project).await, b"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn part_uploaded_again_replaces_the_first() {
    let world = World::start().await;
    let project = &world.project;
    let id = project.begin_upload(BUCKET, "key").await.expect("begun");
    // The second attempt has fewer segments.
    let first = part(project, &id, 1, &bytes(1, 3 * SMALL_SEGMENT)).await;
    let second = part(project, &id, 1, &bytes(2, SMALL_SEGMENT + 7)).await;
    assert_ne!(first, second);
    let stale = CommitUploadOptions::new().receipts([first]);
    let error = project.commit_upload_with(BUCKET, "key", &id, &stale).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LayoutUnauthenticated, "{error}");
    let options = CommitUploadOptions::new().receipts([second]);
    project.commit_upload_with(BUCKET, "key", &id, &options).await.expect("committed");
    assert!(read(project).await == bytes(2, SMALL_SEGMENT + 7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commit_refuses_parts_that_its_receipts_do_not_name() {
    let world = World::start().await;
    let project = &world.project;
    let id = project.begin_upload(BUCKET, "key").await.expect("begun");
    let one = part(project, &id, 1, &bytes(1, PART)).await;
    let two = part(project, &id, 2, &bytes(2, 10)).await;
    for receipts in [vec![one.clone()], vec![two.clone()], vec![one.clone(), one.clone()]] {
        let options = CommitUploadOptions::new().receipts(receipts);
        let error = project.commit_upload_with(BUCKET, "key", &id, &options).await.unwrap_err();
        let kinds = [ErrorKind::LayoutUnauthenticated, ErrorKind::PartNumberInvalid];
        assert!(kinds.contains(&error.kind()), "{error}");
    }
    let all = CommitUploadOptions::new().receipts([one, two]);
    project.commit_upload_with(BUCKET, "key", &id, &all).await.expect("committed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_only_grant_seals_receipts_and_commits_unsealed_without() {
    let world = World::start().await;
    let access = world.access.share(&Permission::write_only(), &[]).expect("shared");
    let writer = open(&access);
    for sealed in [true, false] {
        let id = writer.begin_upload(BUCKET, "key").await.expect("begun");
        let receipt = part(&writer, &id, 1, &bytes(1, 100_000)).await;
        let receipts = if sealed { vec![receipt] } else { vec![] };
        let options = CommitUploadOptions::new().receipts(receipts);
        writer.commit_upload_with(BUCKET, "key", &id, &options).await.expect("committed");
        let reader = config().allow_unauthenticated_layout(!sealed);
        let reader = Project::open_with(&world.access, &reader).expect("a project");
        let object = reader.stat_object(BUCKET, "key").await.expect("exists");
        let expected = if sealed { Authenticity::Sealed } else { Authenticity::Claimed };
        assert_eq!(object.authenticity, expected);
        assert!(read(&reader).await == bytes(1, 100_000));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_and_aborted_parts_leave_the_upload_as_it_was() {
    let world = World::start().await;
    let project = &world.project;
    let id = project.begin_upload(BUCKET, "key").await.expect("begun");
    for is_dropped in [true, false] {
        let mut part = project.upload_part(BUCKET, "key", &id, 1).expect("a part");
        part.write_all(&bytes(1, 3 * SMALL_SEGMENT)).await.expect("written");
        if is_dropped {
            drop(part);
        } else {
            part.abort().await.expect("aborted");
        }
    }
    assert_eq!(parts(project, &id, ListPartsOptions::new()).await, []);
    let receipt = part(project, &id, 2, b"the only part").await;
    let options = CommitUploadOptions::new().receipts([receipt]);
    project.commit_upload_with(BUCKET, "key", &id, &options).await.expect("committed");
    assert_eq!(read(project).await, b"the only part");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_of_unknown_uploads_are_refused() {
    let world = World::start().await;
    let project = &world.project;
    let id = project.begin_upload(BUCKET, "key").await.expect("begun");
    project.abort_upload(BUCKET, "key", &id).await.expect("aborted");
    for size in [10, 100_000] {
        let mut part = project.upload_part(BUCKET, "key", &id, 1).expect("a part");
        let written = part.write(&bytes(1, size)).await;
        let error = match written {
            Ok(()) => part.commit().await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(error.kind(), ErrorKind::UploadIdInvalid, "{error}");
    }
    let error = project.upload_part(BUCKET, "key", "nonsense", 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UploadIdInvalid);
    let error = project.upload_part(BUCKET, "key", &id, MAX_PART_NUMBER + 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PartNumberInvalid);
    let mut list = project.list_parts(BUCKET, "key", &id).expect("a listing");
    assert!(list.try_next().await.is_err());
    let error = project.begin_upload("nobucket", "key").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BucketNotFound, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditional_commit_keeps_the_upload_pending() {
    let world = World::start().await;
    let project = &world.project;
    world.put("key", b"old").await;
    let id = project.begin_upload(BUCKET, "key").await.expect("begun");
    part(project, &id, 0, b"new").await;
    let create = CommitUploadOptions::new().if_absent(true);
    let error = project.commit_upload_with(BUCKET, "key", &id, &create).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ObjectAlreadyExists, "{error}");
    assert_eq!(read(project).await, b"old");
    project.delete_object(BUCKET, "key").await.expect("deleted");
    project.commit_upload_with(BUCKET, "key", &id, &create).await.expect("committed");
    assert_eq!(read(project).await, b"new");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditional_commit_of_a_small_part_names_the_part() {
    let options = Options::new().satellite_config(|config| config.min_part_size = PART);
    let world = World::start_with(options, &config()).await;
    let project = &world.project;
    let id = project.begin_upload(BUCKET, "key").await.expect("begun");
    for number in [1, 2] {
        part(project, &id, number, b"small").await;
    }
    let create = CommitUploadOptions::new().if_absent(true);
    let error = project.commit_upload_with(BUCKET, "key", &id, &create).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    assert!(error.to_string().contains("part number 1"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_commit_after_a_move_finds_no_upload() {
    let world = World::start().await;
    let project = &world.project;
    let id = project.begin_upload(BUCKET, "key").await.expect("begun");
    part(project, &id, 1, b"the only part").await;
    project.commit_upload(BUCKET, "key", &id).await.expect("committed");
    project.move_object(BUCKET, "key", BUCKET, "moved").await.expect("moved");
    let metadata = BTreeMap::from([("kind".to_owned(), "parts".to_owned())]);
    let options = CommitUploadOptions::new().custom_metadata(metadata);
    let again = project.commit_upload_with(BUCKET, "key", &id, &options).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::ObjectNotFound, "{again}");
}
