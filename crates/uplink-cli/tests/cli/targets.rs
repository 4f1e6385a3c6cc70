//! Downloads to descriptors, pipes, devices and links.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use crate::home::{Finished, names_below};
use crate::world::{World, bytes};

fn fifo(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn download_to_dev_stdout_appends_to_a_log() {
    let world = World::start();
    let content = bytes(300_000);
    world.put("sj://bucket/o", &content);
    for target in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "-"] {
        world.home.write("log", "before\n");
        let log = File::options().append(true).open(world.home.work().join("log")).unwrap();
        let mut command = world.home.command(&["cp", "sj://bucket/o", target, "--json"]);
        Finished::wait(command.stdout(log).spawn().unwrap()).ok();
        assert!(world.home.read("log") == [b"before\n", &content[..]].concat(), "{target}");
    }
    assert_eq!(names_below(&world.home.work()), ["log"]);
}

#[test]
fn download_to_a_descriptor_keeps_other_output() {
    let world = World::start();
    world.put("sj://bucket/o", b"object\n");
    let script = r#"
        { echo before; "$UPLINK" cp sj://bucket/o /dev/stdout; echo after; } > one
        { echo before >&3; "$UPLINK" cp sj://bucket/o /dev/fd/3; echo after >&3; } 3> two
        echo before > three
        "$UPLINK" cp sj://bucket/o /proc/self/fd/7 7>> three
        echo after >> three
        ln -s /dev/fd/8 link
        { echo before >&8; "$UPLINK" cp sj://bucket/o link; echo after >&8; } 8> four
    "#;
    world.home.shell(script).ok();
    for name in ["one", "two", "three", "four"] {
        assert_eq!(world.home.read(name), b"before\nobject\nafter\n", "{name}");
    }
    assert!(world.home.work().join("link").is_symlink());
}

#[test]
fn download_to_a_process_substitution_reaches_it() {
    let world = World::start();
    let content = bytes(300_000);
    world.put("sj://bucket/o", &content);
    world.home.shell(r#""$UPLINK" cp sj://bucket/o >(cat > out; : > done)"#).ok();
    while !world.home.work().join("done").exists() {
        std::thread::yield_now();
    }
    assert!(world.home.read("out") == content);
    assert_eq!(names_below(&world.home.work()), ["done", "out"]);
}

#[test]
fn download_to_a_closed_descriptor_fails() {
    let world = World::start();
    world.put("sj://bucket/o", b"object");
    world.home.run(&["cp", "sj://bucket/o", "/dev/fd/77"]).fails(1, "cannot write \"/dev/fd/77\"");
}

#[test]
fn download_to_pipes_and_devices_keeps_them() {
    let world = World::start();
    let home = &world.home;
    let content = bytes(300_000);
    world.put("sj://bucket/o", &content);
    fifo(&home.work().join("fifo"));
    let child = home.command(&["cp", "sj://bucket/o", "fifo"]).spawn().unwrap();
    let mut read = Vec::new();
    File::open(home.work().join("fifo")).unwrap().read_to_end(&mut read).unwrap();
    Finished::wait(child).ok();
    assert!(read == content);
    home.run(&["cp", "sj://bucket/o", "/dev/null"]).ok();
    home.run(&["cp", "sj://bucket/o", "/dev/full"]).fails(1, "No space left");
    assert_eq!(names_below(&home.work()), ["fifo"]);
    // Recursive downloads do not write to special files.
    home.run(&["cp", "sj://bucket/o", "sj://bucket/d/fifo"]).ok();
    home.run(&["cp", "-r", "sj://bucket/d", "."]).incomplete(&["sj://bucket/d/fifo: cannot write"]);
    assert_eq!(names_below(&home.work()), ["fifo"]);
}

#[test]
fn download_to_a_symlink_changes_its_target() {
    let world = World::start();
    let home = &world.home;
    world.put("sj://bucket/o", b"new");
    home.write("d/file", "old");
    symlink("d/file", home.work().join("link")).unwrap();
    home.run(&["cp", "sj://bucket/o", "link"]).ok();
    assert!(home.work().join("link").is_symlink());
    assert_eq!(home.read("d/file"), b"new");
    assert_eq!(names_below(&home.work()), ["d/file", "link"]);
}

#[test]
fn download_to_a_hard_link_changes_all_its_names() {
    let world = World::start();
    let home = &world.home;
    world.put("sj://bucket/o", b"new");
    home.write("one", "old and longer");
    fs::hard_link(home.work().join("one"), home.work().join("other")).unwrap();
    home.run(&["cp", "sj://bucket/o", "one"]).ok();
    assert_eq!((home.read("one"), home.read("other")), (b"new".to_vec(), b"new".to_vec()));
    assert_eq!(names_below(&home.work()), ["one", "other"]);
}

#[test]
fn replaced_file_keeps_its_mode_and_owner() {
    let world = World::start();
    let home = &world.home;
    world.put("sj://bucket/o", b"new");
    home.write("file", "old");
    let path = home.work().join("file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    // Best effort: without the privilege, the owner stays the same.
    let _ = std::os::unix::fs::chown(&path, Some(65534), Some(65534));
    let owner = fs::metadata(&path).unwrap().uid();
    home.run(&["cp", "sj://bucket/o", "file"]).ok();
    let found = fs::metadata(&path).unwrap();
    assert_eq!((found.mode() & 0o7777, found.uid()), (0o600, owner));
    assert_eq!(home.read("file"), b"new");
}

#[test]
fn writable_file_in_a_read_only_directory_is_written() {
    let world = World::start();
    let home = &world.home;
    let content = bytes(300_000);
    world.put("sj://bucket/o", &content);
    home.write("d/file", "old");
    home.write("d/fixed", "old");
    home.unprivileged();
    let mode = |name: &str, mode| {
        fs::set_permissions(home.work().join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("d/fixed", 0o444);
    mode("d", 0o555);
    home.run(&["cp", "sj://bucket/o", "d/file"]).ok();
    home.run(&["cp", "sj://bucket/o", "d/fixed"]).fails(1, "ermission denied");
    home.run(&["cp", "sj://bucket/o", "d/new"]).fails(1, "ermission denied");
    // A download that fails before the first byte keeps the content.
    world.stop_nodes(3);
    home.write("d/file", "old");
    home.run(&["cp", "sj://bucket/o", "d/file"]).fails(7, "4");
    assert_eq!(home.read("d/file"), b"old");
    mode("d", 0o755);
    // A read-only file is not replaced, even in a writable directory.
    home.run(&["cp", "sj://bucket/o", "d/fixed"]).fails(1, "ermission denied");
    assert_eq!(home.read("d/fixed"), b"old");
    assert_eq!(names_below(&home.work()), ["d/file", "d/fixed"]);
}

#[test]
fn upload_from_descriptors_starts_at_their_position() {
    let world = World::start();
    world.home.write("file", "one\ntwo\nthree\n");
    let script = r#"
        { read line; "$UPLINK" cp /dev/stdin sj://bucket/stdin; } < file
        { read line; "$UPLINK" cp - sj://bucket/dash; } < file
        { read line <&3; "$UPLINK" cp /dev/fd/3 sj://bucket/three; } 3< file
        "$UPLINK" cp <(tail -n 2 file) sj://bucket/pipe
    "#;
    world.home.shell(script).ok();
    for key in ["stdin", "dash", "three", "pipe"] {
        let read = world.home.run(&["cat", &format!("sj://bucket/{key}")]).ok();
        assert_eq!(read, "two\nthree\n", "{key}");
    }
    let mut child = world.home.command(&["cp", "fifo", "sj://bucket/fifo"]);
    fifo(&world.home.work().join("fifo"));
    let child = child.spawn().unwrap();
    let mut writer = File::options().write(true).open(world.home.work().join("fifo")).unwrap();
    writer.write_all(b"through").unwrap();
    drop(writer);
    Finished::wait(child).ok();
    assert_eq!(world.home.run(&["cat", "sj://bucket/fifo"]).ok(), "through");
}
