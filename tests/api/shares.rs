//! Shared grants, and encryption keys of tenants.

use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;
use uplink::grant::{AccessGrant, ApiKey, CipherSuite, EncryptionStore, Key};
use uplink::{
    Access, AccessOptions, EncryptionKey, ErrorKind, ListItem, ListOptions, Permission, Project,
    SharePrefix,
};

use super::world::{BUCKET, PASSPHRASE, World, bytes, config};

fn open(access: &Access) -> Project {
    Project::open_with(access, &config()).expect("a project")
}

async fn get(access: &Access, key: &str) -> Result<Vec<u8>, ErrorKind> {
    let bytes = open(access).get(BUCKET, key).await;
    bytes.map(Vec::from).map_err(|error| error.kind())
}

async fn put(access: &Access, key: &str) -> Result<(), ErrorKind> {
    open(access).put(BUCKET, key, "x").await.map(drop).map_err(|error| error.kind())
}

async fn list(access: &Access, prefix: &str) -> Result<Vec<String>, ErrorKind> {
    let options = ListOptions::new().prefix(prefix).recursive(true);
    let list = open(access).list_objects_with(BUCKET, &options).map_err(|error| error.kind())?;
    let items: Vec<ListItem> = list.try_collect().await.map_err(|error| error.kind())?;
    let keys = items.into_iter().filter_map(|item| match item {
        ListItem::Object(object) => Some(object.key.to_string()),
        _ => None,
    });
    let mut keys: Vec<String> = keys.collect();
    keys.sort();
    Ok(keys)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shared_prefix_permits_only_what_was_shared() {
    let world = World::start().await;
    for key in ["docs/a", "docs/deep/b", "docsother", "pictures/c"] {
        world.put(key, key.as_bytes()).await;
    }
    let prefixes = [SharePrefix::new(BUCKET, "docs/")];
    let reader = world.access.share(&Permission::read_only(), &prefixes).expect("shared");
    assert_eq!(get(&reader, "docs/a").await.unwrap(), b"docs/a");
    assert_eq!(list(&reader, "docs/").await.unwrap(), ["docs/a", "docs/deep/b"]);
    for key in ["docsother", "pictures/c"] {
        assert_eq!(get(&reader, key).await, Err(ErrorKind::PermissionDenied), "{key}");
    }
    assert_eq!(list(&reader, "").await, Err(ErrorKind::PermissionDenied));
    assert_eq!(put(&reader, "docs/new").await, Err(ErrorKind::PermissionDenied));

    let writer = world.access.share(&Permission::write_only(), &prefixes).expect("shared");
    put(&writer, "docs/new").await.expect("written");
    assert_eq!(get(&writer, "docs/new").await, Err(ErrorKind::PermissionDenied));
    assert_eq!(put(&writer, "pictures/new").await, Err(ErrorKind::PermissionDenied));
    let deleted = open(&writer).delete_object(BUCKET, "docs/new").await;
    deleted.expect("deleted");

    // A share of a share is never wider.
    let narrower = reader.share(&Permission::full(), &[SharePrefix::new(BUCKET, "docs/deep/")]);
    let narrower = narrower.expect("shared");
    assert_eq!(get(&narrower, "docs/deep/b").await.unwrap(), b"docs/deep/b");
    assert_eq!(get(&narrower, "docs/a").await, Err(ErrorKind::PermissionDenied));
    assert_eq!(put(&narrower, "docs/deep/new").await, Err(ErrorKind::PermissionDenied));
    let beyond = reader.share(&Permission::full(), &[SharePrefix::new(BUCKET, "pictures/")]);
    let error = beyond.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PrefixInvalid);
    assert_eq!(error.to_string(), "missing encryption base: \"bucket\"/\"pictures\"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_and_lifetimes_of_a_share_are_enforced() {
    let world = World::start().await;
    world.put("key", b"content").await;
    let hour = Duration::from_secs(3600);
    let now = SystemTime::now();
    for (permission, expected) in [
        (Permission::read_only().not_before(now - hour).not_after(now + hour), true),
        (Permission::read_only().not_before(now + hour), false),
        (Permission::read_only().not_after(now - hour), false),
    ] {
        let shared = world.access.share(&permission, &[]).expect("shared");
        assert_eq!(get(&shared, "key").await.is_ok(), expected, "{permission:?}");
    }
    let lifetime = Permission::full().max_object_ttl(hour);
    let shared = world.access.share(&lifetime, &[]).expect("shared");
    let object = open(&shared).put(BUCKET, "short", "x").await.expect("written").object;
    let left = object.expires_at.expect("it expires").duration_since(now).expect("ahead");
    assert!(left <= hour + Duration::from_secs(60), "{left:?}");
}

/// The client shows the moments that the satellite compares with its clock.
#[test]
fn times_of_a_share_are_exact_to_the_nanosecond() {
    let access = grant();
    let year = 365 * 86_400;
    for seconds in [0, 1, 1_483_228_799, 1_483_228_800, 1_774_746_000, 4_000_000_000] {
        for (nanos, length) in [(0, 0), (1, 1), (999_999_999, 3600), (500, year), (1, 10 * year)] {
            let first = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
            let last = first + Duration::new(length, nanos);
            let permission = Permission::read_only().not_before(first).not_after(last);
            let shared = access.share(&permission, &[]).expect("shared");
            let shown = shared.restrictions().permission;
            assert_eq!((shown.valid_from(), shown.valid_until()), (Some(first), Some(last)));
        }
    }
}

#[test]
fn invalid_permissions_are_refused_before_invalid_prefixes() {
    let access = grant();
    let wrong = [SharePrefix::bucket(BUCKET)];
    let now = SystemTime::now();
    let later = now + Duration::from_secs(1);
    for (permission, text) in [
        (Permission::new(), "permission is empty"),
        (Permission::read_only().not_before(later).not_after(now), "invalid time range"),
        (Permission::read_only().max_object_ttl(Duration::ZERO), "non-positive ttl period"),
    ] {
        let error = access.share(&permission, &wrong).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::PermissionInvalid, text)
        );
    }
    // Only a time is accepted, and permits nothing.
    let nothing = access.share(&Permission::new().not_after(later), &[]).expect("shared");
    assert!(nothing.restrictions().permission.operations().is_empty());
}

