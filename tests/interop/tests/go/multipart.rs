//! Multipart uploads by either client, and by both together.

use futures_util::TryStreamExt;
use serde_json::{Value, json};
use uplink::{CommitUploadOptions, ErrorKind, PartReceipt, Project};

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

async fn our_part(project: &Project, key: &str, id: &str, number: u32, size: u64) -> PartReceipt {
    let mut part = project.upload_part(BUCKET, key, id, number).expect("a part");
    part.write(&pattern(number as u8, 0..size)).await.expect("written");
    part.set_etag(format!("etag {number}"));
    part.commit().await.expect("committed")
}

/// Our parts have the format of the network: the reference client lists, commits and reads them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn our_parts_are_listed_committed_and_read_by_the_reference_client() {
    const PARTS: [(u32, u64); 4] = [(0, 10_000), (3, 2 * SMALL_SEGMENT + 100), (4, 0), (7, 4096)];
    let mut world = World::start().await;
    let whole: Vec<u8> =
        PARTS.iter().flat_map(|(number, size)| pattern(*number as u8, 0..*size)).collect();
    for custom in [json!({"multi": "part"}), json!({})] {
        let id = world.project.begin_upload(BUCKET, "key").await.expect("begun");
        for (number, size) in PARTS {
            our_part(&world.project, "key", &id, number, size).await;
        }
        let listed = world.call("list_parts", json!({"key": b64("key"), "upload_id": id})).await;
        let listed: Vec<_> = items(&listed)
            .iter()
            .map(|part| (part["part"].as_u64(), part["size"].as_u64(), bytes(&part["etag"])))
            .collect();
        let expected = PARTS.map(|(number, size)| {
            (Some(number.into()), Some(size), format!("etag {number}").into_bytes())
        });
        assert_eq!(listed, expected);
        let commit = json!({"key": b64("key"), "upload_id": id, "custom": custom});
        world.call("commit_upload", commit).await;
        let read_by_go = world.call("download", json!({"key": b64("key"), "bytes": true})).await;
        assert!(bytes(&read_by_go["bytes"]) == whole);
        let ours = read(&world.project, b"key").await;
        match custom["multi"].is_null() {
            // Nothing tells which parts there were (R7).
            true => assert_eq!(ours.unwrap_err().kind(), ErrorKind::LayoutUnauthenticated),
            false => assert!(ours.expect("read") == whole),
        }
    }
}

/// The reference client begins and reads; our client uploads the parts and seals the object.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn upload_begun_by_the_reference_client_is_sealed_by_ours() {
    let mut world = World::start().await;
    let id = begin(&mut world, "a/key").await;
    let first = our_part(&world.project, "a/key", &id, 1, 5 << 20).await;
    let second = our_part(&world.project, "a/key", &id, 2, 10_000).await;
    let options = CommitUploadOptions::new().receipts([first, second]);
    let committed = world.project.commit_upload_with(BUCKET, "a/key", &id, &options).await;
    assert_eq!(committed.expect("committed").size, (5 << 20) + 10_000);
    let whole = [pattern(1, 0..5 << 20), pattern(2, 0..10_000)].concat();
    let read_by_go = world.call("download", json!({"key": b64("a/key"), "bytes": true})).await;
    assert!(bytes(&read_by_go["bytes"]) == whole);
    assert!(read(&world.project, b"a/key").await.expect("read") == whole);
}

/// Parts of the reference client are no chain, so that our client cannot seal them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn parts_of_the_reference_client_are_listed_and_not_sealed_by_ours() {
    let mut world = World::start().await;
    let id = begin(&mut world, "key").await;
    part(&mut world, "key", &id, 1, 10_000).await;
    let listed: Vec<uplink::Part> = world
        .project
        .list_parts(BUCKET, "key", &id)
        .expect("a listing")
        .try_collect()
        .await
        .expect("listed");
    assert_eq!((listed[0].size, listed[0].etag.as_slice()), (10_000, &b"etag 1"[..]));
    let refused = world.project.commit_upload(BUCKET, "key", &id).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LayoutUnauthenticated, "{refused}");
    let access = uplink::Access::parse(&world.grant).expect("a grant");
    let config = uplink::Config::new().allow_unauthenticated_layout(true);
    let usual = Project::open_with(&access, &config).expect("a project");
    usual.commit_upload(BUCKET, "key", &id).await.expect("committed without a seal");
    assert!(read(&usual, b"key").await.expect("read") == pattern(1, 0..10_000));
}
