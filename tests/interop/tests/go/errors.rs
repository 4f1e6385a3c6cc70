//! Errors equal to those of the reference satellite: the same exported error and status code as
//! recorded in `rpc-transcripts.json`.

use serde_json::{Value, json};
use uplink_core::access_grant::AccessGrant;
use uplink_core::encryption::CipherSuite;
use uplink_core::macaroon::ApiKey;
use uplink_testnet::Options;

use super::world::{BUCKET, SMALL_SEGMENT, World, b64, items, text};

const YEAR_2001: &str = "2001-01-01T00:00:00Z";
const YEAR_2100: &str = "2100-01-01T00:00:00Z";

/// Grants that are more restricted than the world's.
struct Grants {
    read_only: String,
    write_only: String,
    download_only: String,
    prefix: String,
    expired: String,
    not_yet: String,
    revoked: String,
    revoked_child: String,
    unknown: String,
    forged: String,
}

impl Grants {
    async fn new(world: &mut World) -> Self {
        let read = json!({"download": true, "list": true});
        let dated = |name: &str, date: &str| json!({"download": true, "list": true, name: date});
        let revoked = shared(world, None, read.clone(), &[]).await;
        let revoked_child = shared(world, Some(&revoked), read.clone(), &[]).await;
        world.call("revoke", json!({"revoked": revoked})).await;
        let write = json!({"upload": true, "delete": true});
        Self {
            write_only: shared(world, None, write, &[]).await,
            download_only: shared(world, None, json!({"download": true}), &[]).await,
            prefix: shared(world, None, read.clone(), &["docs/"]).await,
            expired: shared(world, None, dated("not_after", YEAR_2001), &[]).await,
            not_yet: shared(world, None, dated("not_before", YEAR_2100), &[]).await,
            read_only: shared(world, None, read, &[]).await,
            unknown: with_key(&world.grant, &ApiKey::new(b"any", vec![7; 32])),
            forged: with_key(&world.grant, &forged(&world.api_key)),
            revoked,
            revoked_child,
        }
    }
}

async fn shared(
    world: &mut World,
    of: Option<&str>,
    permission: Value,
    prefixes: &[&str],
) -> String {
    let of = of.unwrap_or(&world.grant).to_owned();
    let prefixes: Vec<Value> =
        prefixes.iter().map(|prefix| json!({"bucket": BUCKET, "prefix": b64(prefix)})).collect();
    let share = json!({"access": of, "permission": permission, "prefixes": prefixes});
    text(&world.call("share", share).await["access"]).to_owned()
}

/// Returns the same grant with another API key.
fn with_key(grant: &str, key: &ApiKey) -> String {
    let grant = AccessGrant::parse(grant).expect("a grant");
    assert_eq!(grant.encryption().default_path_cipher(), CipherSuite::AesGcm);
    let address = grant.satellite_address().to_owned();
    let other = AccessGrant::new(address, key.clone(), grant.encryption()).expect("a grant");
    other.serialize().expect("a text")
}

/// Returns an API key with the head of a real one, derived from a wrong secret.
fn forged(api_key: &str) -> ApiKey {
    let real = ApiKey::parse(api_key).expect("an API key");
    ApiKey::new(b"another secret", real.head().to_vec())
}

/// Name of the recorded scenario, operation and command.
type Case = (&'static str, &'static str, Value);

