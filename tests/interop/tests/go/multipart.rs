//! Multipart uploads by the reference client, read by our client.

use serde_json::{Value, json};

use super::world::{BUCKET, SMALL_SEGMENT, World, b64, bytes, items, pattern, read, text};

async fn begin(world: &mut World, key: &str) -> String {
    let started = world.call("begin_upload", json!({"key": b64(key)})).await;
    assert_eq!(bytes(&started["key"]), key.as_bytes());
    text(&started["upload_id"]).to_owned()
}

async fn part(world: &mut World, key: &str, id: &str, number: u32, size: u64) -> Value {
    let command = json!({
        "key": b64(key), "upload_id": id, "part": number, "seed": number, "size": size,
        "etag": b64(format!("etag {number}")),
    });
    world.call("upload_part", command).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn parts_of_any_size_and_order_read_equal_in_both_clients() {
    // Numbers with gaps; inline, remote, multi-segment and empty parts.
    const PARTS: [(u32, u64); 7] = [
        (7, 100),
        (0, 10_000),
        (1, 2 * SMALL_SEGMENT + 100),
        (2, 0),
        (3, SMALL_SEGMENT),
        (5, 4096),
        (6, 2 * SMALL_SEGMENT + 5000),
    ];
    let mut world = World::start().await;
    let id = begin(&mut world, "a/key").await;
    for (number, size) in PARTS {
        let uploaded = part(&mut world, "a/key", &id, number, size).await;
        assert_eq!((&uploaded["part"], &uploaded["size"]), (&json!(number), &json!(size)));
    }
    let mut sorted = PARTS;
    sorted.sort_unstable();
    let where_ = json!({"key": b64("a/key"), "upload_id": id});
    for limit in [0, 1, 3] {
        let mut list = where_.clone();
        list["list_limit"] = limit.into();
        let listed = world.call("list_parts", list).await;
        let listed: Vec<_> = items(&listed)
            .iter()
            .map(|part| (part["part"].as_u64(), part["size"].as_u64(), bytes(&part["etag"])))
            .collect();
        let expected = sorted.map(|(number, size)| {
            (Some(number.into()), Some(size), format!("etag {number}").into_bytes())
        });
        assert_eq!(listed, expected, "{limit} a page");
    }
    let mut rest = where_.clone();
    rest["after_part"] = 3.into();
    assert_eq!(items(&world.call("list_parts", rest).await).len(), 3);

    let mut commit = where_;
    commit["custom"] = json!({"multi": "part"});
    let committed = world.call("commit_upload", commit).await;
    let whole: Vec<u8> =
        sorted.iter().flat_map(|(number, size)| pattern(*number as u8, 0..*size)).collect();
    assert_eq!(committed["size"], whole.len() as u64);
    assert!(read(&world.project, b"a/key").await.expect("read") == whole);
    let stat = world.project.stat_object(BUCKET, "a/key").await.expect("exists");
    assert_eq!(stat.custom_metadata.get("multi").map(String::as_str), Some("part"));
    assert_eq!(stat.size, whole.len() as u64);
    // Across the boundaries of parts and segments.
    let size = whole.len() as u64;
    for start in [0, 9_999, 10_000, 10_001, SMALL_SEGMENT + 9_999, size - 101, size - 1] {
        let end = size.min(start + 150);
        let range = json!({
            "key": b64("a/key"), "offset": start, "length": end - start, "bytes": true,
        });
        let got = world.call("download", range).await;
        assert!(bytes(&got["bytes"]) == whole[start as usize..end as usize], "{start}..{end}");
        let options = uplink::DownloadOptions::new().range(start..end);
        let download = world.project.download_object_with(BUCKET, "a/key", &options).await;
        let got = download.expect("opened").read_to_end(u64::MAX).await.expect("read");
        assert!(got == whole[start as usize..end as usize], "{start}..{end} with ours");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn reuploaded_part_has_its_last_content() {
    let mut world = World::start().await;
    let id = begin(&mut world, "key").await;
    // Longer, shorter by two segments, longer again.
    for size in [10_000, 3 * SMALL_SEGMENT + 5000, SMALL_SEGMENT, 2 * SMALL_SEGMENT + 1] {
        part(&mut world, "key", &id, 1, size).await;
        let listed = world.call("list_parts", json!({"key": b64("key"), "upload_id": id})).await;
        assert_eq!(items(&listed).len(), 1);
        assert_eq!(listed[0]["size"], size, "no segment of an earlier attempt is left");
    }
    world.call("commit_upload", json!({"key": b64("key"), "upload_id": id})).await;
    let whole = read(&world.project, b"key").await.expect("read");
    assert!(whole == pattern(1, 0..2 * SMALL_SEGMENT + 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn pending_uploads_are_listed_with_their_ids() {
    let mut world = World::start().await;
    let mut begun = Vec::new();
    for key in ["top", "docs/one", "docs/one", "docs/deeper/two", "//three"] {
        let id = begin(&mut world, key).await;
        part(&mut world, key, &id, 1, 10_000).await;
        begun.push((key.to_owned(), id));
    }
    begun.sort();
    for limit in [0, 1, 2] {
        let all = json!({"recursive": true, "system": true, "list_limit": limit});
        let listed = world.call("list_uploads", all).await;
        assert_eq!(uploads(&listed), begun, "{limit} a page");
    }
    let below = world.call("list_uploads", json!({"prefix": b64("docs/")})).await;
    let names: Vec<_> = uploads(&below).into_iter().map(|(key, _)| key).collect();
    assert_eq!(names, ["docs/deeper/", "docs/one", "docs/one"]);
    let top = world.call("list_uploads", json!({})).await;
    let names: Vec<_> = uploads(&top).into_iter().map(|(key, _)| key).collect();
    assert_eq!(names, ["/", "docs/", "top"]);
    // A prefix without a trailing slash is the whole key.
    let exact = world.call("list_uploads", json!({"prefix": b64("docs/one")})).await;
    let expected: Vec<_> = begun.iter().filter(|(key, _)| key == "docs/one").cloned().collect();
    assert_eq!(uploads(&exact), expected);
    // A pending upload is not an object.
    assert_eq!(world.call("list", json!({"recursive": true})).await, json!([]));
}

/// Returns keys and ids sorted by key: a listing is sorted by encrypted key.
fn uploads(listed: &Value) -> Vec<(String, String)> {
    let pair = |upload: &Value| {
        let key = String::from_utf8(bytes(&upload["key"])).expect("text");
        (key, text(&upload["upload_id"]).to_owned())
    };
    let mut uploads: Vec<_> = items(listed).iter().map(pair).collect();
    uploads.sort();
    uploads
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn aborted_uploads_and_parts_leave_nothing_behind() {
    let mut world = World::start().await;
    let id = begin(&mut world, "key").await;
    part(&mut world, "key", &id, 1, 10_000).await;
    let aborted = json!({
        "key": b64("key"), "upload_id": id, "part": 2, "size": 2 * SMALL_SEGMENT, "abort": true,
    });
    world.call("upload_part", aborted).await;
    world.call("abort_upload", json!({"key": b64("key"), "upload_id": id})).await;
    assert_eq!(world.call("list_uploads", json!({"recursive": true})).await, json!([]));
    for op in ["commit_upload", "upload_part"] {
        let late = json!({"key": b64("key"), "upload_id": id, "part": 1, "size": 10_000});
        let refused = world.call_err(op, late).await;
        let expected = if op == "upload_part" { "ErrUploadIDInvalid" } else { "ErrObjectNotFound" };
        assert_eq!(refused.kind, expected, "{op}: {}", refused.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn commit_replaces_the_object_and_ends_the_upload() {
    let mut world = World::start().await;
    world.rust_put("key", 9, 20_000).await;
    let id = begin(&mut world, "key").await;
    part(&mut world, "key", &id, 1, 10_000).await;
    assert_eq!(world.rust_get("key").await.0, 20_000, "the object stays until the commit");
    world.call("commit_upload", json!({"key": b64("key"), "upload_id": id})).await;
    assert!(read(&world.project, b"key").await.expect("read") == pattern(1, 0..10_000));
    assert_eq!(world.call("list_uploads", json!({"recursive": true})).await, json!([]));
}
