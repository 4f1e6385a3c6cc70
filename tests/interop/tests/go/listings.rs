//! Listings of all kinds of names by both clients, encrypted and plain.

use std::collections::BTreeSet;

use futures_util::TryStreamExt;
use serde_json::{Value, json};
use uplink::{ListItem, ListOptions, Project};

use super::world::{BUCKET, World, b64, bytes, custom, items, write};

/// Slashes in every position, and invalid UTF-8.
const KEYS: [&[u8]; 14] = [
    b"top",
    b"a/1",
    b"a/2",
    b"a/b/3",
    b"a//4",
    b"a/b//5",
    b"/lead",
    b"//two",
    b"//",
    b"trail/",
    b"x\0y\xff/z",
    b"x\0y\xff/\x01\x2e\xfe",
    b"\xf0\x28\x8c\x28",
    "größe/ключ".as_bytes(),
];

/// Keys with a flag for prefixes, sorted.
type Names = BTreeSet<(Vec<u8>, bool)>;

fn names_of(answer: &Value) -> Names {
    let names = items(answer).iter().map(|item| (bytes(&item["key"]), item["is_prefix"] == true));
    let set: Names = names.collect();
    assert_eq!(set.len(), items(answer).len(), "something is listed twice: {answer}");
    set
}

/// Returns the listing of our client, in its order.
async fn ours(project: &Project, options: ListOptions) -> Vec<(Vec<u8>, bool)> {
    let mut list = project.list_objects_with(BUCKET, &options).expect("a listing");
    let mut names = Vec::new();
    while let Some(item) = list.try_next().await.expect("listed") {
        names.push(match item {
            ListItem::Object(object) => (object.key.into_bytes(), false),
            ListItem::Prefix(prefix) => (prefix.into_bytes(), true),
            other => panic!("{other:?}"),
        });
    }
    names
}

/// Returns the expected listing.
fn expected(prefix: &[u8], recursive: bool) -> Names {
    // A key equal to the prefix counts: its last component, which is empty, is below.
    let below = KEYS.iter().filter(|key| key.starts_with(prefix));
    let shown = below.map(|key| {
        let slash = key[prefix.len()..].iter().position(|byte| *byte == b'/');
        match slash.filter(|_| !recursive) {
            Some(index) => (key[..=prefix.len() + index].to_vec(), true),
            None => (key.to_vec(), false),
        }
    });
    shown.collect()
}

