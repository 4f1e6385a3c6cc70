//! Access grants created by one client and used by the other.

use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;
use serde_json::{Value, json};
use uplink::{Access, EncryptionKey, ErrorKind, ListOptions, Permission, Project, SharePrefix};

use super::expiry::rfc3339;
use super::world::{BUCKET, PASSPHRASE, SMALL_SEGMENT, World, b64, open, read, text, write};

/// Shares a grant with our code.
fn share(grant: &str, permission: &Permission, prefixes: &[&str]) -> String {
    let prefix = |prefix: &&str| SharePrefix::new(BUCKET, prefix);
    let prefixes: Vec<SharePrefix> = prefixes.iter().map(prefix).collect();
    let access = Access::parse(grant).expect("a grant");
    let shared = access.share(permission, &prefixes).expect("shared");
    shared.serialize().expect("a text")
}

/// Requests a grant with our client.
async fn request(world: &World, passphrase: &str) -> Access {
    let satellite = world.network.satellite_url();
    let access = Access::request(&satellite, &world.api_key, passphrase).await;
    access.expect("a grant")
}

/// Shares the world's grant with the reference client.
async fn go_share(world: &mut World, permission: Value, prefixes: &[&str]) -> String {
    let prefixes: Vec<Value> =
        prefixes.iter().map(|prefix| json!({"bucket": BUCKET, "prefix": b64(prefix)})).collect();
    let share = json!({"permission": permission, "prefixes": prefixes});
    text(&world.call("share", share).await["access"]).to_owned()
}

