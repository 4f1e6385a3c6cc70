//! Commands with several sources.

use crate::access::known_grant;
use crate::home::{Home, names_below};
use crate::world::World;

/// Returns the keys of all objects in a bucket, sorted.
pub(crate) fn keys(home: &Home, bucket: &str) -> Vec<String> {
    let items = home.run(&["ls", "-r", bucket, "--json"]).json();
    let mut keys: Vec<_> =
        items.iter().map(|item| item["key"].as_str().unwrap().to_owned()).collect();
    keys.sort();
    keys
}

#[test]
fn several_sources_go_below_the_target_by_their_names() {
    let world = World::start();
    let home = &world.home;
    for name in ["a", "d/b", "d/e/c", "f/g"] {
        home.write(name, name);
    }
    home.run(&["cp", "a", "d/b", "sj://bucket/p/"]).ok();
    assert_eq!(keys(home, "sj://bucket"), ["p/a", "p/b"]);
    // Files and directories can be mixed, and options can be anywhere.
    home.run(&["cp", "a", "-r", "d", "--quiet", "f/", "sj://bucket"]).ok();
    assert_eq!(keys(home, "sj://bucket"), ["a", "d/b", "d/e/c", "f/g", "p/a", "p/b"]);
    home.run(&["cp", "sj://bucket/a", "sj://bucket/d/b", "sj://bucket/q/"]).ok();
    home.run(&["mv", "sj://bucket/a", "sj://bucket/d/b", "sj://bucket/m/"]).ok();
    home.run(&["mv", "-r", "sj://bucket/q", "sj://bucket/f", "sj://bucket/n/"]).ok();
    let expected = ["d/e/c", "m/a", "m/b", "n/f/g", "n/q/a", "n/q/b", "p/a", "p/b"];
    assert_eq!(keys(home, "sj://bucket"), expected);
    std::fs::create_dir(home.work().join("down")).unwrap();
    home.run(&["cp", "sj://bucket/m/a", "sj://bucket/p/b", "down"]).ok();
    home.run(&["cp", "-r", "sj://bucket/d/", "sj://bucket/n", "down"]).ok();
    let expected = ["a", "b", "d/e/c", "n/f/g", "n/q/a", "n/q/b"];
    assert_eq!(names_below(&home.work().join("down")), expected);
    assert_eq!(home.read("down/n/q/b"), b"d/b");
    home.run(&["rm", "sj://bucket/m/a", "sj://bucket/m/b"]).ok();
    home.run(&["rm", "-r", "sj://bucket/n/", "sj://bucket/p"]).ok();
    assert_eq!(keys(home, "sj://bucket"), ["d/e/c"]);
}

#[test]
fn failures_of_some_sources_leave_the_others_complete() {
    let world = World::start();
    let home = &world.home;
    for name in ["a", "d/b"] {
        home.write(name, name);
        world.put(&format!("sj://bucket/{name}"), name.as_bytes());
    }
    home.run(&["cp", "a", "none", "d", "sj://bucket/p/"]).incomplete(&[
        "sj://bucket/p/none: cannot read \"none\"",
        "sj://bucket/p/d: \"d\" is a directory: use --recursive",
    ]);
    home.run(&["cp", "-r", "none", "d", "sj://bucket/p/"])
        .incomplete(&["sj://bucket/p/none: cannot read \"none\""]);
    assert_eq!(keys(home, "sj://bucket"), ["a", "d/b", "p/a", "p/d/b"]);
    std::fs::create_dir(home.work().join("t")).unwrap();
    home.run(&["cp", "sj://bucket/none", "sj://bucket/a", "sj://missing/b", "t"]).incomplete(&[
        "sj://bucket/none: object \"none\" not found",
        "sj://missing/b: bucket \"missing\" not found",
    ]);
    home.run(&["cp", "-r", "sj://missing", "sj://bucket/none", "sj://bucket/d", "t"]).incomplete(
        &["sj://missing: bucket \"missing\" not found", "sj://bucket/none/: nothing found"],
    );
    assert_eq!(names_below(&home.work().join("t")), ["a", "d/b"]);
    home.run(&["mv", "sj://missing/x", "sj://bucket/a", "sj://bucket/none", "sj://bucket/m/"])
        .incomplete(&["sj://missing/x: bucket", "sj://bucket/none: object \"none\" not found"]);
    home.run(&["rm", "sj://missing/x", "sj://bucket/none", "sj://bucket/m/a"])
        .incomplete(&["sj://missing/x: bucket", "sj://bucket/none: object"]);
    home.run(&["rm", "-r", "sj://bucket/none", "sj://bucket/p"])
        .incomplete(&["sj://bucket/none/: nothing found"]);
    assert_eq!(keys(home, "sj://bucket"), ["d/b"]);
}

