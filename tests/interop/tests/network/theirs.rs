//! Our client on a satellite and storage nodes of the public network.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::TryStreamExt;
use serde_json::json;
use tokio::time::sleep;
use uplink::{
    Authenticity, CommitUploadOptions, CopyOptions, DownloadOptions, Error, ErrorKind, ListItem,
    ListOptions, Project,
};

use super::satellite::Theirs;
use super::world::{BUCKET, SMALL_SEGMENT, World, b64, open, pattern, read, sha256, text, write};

const SIZES: [u64; 8] =
    [0, 1, 4096, 4097, 300_001, SMALL_SEGMENT, SMALL_SEGMENT + 1, 3 * SMALL_SEGMENT + 5001];
/// Remote segments of objects of all sizes; up to 4096 bytes are inline.
const REMOTE_SEGMENTS: usize = 1 + 1 + 1 + 1 + 4;

/// All in one network, because starting one takes longer than using it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: a satellite and storage nodes of the public network"]
async fn all_operations_of_our_client_work_on_a_stock_satellite() {
    let mut world = Theirs::start().await;
    contents(&mut world).await;
    ranges(&world).await;
    listings(&world).await;
    rearranged(&mut world).await;
    in_parts(&mut world).await;
    rearranged_by_us(&world).await;
    in_parts_by_us(&mut world).await;
    deletions(&mut world).await;
    refusals(&world).await;
    restricted(&mut world).await;
    slowed_down(&mut world).await;
    restarted(&mut world).await;
}

async fn contents(world: &mut World<Theirs>) {
    for size in SIZES {
        world.go_put(format!("docs/go {size}"), 1, size).await;
        world.rust_put(format!("docs/rust {size}"), 2, size).await;
    }
    for size in SIZES {
        world.assert_read(format!("docs/go {size}"), 1, size).await;
        world.assert_read(format!("docs/rust {size}"), 2, size).await;
    }
    assert_eq!(world.network.remote_segments(), 2 * REMOTE_SEGMENTS);
    // Overwrites an object.
    world.rust_put("docs/go 1", 3, 10_000).await;
    world.assert_read("docs/go 1", 3, 10_000).await;
    for node in &world.network.nodes {
        let uploads = node.uploads();
        let downloads = node.downloads();
        assert!(uploads > 0 && downloads > 0, "{}: {uploads}, {downloads}", node.id);
    }
}

async fn ranges(world: &World<Theirs>) {
    let size = 3 * SMALL_SEGMENT + 5001;
    let key = format!("docs/go {size}");
    for start in [0, 1, 7407, 7408, SMALL_SEGMENT - 1, SMALL_SEGMENT, size - 1, size] {
        for end in [start, start + 1, start + 100_003, size] {
            let end = end.min(size);
            let options = DownloadOptions::new().range(start..end);
            let download =
                world.project.download_object_with(BUCKET, key.as_bytes(), &options).await;
            let found = download.expect("opened").read_to_end(u64::MAX).await.expect("read");
            assert!(found == pattern(1, start..end), "{start}..{end}");
        }
    }
    let options = DownloadOptions::new().range(size + 1..size + 2);
    let beyond = world.project.download_object_with(BUCKET, key.as_bytes(), &options).await;
    assert_eq!(kind(beyond), ErrorKind::RangeInvalid);
}

async fn listings(world: &World<Theirs>) {
    for key in ["list/a/1", "list/a/2", "list/b", "list/c//d", "other"] {
        write(&world.project, key.as_bytes(), b"content").await.expect("written");
    }
    let under = ListOptions::new().prefix("list/");
    let shallow = names(&world.project, under.clone()).await;
    assert_eq!(shallow, set(&["list/a/ →", "list/b", "list/c/ →"]));
    let deep = names(&world.project, under.recursive(true)).await;
    assert_eq!(deep, set(&["list/a/1", "list/a/2", "list/b", "list/c//d"]));
    let top = names(&world.project, ListOptions::new()).await;
    assert_eq!(top, set(&["docs/ →", "list/ →", "other"]));
}

/// Objects of our client that the reference client copies and moves.
async fn rearranged(world: &mut World<Theirs>) {
    for size in [1001, 10_001, 2 * SMALL_SEGMENT + 5001] {
        let [key, copied, moved] = ["ours", "copied", "moved"].map(|name| format!("{name} {size}"));
        world.rust_put(&key, 4, size).await;
        for (op, target) in [("copy", &copied), ("move", &moved)] {
            let to = json!({"key": b64(&key), "new_bucket": BUCKET, "new_key": b64(target)});
            world.call(op, to).await;
        }
        world.assert_read(&copied, 4, size).await;
        world.assert_read(&moved, 4, size).await;
        assert_eq!(kind(world.project.stat_object(BUCKET, &key).await), ErrorKind::ObjectNotFound);
    }
}