#[test]
fn restrictions_combine_over_all_shares() {
    let access = grant();
    let all = access.restrictions();
    assert_eq!((all.prefixes, all.malformed_caveats), (None, 0));
    let day = Duration::from_secs(86_400);
    let end = SystemTime::UNIX_EPOCH + 100 * day;
    let outer = Permission::full().not_after(end + day).max_object_ttl(day);
    let prefixes = [SharePrefix::new("a", "x/"), SharePrefix::bucket("b")];
    let outer = access.share(&outer, &prefixes).expect("shared");
    let inner = Permission::read_only().not_after(end).max_object_ttl(2 * day);
    let inner = outer.share(&inner, &[SharePrefix::new("a", "x/y")]).expect("shared");
    let restrictions = inner.restrictions();
    let permission = restrictions.permission;
    assert_eq!(permission.operations(), Permission::read_only().operations());
    assert_eq!(permission.valid_until(), Some(end));
    assert_eq!(permission.object_lifetime(), Some(day));
    let prefixes = restrictions.prefixes.expect("restricted");
    let prefixes: Vec<_> = prefixes
        .iter()
        .map(|allowed| (allowed.bucket.as_str(), allowed.prefix.as_ref().unwrap().to_string()))
        .collect();
    assert_eq!(prefixes, [("a", "x/y".to_owned())]);
    assert_eq!(Access::parse(&inner.serialize().unwrap()).unwrap(), inner);
    assert_ne!(inner, outer);
}