async fn world_of_names(plain: bool) -> World {
    let mut world = World::with_names(plain).await;
    for (number, key) in KEYS.iter().enumerate() {
        if number % 2 == 0 {
            world.go_put(key, 1, number as u64).await;
        } else {
            world.rust_put(key, 1, number as u64).await;
        }
    }
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn both_clients_list_every_prefix_equally() {
    for plain in [false, true] {
        let mut world = world_of_names(plain).await;
        let prefixes: [&[u8]; 10] =
            [b"", b"a/", b"a/b/", b"a//", b"/", b"//", b"trail/", b"none/", b"x\0y\xff/", b"top/"];
        for prefix in prefixes {
            for recursive in [false, true] {
                let options = ListOptions::new().prefix(prefix).recursive(recursive);
                let ours = ours(&world.project, options).await;
                let shown = String::from_utf8_lossy(prefix);
                let expected = expected(prefix, recursive);
                assert_eq!(ours.iter().cloned().collect::<Names>(), expected, "{shown:?} in ours");
                // If the first name of a page is empty and the page holds nothing else, the
                // reference client would request it forever.
                let empty = plain && KEYS.contains(&prefix);
                for limit in [0, 1, 3].into_iter().filter(|limit| *limit != 1 || !empty) {
                    let list = json!({
                        "prefix": b64(prefix), "recursive": recursive, "list_limit": limit,
                    });
                    let theirs = world.call("list", list).await;
                    // The reference client lists the same keys as ours, in the satellite's order.
                    assert_eq!(names_of(&theirs), expected, "{shown:?}, plain names: {plain}");
                    let theirs: Vec<_> =
                        items(&theirs).iter().map(|item| bytes(&item["key"])).collect();
                    let ours: Vec<_> = ours.iter().map(|(key, _)| key.clone()).collect();
                    assert_eq!(theirs, ours, "the order of {shown:?}");
                }
            }
        }
        for (number, key) in KEYS.iter().enumerate() {
            world.assert_read(key, 1, number as u64).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn listing_continues_after_any_cursor_in_both_clients() {
    for plain in [false, true] {
        let mut world = world_of_names(plain).await;
        for (prefix, recursive) in [("", true), ("", false), ("a/", true), ("a/", false)] {
            let options = ListOptions::new().prefix(prefix).recursive(recursive);
            let all = ours(&world.project, options.clone()).await;
            for (index, (key, is_prefix)) in all.iter().enumerate() {
                // A cursor is a key; with encrypted names that of a prefix has no trailing slash.
                if *is_prefix {
                    continue;
                }
                let cursor = &key[prefix.len()..];
                let rest = ours(&world.project, options.clone().cursor(key)).await;
                assert_eq!(rest, all[index + 1..], "{:?}", String::from_utf8_lossy(key));
                let list = json!({
                    "prefix": b64(prefix), "recursive": recursive, "cursor": b64(cursor),
                });
                let theirs = world.call("list", list).await;
                assert_eq!(names_of(&theirs), rest.into_iter().collect());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn plain_names_are_listed_sorted_and_by_any_prefix() {
    let mut world = world_of_names(true).await;
    let listed = world.call("list", json!({"recursive": true})).await;
    let listed: Vec<_> = items(&listed).iter().map(|item| bytes(&item["key"])).collect();
    let mut sorted = KEYS.map(<[u8]>::to_vec);
    sorted.sort();
    assert_eq!(listed, sorted);
    for prefix in [&b"a"[..], b"to", b"x\0", b"a/b", b"/l"] {
        let listed = world.call("list", json!({"prefix": b64(prefix), "recursive": true})).await;
        assert_eq!(names_of(&listed), expected(prefix, true), "{:?}", prefix.escape_ascii());
        let options = ListOptions::new().prefix(prefix).recursive(true);
        let ours: Names = ours(&world.project, options).await.into_iter().collect();
        assert_eq!(ours, expected(prefix, true), "{:?}", prefix.escape_ascii());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn listing_returns_only_the_requested_metadata() {
    let mut world = World::start().await;
    for size in [11_u64, 10_001] {
        world.rust_put(format!("rust {size}"), 1, size).await;
        world.go_put(format!("go {size}"), 1, size).await;
    }
    for (system, with_custom) in [(false, false), (true, false), (false, true), (true, true)] {
        let list = json!({"system": system, "with_custom": with_custom});
        let listed = world.call("list", list).await;
        assert_eq!(items(&listed).len(), 4);
        for item in items(&listed) {
            let key = String::from_utf8(bytes(&item["key"])).expect("text");
            let size: u64 = key.split(' ').nth(1).expect("a size").parse().expect("a number");
            assert_eq!(item["size"], if system { size } else { 0 }, "{item}");
            let expected = if with_custom { json!(custom(size)) } else { Value::Null };
            assert_eq!(item["custom"], expected, "{item}");
        }
    }
    let mut list =
        world.project.list_objects_with(BUCKET, &ListOptions::new().custom_metadata(true)).unwrap();
    while let Some(item) = list.try_next().await.expect("listed") {
        let ListItem::Object(object) = item else { panic!("{item:?}") };
        assert_eq!(object.custom_metadata, custom(object.size));
    }
}

/// The satellite accepts encrypted keys of up to 4,000 bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn keys_work_up_to_the_length_limit_in_both_clients() {
    // Encryption adds 29 bytes to one component and escapes about one in 43 of the other bytes.
    for (plain, longest, too_long) in [(false, 3_800, 3_975), (true, 4_000, 4_001)] {
        let mut world = World::with_names(plain).await;
        for (length, writer) in [(3_700, "go"), (longest, "go"), (longest, "rust")] {
            let key = [writer.as_bytes(), &vec![b'k'; length - writer.len()]].concat();
            match writer {
                "go" => drop(world.go_put(&key, 1, 10_001).await),
                _ => drop(world.rust_put(&key, 1, 10_001).await),
            }
            world.assert_read(&key, 1, 10_001).await;
        }
        let listed = world.call("list", json!({})).await;
        assert_eq!(items(&listed).len(), 3);
        assert_eq!(ours(&world.project, ListOptions::new()).await.len(), 3);
        let key = vec![b'k'; too_long];
        let refused = world.call_err("upload", json!({"key": b64(&key), "size": 10})).await;
        assert_eq!((refused.kind.as_str(), refused.code), ("", 3), "{}", refused.text);
        write(&world.project, &key, b"ten bytes.").await.expect_err("the key is too long");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn more_than_a_page_of_objects_is_listed_completely() {
    const COUNT: usize = 1_100;
    let mut world = World::start().await;
    let keys: Vec<String> = (0..COUNT).map(|number| format!("docs/object {number}")).collect();
    for chunk in keys.chunks(50) {
        let writes = chunk.iter().map(|key| {
            let project = world.project.clone();
            let key = key.clone();
            tokio::spawn(async move { write(&project, key.as_bytes(), b"x").await })
        });
        for write in writes.collect::<Vec<_>>() {
            write.await.expect("joined").expect("written");
        }
    }
    let listed = world.call("list", json!({"prefix": b64("docs/")})).await;
    let expected: Names = keys.iter().map(|key| (key.clone().into_bytes(), false)).collect();
    assert_eq!(names_of(&listed), expected);
}
