//! Objects with an expiry time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uplink::{ErrorKind, UploadOptions};

use super::world::{BUCKET, World, b64, text};

/// Returns the seconds since 1970 of a time in a response.
pub(crate) fn seconds(at: &Value) -> f64 {
    let at = OffsetDateTime::parse(text(at), &Rfc3339).expect("a time");
    at.unix_timestamp_nanos() as f64 / 1e9
}

/// Formats a time for a command.
pub(crate) fn rfc3339(at: SystemTime) -> String {
    OffsetDateTime::from(at).format(&Rfc3339).expect("a time")
}

/// Returns a time in whole seconds about that far in the future.
fn ahead(by: Duration) -> SystemTime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    UNIX_EPOCH + Duration::from_secs((now + by).as_secs())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn expiry_set_by_one_client_is_shown_by_the_other() {
    let mut world = World::start().await;
    let at = ahead(Duration::from_secs(3600));
    for size in [10_u64, 10_000] {
        let upload = json!({"key": b64("go"), "size": size, "expires": rfc3339(at)});
        world.call("upload", upload).await;
        let ours = world.project.stat_object(BUCKET, "go").await.expect("exists");
        assert_eq!(ours.expires_at, Some(at));

        let options = UploadOptions::new().expires_at(at);
        let mut upload =
            world.project.upload_object_with(BUCKET, "rust", &options).expect("an upload");
        upload.write(&vec![7; size as usize]).await.expect("written");
        upload.commit().await.expect("committed");
        let theirs = world.call("stat", json!({"key": b64("rust")})).await;
        let since = at.duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
        assert!((seconds(&theirs["expires"]) - since).abs() < 1e-3, "{theirs}");
        let listed = world.call("list", json!({"system": true})).await;
        for item in super::world::items(&listed) {
            assert!((seconds(&item["expires"]) - since).abs() < 1e-3, "{item}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn expired_object_is_gone_for_both_clients() {
    let mut world = World::start().await;
    let at = SystemTime::now() + Duration::from_millis(2500);
    for (key, size) in [("inline", 10_u64), ("remote", 10_000)] {
        let upload = json!({"key": b64(key), "size": size, "expires": rfc3339(at)});
        world.call("upload", upload).await;
        world.go_get(key).await;
    }
    // Expiry depends only on real time.
    let left = at.duration_since(SystemTime::now()).unwrap_or_default();
    tokio::time::sleep(left + Duration::from_millis(50)).await;
    for key in ["inline", "remote"] {
        for op in ["stat", "download"] {
            let missing = world.call_err(op, json!({"key": b64(key)})).await;
            assert_eq!(missing.kind, "ErrObjectNotFound", "{op} {key}");
        }
        let missing = world.project.stat_object(BUCKET, key).await.unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::ObjectNotFound);
    }
    assert_eq!(world.call("list", json!({"recursive": true})).await, json!([]));
}