/// An object that the reference client uploads in parts and our client reads.
async fn in_parts(world: &mut World<Theirs>) {
    const PARTS: [(u8, u64); 3] = [(3, 5 * SMALL_SEGMENT + 7), (1, 6 * SMALL_SEGMENT), (7, 100)];
    let started = world.call("begin_upload", json!({"key": b64("parts")})).await;
    let id = text(&started["upload_id"]).to_owned();
    for (number, size) in PARTS {
        let part = json!({
            "key": b64("parts"), "upload_id": id, "part": number, "seed": number, "size": size,
        });
        world.call("upload_part", part).await;
    }
    world.call("commit_upload", json!({"key": b64("parts"), "upload_id": id})).await;
    let mut sorted = PARTS;
    sorted.sort_unstable();
    let whole: Vec<u8> =
        sorted.iter().flat_map(|(number, size)| pattern(*number, 0..*size)).collect();
    assert!(read(&world.project, b"parts").await.expect("read") == whole);
}

/// Objects of either client that ours copies, moves and gives other metadata.
async fn rearranged_by_us(world: &World<Theirs>) {
    let project = &world.project;
    for (key, seed, size) in
        [("docs/go 4096", 1, 4096), ("docs/rust 300001", 2, 300_001), ("parts", 0, 0)]
    {
        let expected = match size {
            0 => read(project, key.as_bytes()).await.expect("read"),
            size => pattern(seed, 0..size),
        };
        let copied = format!("our copy of {key}");
        let moved = format!("our move of {key}");
        project.copy_object(BUCKET, key, BUCKET, &copied).await.expect("copied");
        project.move_object(BUCKET, &copied, BUCKET, &moved).await.expect("moved");
        assert_eq!(kind(project.stat_object(BUCKET, &copied).await), ErrorKind::ObjectNotFound);
        let entries = BTreeMap::from([("title".to_owned(), key.to_owned())]);
        project.update_object_metadata(BUCKET, &moved, entries.clone()).await.expect("updated");
        let object = project.stat_object(BUCKET, &moved).await.expect("exists");
        assert_eq!(object.custom_metadata, entries);
        assert!(read(project, moved.as_bytes()).await.expect("read") == expected, "{key}");
        let occupied = CopyOptions::new().if_absent(true);
        let refused = project.copy_object_with(BUCKET, key, BUCKET, &moved, &occupied).await;
        assert_eq!(kind(refused), ErrorKind::ObjectAlreadyExists);
    }
}

/// An object that our client uploads in parts and either client reads.
async fn in_parts_by_us(world: &mut World<Theirs>) {
    const PARTS: [(u32, u64); 3] = [(3, 100), (1, 5 * SMALL_SEGMENT + 7), (2, 6 * SMALL_SEGMENT)];
    let project = world.project.clone();
    let id = project.begin_upload(BUCKET, "our parts").await.expect("begun");
    let mut receipts = Vec::new();
    for (number, size) in PARTS {
        let part = project.upload_part(BUCKET, "our parts", &id, number);
        let mut part = part.expect("a part");
        part.write(&pattern(number as u8, 0..size)).await.expect("written");
        receipts.push(part.commit().await.expect("committed"));
    }
    let listed = project.list_parts(BUCKET, "our parts", &id).expect("a listing");
    assert_eq!(listed.try_collect::<Vec<_>>().await.expect("listed").len(), 3);
    let options = CommitUploadOptions::new().receipts(receipts);
    let object = project.commit_upload_with(BUCKET, "our parts", &id, &options).await;
    assert_eq!(object.expect("committed").authenticity, Authenticity::Sealed);
    let mut sorted = PARTS;
    sorted.sort_unstable();
    let whole: Vec<u8> =
        sorted.iter().flat_map(|(number, size)| pattern(*number as u8, 0..*size)).collect();
    assert!(read(&project, b"our parts").await.expect("read") == whole);
    let found = world.call("download", json!({"key": b64("our parts")})).await;
    assert_eq!(text(&found["sha256"]), sha256(&whole));
    let id = project.begin_upload(BUCKET, "aborted").await.expect("begun");
    project.abort_upload(BUCKET, "aborted", &id).await.expect("aborted");
}

async fn deletions(world: &mut World<Theirs>) {
    assert!(world.project.delete_object(BUCKET, "other").await.expect("deleted"));
    assert!(!world.project.delete_object(BUCKET, "other").await.expect("nothing to delete"));
    let gone = read(&world.project, b"other").await;
    assert_eq!(kind(gone), ErrorKind::ObjectNotFound);
    let copies = ["our move of parts", "our move of docs/go 4096", "missing"];
    let deleted = world.project.delete_objects(BUCKET, copies).await.expect("deleted");
    assert_eq!(deleted.len(), copies.len());
    for key in copies {
        assert_eq!(kind(read(&world.project, key.as_bytes()).await), ErrorKind::ObjectNotFound);
    }
    world.project.create_bucket("second").await.expect("created");
    world.project.ensure_bucket("second").await.expect("exists");
    world.project.stat_bucket("second").await.expect("exists");
    let mut buckets = world.project.list_buckets();
    let mut found = Vec::new();
    while let Some(bucket) = buckets.try_next().await.expect("listed") {
        found.push(bucket.name);
    }
    assert_eq!(found, [BUCKET, "second"]);
    world.project.delete_bucket("second").await.expect("deleted");
    assert_eq!(kind(world.project.stat_bucket("second").await), ErrorKind::BucketNotFound);
    let other = "full";
    world.project.create_bucket(other).await.expect("created");
    let upload = json!({"bucket": other, "key": b64("key"), "size": 10_000});
    world.call("upload", upload).await;
    assert_eq!(kind(world.project.delete_bucket(other).await), ErrorKind::BucketNotEmpty);
    world.project.delete_bucket_with_objects(other).await.expect("deleted");
    assert_eq!(kind(world.project.stat_bucket(other).await), ErrorKind::BucketNotFound);
}

