//! The operations of the module `blocking`, called on a thread that is in no runtime.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom, Write};
use std::thread;

use tokio::runtime::Builder;
use uplink::blocking::{Project, access, encryption_key};
use uplink::{
    AccessOptions, BeginUploadOptions, CommitUploadOptions, CopyOptions, DownloadOptions,
    EdgeConfig, ErrorKind, ListBucketsOptions, ListItem, ListOptions, ListPartsOptions,
    ListUploadsOptions, PartReceipt, Permission, SharePrefix, UploadItem, UploadOptions,
};

use super::world::{BUCKET, PASSPHRASE, SMALL_SEGMENT, World, bytes, config};

/// Runs a test on this thread, with a project of the network of a new world, which has a runtime of its
/// own.
pub(super) fn with_project(test: impl FnOnce(&World, &Project)) {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().expect("a runtime");
    let world = runtime.block_on(World::start());
    test(&world, &open(&world));
    runtime.block_on(async move { drop(world) });
}

pub(super) fn open(world: &World) -> Project {
    let config = config().segment_size(SMALL_SEGMENT);
    Project::open_with(&world.access, &config).expect("a project")
}

fn metadata(text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("title".to_owned(), text.to_owned())])
}

fn part(project: &Project, upload_id: &str, number: u32, content: &[u8]) -> PartReceipt {
    let mut part = project.upload_part(BUCKET, "film", upload_id, number).expect("a part");
    part.write_all(content).expect("written");
    part.set_etag(b"etag");
    part.flush().expect("flushed");
    part.commit().expect("committed")
}

#[test]
fn object_is_written_and_read_through_the_traits_of_std() {
    with_project(|_, project| {
        let plain = bytes(7, 2 * SMALL_SEGMENT + 100_000);
        let mut upload = project.upload_object(BUCKET, "key").expect("an upload");
        std::io::copy(&mut &plain[..], &mut upload).expect("written");
        upload.flush().expect("flushed");
        upload.set_custom_metadata(metadata("cat")).expect("valid");
        upload.set_etag(b"etag");
        let hidden = project.stat_object(BUCKET, "key").expect_err("is not committed");
        assert_eq!(hidden.kind(), ErrorKind::ObjectNotFound);
        let uploaded = upload.commit().expect("committed");
        assert_eq!(uploaded.placement.len(), 3);
        assert_eq!(uploaded.object.custom_metadata, metadata("cat"));

        let mut download = project.download_object(BUCKET, "key").expect("opened");
        assert_eq!(download.object().etag, b"etag");
        let mut read = Vec::new();
        Read::read_to_end(&mut download, &mut read).expect("read");
        assert!(read == plain);
        for offset in [0, SMALL_SEGMENT - 1, 2 * SMALL_SEGMENT, 5000] {
            assert_eq!(download.seek(SeekFrom::Start(offset)).expect("sought"), offset);
            let mut part = [0; 9000];
            download.read_exact(&mut part).expect("read");
            assert!(part == plain[offset as usize..][..9000], "after seeking to {offset}");
        }
        assert_eq!(download.seek(SeekFrom::End(0)).expect("sought"), plain.len() as u64);
        assert_eq!(download.read(&mut [0; 10]).expect("the end"), 0);
    });
}

#[test]
fn range_is_read_in_chunks_and_within_a_limit() {
    with_project(|_, project| {
        let plain = bytes(3, SMALL_SEGMENT + 700_000);
        project.put(BUCKET, "key", plain.clone()).expect("stored");
        let range = 1000..SMALL_SEGMENT + 1000;
        let options = DownloadOptions::new().range(range.clone());
        let download = project.download_object_with(BUCKET, "key", &options);
        let mut download = download.expect("opened");
        assert_eq!(download.range(), range);
        let mut read = Vec::new();
        while let Some(chunk) = download.chunk().expect("read") {
            read.extend_from_slice(&chunk);
        }
        assert!(read == plain[1000..SMALL_SEGMENT as usize + 1000]);

        let mut download = project.download_object(BUCKET, "key").expect("opened");
        let error = download.read_to_end(1000).expect_err("too large");
        assert_eq!(error.kind(), ErrorKind::ObjectTooLarge);
        assert!(download.read_to_end(u64::MAX).expect("read") == plain);
        assert!(project.get(BUCKET, "key").expect("read") == plain);
    });
}