#[test]
fn batches_end_with_a_summary() {
    let world = World::start();
    let home = &world.home;
    home.write("d/a", vec![1; 1000]);
    home.write("d/b", vec![1; 24]);
    let summary = |args: &[&str]| home.run(args).summary.unwrap_or_default();
    let text = summary(&["cp", "-r", "d", "sj://bucket/p"]);
    assert!(text.starts_with("Copied 2 objects (1.00 KiB) in ") && text.ends_with(" s."), "{text}");
    let text = summary(&["cp", "d/a", "none", "sj://bucket"]);
    assert!(text.starts_with("Copied 1 object (1000 B) in ") && text.ends_with(", 1 failed."));
    assert!(
        summary(&["mv", "-r", "sj://bucket/p", "sj://bucket/q"]).starts_with("Moved 2 objects (")
    );
    let text = summary(&["mv", "sj://bucket/q/a", "sj://bucket/q/b", "sj://bucket/m/"]);
    assert!(text.starts_with("Moved 2 objects in "), "{text}");
    let json = home.run(&["cp", "d/a", "d/b", "none", "sj://bucket", "--json", "--quiet"]);
    let found = json.json_summary();
    assert_eq!(
        (&found["objects"], &found["bytes"], &found["failed"]),
        (&2.into(), &1024.into(), &1.into())
    );
    assert!(found["seconds"].as_f64().unwrap() >= 0.0);
    json.incomplete(&["sj://bucket/none: cannot read"]);
    let json = home.run(&["rm", "sj://bucket/a", "sj://bucket/b", "--json"]);
    assert_eq!((&json.json_summary()["objects"], json.json().len()), (&2.into(), 2));
    // Neither with --quiet, nor for a single object, nor if nothing was found.
    for args in [
        &["cp", "-r", "d", "sj://bucket/p", "--quiet"][..],
        &["cp", "d/a", "sj://bucket/a"],
        &["rm", "-r", "sj://bucket/none"],
        &["cp", "a", "b", "sj://bucket/none"],
    ] {
        assert_eq!(summary(args), "", "{args:?}");
    }
    assert!(summary(&["rm", "-r", "sj://bucket"]).starts_with("Removed 5 objects ("));
}

#[test]
fn every_permitted_parallelism_copies_everything() {
    let world = World::start();
    let home = &world.home;
    for number in 0..70 {
        home.write(&format!("d/{number}"), vec![number; 5000]);
    }
    for parallelism in ["1", "8"] {
        let prefix = format!("sj://bucket/{parallelism}");
        home.run(&["cp", "-r", "d", &prefix, "--parallelism", parallelism]).ok();
        home.run(&["cp", "-r", &prefix, parallelism, "--parallelism", parallelism]).ok();
        assert_eq!(names_below(&home.work().join(parallelism)).len(), 70);
        assert_eq!(home.read(&format!("{parallelism}/69")), vec![69; 5000]);
    }
    for parallelism in ["0", "9", "-1", "many"] {
        let option = format!("--parallelism={parallelism}");
        home.run(&["cp", "-r", "d", "sj://bucket", &option]).fails(2, "--parallelism");
    }
}

#[cfg(unix)]
#[test]
fn several_downloads_follow_no_link_in_the_target_directory() {
    let world = World::start();
    let home = &world.home;
    for key in ["a", "b", "p/c"] {
        world.put(&format!("sj://bucket/{key}"), b"new");
    }
    home.write("outside/a", "old");
    std::fs::create_dir(home.work().join("d")).unwrap();
    std::os::unix::fs::symlink("../outside/a", home.work().join("d/a")).unwrap();
    std::os::unix::fs::symlink("../outside", home.work().join("d/p")).unwrap();
    home.run(&["cp", "sj://bucket/a", "sj://bucket/b", "d"]).incomplete(&["sj://bucket/a: "]);
    home.run(&["cp", "-r", "sj://bucket/p", "sj://bucket/b/", "d"])
        .incomplete(&["sj://bucket/p/c: ", "sj://bucket/b/: nothing found"]);
    assert_eq!(home.read("outside/a"), b"old");
    assert_eq!(names_below(&home.work().join("outside")), ["a"]);
    assert_eq!(home.read("d/b"), b"new");
}

