//! `uplink dev` as a child process, and requests to it.
#![cfg(unix)]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::home::{Finished, Home};
use crate::world::bytes;

/// A running `uplink dev --json`. Killed when a test fails.
struct Dev {
    child: Option<Child>,
    // Kept open, so that the network can write.
    _stdout: BufReader<ChildStdout>,
    ready: Value,
}

impl Dev {
    /// Starts a small network and waits until it is ready.
    fn start(home: &Home, args: &[&str]) -> Self {
        let args = [&["dev", "--json", "--nodes", "4", "--scheme", "2/3/4/4-64"], args].concat();
        let mut child = home.command(&args).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        if line.is_empty() {
            panic!("no network: {:?}", Finished::wait(child));
        }
        let ready = serde_json::from_str(&line).unwrap();
        Self { child: Some(child), _stdout: stdout, ready }
    }

    fn text(&self, key: &str) -> &str {
        self.ready[key].as_str().unwrap()
    }

    /// Stops the network with a signal, and expects success.
    fn end(mut self, signal: Signal) {
        let child = self.child.take().unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        let finished = Finished::wait(child);
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
    }

    fn kill(mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn network_directory(home: &Home) -> (PathBuf, String) {
    let directory = home.work().join("network");
    let text = directory.to_str().unwrap().to_owned();
    (directory, text)
}

fn mode(path: &Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions()) & 0o777
}

#[test]
fn ephemeral_network_serves_its_grant_and_leaves_nothing() {
    let home = Home::new();
    let dev = Dev::start(&home, &["--ephemeral"]);
    let grant = dev.text("access").to_owned();
    let data = PathBuf::from(dev.text("data"));
    let mut keys: Vec<_> = dev.ready.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["access", "api_key", "data", "nodes", "pid", "satellite"]);
    assert_eq!(dev.ready["pid"], dev.child.as_ref().unwrap().id());
    let nodes = dev.ready["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 4);
    assert!(nodes.iter().all(|node| {
        Path::new(node["data"].as_str().unwrap()).is_dir()
            && node["address"].as_str().unwrap().starts_with("127.0.0.1:")
            && node["id"].as_str().unwrap().len() > 40
    }));
    assert!(!home.store().exists());

    let run = |args: &[&str]| home.run(&[args, &["--access", &grant]].concat());
    run(&["mb", "sj://bucket"]).ok();
    home.write("file", bytes(50_000));
    run(&["cp", "file", "sj://bucket/file"]).ok();
    let listed = run(&["ls", "sj://bucket", "--json"]).json();
    assert_eq!((&listed[0]["key"], &listed[0]["size"]), (&"file".into(), &50_000.into()));
    // A new project in the same network has its own grant.
    let project = ["dev", "project", "--json", "--data", data.to_str().unwrap()];
    let project = home.run(&project).json().remove(0);
    assert_eq!(project["satellite"], dev.ready["satellite"]);
    assert_eq!(project["nodes"], dev.ready["nodes"]);
    let grant = project["access"].as_str().unwrap();
    assert!(home.run(&["ls", "--json", "--access", grant]).json().is_empty());
    dev.end(Signal::TERM);
    assert!(!data.exists());
}

#[test]
fn persistent_network_continues_after_signal_and_kill() {
    let home = Home::new();
    let (directory, data) = network_directory(&home);
    let dev = Dev::start(&home, &["--data", &data]);
    let grant = dev.text("access").to_owned();
    let satellite = dev.text("satellite").to_owned();
    // The only stored access is current, so commands need not select it.
    home.run(&["mb", "sj://bucket"]).ok();
    home.run_with(&["cp", "-", "sj://bucket/o"], &bytes(50_000)).ok();
    for private in [&directory.join("keys.json"), &directory.join("control.sock"), &home.store()] {
        assert_eq!(mode(private), 0o600, "{private:?}");
    }
    dev.end(Signal::INT);
    assert!(!directory.join("control.sock").exists());
    home.run(&["dev", "node", "list", "--data", &data]).fails(3, "no network is running in");

    for _ in 0..2 {
        let dev = Dev::start(&home, &["--data", &data]);
        assert_eq!((dev.text("access"), dev.text("satellite")), (&*grant, &*satellite));
        assert_eq!(home.run(&["cat", "sj://bucket/o"]).ok_bytes(), bytes(50_000));
        dev.kill();
    }
}

#[test]
fn nodes_are_stopped_started_and_slowed_at_runtime() {
    let home = Home::new();
    let (_, data) = network_directory(&home);
    let dev = Dev::start(&home, &["--data", &data]);
    let node =
        |args: &[&str]| home.run(&[&["dev", "node", "--json"], args, &["--data", &data]].concat());
    home.run(&["mb", "sj://bucket"]).ok();
    home.run_with(&["cp", "-", "sj://bucket/o"], &bytes(50_000)).ok();
    let listed = node(&["list"]).json();
    let pieces: u64 = listed.iter().filter_map(|node| node["pieces"].as_u64()).sum();
    assert_eq!(listed.len(), 4);
    assert_eq!(pieces, 4, "{listed:?}");

    let second = listed[1]["id"].as_str().unwrap();
    assert_eq!(node(&["stop", "0"]).json()[0]["running"], false);
    assert_eq!(node(&["stop", second]).json()[0]["index"], 1);
    node(&["stop", second]).fails(8, "storage node 1 is not running");
    home.run(&["cp", "sj://bucket/o", "back"]).ok();
    assert_eq!(home.read("back"), bytes(50_000));
    assert_eq!(node(&["stop", "2"]).json()[0]["running"], false);
    home.run(&["cat", "sj://bucket/o"]).fails(7, "1 of 2 required pieces available");

    let started = node(&["start", "0"]).json().remove(0);
    assert_eq!(started["running"], true);
    assert_eq!(
        (&started["pieces"], &started["address"]),
        (&listed[0]["pieces"], &listed[0]["address"])
    );
    node(&["start", "0"]).fails(8, "storage node 0 is already running");
    assert_eq!(node(&["start", "1"]).json()[0]["running"], true);
    assert_eq!(node(&["slow", "1", "--latency", "50"]).json()[0]["latency_ms"], 50);
    assert_eq!(home.run(&["cat", "sj://bucket/o"]).ok_bytes(), bytes(50_000));
    assert_eq!(node(&["slow", "1", "--latency", "0"]).json()[0]["latency_ms"], 0);

    node(&["stop", "4"]).fails(3, "no storage node 4");
    node(&["stop", "x"]).fails(2, "invalid storage node \"x\"");
    node(&["slow", "1", "--latency", "9999"]).fails(2, "9999");
    dev.end(Signal::TERM);
}

#[test]
fn directory_in_use_and_taken_port_are_rejected() {
    let home = Home::new();
    let (_, data) = network_directory(&home);
    let dev = Dev::start(&home, &["--data", &data]);
    let pid = dev.ready["pid"].to_string();
    home.run(&["dev", "--data", &data]).fails(8, &pid);
    let address = dev.text("satellite").split_once('@').unwrap().1.to_owned();
    dev.end(Signal::TERM);

    let other = std::net::TcpListener::bind(&address).unwrap();
    let run = home.run(&["dev", "--data", &data]);
    assert!(run.stderr.contains("network.toml") && run.stderr.contains("--listen"));
    run.fails(8, &address);
    drop(other);
    home.run(&["dev", "--data", &data, "--nodes", "3"]).fails(2, "has 4 storage nodes");
    home.run(&["dev", "--ephemeral", "--listen", "0.0.0.0:0"]).fails(2, "loopback");
}

#[test]
fn reset_needs_confirmation_and_creates_a_new_network() {
    let home = Home::new();
    let (directory, data) = network_directory(&home);
    let dev = Dev::start(&home, &["--data", &data]);
    let grant = dev.text("access").to_owned();
    let satellite = dev.text("satellite").to_owned();
    dev.end(Signal::TERM);
    home.run(&["dev", "--data", &data, "--reset"]).fails(2, "--yes");
    std::fs::write(directory.join("mine"), "kept").unwrap();
    let dev = Dev::start(&home, &["--data", &data, "--reset", "--yes"]);
    assert_ne!((dev.text("access"), dev.text("satellite")), (&*grant, &*satellite));
    assert_eq!(std::fs::read(directory.join("mine")).unwrap(), b"kept");
    // The stored access was replaced.
    assert!(home.run(&["ls", "--json"]).json().is_empty());
    dev.end(Signal::TERM);
}