#[test]
fn buckets_are_created_listed_and_deleted() {
    with_project(|_, project| {
        project.create_bucket("second").expect("created");
        let error = project.create_bucket("second").expect_err("exists");
        assert_eq!(error.kind(), ErrorKind::BucketAlreadyExists);
        let existing = error.existing_bucket().cloned();
        assert_eq!(existing.as_ref(), Some(&project.ensure_bucket("second").expect("exists")));
        assert_eq!(existing, project.stat_bucket("second").ok());
        let names: Vec<_> = project.list_buckets().map(|item| item.expect("listed").name).collect();
        assert_eq!(names, [BUCKET, "second"]);
        let options = ListBucketsOptions::new().cursor(BUCKET);
        assert_eq!(project.list_buckets_with(&options).count(), 1);

        project.put("second", "key", "content").expect("stored");
        let error = project.delete_bucket("second").expect_err("holds an object");
        assert_eq!(error.kind(), ErrorKind::BucketNotEmpty);
        project.delete_bucket_with_objects("second").expect("deleted");
        project.ensure_bucket("third").expect("created");
        project.delete_bucket("third").expect("deleted");
        assert_eq!(project.list_buckets().count(), 1);
    });
}

#[test]
fn objects_are_listed_copied_moved_and_deleted() {
    with_project(|_, project| {
        let options = UploadOptions::new().custom_metadata(metadata("cat")).if_absent(true);
        project.put_with(BUCKET, "a/cat", "a cat", &options).expect("stored");
        let error = project.put_with(BUCKET, "a/cat", "again", &options).expect_err("exists");
        assert_eq!(error.kind(), ErrorKind::ObjectAlreadyExists);
        project.copy_object(BUCKET, "a/cat", BUCKET, "a/copy").expect("copied");
        let options = CopyOptions::new().custom_metadata(metadata("other"));
        let copy = project.copy_object_with(BUCKET, "a/cat", BUCKET, "other", &options);
        assert_eq!(copy.expect("copied").custom_metadata, metadata("other"));
        project.move_object(BUCKET, "a/copy", BUCKET, "moved").expect("moved");
        project.update_object_metadata(BUCKET, "moved", metadata("new")).expect("updated");
        let moved = project.stat_object(BUCKET, "moved").expect("exists");
        assert_eq!(moved.custom_metadata, metadata("new"));

        let top = project.list_objects(BUCKET).expect("a listing");
        let top: Result<Vec<ListItem>, _> = top.collect();
        let top = top.expect("listed");
        assert_eq!(top.len(), 3);
        assert!(top.contains(&ListItem::Prefix("a/".into())));
        let options = ListOptions::new().recursive(true).custom_metadata(true);
        let all = project.list_objects_with(BUCKET, &options).expect("a listing");
        let keys = all.map(|item| match item.expect("listed") {
            ListItem::Object(object) => object.key,
            other => panic!("{other:?}"),
        });
        let mut keys: Vec<_> = keys.collect();
        keys.sort();
        assert_eq!(keys, ["a/cat", "moved", "other"]);

        assert!(project.delete_object(BUCKET, "other").expect("deleted"));
        let deletions = project.delete_objects(BUCKET, ["a/cat", "moved", "absent"]);
        let outcomes = deletions.expect("deleted").into_iter().map(|deletion| deletion.outcome);
        assert_eq!(outcomes.filter_map(Result::ok).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(project.list_objects_with(BUCKET, &options).expect("a listing").count(), 0);
    });
}

#[test]
fn parts_uploaded_by_threads_become_one_object() {
    with_project(|_, project| {
        let options = BeginUploadOptions::new().custom_metadata(metadata("film"));
        let id = project.begin_upload_with(BUCKET, "film", &options).expect("begun");
        let contents = [bytes(1, 5 << 20), bytes(2, 5 << 20), bytes(3, 1000)];
        let receipts = thread::scope(|scope| {
            let upload = |(number, content): (u32, &Vec<u8>)| {
                let id = &id;
                let content = content.clone();
                scope.spawn(move || part(project, id, number, &content))
            };
            let threads: Vec<_> = (1..).zip(&contents).map(upload).collect();
            let receipts = threads.into_iter().map(|thread| thread.join().expect("no panic"));
            receipts.collect::<Vec<_>>()
        });
        let parts = project.list_parts(BUCKET, "film", &id).expect("a listing");
        let parts: Vec<_> = parts.map(|part| part.expect("listed")).collect();
        assert_eq!(parts.iter().map(|part| part.number).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(parts.iter().all(|part| part.etag == b"etag"));
        let options = ListPartsOptions::new().cursor(1);
        let rest = project.list_parts_with(BUCKET, "film", &id, &options).expect("a listing");
        assert_eq!(rest.count(), 2);

        let options = CommitUploadOptions::new().receipts(receipts);
        let film = project.commit_upload_with(BUCKET, "film", &id, &options).expect("committed");
        assert_eq!(film.custom_metadata, metadata("film"));
        assert!(project.get(BUCKET, "film").expect("read") == contents.concat());
    });
}

#[test]
fn pending_uploads_are_listed_and_aborted() {
    with_project(|_, project| {
        let id = project.begin_upload(BUCKET, "film").expect("begun");
        let mut discarded = project.upload_part(BUCKET, "film", &id, 1).expect("a part");
        discarded.write(&bytes(1, 100_000)).expect("written");
        discarded.abort().expect("discarded");
        part(project, &id, 2, b"the only part");
        project.commit_upload(BUCKET, "film", &id).expect("committed");
        assert_eq!(project.get(BUCKET, "film").expect("read"), "the only part");

        let id = project.begin_upload(BUCKET, "a/film").expect("begun");
        let top = project.list_uploads(BUCKET).expect("a listing").next();
        let top = top.expect("an item").expect("listed");
        assert_eq!(top, UploadItem::Prefix("a/".into()));
        let options = ListUploadsOptions::new().recursive(true);
        let mut uploads = project.list_uploads_with(BUCKET, &options).expect("a listing");
        let upload = uploads.next().expect("an item").expect("listed");
        assert!(matches!(&upload, UploadItem::Upload(upload) if upload.upload_id == id));
        project.abort_upload(BUCKET, "a/film", &id).expect("aborted");
        assert_eq!(project.list_uploads(BUCKET).expect("a listing").count(), 0);
        let error = project.abort_upload(BUCKET, "a/film", &id).expect_err("is not pending");
        assert_eq!(error.kind(), ErrorKind::ObjectNotFound);
    });
}

#[test]
fn grants_are_requested_shared_and_revoked() {
    with_project(|world, project| {
        let satellite = world.network.satellite_url();
        let options = AccessOptions::new().config(config());
        let requested = access::request_with(&satellite, &world.api_key, PASSPHRASE, &options);
        assert_eq!(requested.expect("a grant"), world.access);
        let requested = access::request(&satellite, &world.api_key, PASSPHRASE);
        assert_eq!(requested.expect("a grant"), world.access);

        let prefix = [SharePrefix::new(BUCKET, "anna/")];
        let mut shared = world.access.share(&Permission::full(), &prefix).expect("shared");
        let key = encryption_key::derive("passphrase", b"16 random bytes!").expect("a key");
        shared.override_encryption_key(BUCKET, "anna/", &key).expect("overridden");
        let tenant = Project::open_with(&shared, &config()).expect("a project");
        tenant.put(BUCKET, "anna/diary", "dear diary").expect("stored");
        assert_eq!(tenant.get(BUCKET, "anna/diary").expect("read"), "dear diary");
        assert!(project.get(BUCKET, "anna/diary").is_err(), "another key");
        project.revoke_access(&shared).expect("revoked");
        let foreign = tenant.revoke_access(&world.access).expect_err("not shared from it");
        assert_eq!(foreign.kind(), ErrorKind::PermissionDenied);

        let error = access::register(&shared, &EdgeConfig::new(""), true).expect_err("no service");
        assert_eq!(error.kind(), ErrorKind::AuthDialFailed);
    });
}
