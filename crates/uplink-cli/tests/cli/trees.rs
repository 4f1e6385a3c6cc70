//! Recursive copies, and keys that are unsafe as paths.

use crate::home::names_below;
use crate::world::{World, bytes};

#[test]
fn directories_are_uploaded_copied_and_downloaded() {
    let world = World::start();
    let home = &world.home;
    let files = [("d/a", 10), ("d/e/b c", 5000), ("d/e/f/é", 0), ("d/z", 200_000)];
    for (name, size) in files {
        home.write(name, bytes(size));
    }
    home.run(&["cp", "-r", "d", "sj://bucket/p"]).ok();
    home.run(&["cp", "-r", "sj://bucket/p", "sj://bucket/q/r"]).ok();
    home.run(&["cp", "-r", "sj://bucket/q", "back"]).ok();
    for (name, size) in files {
        let name = name.replacen("d/", "back/r/", 1);
        assert!(home.read(&name) == bytes(size), "{name}");
    }
    assert_eq!(names_below(&home.work().join("back")).len(), files.len());
    home.run(&["cp", "-r", "sj://bucket/none", "x"]).fails(3, "nothing found");
    home.run(&["cp", "-r", "none", "sj://bucket"]).fails(3, "cannot read");
    home.run(&["cp", "-r", "sj://bucket/q", "sj://bucket/q/q"]).fails(2, "is inside source");
}

#[test]
fn unsafe_keys_are_skipped_and_reported() {
    let world = World::start();
    let home = &world.home;
    for key in ["good", "x/../../evil", "/absolute", "a//b", "x/."] {
        world.put(&format!("sj://bucket/in/{key}"), key.as_bytes());
    }
    home.run(&["cp", "-r", "sj://bucket/in", "deep/target"]).incomplete(&[
        "sj://bucket/in/x/../../evil: cannot write below \"deep/target\"",
        "sj://bucket/in//absolute: cannot write below \"deep/target\"",
        "sj://bucket/in/a//b: cannot write below \"deep/target\"",
        "sj://bucket/in/x/.: cannot write below \"deep/target\"",
    ]);
    assert_eq!(names_below(&home.work()), ["deep/target/good"]);
    // A single object is written to the path given by the user.
    home.run(&["cp", "sj://bucket/in/x/../../evil", "mine"]).ok();
    assert_eq!(home.read("mine"), b"x/../../evil");
    home.run(&["cp", "sj://bucket/in/x/.", "deep/"]).fails(2, "component");
}

#[test]
#[cfg(unix)]
fn links_below_the_target_are_not_followed() {
    let world = World::start();
    let home = &world.home;
    world.put("sj://bucket/link/file", b"content");
    std::fs::create_dir(home.work().join("outside")).unwrap();
    std::fs::create_dir(home.work().join("target")).unwrap();
    std::os::unix::fs::symlink("../outside", home.work().join("target/link")).unwrap();
    let failures = ["sj://bucket/link/file: cannot create directory \"target/link\""];
    home.run(&["cp", "-r", "sj://bucket", "target"]).incomplete(&failures);
    assert_eq!(names_below(&home.work().join("outside")).len(), 0);
}

#[test]
#[cfg(unix)]
fn upload_continues_after_unreadable_entries() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::start();
    let home = &world.home;
    for number in 0..28 {
        home.write(&format!("d/{number:02}"), format!("{number}"));
    }
    for name in ["d/14x", "d/closed/file", "d/open/file"] {
        home.write(name, name);
    }
    home.unprivileged();
    let mode = |name: &str, mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(home.work().join(name), permissions).unwrap();
    };
    mode("d/14x", 0);
    mode("d/closed", 0);
    for mode in [&[][..], &["--quiet"], &["--json"]] {
        home.run(&[&["cp", "-r", "d", "sj://bucket/p"], mode].concat()).incomplete(&[
            "sj://bucket/p/14x: cannot read \"d/14x\": Permission denied",
            "sj://bucket/p/closed: cannot read \"d/closed\": Permission denied",
        ]);
        let listed = home.run(&["ls", "-r", "sj://bucket", "--json"]).json();
        assert_eq!(listed.len(), 29);
        home.run(&["rm", "-r", "sj://bucket"]).ok();
    }
    mode("d", 0);
    home.run(&["cp", "-r", "d", "sj://bucket/p"]).fails(1, "cannot read \"d\": Permission denied");
    mode("d", 0o755);
    mode("d/closed", 0o755);
}