async fn refusals(world: &World<Theirs>) {
    let project = &world.project;
    assert_eq!(kind(project.create_bucket(BUCKET).await), ErrorKind::BucketAlreadyExists);
    assert_eq!(kind(project.create_bucket("A").await), ErrorKind::BucketNameInvalid);
    assert_eq!(kind(project.delete_bucket("missing").await), ErrorKind::BucketNotFound);
    assert_eq!(kind(project.stat_object(BUCKET, "missing").await), ErrorKind::ObjectNotFound);
    let nowhere = project.upload_object_with("missing", "key", &uplink::UploadOptions::new());
    let nowhere = match nowhere {
        Ok(mut upload) => match upload.write(&pattern(1, 0..10_000)).await {
            Ok(()) => upload.commit().await.map(drop),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    assert_eq!(kind(nowhere), ErrorKind::BucketNotFound);
}

/// The satellite enforces a grant that the reference client restricted.
async fn restricted(world: &mut World<Theirs>) {
    let share = json!({"permission": {"download": true, "list": true}, "prefixes": []});
    let shared = world.call("share", share).await;
    let reader = open(text(&shared["access"]), SMALL_SEGMENT);
    assert!(read(&reader, b"docs/rust 300001").await.expect("read") == pattern(2, 0..300_001));
    let refused = write(&reader, b"docs/new", &[1; 10_000]).await;
    assert_eq!(kind(refused), ErrorKind::PermissionDenied);
    let refused = reader.delete_object(BUCKET, "docs/go 4097").await;
    assert_eq!(kind(refused), ErrorKind::PermissionDenied);
}

/// A project limited to one request per second: further requests fail immediately as such.
async fn slowed_down(world: &mut World<Theirs>) {
    let api_key = world.network.project(2, Some(1));
    let request = json!({
        "satellite": world.network.url, "api_key": api_key, "passphrase": "slow",
    });
    let granted = world.call("request_access", request).await;
    let project = open(text(&granted["access"]), SMALL_SEGMENT);
    let mut kinds = Vec::new();
    for turn in 0..6 {
        match project.ensure_bucket(&format!("bucket-{turn}")).await {
            Ok(_) => {}
            Err(error) => kinds.push((error.kind(), error.is_retryable(), error.to_string())),
        }
    }
    assert!(!kinds.is_empty(), "nothing was refused");
    for (kind, retryable, text) in kinds {
        assert_eq!((kind, retryable), (ErrorKind::TooManyRequests, true), "{text}");
    }
    sleep(Duration::from_secs(3)).await;
    project.create_bucket("later").await.expect("created after a pause");
}

/// The satellite stops and starts again: calls report that it is unreachable, and the same project works
/// once it is back.
async fn restarted(world: &mut World<Theirs>) {
    let project = world.project.clone();
    project.put(BUCKET, "before", "text").await.expect("stored");
    world.network.satellite.kill();
    assert_eq!(kind(project.get(BUCKET, "before").await), ErrorKind::Network);
    let calls = async {
        let read = project.get(BUCKET, "before");
        let created = project.create_bucket("meanwhile");
        let written = project.put(BUCKET, "meanwhile", "text");
        tokio::join!(read, created, written)
    };
    let (calls, ()) = tokio::join!(calls, world.network.start_satellite());
    // Whether it returned within their retries depends on the machine.
    for error in [calls.0.err(), calls.1.err(), calls.2.err()].into_iter().flatten() {
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Network, true), "{error}");
    }
    assert_eq!(project.get(BUCKET, "before").await.expect("read"), "text");
    project.ensure_bucket("meanwhile").await.expect("created");
    project.put(BUCKET, "meanwhile", "text").await.expect("written");
    assert_eq!(project.get(BUCKET, "meanwhile").await.expect("read"), "text");
    project.stat_bucket("meanwhile").await.expect("exists");
}

fn kind<T>(outcome: Result<T, Error>) -> ErrorKind {
    outcome.err().expect("refused").kind()
}

/// Returns the keys of a listing; an arrow marks prefixes.
async fn names(project: &Project, options: ListOptions) -> BTreeSet<String> {
    let mut list = project.list_objects_with(BUCKET, &options).expect("a listing");
    let mut names = BTreeSet::new();
    while let Some(item) = list.try_next().await.expect("listed") {
        names.insert(match item {
            ListItem::Object(object) => object.key.to_text().into_owned(),
            ListItem::Prefix(prefix) => format!("{} →", String::from_utf8_lossy(&prefix)),
            other => panic!("{other:?}"),
        });
    }
    names
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