fn of_names_and_sizes() -> Vec<Case> {
    let missing = "missing";
    let nope = || b64("nope");
    vec![
        ("bucket_create_existing", "create_bucket", json!({})),
        ("bucket_create_invalid_name", "create_bucket", json!({"bucket": "Not_Valid"})),
        ("bucket_create_empty_name", "create_bucket", json!({"bucket": ""})),
        ("bucket_stat_missing", "stat_bucket", json!({"bucket": missing})),
        ("bucket_delete_missing", "delete_bucket", json!({"bucket": missing})),
        ("bucket_delete_not_empty", "delete_bucket", json!({})),
        (
            "upload_expires_past",
            "upload",
            json!({"key": b64("past"), "size": 10, "expires": YEAR_2001}),
        ),
        (
            "upload_missing_bucket_inline",
            "upload",
            json!({"bucket": missing, "key": b64("x"), "size": 10}),
        ),
        (
            "upload_missing_bucket_remote",
            "upload",
            json!({"bucket": missing, "key": b64("x"), "size": 10_240}),
        ),
        ("upload_empty_key", "upload", json!({"key": "", "size": 10})),
        (
            "upload_meta_too_big",
            "upload",
            json!({"key": b64("big"), "size": 10, "custom": {"k": "x".repeat(4000)}}),
        ),
        ("stat_missing", "stat", json!({"key": nope()})),
        ("stat_missing_bucket", "stat", json!({"bucket": missing, "key": nope()})),
        ("list_missing_bucket", "list", json!({"bucket": missing})),
        ("list_bad_prefix", "list", json!({"prefix": b64("docs")})),
        ("download_missing", "download", json!({"key": nope()})),
        ("download_missing_bucket", "download", json!({"bucket": missing, "key": nope()})),
        (
            "download_offset_beyond_size",
            "download",
            json!({"key": b64("docs/one.txt"), "offset": 5000}),
        ),
        ("copy_missing", "copy", json!({"key": nope(), "new_bucket": BUCKET, "new_key": b64("x")})),
        (
            "copy_to_missing_bucket",
            "copy",
            json!({"key": b64("docs/one.txt"), "new_bucket": missing, "new_key": b64("x")}),
        ),
        ("move_missing", "move", json!({"key": nope(), "new_bucket": BUCKET, "new_key": b64("x")})),
        (
            "metadata_update_missing",
            "update_metadata",
            json!({"key": nope(), "custom": {"a": "b"}}),
        ),
        (
            "multipart_abort_invalid_id",
            "abort_upload",
            json!({"key": b64("multi"), "upload_id": "AAAA"}),
        ),
    ]
}

fn of_permissions(grants: &Grants, all: &str) -> Vec<Case> {
    let one = || b64("docs/one.txt");
    let read = |more: Value| with(&grants.read_only, more);
    let to = || json!({"key": one(), "new_bucket": BUCKET, "new_key": b64("w")});
    let small = || json!({"key": b64("w"), "size": 10});
    let large = json!({"key": b64("w"), "size": 10_240});
    let big = json!({"prefix": b64("big/")});
    vec![
        ("denied_download_write_only", "download", with(&grants.write_only, json!({"key": one()}))),
        ("denied_stat_write_only", "stat", with(&grants.write_only, json!({"key": one()}))),
        ("denied_upload_read_only_inline", "upload", read(small())),
        ("denied_upload_read_only_remote", "upload", read(large)),
        ("denied_delete_read_only", "delete", read(json!({"key": one()}))),
        ("denied_create_bucket_read_only", "create_bucket", read(json!({"bucket": "new"}))),
        ("denied_delete_bucket_read_only", "delete_bucket", read(json!({"bucket": "abc"}))),
        ("denied_list_download_only", "list", with(&grants.download_only, json!({}))),
        ("denied_begin_multipart_read_only", "begin_upload", read(json!({"key": b64("w")}))),
        ("denied_move_read_only", "move", read(to())),
        ("denied_copy_read_only", "copy", read(to())),
        (
            "denied_metadata_read_only",
            "update_metadata",
            read(json!({"key": one(), "custom": {"a": "b"}})),
        ),
        (
            "shared_prefix_download_outside",
            "download",
            with(&grants.prefix, json!({"key": b64("one-byte")})),
        ),
        ("shared_prefix_list_outside", "list", with(&grants.prefix, big)),
        ("shared_prefix_list_root", "list", with(&grants.prefix, json!({}))),
        ("expired_key_download", "download", with(&grants.expired, json!({"key": one()}))),
        ("expired_key_list_buckets", "list_buckets", with(&grants.expired, json!({}))),
        ("expired_key_upload", "upload", with(&grants.expired, small())),
        ("not_before_key_list", "list", with(&grants.not_yet, json!({}))),
        ("revoked_stat", "stat", with(&grants.revoked, json!({"key": one()}))),
        ("revoked_child_stat", "stat", with(&grants.revoked_child, json!({"key": one()}))),
        ("revoke_self_root", "revoke", json!({"revoked": all})),
        ("revoke_unauthorized", "revoke", read(json!({"revoked": all}))),
        ("unknown_api_key_list_buckets", "list_buckets", with(&grants.unknown, json!({}))),
        ("unknown_api_key_stat", "stat", with(&grants.unknown, json!({"key": one()}))),
        ("unknown_api_key_upload", "upload", with(&grants.unknown, small())),
        ("forged_api_key_list_buckets", "list_buckets", with(&grants.forged, json!({}))),
    ]
}

fn with(grant: &str, mut command: Value) -> Value {
    command["access"] = grant.into();
    command
}

async fn world() -> World {
    let mut world = World::start().await;
    world.call("create_bucket", json!({"bucket": "abc"})).await;
    world.go_put("docs/one.txt", 1, 1024).await;
    world.go_put("one-byte", 1, 1).await;
    world
}