#[test]
#[cfg(unix)]
fn links_and_special_files_are_reported_in_every_mode() {
    let world = World::start();
    let home = &world.home;
    home.write("d/file", "x");
    std::os::unix::fs::symlink("file", home.work().join("d/link")).unwrap();
    let fifo = home.work().join("d/fifo");
    assert!(std::process::Command::new("mkfifo").arg(fifo).status().unwrap().success());
    let copy = ["cp", "-r", "d", "sj://bucket/p"];
    for mode in [&[][..], &["--quiet"], &["--json"], &["--json", "--quiet"]] {
        home.run(&[&copy, mode].concat()).incomplete(&[
            "sj://bucket/p/link: not copied: a symbolic link",
            "sj://bucket/p/fifo: not copied: neither a file nor a directory",
        ]);
    }
    let run = home.run(&[&copy[..], &["--skip-special"]].concat());
    assert_eq!((run.code, run.stderr.lines().count()), (Some(0), 1));
    home.run(&[&copy[..], &["--skip-special", "--quiet"]].concat()).ok();
    assert_eq!(home.run(&["ls", "-r", "sj://bucket", "--json"]).json().len(), 1);
}

#[test]
fn download_continues_after_invalid_names() {
    let world = World::start();
    let home = &world.home;
    for number in 0..19 {
        home.write(&format!("d/{number:02}"), format!("{number}"));
    }
    home.run(&["cp", "-r", "d", "sj://bucket"]).ok();
    let long = "n".repeat(256);
    for key in ["a", "a/b", &long] {
        world.put(&format!("sj://bucket/{key}"), key.as_bytes());
    }
    for round in 0..3 {
        let run = home.run(&["cp", "-r", "sj://bucket", &format!("back{round}"), "--quiet"]);
        // Only one of a file and a directory of the same name can exist.
        let lines: Vec<_> = run.stderr.lines().collect();
        assert_eq!(run.code, Some(12), "{run:?}");
        assert_eq!(lines.len(), 3, "{run:?}");
        assert_eq!(lines[2], "uplink: incomplete: 2 of 22 entries were not copied");
        assert!(lines.iter().any(|line| line.starts_with("uplink: sj://bucket/a")), "{run:?}");
        assert!(lines.iter().any(|line| line.contains("File name too long")), "{run:?}");
        assert_eq!(names_below(&home.work().join(format!("back{round}"))).len(), 20);
    }
}

#[test]
fn copy_and_removal_continue_after_failures() {
    use uplink::Permission;
    let world = World::start();
    let home = &world.home;
    for number in 0..10 {
        world.put(&format!("sj://bucket/in/{number}"), b"x");
    }
    // Too long for the satellite below the target prefix.
    let long = "k".repeat(3500);
    world.put(&format!("sj://bucket/in/{long}"), b"x");
    let deep = "deep/".repeat(25);
    let failure = format!("sj://bucket/in/{}", &long[..100]);
    home.run(&["cp", "-r", "sj://bucket/in", &format!("sj://bucket/{deep}")])
        .incomplete(&[&failure]);
    let copies = home.run(&["ls", "-r", &format!("sj://bucket/{deep}"), "--json"]).json();
    assert_eq!(copies.len(), 10);
    // A grant that may list but not delete.
    world.share("lister", &Permission::read_only(), &[]);
    let run = home.run(&["rm", "-r", "sj://bucket/in", "--access", "lister"]);
    assert_eq!((run.code, run.stderr.lines().count()), (Some(12), 12), "{run:?}");
    assert!(run.stderr.ends_with("uplink: incomplete: 11 of 11 entries were not removed\n"));
}

#[test]
fn closed_reader_of_the_report_does_not_stop_a_copy() {
    let world = World::start();
    let home = &world.home;
    for number in 0..30 {
        home.write(&format!("d/{number}"), "x");
    }
    let mut child = home.command(&["cp", "-r", "d", "sj://bucket", "--json"]).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(crate::home::Finished::wait(child).code, Some(0));
    assert_eq!(home.run(&["ls", "sj://bucket", "--json"]).json().len(), 30);
}

#[test]
fn missing_bucket_stops_an_upload_with_its_own_code() {
    let world = World::start();
    let home = &world.home;
    for number in 0..30 {
        home.write(&format!("d/{number}"), "x");
    }
    let run = home.run(&["cp", "-r", "d", "sj://missing"]);
    run.fails(3, "stopped after 0 objects succeeded");
}
