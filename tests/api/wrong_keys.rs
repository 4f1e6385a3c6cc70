//! Grants with another encryption key, and objects of several keys in one bucket: experiment F26 of
//! `docs/RELIABILITY.md`.
//!
//! A thousand trials, or as many as `UPLINK_WRONG_KEYS` says.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use uplink::grant::{AccessGrant, ApiKey, CipherSuite, EncryptionStore, Key};
use uplink::{Access, ErrorKind, ListItem, ListOptions, Project, UploadOptions};

use super::world::{BUCKET, World, bytes, config};

fn trials() -> u64 {
    std::env::var("UPLINK_WRONG_KEYS").map_or(1000, |count| count.parse().expect("a number"))
}

/// Returns a project whose default key depends on a number.
fn open(world: &World, number: u64, names: CipherSuite) -> Project {
    let api_key = ApiKey::parse(&world.api_key).expect("an API key");
    let key = Key::new(*blake3::hash(&number.to_be_bytes()).as_bytes());
    let store = EncryptionStore::with_default_key(key, names);
    let grant = AccessGrant::new(world.network.satellite_url(), api_key, &store);
    let text = grant.expect("a grant").serialize().expect("a text");
    let access = Access::parse(&text).expect("a grant");
    Project::open_with(&access, &config()).expect("a project")
}

/// Listed objects with their sizes, and the number of items that cannot be decrypted.
async fn list(project: &Project) -> (BTreeMap<String, u64>, u64) {
    let options = ListOptions::new().recursive(true);
    let list = project.list_objects_with(BUCKET, &options).expect("a listing");
    let items: Vec<ListItem> = list.try_collect().await.expect("listed");
    let mut objects = BTreeMap::new();
    let mut hidden = 0;
    for item in items {
        match item {
            ListItem::Object(object) => drop(objects.insert(object.key.to_string(), object.size)),
            ListItem::Undecryptable(_) => hidden += 1,
            other => panic!("{other:?}"),
        }
    }
    (objects, hidden)
}

/// One size in eight is stored on nodes.
fn size(number: u64) -> u64 {
    if number.is_multiple_of(8) { 5000 + number } else { number % 3000 }
}

/// Names are encrypted, so that each key sees only its own objects.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_key_lists_and_reads_only_its_own_objects() {
    let world = World::start().await;
    let clients: Vec<Project> =
        (0..5).map(|number| open(&world, number, CipherSuite::AesGcm)).collect();
    let trials = trials() / 2;
    let name = |number: u64| format!("folder-{}/object-{number}", number % 7);
    for number in 0..trials {
        let writer = &clients[number as usize % clients.len()];
        writer.put(BUCKET, name(number), bytes(1, size(number))).await.expect("written");
        let other = &clients[(number as usize + 1) % clients.len()];
        let missing = other.get(BUCKET, name(number)).await.unwrap_err();
        let kinds = [ErrorKind::ObjectNotFound, ErrorKind::Decryption];
        assert!(kinds.contains(&missing.kind()), "trial {number}: {missing}");
    }
    for (client, project) in clients.iter().enumerate() {
        let own: BTreeMap<String, u64> = (0..trials)
            .filter(|number| *number as usize % clients.len() == client)
            .map(|number| (name(number), size(number)))
            .collect();
        let hidden = trials - own.len() as u64;
        assert_eq!(list(project).await, (own, hidden), "client {client}");
    }
    println!("{trials} trials");
}

/// Names are not encrypted, so that a client with another key finds the object and cannot read it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn object_of_another_key_is_a_decryption_error() {
    let world = World::start().await;
    let trials = trials() / 2;
    let other = open(&world, u64::MAX, CipherSuite::Null);
    for number in 0..trials {
        let key = format!("object-{number}");
        let owner = open(&world, number % 20, CipherSuite::Null);
        let content = bytes(2, size(number));
        let metadata = BTreeMap::from([("key".to_owned(), "value".to_owned())]);
        let options = UploadOptions::new().custom_metadata(metadata.clone());
        let mut upload = owner.upload_object_with(BUCKET, &key, &options).expect("an upload");
        upload.write(&content).await.expect("written");
        upload.commit().await.expect("committed");
        for failure in [
            other.get(BUCKET, &key).await.map(drop),
            other.stat_object(BUCKET, &key).await.map(drop),
            other.update_object_metadata(BUCKET, &key, metadata.clone()).await,
            other.copy_object(BUCKET, &key, BUCKET, "copy").await.map(drop),
        ] {
            let failure = failure.unwrap_err();
            assert_eq!(failure.kind(), ErrorKind::Decryption, "trial {number}: {failure}");
        }
        assert_eq!(owner.get(BUCKET, &key).await.expect("read"), content, "trial {number}");
        // The object of another key can be replaced, which needs no key.
        if number % 10 == 9 {
            other.put(BUCKET, &key, "other").await.expect("written");
            assert_eq!(other.get(BUCKET, &key).await.expect("read"), "other");
            let failure = owner.get(BUCKET, &key).await.unwrap_err();
            assert_eq!(failure.kind(), ErrorKind::Decryption, "trial {number}: {failure}");
        }
    }
    println!("{trials} trials");
}
