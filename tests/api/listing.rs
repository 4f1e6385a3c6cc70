//! Listings: prefixes, cursors, pages, metadata.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;
use uplink::{Access, ErrorKind, ListItem, ListOptions, Project, UploadOptions};
use uplink_core::access_grant::AccessGrant;
use uplink_core::encryption::{CipherSuite, EncryptionStore, Key};
use uplink_core::macaroon::ApiKey;

use super::world::{BUCKET, World, bytes, config};

async fn list(world: &World, options: ListOptions) -> BTreeSet<String> {
    let mut list = world.project.list_objects_with(BUCKET, &options).expect("a listing");
    let mut names = BTreeSet::new();
    while let Some(item) = list.try_next().await.expect("listed") {
        let name = match item {
            ListItem::Object(object) => object.key.to_text().into_owned(),
            ListItem::Prefix(prefix) => String::from_utf8(prefix.into_bytes()).expect("text"),
            other => panic!("{other:?}"),
        };
        assert!(names.insert(name), "an item is listed twice");
    }
    names
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prefixes_collapse_unless_the_listing_is_recursive() {
    let world = World::start().await;
    let keys = ["top", "a/1", "a/2", "a/b/3", "a//4", "/lead", "trail/"];
    for key in keys {
        world.put(key, key.as_bytes()).await;
    }
    assert_eq!(list(&world, ListOptions::new()).await, set(&["top", "a/", "/", "trail/"]));
    assert_eq!(list(&world, ListOptions::new().recursive(true)).await, set(&keys));
    let below = ListOptions::new().prefix("a/");
    assert_eq!(list(&world, below.clone()).await, set(&["a/1", "a/2", "a/b/", "a//"]));
    let all_below = set(&["a/1", "a/2", "a/b/3", "a//4"]);
    assert_eq!(list(&world, below.recursive(true)).await, all_below);
    assert_eq!(list(&world, ListOptions::new().prefix("none/")).await, set(&[]));
    for key in keys {
        assert_eq!(world.get(key).await.expect("read"), key.as_bytes(), "{key}");
    }
    let error =
        world.project.list_objects_with(BUCKET, &ListOptions::new().prefix("a")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PrefixInvalid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listing_continues_after_its_cursor() {
    let world = World::start().await;
    for key in ["x/1", "x/2", "x/3", "x/4"] {
        world.put(key, b"").await;
    }
    let all = list(&world, ListOptions::new().prefix("x/")).await;
    let mut listing =
        world.project.list_objects_with(BUCKET, &ListOptions::new().prefix("x/")).unwrap();
    let Some(ListItem::Object(first)) = listing.try_next().await.unwrap() else {
        panic!("an object")
    };
    let rest = list(&world, ListOptions::new().prefix("x/").cursor(&first.key)).await;
    assert_eq!(rest.len(), 3);
    assert_eq!(rest, &all - &BTreeSet::from([first.key.to_text().into_owned()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paging_by_cursor_ends_in_a_prefix_with_an_object_named_like_it() {
    let world = World::start().await;
    let keys = ["x/", "x/1", "x/2"];
    for key in keys {
        world.put(key, b"").await;
    }
    let mut listed = Vec::new();
    loop {
        let cursor = listed.last().cloned().unwrap_or_default();
        let options = ListOptions::new().prefix("x/").cursor(&cursor);
        let mut page = world.project.list_objects_with(BUCKET, &options).expect("a listing");
        let Some(item) = page.try_next().await.expect("a page") else { break };
        let ListItem::Object(object) = item else { panic!("an object") };
        listed.push(object.key.to_text().into_owned());
        assert!(listed.len() <= keys.len(), "{listed:?}");
    }
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), set(&keys));
    let outside = ListOptions::new().prefix("x/").cursor("1");
    let error = world.project.list_objects_with(BUCKET, &outside).expect_err("outside");
    assert_eq!(error.kind(), ErrorKind::ObjectKeyInvalid, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_a_page_of_objects_is_listed_completely() {
    const COUNT: usize = 1100;
    let world = World::start().await;
    let keys: BTreeSet<String> = (0..COUNT).map(|number| format!("object {number}")).collect();
    for chunk in keys.iter().collect::<Vec<_>>().chunks(50) {
        let puts = chunk.iter().map(|key| world.put(key, b"x"));
        futures_util::future::join_all(puts).await;
    }
    assert_eq!(list(&world, ListOptions::new()).await, keys);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stat_and_listing_return_metadata_size_and_expiry() {
    let world = World::start().await;
    let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    let custom = BTreeMap::from([
        ("content-type".to_owned(), "image/jpeg".to_owned()),
        ("größe".to_owned(), "XL".to_owned()),
    ]);
    let options = UploadOptions::new().expires_at(expires);
    let mut upload = world.project.upload_object_with(BUCKET, "cat.jpg", &options).unwrap();
    upload.write(&bytes(1, 20_000)).await.unwrap();
    upload.set_custom_metadata(custom.clone()).unwrap();
    let committed = upload.commit().await.expect("committed").object;

    let object = world.project.stat_object(BUCKET, "cat.jpg").await.expect("exists");
    assert_eq!(object, committed);
    assert_eq!((object.size, object.expires_at), (20_000, Some(expires)));
    assert_eq!(object.custom_metadata, custom);
    let mut listing =
        world.project.list_objects_with(BUCKET, &ListOptions::new().custom_metadata(true)).unwrap();
    let Some(ListItem::Object(listed)) = listing.try_next().await.unwrap() else {
        panic!("an object")
    };
    assert_eq!((listed.custom_metadata, listed.size), (custom, 20_000));

    let mut upload = world.project.upload_object(BUCKET, "x").unwrap();
    let bad = BTreeMap::from([(String::new(), "value".to_owned())]);
    assert_eq!(
        upload.set_custom_metadata(bad).unwrap_err().kind(),
        ErrorKind::CustomMetadataInvalid
    );
    let past = UploadOptions::new().expires_at(SystemTime::UNIX_EPOCH + Duration::from_secs(1));
    let upload = world.project.upload_object_with(BUCKET, "old", &past).unwrap();
    upload.commit().await.expect_err("an expiry in the past is refused");
}

/// Opens the world's project with keys that are encrypted with `cipher`.
fn project_with(world: &World, cipher: CipherSuite) -> Project {
    let store = EncryptionStore::with_default_key(Key::new([cipher.number(); 32]), cipher);
    let api_key = ApiKey::parse(&world.api_key).expect("an API key");
    let grant = AccessGrant::new(world.network.satellite_url(), api_key, &store);
    let grant = grant.expect("a grant").serialize().expect("a text");
    let access = Access::parse(&grant).expect("an access");
    Project::open_with(&access, &config()).expect("a project")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_delimiters_collapse_keys_that_are_not_encrypted() {
    let mut world = World::start().await;
    let by_dash = ListOptions::new().delimiter("-");
    let error = world.project.list_objects_with(BUCKET, &by_dash).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DelimiterInvalid, "{error}");
    assert!(error.to_string().contains("\"-\""), "{error}");
    for harmless in ["", "/"] {
        list(&world, ListOptions::new().delimiter(harmless)).await;
    }
    list(&world, by_dash.clone().recursive(true)).await;

    world.project = project_with(&world, CipherSuite::Null);
    let keys = ["log-2026-01", "log-2026-02", "log-2027", "other/a-b", "plain"];
    for key in keys {
        world.put(key, b"x").await;
    }
    assert_eq!(list(&world, by_dash.clone()).await, set(&["log-", "other/a-", "plain"]));
    let below = by_dash.clone().prefix("log-");
    assert_eq!(list(&world, below).await, set(&["log-2026-", "log-2027"]));
    let wide = ListOptions::new().delimiter("-2026-");
    let expected = set(&["log-2026-", "log-2027", "other/a-b", "plain"]);
    assert_eq!(list(&world, wide).await, expected);
    assert_eq!(list(&world, by_dash.recursive(true)).await, set(&keys));
}

/// The last component of such a key is empty, and its unencrypted form has no bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn object_named_like_the_prefix_is_listed() {
    let mut world = World::start().await;
    for cipher in [CipherSuite::AesGcm, CipherSuite::Null] {
        world.project = project_with(&world, cipher);
        let bucket = format!("names-{}", cipher.number());
        world.project.create_bucket(&bucket).await.expect("a bucket");
        for keys in [&["a/"][..], &["a/", "a/1", "a//"]] {
            for key in keys {
                let upload = world.project.upload_object(&bucket, key).expect("an upload");
                upload.commit().await.expect("committed");
            }
            let options = ListOptions::new().prefix("a/").recursive(true);
            let mut list = world.project.list_objects_with(&bucket, &options).expect("a listing");
            let mut listed = BTreeSet::new();
            while let Some(item) = list.try_next().await.expect("listed") {
                let ListItem::Object(object) = item else { panic!("{item:?}") };
                listed.insert(object.key.to_text().into_owned());
            }
            assert_eq!(listed, set(keys), "{cipher:?}");
        }
    }
}
