//! Buckets and objects in a test network: round trips, pipes, ranges, JSON.

use std::io::Read as _;

use crate::home::{Finished, names_below};
use crate::world::{World, bytes};

#[test]
fn buckets_are_created_listed_and_removed() {
    let world = World::start();
    let home = &world.home;
    let made = home.run(&["mb", "sj://second", "--json"]).json();
    assert_eq!((&made[0]["kind"], &made[0]["key"]), (&"bucket".into(), &"second".into()));
    assert!(made[0]["created"].as_str().unwrap().ends_with('Z'));
    home.run(&["mb", "sj://second"]).fails(8, "already exists");
    let names: Vec<_> = home.run(&["ls", "--json"]).json();
    let names: Vec<_> = names.iter().map(|item| item["key"].as_str().unwrap()).collect();
    assert_eq!(names, ["bucket", "second"]);
    assert!(home.run(&["ls", "sj://"]).ok().contains("  second\n"));
    assert_eq!(home.run(&["stat", "sj://second", "--json"]).json(), made);
    world.put("sj://second/object", b"in the way");
    home.run(&["rb", "sj://second"]).fails(8, "not empty");
    home.run(&["rb", "sj://second", "--force"]).ok();
    home.run(&["stat", "sj://second"]).fails(3, "\"second\" not found");
    home.run(&["rb", "sj://bucket"]).ok();
    assert_eq!(home.run(&["ls"]).ok(), "");
}

#[test]
fn files_are_uploaded_and_downloaded() {
    let world = World::start();
    let home = &world.home;
    for size in [0, 1, 4096, 4097, 300_000] {
        let content = bytes(size);
        home.write("up", &content);
        assert_eq!(home.run(&["cp", "up", "sj://bucket/dir/name"]).ok(), "");
        home.run(&["cp", "sj://bucket/dir/name", "down"]).ok();
        assert!(home.read("down") == content, "{size}");
        assert!(home.run(&["cat", "sj://bucket/dir/name"]).ok_bytes() == content, "{size}");
        assert!(home.run(&["cp", "sj://bucket/dir/name", "-"]).ok_bytes() == content, "{size}");
    }
    // Buckets, prefixes and directories as targets keep the name.
    home.run(&["cp", "up", "sj://bucket"]).ok();
    home.run(&["cp", "up", "sj://bucket/a/"]).ok();
    std::fs::create_dir(home.work().join("d")).unwrap();
    home.run(&["cp", "sj://bucket/a/up", "d"]).ok();
    home.run(&["cp", "sj://bucket/up", "d/"]).ok();
    let copied = home.run(&["cp", "sj://bucket/up", "sj://bucket/b/", "--json"]).json();
    let expected = serde_json::json!(
        {"source": "sj://bucket/up", "target": "sj://bucket/b/up", "size": 300_000}
    );
    assert_eq!(copied, [expected]);
    assert!(home.run(&["cat", "sj://bucket/b/up"]).ok_bytes() == bytes(300_000));
    assert_eq!(names_below(&home.work()), ["d/up", "down", "up"]);
}

#[test]
fn ranges_at_every_edge_are_read() {
    let world = World::start();
    let content = bytes(100_000);
    world.put("sj://bucket/o", &content);
    let cat = |range| world.home.run(&["cat", "sj://bucket/o", "--range", range]);
    for (range, expected) in [
        ("0-0", &content[..1]),
        ("7423-7425", &content[7423..7426]),
        ("99999-", &content[99_999..]),
        ("50000-1000000", &content[50_000..]),
        ("-5", &content[99_995..]),
        ("-200000", &content[..]),
    ] {
        assert!(cat(range).ok_bytes() == expected, "{range}");
    }
    cat("100001-").fails(2, "beyond");
    cat("5").fails(2, "invalid range");
}

#[test]
fn metadata_and_expiry_are_kept() {
    let world = World::start();
    let home = &world.home;
    home.write("f", "content");
    let attributes = [
        "--metadata",
        "colour=light=blue",
        "--metadata",
        "ü=",
        "--expires",
        "2099-01-31T12:00:00Z",
    ];
    home.run(&[&["cp", "f", "sj://bucket/f"], &attributes[..]].concat()).ok();
    let stat = |url| home.run(&["stat", url, "--json"]).json().remove(0);
    let record = stat("sj://bucket/f");
    assert_eq!(record["metadata"], serde_json::json!({"colour": "light=blue", "ü": ""}));
    assert_eq!(record["expires"], "2099-01-31T12:00:00Z");
    assert_eq!(
        (&record["kind"], &record["key"], &record["size"]),
        (&"object".into(), &"f".into(), &7.into())
    );
    assert!(record["version"].as_str().unwrap().len() >= 16);
    assert!(home.run(&["stat", "sj://bucket/f"]).ok().contains("metadata ü"));
}

