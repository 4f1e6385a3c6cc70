//! Responses lost after or before the satellite received the call.

use uplink::{ErrorKind, Project};

use super::proxy::{Fate, Proxy};
use super::world::{BUCKET, World, bytes, config};

async fn worlds() -> (World, Proxy) {
    let world = World::start().await;
    let proxy = Proxy::start(&world).await;
    (world, proxy)
}

async fn put(project: &Project, key: &str) {
    let mut upload = project.upload_object(BUCKET, key).expect("an upload");
    upload.write(b"content").await.expect("written");
    upload.commit().await.expect("committed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn object_deleted_before_lost_reply_is_reported_deleted() {
    let (_world, mut proxy) = worlds().await;
    let project = proxy.project.clone();
    put(&project, "key").await;
    proxy.lose("BeginDeleteObject", Fate::Executed);
    let (deleted, ()) = tokio::join!(project.delete_object(BUCKET, "key"), proxy.outage(async {}));
    assert!(deleted.expect("resolved"));
    let missing = project.stat_object(BUCKET, "key").await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::ObjectNotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn object_deleted_by_a_killed_satellite_is_reported_deleted() {
    let (world, mut proxy) = worlds().await;
    let project = proxy.project.clone();
    put(&project, "key").await;
    proxy.lose("BeginDeleteObject", Fate::Executed);
    let restart = async {
        world.network.kill_satellite().await.expect("killed");
        world.network.start_satellite().await.expect("started");
    };
    let (deleted, ()) = tokio::join!(project.delete_object(BUCKET, "key"), proxy.outage(restart));
    assert!(deleted.expect("resolved"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_deletion_is_outcome_unknown_and_not_retried() {
    let (_world, mut proxy) = worlds().await;
    let project = proxy.project.clone();
    put(&project, "key").await;
    proxy.lose("BeginDeleteObject", Fate::Lost);
    let (deleted, ()) = tokio::join!(project.delete_object(BUCKET, "key"), proxy.outage(async {}));
    assert_eq!(deleted.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    project.stat_object(BUCKET, "key").await.expect("never deleted a second time");
    assert!(project.delete_object(BUCKET, "key").await.expect("deleted"));
}

/// The object found afterwards belongs to another client and must stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn object_stored_after_the_deletion_survives_a_lost_reply() {
    let (_world, mut proxy) = worlds().await;
    let project = proxy.project.clone();
    put(&project, "key").await;
    let direct = project.clone();
    proxy.lose("BeginDeleteObject", Fate::Executed);
    let deletion = tokio::spawn(async move { direct.delete_object(BUCKET, "key").await });
    // The outage ends when the other client has stored the object through the same proxy, whose
    // port is opened first.
    proxy.outage(async {}).await;
    put(&project, "key").await;
    match deletion.await.expect("a result") {
        Ok(deleted) => assert!(deleted, "queried before the object was stored"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::OutcomeUnknown),
    }
    project.stat_object(BUCKET, "key").await.expect("what was stored is kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bucket_created_before_lost_reply_is_returned() {
    let (_world, mut proxy) = worlds().await;
    let project = proxy.project.clone();
    proxy.lose("CreateBucket", Fate::Executed);
    let (created, ()) = tokio::join!(project.create_bucket("fresh"), proxy.outage(async {}));
    let created = created.expect("resolved");
    assert_eq!(project.stat_bucket("fresh").await.expect("exists"), created);
    let again = project.create_bucket("fresh").await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::BucketAlreadyExists);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bucket_whose_creation_was_lost_can_be_created_again() {
    let (_world, mut proxy) = worlds().await;
    let project = proxy.project.clone();
    proxy.lose("CreateBucket", Fate::Lost);
    let (created, ()) = tokio::join!(project.create_bucket("fresh"), proxy.outage(async {}));
    let error = created.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "{error}");
    assert!(error.is_retryable());
    project.create_bucket("fresh").await.expect("created");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bucket_deleted_before_lost_reply_is_reported_deleted() {
    let (_world, mut proxy) = worlds().await;
    let project = proxy.project.clone();
    project.create_bucket("empty").await.expect("created");
    proxy.lose("DeleteBucket", Fate::Executed);
    let (deleted, ()) = tokio::join!(project.delete_bucket("empty"), proxy.outage(async {}));
    deleted.expect("resolved");

    put(&project, "key").await;
    proxy.lose("DeleteBucket", Fate::Lost);
    let deletion = project.delete_bucket_with_objects(BUCKET);
    let (deleted, ()) = tokio::join!(deletion, proxy.outage(async {}));
    assert_eq!(deleted.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    project.stat_object(BUCKET, "key").await.expect("kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upload_aborted_before_lost_reply_is_aborted() {
    let (_world, mut proxy) = worlds().await;
    let project = proxy.project.clone();
    for fate in [Fate::Executed, Fate::Lost] {
        let upload = project.upload_object(BUCKET, "key");
        let mut upload = upload.expect("an upload");
        upload.write(&bytes(1, 100_000)).await.expect("written");
        proxy.lose("BeginDeleteObject", fate);
        let (aborted, ()) = tokio::join!(upload.abort(), proxy.outage(async {}));
        aborted.unwrap_or_else(|error| panic!("{fate:?}: {error}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn call_that_was_never_sent_is_sent_again() {
    let world = World::start().await;
    world.put("key", b"content").await;
    world.network.kill_satellite().await.expect("killed");
    let project = Project::open_with(&world.access, &config()).expect("a project");
    let started = async {
        // The first attempt fails before.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        world.network.start_satellite().await.expect("started");
    };
    let (deleted, ()) = tokio::join!(project.delete_object(BUCKET, "key"), started);
    assert!(deleted.expect("sent when the satellite was back"));
}
