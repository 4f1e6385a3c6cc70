//! Uploads that have started but are not committed.

use futures_util::TryStreamExt;
use uplink::{ErrorKind, ListUploadsOptions, PendingUpload, Project, Upload, UploadItem};

use super::world::{BUCKET, World, access, bytes, config};

/// Starts an upload and writes enough for it to be known to the satellite.
async fn begin(world: &World, key: &str) -> Upload {
    let upload = world.project.upload_object(BUCKET, key);
    let mut upload = upload.expect("an upload");
    upload.write(&bytes(1, 100_000)).await.expect("written");
    upload
}

async fn list(project: &Project, options: ListUploadsOptions) -> Vec<UploadItem> {
    let mut list = project.list_uploads_with(BUCKET, &options).expect("a listing");
    let mut items = Vec::new();
    while let Some(item) = list.try_next().await.expect("listed") {
        items.push(item);
    }
    items
}

async fn uploads(world: &World, options: ListUploadsOptions) -> Vec<PendingUpload> {
    let items = list(&world.project, options).await.into_iter();
    let uploads = items.map(|item| match item {
        UploadItem::Upload(upload) => upload,
        other => panic!("{other:?}"),
    });
    let mut uploads: Vec<_> = uploads.collect();
    uploads.sort_by(|one, other| one.key.cmp(&other.key));
    uploads
}

fn keys(uploads: &[PendingUpload]) -> Vec<&str> {
    uploads.iter().map(|upload| str::from_utf8(&upload.key).expect("text")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn begun_uploads_are_listed_until_committed() {
    let world = World::start().await;
    let options = ListUploadsOptions::new;
    assert_eq!(list(&world.project, options()).await, []);
    let committed = begin(&world, "a/b/one").await;
    let _others = (begin(&world, "a/b/one").await, begin(&world, "a/two").await);
    let _top = begin(&world, "top").await;
    let all = uploads(&world, options().recursive(true)).await;
    assert_eq!(keys(&all), ["a/b/one", "a/b/one", "a/two", "top"]);
    assert_ne!(all[0].upload_id, all[1].upload_id);
    assert!(all.iter().all(|upload| upload.created_at.is_some() && upload.expires_at.is_none()));
    let top = list(&world.project, options()).await;
    assert_eq!(top.len(), 2);
    assert!(top.contains(&UploadItem::Prefix("a/".into())));
    let below = uploads(&world, options().prefix("a/").recursive(true)).await;
    assert_eq!(below, all[..3]);
    let below = list(&world.project, options().prefix("a/")).await;
    assert!(below.contains(&UploadItem::Prefix("a/b/".into())));
    assert_eq!(below.len(), 2);
    let mut of_key = uploads(&world, options().prefix("a/b/one")).await;
    of_key.sort_by(|one, other| one.upload_id.cmp(&other.upload_id));
    let mut expected = all[..2].to_vec();
    expected.sort_by(|one, other| one.upload_id.cmp(&other.upload_id));
    assert_eq!(of_key, expected);
    assert_eq!(list(&world.project, options().prefix("a/b")).await, []);
    committed.commit().await.expect("committed");
    assert_eq!(uploads(&world, options().recursive(true)).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborted_upload_cannot_be_committed() {
    let world = World::start().await;
    world.put("key", b"old").await;
    let upload = begin(&world, "key").await;
    let other = begin(&world, "other").await;
    let listed = uploads(&world, ListUploadsOptions::new()).await;
    let id = &listed[0].upload_id;
    let abort = |key: &'static str, id: String| {
        let project = world.project.clone();
        async move { project.abort_upload(BUCKET, key, &id).await.map_err(|error| error.kind()) }
    };
    assert_eq!(abort("other", id.clone()).await, Err(ErrorKind::UploadIdInvalid));
    assert_eq!(abort("key", "nonsense".to_owned()).await, Err(ErrorKind::UploadIdInvalid));
    assert_eq!(abort("key", id.clone()).await, Ok(()));
    assert_eq!(abort("key", id.clone()).await, Err(ErrorKind::ObjectNotFound));
    upload.commit().await.unwrap_err();
    assert_eq!(world.get("key").await.expect("read"), b"old");
    other.commit().await.expect("committed");
    assert_eq!(list(&world.project, ListUploadsOptions::new()).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_of_another_passphrase_are_undecryptable() {
    let world = World::start().await;
    let _upload = begin(&world, "key").await;
    let wrong = access(&world.network, &world.api_key, "another passphrase").await;
    let project = Project::open_with(&wrong, &config()).expect("a project");
    let items = list(&project, ListUploadsOptions::new().recursive(true)).await;
    assert!(matches!(items[..], [UploadItem::Undecryptable(_)]), "{items:?}");
    let error = project.list_uploads("missing");
    let error = error.expect("a listing").try_next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BucketNotFound);
}