/// Returns the recorded result of a scenario.
fn recorded(name: &str) -> Value {
    let text = include_str!("../../../vectors/rpc-transcripts.json");
    let recording: Value = serde_json::from_str(text).expect("JSON");
    let scenarios = items(&recording["plain"]["scenarios"]);
    let found = scenarios.iter().find(|scenario| scenario["name"] == name);
    found.unwrap_or_else(|| panic!("{name} was not recorded"))["out"].clone()
}

/// Compares errors with the recorded ones and reports all differences.
async fn assert_as_recorded(world: &mut World, cases: Vec<Case>) {
    let mut differing = Vec::new();
    for (name, op, command) in cases {
        let error = &recorded(name)["error"];
        let expected = (error["is"][0].as_str().unwrap_or_default(), &error["rpc_code"]);
        let refusal = world.call_err(op, command).await;
        if (refusal.kind.as_str(), &json!(refusal.code)) != expected {
            differing.push(format!("{name}: expected {expected:?}, got {refusal:?}"));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn invalid_and_missing_items_fail_as_recorded() {
    let mut world = world().await;
    let cases = of_names_and_sizes();
    assert_eq!(cases.len(), 23);
    assert_as_recorded(&mut world, cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn operations_beyond_the_grant_fail_as_recorded() {
    let mut world = world().await;
    let grants = Grants::new(&mut world).await;
    let cases = of_permissions(&grants, &world.grant);
    assert_eq!(cases.len(), 27);
    assert_as_recorded(&mut world, cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn multipart_uploads_fail_as_recorded() {
    let options = Options::new().satellite_config(|config| config.min_part_size = 5 << 20);
    let mut world = World::start_with(options, SMALL_SEGMENT, &[]).await;
    for (name, sizes, commits) in [
        ("multipart_small_part_commit", &[10, 20][..], 0),
        ("multipart_commit_again", &[20][..], 1),
    ] {
        let started = world.call("begin_upload", json!({"key": b64(name)})).await;
        let id = text(&started["upload_id"]).to_owned();
        for (number, size) in (1..).zip(sizes) {
            let part = json!({"key": b64(name), "upload_id": id, "part": number, "size": size});
            world.call("upload_part", part).await;
        }
        let commit = json!({"key": b64(name), "upload_id": id});
        for _ in 0..commits {
            world.call("commit_upload", commit.clone()).await;
        }
        assert_as_recorded(&mut world, vec![(name, "commit_upload", commit)]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn grants_without_read_get_no_information_as_recorded() {
    let mut world = world().await;
    let grants = Grants::new(&mut world).await;
    let delete_only = shared(&mut world, None, json!({"delete": true}), &[]).await;
    let deletions = [
        ("delete_missing", json!({"key": b64("nope")})),
        ("delete_missing_bucket", json!({"bucket": "missing", "key": b64("nope")})),
        ("delete_only_delete", with(&delete_only, json!({"key": b64("one-byte")}))),
    ];
    for (name, command) in deletions {
        let out = recorded(name);
        assert_eq!((&out["error"], &out["info"]), (&Value::Null, &Value::Null), "{name}");
        assert_eq!(world.call("delete", command).await, Value::Null, "{name}");
    }
    let gone = world.call_err("stat", json!({"key": b64("one-byte")})).await;
    assert_eq!(gone.kind, "ErrObjectNotFound");

    // A write-only grant sees every bucket, one for a prefix only its own.
    let listed = world.call("list_buckets", with(&grants.write_only, json!({}))).await;
    assert_eq!(recorded("denied_list_buckets_write_only")["error"], Value::Null);
    assert_eq!(items(&listed).len(), 2);
    let listed = world.call("list_buckets", with(&grants.prefix, json!({}))).await;
    let names: Vec<&str> = items(&listed).iter().map(|bucket| text(&bucket["name"])).collect();
    assert_eq!(recorded("shared_prefix_list_buckets")["names"], json!(["bucket-one"]));
    assert_eq!(names, [BUCKET]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn overwrite_requires_the_delete_permission() {
    let mut world = world().await;
    let upload_only = shared(&mut world, None, json!({"upload": true}), &[]).await;
    for size in [10, 10_240] {
        let key = format!("fresh {size}");
        let upload = with(&upload_only, json!({"key": b64(&key), "size": size}));
        world.call("upload", upload.clone()).await;
        let refused = world.call_err("upload", upload).await;
        assert_eq!((refused.kind.as_str(), refused.code), ("ErrPermissionDenied", 7));
    }
}