#[test]
fn copies_keep_expiry_and_metadata() {
    let world = World::start();
    let home = &world.home;
    home.write("f", "content");
    let attributes = ["--metadata", "colour=blue", "--expires", "2099-01-31T12:00:00.123456Z"];
    home.run(&[&["cp", "f", "sj://bucket/d/f"], &attributes[..]].concat()).ok();
    let stat = |url| {
        let record = home.run(&["stat", url, "--json"]).json().remove(0);
        (record["expires"].clone(), record["metadata"].clone())
    };
    let (expires, metadata) = stat("sj://bucket/d/f");
    assert_eq!(expires, "2099-01-31T12:00:00.123456Z");
    home.run(&["cp", "sj://bucket/d/f", "sj://bucket/across"]).ok();
    home.run(&["cp", "sj://bucket/d/f", "sj://bucket/d/f"]).ok();
    home.run(&["cp", "-r", "sj://bucket/d", "sj://bucket/tree"]).ok();
    for url in ["sj://bucket/across", "sj://bucket/d/f", "sj://bucket/tree/f"] {
        assert_eq!(stat(url), (expires.clone(), metadata.clone()), "{url}");
    }
    // The flags override them.
    let copy = ["cp", "sj://bucket/d/f", "sj://bucket/other"];
    home.run(&[&copy[..], &["--expires", "2098-01-31T12:00:00Z"]].concat()).ok();
    assert_eq!(stat("sj://bucket/other"), ("2098-01-31T12:00:00Z".into(), metadata.clone()));
    home.run(&[&copy[..], &["--expires", "never"]].concat()).ok();
    assert_eq!(stat("sj://bucket/other"), (serde_json::Value::Null, metadata));
    home.run(&[&copy[..], &["--metadata", "a=b"]].concat()).ok();
    assert_eq!(stat("sj://bucket/other"), (expires, serde_json::json!({"a": "b"})));
}

#[test]
fn moved_objects_are_under_their_new_keys_only() {
    let world = World::start();
    let home = &world.home;
    home.write("f", "content");
    home.run(&["cp", "f", "sj://bucket/a", "--metadata", "colour=blue"]).ok();
    let moved = home.run(&["mv", "sj://bucket/a", "sj://bucket/d/", "--json"]).json();
    assert_eq!(moved[0]["target"], "sj://bucket/d/a");
    home.run(&["stat", "sj://bucket/a"]).fails(3, "not found");
    assert!(home.run(&["stat", "sj://bucket/d/a"]).ok().contains("blue"));
    home.run(&["cp", "f", "sj://bucket/d/e/b"]).ok();
    home.run(&["mv", "-r", "sj://bucket/d", "sj://bucket/n/m"]).ok();
    let left = home.run(&["ls", "-r", "sj://bucket", "--json"]).json();
    let keys: Vec<_> = left.iter().map(|item| item["key"].as_str().unwrap()).collect();
    assert_eq!(keys.len(), 2, "{keys:?}");
    assert_eq!(home.run(&["cat", "sj://bucket/n/m/e/b"]).ok(), "content");
}

#[test]
fn moves_replace_their_target_and_never_land_in_their_own_source() {
    let world = World::start();
    let home = &world.home;
    for (url, text) in [("a/b/x", "upper"), ("a/b/b/x", "lower"), ("c", "old"), ("d", "new")] {
        world.put(&format!("sj://bucket/{url}"), text.as_bytes());
    }
    home.run(&["mv", "sj://bucket/d", "sj://bucket/c"]).ok();
    assert_eq!(home.run(&["cat", "sj://bucket/c"]).ok(), "new");
    // `a/b/b/x` would become `a/b/x`, which is still to be moved.
    for command in ["mv", "cp"] {
        home.run(&[command, "-r", "sj://bucket/a/b", "sj://bucket/a"])
            .incomplete(&["sj://bucket/a/b/b/x: target sj://bucket/a/b/x is inside source"]);
        assert_eq!(home.run(&["cat", "sj://bucket/a/b/b/x"]).ok(), "lower");
        home.run(&["cp", "sj://bucket/a/x", "sj://bucket/a/b/x"]).ok();
        assert_eq!(home.run(&["cat", "sj://bucket/a/b/x"]).ok(), "upper");
    }
}

