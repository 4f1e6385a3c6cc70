//! Buckets, and errors of names, keys and grants.

use futures_util::TryStreamExt;
use uplink::{
    Access, AccessOptions, ErrorKind, ListBucketsOptions, ListItem, Permission, Project,
    SharePrefix,
};

use super::world::{BUCKET, World, access, bytes, config};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buckets_are_created_listed_in_order_and_deleted_when_empty() {
    let world = World::start().await;
    let project = &world.project;
    for name in ["zebra", "alpha", "mid.dle"] {
        let created = project.create_bucket(name).await.expect("created");
        assert!(created.created_at.is_some());
        assert_eq!(project.stat_bucket(name).await.expect("exists"), created);
        assert_eq!(project.ensure_bucket(name).await.expect("exists"), created);
    }
    assert_eq!(names(project, "").await, ["alpha", BUCKET, "mid.dle", "zebra"]);
    assert_eq!(names(project, "bucket").await, ["mid.dle", "zebra"]);
    let twice = project.create_bucket("zebra").await.unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::BucketAlreadyExists);
    assert_eq!(twice.existing_bucket().expect("comes with the error").name, "zebra");
    project.delete_bucket("zebra").await.expect("deleted");
    assert_eq!(project.stat_bucket("zebra").await.unwrap_err().kind(), ErrorKind::BucketNotFound);

    world.put("key", b"bytes").await;
    let full = project.delete_bucket(BUCKET).await.unwrap_err();
    assert_eq!(full.kind(), ErrorKind::BucketNotEmpty);
    project.delete_bucket_with_objects(BUCKET).await.expect("deleted");
    assert_eq!(names(project, "").await, ["alpha", "mid.dle"]);
}

async fn names(project: &Project, cursor: &str) -> Vec<String> {
    let mut list = project.list_buckets_with(&ListBucketsOptions::new().cursor(cursor));
    let mut names = Vec::new();
    while let Some(bucket) = list.try_next().await.expect("listed") {
        names.push(bucket.name);
    }
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_names_are_refused_with_their_kind() {
    let world = World::start().await;
    for name in ["", "ab", "Upper", "under_score", "-dash", "192.168.1.1", &"x".repeat(64)] {
        let error = world.project.create_bucket(name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BucketNameInvalid, "{name}: {error}");
    }
    let empty = world.try_put("", b"bytes").await.unwrap_err();
    assert_eq!(empty.kind(), ErrorKind::ObjectKeyInvalid);
    let missing = world.get("no such key").await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::ObjectNotFound, "{missing}");
    let missing = world.project.download_object("no-such-bucket", "key").await;
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::BucketNotFound);
    let mut upload = world.project.upload_object("no-such-bucket", "key").unwrap();
    let written = upload.write(b"bytes").await;
    let missing = match written {
        Ok(()) => upload.commit().await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(missing.kind(), ErrorKind::BucketNotFound, "{missing}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_passphrase_is_an_error_not_an_empty_bucket() {
    let world = World::start().await;
    world.put("secret/name", &bytes(1, 5000)).await;
    let wrong = access(&world.network, &world.api_key, "another").await;
    let project = Project::open(&wrong).unwrap();
    let error = project.stat_object(BUCKET, "secret/name").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decryption);
    assert!(error.to_string().contains("passphrase"), "{error}");
    let error = project.download_object(BUCKET, "secret/name").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decryption);
    let mut list = project.list_objects(BUCKET).unwrap();
    assert!(matches!(list.try_next().await.unwrap(), Some(ListItem::Undecryptable(_))));
    assert_eq!(list.try_next().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreachable_and_wrong_satellites_give_distinct_errors() {
    let world = World::start().await;
    let url = world.network.satellite_url();
    let (_, address) = url.split_once('@').expect("id and address");
    let other = world.network.nodes()[0].id();
    let options = AccessOptions::new().config(config());
    let elsewhere = format!("{other}@{address}");
    let wrong = Access::request_with(&elsewhere, &world.api_key, "x", &options);
    let error = wrong.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongNode, "{error}");
    assert!(error.to_string().contains(&other.to_string()), "{error}");

    world.network.kill_satellite().await.expect("stopped");
    let project = Project::open(&world.access).unwrap();
    let error = project.stat_bucket(BUCKET).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "{error}");
    assert!(error.is_retryable());
    assert!(error.to_string().contains(address), "{error}");

    world.network.start_satellite().await.expect("started");
    project.stat_bucket(BUCKET).await.expect("the same project still works");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_api_key_is_denied() {
    let world = World::start().await;
    let other = World::start().await;
    let satellite = world.network.satellite_url();
    let options = AccessOptions::new().config(config());
    let access = Access::request_with(&satellite, &other.api_key, "x", &options).await;
    assert_eq!(access.unwrap_err().kind(), ErrorKind::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_objects_are_deleted_with_an_outcome_for_each() {
    let world = World::start().await;
    for key in ["a", "b", "c/d"] {
        world.put(key, b"x").await;
    }
    let keys = ["a", "missing", "", "c/d", "a"];
    let deletions = world.project.delete_objects(BUCKET, keys).await.expect("outcomes");
    let seen: Vec<String> = deletions.iter().map(|deletion| deletion.key.to_string()).collect();
    assert_eq!(seen, keys);
    let outcomes: Vec<_> =
        deletions.iter().map(|deletion| deletion.outcome.as_ref().ok()).collect();
    assert_eq!(outcomes, [Some(&true), Some(&false), None, Some(&true), Some(&true)]);
    let error = deletions[2].outcome.as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ObjectKeyInvalid);
    assert!(world.get("b").await.is_ok());
    assert!(world.get("c/d").await.is_err());
    let missing = world.project.delete_objects("nobucket", ["a"]).await.expect("outcomes");
    let error = missing[0].outcome.as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BucketNotFound, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_only_grant_deletes_objects_one_by_one() {
    let world = World::start().await;
    let keys: Vec<String> = (0..40).map(|number| format!("in/{number}")).collect();
    for key in &keys {
        world.put(key, b"x").await;
    }
    world.put("out", b"x").await;
    let shared = [SharePrefix::new(BUCKET, "in/")];
    let access = world.access.share(&Permission::write_only(), &shared).expect("shared");
    let writer = Project::open_with(&access, &config()).expect("a project");
    let deletions = writer.delete_objects(BUCKET, &keys).await.expect("outcomes");
    // Without the permission to read or list, satellites do not say whether there was an object.
    assert!(deletions.iter().all(|deletion| deletion.outcome.is_ok()));
    for key in &keys {
        assert_eq!(world.get(key).await.unwrap_err().kind(), ErrorKind::ObjectNotFound);
    }
    let denied = writer.delete_objects(BUCKET, ["out"]).await.expect("outcomes");
    let error = denied[0].outcome.as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}