/// Returns a grant for a whole project.
fn grant() -> Access {
    let satellite = "12EayRS2V1kEsWESU9QMRseFhdxYxKicsiFmxrsLZHeLUtdps3S@satellite.example:7777";
    let api_key = ApiKey::new(&[1; 32], vec![2; 32]);
    let store = EncryptionStore::with_default_key(Key::new([3; 32]), CipherSuite::AesGcm);
    let grant = AccessGrant::new(satellite.to_owned(), api_key, &store).expect("a grant");
    Access::parse(&grant.serialize().expect("a text")).expect("a grant")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_of_one_bucket_cannot_read_each_other() {
    let world = World::start().await;
    let mut tenants = Vec::new();
    for name in ["anna", "ben", "cora"] {
        let prefix = format!("{name}/");
        let shared = SharePrefix::new(BUCKET, &prefix);
        let mut access = world.access.share(&Permission::full(), &[shared]).expect("shared");
        let key = EncryptionKey::derive(name, b"a salt of 16 bytes").await.expect("a key");
        access.override_encryption_key(BUCKET, &prefix, &key).expect("overridden");
        // The key survives the text form.
        let access = Access::parse(&access.serialize().expect("a text")).expect("a grant");
        put(&access, &format!("{prefix}secret")).await.expect("written");
        tenants.push((prefix, access));
    }
    for (own, access) in &tenants {
        assert_eq!(list(access, own).await.unwrap(), [format!("{own}secret")]);
        for (other, _) in tenants.iter().filter(|(other, _)| other != own) {
            let key = format!("{other}secret");
            assert_eq!(get(access, &key).await, Err(ErrorKind::PermissionDenied));
            assert_eq!(list(access, other).await, Err(ErrorKind::PermissionDenied));
        }
    }
    // The application's own grant decrypts neither names nor contents of its tenants.
    for (prefix, _) in &tenants {
        assert_eq!(list(&world.access, prefix).await.unwrap(), [""; 0]);
        let missing = get(&world.access, &format!("{prefix}secret")).await.unwrap_err();
        assert!(matches!(missing, ErrorKind::ObjectNotFound | ErrorKind::Decryption));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_cannot_be_overridden_beyond_the_grant() {
    let world = World::start().await;
    let shared = [SharePrefix::new(BUCKET, "user/")];
    let mut access = world.access.share(&Permission::full(), &shared).expect("shared");
    let key = EncryptionKey::derive("", b"").await.expect("empty values are allowed");
    let before = access.clone();
    for (prefix, kind) in [
        ("user", ErrorKind::PrefixInvalid),
        ("", ErrorKind::PrefixInvalid),
        ("other/", ErrorKind::PermissionDenied),
    ] {
        let error = access.override_encryption_key(BUCKET, prefix, &key).unwrap_err();
        assert_eq!(error.kind(), kind, "{prefix}: {error}");
    }
    assert_eq!(access, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_grant_and_its_shares_are_denied() {
    let world = World::start().await;
    world.put("key", &bytes(1, 10)).await;
    let child = world.access.share(&Permission::read_only(), &[]).expect("shared");
    let grandchild = child.share(&Permission::read_only(), &[]).expect("shared");
    let sibling = world.access.share(&Permission::read_only(), &[]).expect("shared");
    assert!(get(&grandchild, "key").await.is_ok());
    let denied = open(&sibling).revoke_access(&child).await.unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::PermissionDenied, "{denied}");
    world.project.revoke_access(&child).await.expect("revoked");
    world.project.revoke_access(&child).await.expect("revoked twice");
    for access in [&child, &grandchild] {
        assert_eq!(get(access, "key").await, Err(ErrorKind::PermissionDenied));
    }
    assert!(get(&sibling, "key").await.is_ok());
    assert!(get(&world.access, "key").await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrency_of_the_derivation_gives_another_key() {
    let world = World::start().await;
    world.put("key", b"content").await;
    let satellite = world.network.satellite_url();
    let request = async |lanes| {
        let options = AccessOptions::new().config(config()).concurrency(lanes);
        Access::request_with(&satellite, &world.api_key, PASSPHRASE, &options).await
    };
    assert_eq!(request(8).await.expect("a grant"), world.access);
    let other = request(1).await.expect("a grant");
    assert_eq!(get(&other, "key").await, Err(ErrorKind::Decryption));
    for lanes in [0, 8193] {
        assert_eq!(request(lanes).await.unwrap_err().kind(), ErrorKind::ConfigInvalid);
    }
}
