//! Clients killed or hung up during a transfer, and what they leave behind.
#![cfg(target_os = "linux")]

use std::io::Write as _;
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::home::{Finished, names_below};
use crate::world::{World, bytes};

/// Starts an upload from standard input, which stays open.
fn begin(world: &World, url: &str) -> (Child, ChildStdin) {
    let mut command = world.home.command(&["cp", "-", url]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // More than a pipe and a buffer hold: once written, the upload has started.
    stdin.write_all(&bytes(4 << 20)).unwrap();
    (child, stdin)
}

/// Waits until a condition holds.
fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "timeout");
    }
}

/// Kills a client during an upload, once the satellite lists it.
fn kill_upload(world: &World, url: &str) {
    let (mut child, stdin) = begin(world, url);
    wait_until(|| world.home.run(&["ls", "--pending", url]).code == Some(0));
    child.kill().unwrap();
    child.wait().unwrap();
    drop(stdin);
}

#[test]
fn killed_upload_is_reported_listed_and_aborted() {
    let world = World::start();
    let home = &world.home;
    kill_upload(&world, "sj://bucket/d/o");
    assert_eq!(home.run(&["ls", "-r", "sj://bucket"]).ok(), "");
    let run = home.run(&["rb", "sj://bucket"]);
    assert!(run.stderr.contains("uplink rm --pending --recursive sj://bucket"), "{run:?}");
    run.fails(8, "pending uploads (sj://bucket/d/o)");
    let listed = home.run(&["ls", "--pending", "sj://bucket", "-r", "--json"]).json();
    assert_eq!((listed.len(), &listed[0]["key"]), (1, &"d/o".into()));
    assert_eq!(listed[0]["kind"], "upload");
    assert!(listed[0]["created"].as_str().unwrap().ends_with('Z'));
    let id = listed[0]["upload_id"].as_str().unwrap();
    let top = home.run(&["ls", "--pending", "sj://bucket", "--json"]).json();
    assert_eq!((&top[0]["kind"], &top[0]["key"]), (&"prefix".into(), &"d/".into()));
    for url in ["sj://bucket/d", "sj://bucket/d/", "sj://bucket/d/o"] {
        let listed = home.run(&["ls", "--pending", url, "--json"]).json();
        assert_eq!((listed.len(), &listed[0]["upload_id"]), (1, &id.into()), "{url}");
        assert!(home.run(&["ls", "--pending", url]).ok().ends_with("  d/o\n"));
    }
    home.run(&["ls", "--pending", "sj://bucket/none"]).fails(3, "no pending uploads");
    home.run(&["rm", "--pending", "sj://bucket/none"]).fails(3, "no pending uploads");
    let dry_run = home.run(&["rm", "--pending", "sj://bucket/d", "-r", "--dry-run"]).ok();
    assert_eq!(dry_run, "Would abort sj://bucket/d/o\n");
    assert_eq!(home.run(&["rm", "--pending", "sj://bucket/d", "-r", "--json"]).json().len(), 1);
    home.run(&["rm", "--pending", "sj://bucket/d/o"]).fails(3, "no pending uploads");
    assert_eq!(home.run(&["ls", "--pending", "sj://bucket"]).ok(), "");
    home.run(&["rb", "sj://bucket"]).ok();
}

#[test]
fn pending_uploads_of_one_key_are_aborted_together() {
    let world = World::start();
    let home = &world.home;
    world.put("sj://bucket/o", b"committed");
    let pending = || home.run(&["ls", "--pending", "sj://bucket", "--json"]).json().len();
    for count in 1..=2 {
        let (mut child, stdin) = begin(&world, "sj://bucket/o");
        wait_until(|| pending() == count);
        child.kill().unwrap();
        child.wait().unwrap();
        drop(stdin);
    }
    kill_upload(&world, "sj://bucket/other");
    home.run(&["rb", "sj://bucket"]).fails(8, "objects and pending uploads (sj://bucket/o");
    let aborted = home.run(&["rm", "--pending", "sj://bucket/o", "--json"]).json();
    assert_eq!(aborted.len(), 2);
    assert!(aborted.iter().all(|upload| upload["key"] == "o"));
    assert_eq!(pending(), 1);
    assert_eq!(home.run(&["cat", "sj://bucket/o"]).ok(), "committed");
    home.run(&["rm", "--pending", "sj://bucket", "-r"]).ok();
    home.run(&["rm", "--pending", "sj://bucket", "-r"]).ok();
    home.run(&["rm", "sj://bucket/o"]).ok();
    home.run(&["rb", "sj://bucket"]).ok();
}

#[test]
fn pending_uploads_under_another_passphrase_are_counted() {
    let world = World::start();
    let home = &world.home;
    kill_upload(&world, "sj://bucket/o");
    world.request("wrong", "another passphrase");
    let wrong = ["--access", "wrong"];
    home.run(&[&["ls", "--pending", "sj://bucket"][..], &wrong].concat()).fails(5, "passphrase");
    home.run(&[&["rm", "--pending", "-r", "sj://bucket"][..], &wrong].concat())
        .fails(5, "passphrase");
    home.run(&[&["rb", "sj://bucket"][..], &wrong].concat()).fails(8, "cannot be decrypted");
    home.run(&[&["rb", "--force", "sj://bucket"][..], &wrong].concat()).ok();
}

