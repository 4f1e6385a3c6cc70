//! Sources that change during an upload.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, Signal, kill_process};

use crate::home::Finished;
use crate::world::{World, bytes};

const SIZE: u64 = 64 << 20;

/// Suspends a process after it has read a part of a file. Returns the position.
fn suspend_while_reading(child: &Child, path: &Path) -> u64 {
    let inode = fs::metadata(path).unwrap().ino();
    let pid = child.id();
    let position = || {
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).ok()? {
            let entry = entry.ok()?;
            if fs::metadata(entry.path()).is_ok_and(|found| found.ino() == inode) {
                let name = entry.file_name().into_string().ok()?;
                let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{name}")).ok()?;
                let position = info.lines().next()?.strip_prefix("pos:")?.trim().parse::<u64>();
                return position.ok();
            }
        }
        None
    };
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while position().unwrap_or_default() == 0 {
        assert!(std::time::Instant::now() < deadline, "the upload does not start");
        std::thread::yield_now();
    }
    kill_process(Pid::from_child(child), Signal::STOP).unwrap();
    let position = position().expect("the upload ended before it was suspended");
    assert!(position < SIZE, "the file was read completely before the upload was suspended");
    position
}

/// Uploads a file and calls `change` after a part of it was read.
fn upload_while(
    world: &World,
    args: &[&str],
    stdin: Stdio,
    change: impl FnOnce(&Path, u64),
) -> Finished {
    let path = world.home.work().join("file");
    let child = world.home.command(args).stdin(stdin).spawn().unwrap();
    let position = suspend_while_reading(&child, &path);
    change(&path, position);
    kill_process(Pid::from_child(&child), Signal::CONT).unwrap();
    Finished::wait(child)
}

fn prepare(world: &World) {
    world.home.write("file", bytes(SIZE as usize));
    let past = SystemTime::now() - Duration::from_secs(10);
    let file = File::options().write(true).open(world.home.work().join("file")).unwrap();
    file.set_modified(past).unwrap();
}

fn shrink(path: &Path, _position: u64) {
    File::options().write(true).open(path).unwrap().set_len(1).unwrap();
}

#[test]
fn source_that_shrinks_is_not_committed() {
    let world = World::start();
    world.put("sj://bucket/o", b"old");
    prepare(&world);
    let run = upload_while(&world, &["cp", "file", "sj://bucket/o"], Stdio::null(), shrink);
    run.fails(1, "it changed while it was read");
    assert_eq!(world.home.run(&["cat", "sj://bucket/o"]).ok(), "old");
    world.home.run(&["rm", "sj://bucket/o"]).ok();
    // The upload was aborted at the satellite.
    world.home.run(&["rb", "sj://bucket"]).ok();
}

#[test]
fn source_that_grows_is_not_committed() {
    let world = World::start();
    prepare(&world);
    let grow = |path: &Path, _| {
        File::options().append(true).open(path).unwrap().write_all(b"x").unwrap();
    };
    let run = upload_while(&world, &["cp", "file", "sj://bucket/o"], Stdio::null(), grow);
    run.fails(1, "it changed while it was read");
    world.home.run(&["rb", "sj://bucket"]).ok();
}

#[test]
fn source_rewritten_with_the_same_size_is_not_committed() {
    let world = World::start();
    prepare(&world);
    let rewrite = |path: &Path, _| {
        use std::os::unix::fs::FileExt as _;
        File::options().write(true).open(path).unwrap().write_at(b"x", SIZE - 1).unwrap();
    };
    let run = upload_while(&world, &["cp", "file", "sj://bucket/o"], Stdio::null(), rewrite);
    run.fails(1, "it changed while it was read");
    world.home.run(&["rb", "sj://bucket"]).ok();
}

#[test]
fn stdin_file_that_shrinks_is_not_committed() {
    let world = World::start();
    prepare(&world);
    let stdin = File::open(world.home.work().join("file")).unwrap().into();
    let run = upload_while(&world, &["cp", "-", "sj://bucket/o"], stdin, shrink);
    run.fails(1, "standard input: it changed while it was read");
    world.home.run(&["rb", "sj://bucket"]).ok();
}

#[test]
fn shrinking_source_in_a_tree_is_one_failure() {
    let world = World::start();
    let home = &world.home;
    for name in ["d/a", "d/z"] {
        home.write(name, name);
    }
    prepare(&world);
    fs::rename(home.work().join("file"), home.work().join("d/file")).unwrap();
    std::os::unix::fs::symlink("d/file", home.work().join("file")).unwrap();
    let run = upload_while(&world, &["cp", "-r", "d", "sj://bucket"], Stdio::null(), shrink);
    run.incomplete(&["sj://bucket/file: cannot upload \"d/file\": it changed"]);
    let left = home.run(&["ls", "-r", "sj://bucket", "--json"]).json();
    assert_eq!(left.len(), 2);
}