fn read_only() -> Value {
    json!({"download": true, "list": true})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn equal_passphrases_give_equal_grants_in_both_clients() {
    let mut world = World::start().await;
    let satellite = world.network.satellite_url();
    for passphrase in [PASSPHRASE, "", "пароль"] {
        let command = json!({
            "op": "request_access", "satellite": satellite, "api_key": world.api_key,
            "passphrase": passphrase,
        });
        let theirs = world.driver.call(&command).await.expect("a grant");
        let ours = request(&world, passphrase).await.serialize().expect("a text");
        assert_eq!(text(&theirs["access"]), ours);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn grants_survive_parsing_and_writing_by_the_other_client() {
    let mut world = World::start().await;
    let shared = share(&world.grant, &Permission::read_only(), &["docs/", "pictures/"]);
    for grant in [world.grant.clone(), shared] {
        let again = |text: &str| Access::parse(text).expect("a grant").serialize().expect("a text");
        assert_eq!(again(&grant), grant);
        let parsed = world.call("parse_access", json!({"access": grant})).await;
        // The reference client serializes prefixes in any order, ours sorts them by name.
        assert_eq!(again(text(&parsed["access"])), grant);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn shared_prefix_allows_only_itself_in_both_clients() {
    let mut world = World::start().await;
    world.rust_put("docs/one", 1, 10_001).await;
    world.go_put("docs/deeper/two", 2, 11).await;
    world.rust_put("other", 3, 11).await;
    let go = go_share(&mut world, read_only(), &["docs/"]).await;
    let rust = share(&world.grant, &Permission::read_only(), &["docs/"]);
    for grant in [go, rust] {
        let shared = open(&grant, SMALL_SEGMENT);
        assert_eq!(read(&shared, b"docs/one").await.expect("read").len(), 10_001);
        assert_eq!(read(&shared, b"docs/deeper/two").await.expect("read").len(), 11);
        let denied = read(&shared, b"other").await.unwrap_err();
        assert_eq!(denied.kind(), ErrorKind::PermissionDenied);
        let denied = write(&shared, b"docs/new", b"new").await.unwrap_err();
        assert_eq!(denied.kind(), ErrorKind::PermissionDenied);
        let mut list = shared
            .list_objects_with(BUCKET, &ListOptions::new().prefix("docs/"))
            .expect("a listing");
        let mut listed = list.try_next().await;
        let mut count = 0;
        while listed.expect("listed").is_some() {
            count += 1;
            listed = list.try_next().await;
        }
        assert_eq!(count, 2);

        let key = json!({"access": grant, "key": b64("docs/one")});
        assert_eq!(world.call("download", key).await["length"], 10_001);
        let list = json!({"access": grant, "prefix": b64("docs/"), "recursive": true});
        assert_eq!(world.call("list", list).await.as_array().map(Vec::len), Some(2));
        for (op, key) in [("download", "other"), ("upload", "docs/new"), ("delete", "docs/one")] {
            let command = json!({"access": grant, "key": b64(key)});
            let denied = world.call_err(op, command).await;
            assert_eq!(denied.kind, "ErrPermissionDenied", "{op} {key}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn nested_and_multi_prefix_shares_work_across_clients() {
    let mut world = World::start().await;
    for key in ["a/b/one", "c/two", "d/three"] {
        world.rust_put(key, 1, 10).await;
    }
    // Our share of theirs, and their share of ours.
    let outer = go_share(&mut world, read_only(), &["a/", "c/"]).await;
    let inner = share(&outer, &Permission::read_only(), &["a/b/"]);
    let ours = share(&world.grant, &Permission::read_only(), &["a/", "c/"]);
    let prefix = json!([{"bucket": BUCKET, "prefix": b64("a/b/")}]);
    let theirs = json!({"access": ours, "permission": read_only(), "prefixes": prefix});
    let theirs = world.call("share", theirs).await;
    for grant in [&outer, &ours] {
        for (key, allowed) in [("a/b/one", true), ("c/two", true), ("d/three", false)] {
            assert_eq!(readable(&mut world, grant, key).await, [allowed; 2], "{key}");
        }
    }
    for grant in [inner.as_str(), text(&theirs["access"])] {
        for (key, allowed) in [("a/b/one", true), ("c/two", false)] {
            assert_eq!(readable(&mut world, grant, key).await, [allowed; 2], "{key}");
        }
    }
}

/// Returns whether each client can read a key with a grant; fails on any error except denied
/// permission.
async fn readable(world: &mut World, grant: &str, key: &str) -> [bool; 2] {
    let ours = match read(&open(grant, SMALL_SEGMENT), key.as_bytes()).await {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{key}: {error}");
            false
        }
    };
    let command = json!({
        "op": "download", "access": grant, "bucket": BUCKET, "key": b64(key),
    });
    let theirs = match world.driver.call(&command).await {
        Ok(_) => true,
        Err(error) => {
            let refusal = error.client_error().expect("an answer");
            assert_eq!(refusal.kind, "ErrPermissionDenied", "{key}: {}", refusal.text);
            false
        }
    };
    [ours, theirs]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn time_limits_of_grants_apply_in_both_clients() {
    let mut world = World::start().await;
    world.rust_put("key", 1, 10).await;
    let now = SystemTime::now();
    let hour = Duration::from_secs(3600);
    let bounds = [
        (Some(now - hour), Some(now + hour), true),
        (None, Some(now - hour), false),
        (Some(now + hour), None, false),
    ];
    for (not_before, not_after, allowed) in bounds {
        let ours = Permission::read_only();
        let ours = not_before.map_or(ours, |time| ours.not_before(time));
        let ours = not_after.map_or(ours, |time| ours.not_after(time));
        let rust = share(&world.grant, &ours, &[]);
        let mut permission = read_only();
        permission["not_before"] = not_before.map(rfc3339).into();
        permission["not_after"] = not_after.map(rfc3339).into();
        let go = go_share(&mut world, permission, &[]).await;
        for grant in [rust, go] {
            let readable = readable(&mut world, &grant, "key").await;
            assert_eq!(readable, [allowed; 2], "{not_before:?} to {not_after:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn max_ttl_of_a_grant_limits_uploads() {
    let mut world = World::start().await;
    let hour = Duration::from_secs(3600);
    let permission = Permission::read_only().upload(true).max_object_ttl(hour);
    let rust = share(&world.grant, &permission, &[]);
    let permission = json!({"download": true, "upload": true, "list": true, "ttl_seconds": 3600});
    let go = go_share(&mut world, permission, &[]).await;
    for (name, grant) in [("by rust", rust), ("by go", go)] {
        world.call("upload", json!({"access": grant, "key": b64(name), "size": 10})).await;
        let expires = world.project.stat_object(BUCKET, name).await.expect("exists").expires_at;
        let left = expires.expect("a time").duration_since(SystemTime::now()).expect("ahead");
        assert!(left.as_secs().abs_diff(3600) < 60, "{left:?}");
        write(&open(&grant, SMALL_SEGMENT), b"ours", b"x").await.expect("written");
        let expires = world.project.stat_object(BUCKET, "ours").await.expect("exists").expires_at;
        assert!(expires.is_some());
        world.project.delete_object(BUCKET, "ours").await.expect("deleted");
        let late = rfc3339(SystemTime::now() + Duration::from_secs(7200));
        let upload = json!({"access": grant, "key": b64("late"), "size": 10, "expires": late});
        assert_eq!(world.call_err("upload", upload).await.code, 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn overridden_key_is_equal_in_both_clients_and_private() {
    const SALT: &[u8] = b"sixteen bytes ok";
    let mut world = World::start().await;
    // The application's grant, restricted to a user, to which the user adds an encryption key.
    let narrowed = share(&world.grant, &Permission::full(), &["user/"]);
    let derive = json!({
        "access": narrowed, "prefix": b64("user/"), "passphrase": "user's", "salt": b64(SALT),
    });
    let go = world.call("override_key", derive).await;
    let mut rust = Access::parse(&narrowed).expect("a grant");
    let key = EncryptionKey::derive("user's", SALT).await.expect("a key");
    rust.override_encryption_key(BUCKET, "user/", &key).expect("overridden");
    let rust = rust.serialize().expect("a text");
    assert_eq!(text(&go["access"]), rust);

    let user = open(&rust, SMALL_SEGMENT);
    write(&user, b"user/rust", &[1; 10_000]).await.expect("written");
    world.call("upload", json!({"access": rust, "key": b64("user/go"), "size": 10_000})).await;
    for key in ["user/rust", "user/go"] {
        assert_eq!(readable(&mut world, &rust, key).await, [true; 2]);
        // The application cannot decrypt the keys of its user's objects.
        let missing = world.call_err("stat", json!({"key": b64(key)})).await;
        assert_eq!(missing.kind, "ErrObjectNotFound");
    }
    let list = json!({"access": rust, "prefix": b64("user/")});
    assert_eq!(world.call("list", list).await.as_array().map(Vec::len), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn revoked_grant_and_its_shares_are_denied_in_both_clients() {
    let mut world = World::start().await;
    world.rust_put("key", 1, 10).await;
    let sibling = share(&world.grant, &Permission::new().download(true), &[]);
    for revoked_by_us in [false, true] {
        let child = share(&world.grant, &Permission::read_only(), &[]);
        let grandchild = share(&child, &Permission::read_only(), &["key"]);
        for grant in [&child, &grandchild, &sibling] {
            assert_eq!(readable(&mut world, grant, "key").await, [true; 2]);
        }
        match revoked_by_us {
            true => {
                let child = Access::parse(&child).expect("a grant");
                world.project.revoke_access(&child).await.expect("revoked");
                world.project.revoke_access(&child).await.expect("revoked twice");
            }
            false => {
                world.call("revoke", json!({"revoked": child})).await;
            }
        }
        for (grant, allowed) in [(&child, false), (&grandchild, false), (&sibling, true)] {
            assert_eq!(readable(&mut world, grant, "key").await, [allowed; 2]);
        }
    }
    let parent = world.grant.clone();
    assert_eq!(readable(&mut world, &parent, "key").await, [true; 2]);
    // A grant cannot revoke its parent or its sibling.
    let sibling = open(&sibling, SMALL_SEGMENT);
    let parent = Access::parse(&parent).expect("a grant");
    let denied = sibling.revoke_access(&parent).await.unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::PermissionDenied, "{denied}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn wrong_passphrase_reveals_no_objects_in_either_client() {
    let mut world = World::start().await;
    world.go_put("key", 1, 10_001).await;
    let wrong = request(&world, "wrong").await;
    let ours = Project::open(&wrong).expect("a project").stat_object(BUCKET, "key").await;
    assert_eq!(ours.unwrap_err().kind(), ErrorKind::Decryption);
    let wrong = wrong.serialize().expect("a text");
    let missing = world.call_err("stat", json!({"access": wrong, "key": b64("key")})).await;
    assert_eq!(missing.kind, "ErrObjectNotFound");
    assert_eq!(world.call("list", json!({"access": wrong})).await, json!([]));
}