#[test]
fn impossible_moves_are_wrong_usage_and_change_nothing() {
    let world = World::start();
    let home = &world.home;
    world.put("sj://bucket/d/a", b"x");
    home.write("f", "content");
    for (args, code, words) in [
        (&["mv", "f", "sj://bucket/f"][..], 2, "must be objects"),
        (&["mv", "sj://bucket/d/a", "f"], 2, "must be objects"),
        (&["mv", "sj://bucket/d/", "sj://bucket/e/"], 2, "--recursive"),
        (&["mv", "sj://bucket/d/a", "sj://bucket/d/"], 2, "is source and target"),
        (&["mv", "-r", "sj://bucket/d", "sj://bucket/d/e"], 2, "is inside source"),
        (&["mv", "-r", "sj://bucket/none", "sj://bucket/e"], 3, "sj://bucket/none"),
        (&["mv", "sj://bucket/none", "sj://bucket/e"], 3, "not found"),
        (&["mv", "sj://bucket/d/a", "sj://missing/e"], 3, "bucket \"missing\" not found"),
    ] {
        home.run(args).fails(code, words);
    }
    assert_eq!(home.run(&["cat", "sj://bucket/d/a"]).ok(), "x");
}

#[test]
fn listings_show_objects_and_prefixes() {
    let world = World::start();
    let home = &world.home;
    for key in ["top", "a/one", "a/b/two", "a/b/thr\u{e9}e"] {
        world.put(&format!("sj://bucket/{key}"), key.as_bytes());
    }
    let list = |args: &[&str]| {
        let items = home.run(&[&["ls", "--json"], args].concat()).json();
        let mut items: Vec<_> = items
            .iter()
            .map(|item| {
                format!("{} {}", item["kind"].as_str().unwrap(), item["key"].as_str().unwrap())
            })
            .collect();
        items.sort();
        items
    };
    assert_eq!(list(&["sj://bucket"]), ["object top", "prefix a/"]);
    assert_eq!(list(&["sj://bucket/a"]), ["object a/one", "prefix a/b/"]);
    assert_eq!(
        list(&["sj://bucket/a/", "-r"]),
        [
            "object a/b/three".replace("three", "thr\u{e9}e"),
            "object a/b/two".into(),
            "object a/one".into()
        ]
    );
    assert_eq!(list(&["sj://bucket/top"]), ["object top"]);
    assert_eq!(list(&["sj://bucket", "--recursive"]).len(), 4);
    let object = &home.run(&["ls", "sj://bucket/top", "--json"]).json()[0];
    assert_eq!(object["size"], 3);
    assert!(object["created"].as_str().unwrap().ends_with('Z'));
    assert!(home.run(&["ls", "sj://bucket"]).ok().contains("  3  top\n"));
    home.run(&["mb", "sj://empty"]).ok();
    assert_eq!(home.run(&["ls", "sj://empty"]).ok(), "");
}

#[test]
fn removed_objects_are_gone() {
    let world = World::start();
    let home = &world.home;
    for key in ["keep", "a/one", "a/b/two", "ab"] {
        world.put(&format!("sj://bucket/{key}"), b"x");
    }
    home.run(&["rm", "sj://bucket/ab"]).ok();
    home.run(&["rm", "sj://bucket/ab"]).fails(3, "\"ab\" not found");
    assert_eq!(home.run(&["rm", "sj://bucket/a", "-r", "--json"]).json().len(), 2);
    home.run(&["rm", "sj://bucket/a", "-r"]).fails(3, "nothing found at sj://bucket/a/");
    let left = home.run(&["ls", "sj://bucket", "-r", "--json"]).json();
    assert_eq!((left.len(), &left[0]["key"]), (1, &"keep".into()));
    home.run(&["rm", "sj://bucket", "-r"]).ok();
    home.run(&["rb", "sj://bucket"]).ok();
}

#[test]
fn closed_reader_of_a_pipe_is_success() {
    let world = World::start();
    world.put("sj://bucket/o", &bytes(3 << 20));
    let mut child = world.home.command(&["cat", "sj://bucket/o"]).spawn().unwrap();
    let mut first = [0; 1];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    Finished::wait(child).ok();
}

#[test]
#[cfg(unix)]
fn keys_may_be_invalid_utf8() {
    use std::os::unix::ffi::OsStrExt as _;
    let world = World::start();
    let url = std::ffi::OsStr::from_bytes(b"sj://bucket/\xff\xfe");
    world.home.write("f", "content");
    let run = |args: &[&std::ffi::OsStr]| {
        Finished::wait(world.home.command(&[]).args(args).spawn().unwrap())
    };
    run(&["cp".as_ref(), "f".as_ref(), url]).ok();
    assert_eq!(run(&["cat".as_ref(), url]).ok(), "content");
    let listed = &world.home.run(&["ls", "sj://bucket", "--json"]).json()[0];
    assert_eq!(listed["key_base64"], "__4=");
    world.home.run(&["cp", "-r", "sj://bucket", "d"]).ok();
    let file = world.home.work().join("d").join(std::ffi::OsStr::from_bytes(b"\xff\xfe"));
    assert_eq!(std::fs::read(file).unwrap(), b"content");
}
