//! Buckets created by one client and read by the other.

use serde_json::{Value, json};
use uplink::ErrorKind;

use super::world::{BUCKET, World, items, text};

fn names(listed: &Value) -> Vec<&str> {
    items(listed).iter().map(|bucket| text(&bucket["name"])).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn both_clients_see_the_same_buckets() {
    let mut world = World::start().await;
    for name in ["zebra", "alpha", "mid.dle"] {
        let created = world.call("create_bucket", json!({"bucket": name})).await;
        assert_eq!(text(&created["name"]), name);
        let found = world.call("stat_bucket", json!({"bucket": name})).await;
        assert_eq!(found, created);
        assert_eq!(world.call("ensure_bucket", json!({"bucket": name})).await, created);
        let ours = world.project.stat_bucket(name).await.expect("exists");
        let ours = ours.created_at.expect("a time").duration_since(std::time::UNIX_EPOCH);
        let theirs = super::expiry::seconds(&created["created"]);
        assert!((ours.expect("after 1970").as_secs_f64() - theirs).abs() < 1e-5, "{created}");
    }
    let all = ["alpha", BUCKET, "mid.dle", "zebra"];
    assert_eq!(names(&world.call("list_buckets", json!({})).await), all);
    // Page by page, and from a cursor.
    assert_eq!(names(&world.call("list_buckets", json!({"list_limit": 1})).await), all);
    let after = json!({"cursor": super::world::b64(BUCKET)});
    assert_eq!(names(&world.call("list_buckets", after).await), all[2..]);

    world.call("delete_bucket", json!({"bucket": "zebra"})).await;
    let gone = world.project.stat_bucket("zebra").await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::BucketNotFound);
    world.project.delete_bucket("alpha").await.expect("deleted");
    let gone = world.call_err("stat_bucket", json!({"bucket": "alpha"})).await;
    assert_eq!(gone.kind, "ErrBucketNotFound");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn nonempty_bucket_is_deleted_only_with_its_objects() {
    let mut world = World::start().await;
    world.rust_put("inline", 1, 10).await;
    world.go_put("remote", 1, 10_000).await;
    let full = world.call_err("delete_bucket", json!({})).await;
    assert_eq!(full.kind, "ErrBucketNotEmpty");
    world.call("delete_bucket", json!({"with_objects": true})).await;
    assert_eq!(names(&world.call("list_buckets", json!({})).await), [""; 0]);
}