#[cfg(unix)]
#[test]
fn pipe_beside_directories_is_a_failure_or_skipped() {
    let world = World::start();
    let home = &world.home;
    home.write("d/a", "x");
    let pipe = home.work().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(pipe).status().unwrap().success());
    let args = ["cp", "-r", "pipe", "d", "sj://bucket/p/"];
    let failure = "sj://bucket/p/pipe: not copied: neither a file nor a directory";
    home.run(&args).incomplete(&[failure]);
    home.run(&[&args[..], &["--dry-run"]].concat()).incomplete(&[failure]);
    let run = home.run(&[&args[..], &["--skip-special"]].concat());
    let note = "Skipped 1 entry that is neither a file nor a directory.\n";
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), note));
    assert_eq!(keys(home, "sj://bucket"), ["p/d/a"]);
}

#[test]
fn missing_target_bucket_stops_all_sources() {
    let world = World::start();
    let home = &world.home;
    for name in ["a", "b"] {
        home.write(name, name);
        world.put(&format!("sj://bucket/{name}"), name.as_bytes());
    }
    home.run(&["cp", "a", "b", "sj://missing/"]).fails(3, "stopped after");
    let objects = ["sj://bucket/a", "sj://bucket/b", "sj://missing/"];
    for command in ["cp", "mv"] {
        home.run(&[&[command], &objects[..]].concat()).fails(3, "stopped after");
    }
    assert_eq!(keys(home, "sj://bucket"), ["a", "b"]);
}

#[test]
fn sources_that_cannot_be_combined_are_wrong_usage() {
    let home = Home::new();
    home.run(&["access", "import", "main", &known_grant()]).ok();
    for name in ["a", "b", "d/a"] {
        home.write(name, "x");
    }
    for (args, words) in [
        (&["cp", "a", "b", "sj://b/p"][..], "must be a bucket, or a prefix"),
        (&["cp", "sj://b/a", "sj://b/b", "c"], "must be an existing directory"),
        (&["cp", "sj://b/a", "sj://b/b", "-"], "of several sources"),
        (&["cp", "a", "b", "d"], "source or target must be an object"),
        (&["cp", "a", "d/a", "sj://b/"], "same target sj://b/a"),
        (&["cp", "a", "a", "sj://b/"], "same target"),
        (&["cp", "-r", "a", ".", "sj://b/"], "has no name"),
        (&["cp", "a", "-", "sj://b/"], "has no name"),
        (&["cp", "sj://b/p/", "sj://b/a", "d"], "--recursive"),
        (&["cp", "-r", "sj://b/p", "sj://b/q", "sj://b/"], "is inside source"),
        (&["cp", "-r", "sj://b/p/q", "sj://b/r", "sj://b/p/"], "is inside source"),
        (&["mv", "sj://b/p/a", "sj://b/x", "sj://b/p/"], "is source and target"),
        (&["cp", "sj://b/p/a", "sj://b/x", "sj://b/p/"], "is source and target"),
        (&["cp", "-r", "sj://b/x/a", "sj://b/t/a/sub", "sj://b/t/"], "overlap"),
        (&["mv", "-r", "sj://b/x/a", "sj://b/t/a/sub", "sj://b/t/"], "overlap"),
        (&["mv", "-r", "sj://b/p", "sj://b/p/q", "sj://c/"], "sj://b/p/q/ is inside source"),
        (&["mv", "sj://b/a", "sj://b/a", "sj://c/"], "given twice"),
        (&["mv", "a", "sj://b/a", "sj://c/"], "must be objects"),
        (&["mv", "sj://b/a"], "<DST>"),
        (&["rm"], "<URL>"),
        (&["rm", "sj://b/a", "sj://b"], "--recursive"),
        (&["rm", "sj://b/a", "sj://b/a"], "given twice"),
        (&["rm", "-r", "sj://b/p/q", "sj://b"], "is inside source sj://b"),
    ] {
        home.run(args).fails(2, words);
    }
}