#[test]
fn wrong_usage_of_pending_is_rejected() {
    let world = World::start();
    let home = &world.home;
    home.run(&["ls", "--pending"]).fails(2, "--pending");
    home.run(&["ls", "--pending", "sj://"]).fails(2, "--pending needs a bucket");
    home.run(&["rm", "--pending", "sj://bucket"]).fails(2, "--recursive");
    home.run(&["ls", "--pending", "sj://missing"]).fails(3, "missing");
    home.run(&["rm", "--pending", "sj://missing/key"]).fails(3, "missing");
}

#[test]
fn hung_up_and_terminated_uploads_are_aborted() {
    // If the test runner ignores the signal, so does the command.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    if u64::from_str_radix(ignored.trim(), 16).unwrap() & 1 == 1 {
        eprintln!("skipped: SIGHUP is ignored here");
        return;
    }
    let world = World::start();
    for (signal, code) in [(Signal::HUP, 129), (Signal::TERM, 143)] {
        let (child, stdin) = begin(&world, "sj://bucket/o");
        kill_process(Pid::from_child(&child), signal).unwrap();
        Finished::wait(child).fails(code, "interrupted");
        drop(stdin);
        assert_eq!(world.home.run(&["ls", "--pending", "sj://bucket"]).ok(), "");
    }
    world.home.run(&["rb", "sj://bucket"]).ok();
}

#[test]
fn nohup_keeps_an_upload_alive() {
    let world = World::start();
    let mut command = std::process::Command::new("nohup");
    let inner = world.home.command(&["cp", "-", "sj://bucket/o"]);
    command.arg(inner.get_program()).args(inner.get_args()).current_dir(world.home.work());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let content = bytes(4 << 20);
    stdin.write_all(&content).unwrap();
    kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
    stdin.write_all(b"more").unwrap();
    drop(stdin);
    Finished::wait(child).ok();
    let read = world.home.run(&["cat", "sj://bucket/o"]).ok_bytes();
    assert!(read == [&content[..], b"more"].concat());
}

#[test]
fn interrupted_batch_reports_failures_so_far() {
    let world = World::start();
    let home = &world.home;
    home.write("d/file", "x");
    std::os::unix::fs::symlink("file", home.work().join("d/link")).unwrap();
    for number in 0..40 {
        home.write(&format!("d/{number}"), bytes(5000));
    }
    for node in world.network.nodes() {
        world.runtime.block_on(node.slow(Duration::from_millis(200))).unwrap();
    }
    world.runtime.block_on(world.network.online()).unwrap();
    let child = home.command(&["cp", "-r", "d", "sj://bucket", "--quiet"]).spawn().unwrap();
    wait_until(|| !home.run(&["ls", "sj://bucket", "--json"]).json().is_empty());
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let finished = Finished::wait(child);
    assert_eq!(
        finished.stderr,
        "uplink: sj://bucket/link: not copied: a symbolic link\nuplink: interrupted\n"
    );
    assert_eq!(finished.code, Some(130));
}

#[test]
fn next_download_removes_parts_of_killed_ones() {
    let world = World::start();
    let home = &world.home;
    world.put("sj://bucket/o", &bytes(48 << 20));
    world.put("sj://bucket/small", b"x");
    let parts = || {
        let names = names_below(&home.work());
        names.into_iter().filter(|name| name.contains(".uplink-")).collect::<Vec<_>>()
    };
    let begin = |target: &str| {
        let before = parts();
        let is_new = |name: &String| !before.contains(name);
        let child = home.command(&["cp", "sj://bucket/o", target]).spawn().unwrap();
        wait_until(|| parts().iter().any(is_new));
        kill_process(Pid::from_child(&child), Signal::STOP).unwrap();
        assert!(parts().iter().any(is_new), "the download ended before it was suspended");
        child
    };
    let mut dead = begin("dead");
    dead.kill().unwrap();
    dead.wait().unwrap();
    let left = parts();
    assert_eq!(left.len(), 1);
    // A suspended process is alive.
    let live = begin("live");
    home.run(&["cp", "sj://bucket/small", "small"]).ok();
    assert!(!parts().contains(&left[0]));
    kill_process(Pid::from_child(&live), Signal::CONT).unwrap();
    Finished::wait(live).ok();
    assert_eq!(home.read("live").len(), 48 << 20);
    assert_eq!(names_below(&home.work()), ["live", "small"]);
    // A recursive download sweeps the same directories.
    let mut dead = begin("d");
    dead.kill().unwrap();
    dead.wait().unwrap();
    home.run(&["rm", "sj://bucket/o"]).ok();
    home.run(&["cp", "-r", "sj://bucket", "."]).ok();
    assert_eq!(names_below(&home.work()), ["live", "small"]);
}
