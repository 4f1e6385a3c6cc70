//! A network with a low limit of open files.
#![cfg(unix)]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::home::{Finished, Home};
use crate::world::bytes;

/// Concurrent clients.
const CLIENTS: usize = 8;
/// Files of each tree, enough for the uploads of all clients to overlap.
const FILES: usize = 6;
const FILE_SIZE: usize = 12_000_000;

/// A running `uplink dev`, killed when a test fails.
struct Limited(Option<Child>);

impl Limited {
    /// Starts a network of ten nodes, and returns it with its access grant.
    fn start(home: &Home, descriptors: u32) -> (Self, String) {
        let plain = home.command(&["dev", "--json", "--ephemeral", "--nodes", "10"]);
        let mut shell = Command::new("sh");
        shell
            .arg("-c")
            .arg(format!("ulimit -n {descriptors}; exec \"$0\" \"$@\""))
            .arg(plain.get_program())
            .args(plain.get_args())
            .current_dir(home.work())
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        let mut child = shell.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        if line.is_empty() {
            panic!("no network: {:?}", Finished::wait(child));
        }
        let ready: Value = serde_json::from_str(&line).unwrap();
        (Self(Some(child)), ready["access"].as_str().unwrap().to_owned())
    }

    /// Stops the network and returns its log.
    fn end(mut self) -> String {
        let child = self.0.take().unwrap();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        Finished::wait(child).stderr
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
#[ignore = "slow: 600 MB through a network of ten nodes"]
fn parallel_uploads_succeed_with_few_descriptors() {
    let home = Home::new();
    let (network, grant) = Limited::start(&home, 256);
    let run = |args: &[&str]| home.run(&[args, &["--access", &grant]].concat());
    run(&["mb", "sj://bucket"]).ok();
    for number in 0..FILES {
        home.write(&format!("tree/{number}"), bytes(FILE_SIZE + number));
    }
    let upload = |client: usize| {
        let target = format!("sj://bucket/{client}");
        home.command(&["cp", "-r", "tree", &target, "--access", &grant]).spawn().unwrap()
    };
    let uploads: Vec<Child> = (0..CLIENTS).map(upload).collect();
    for upload in uploads {
        Finished::wait(upload).ok();
    }
    run(&["cp", "-r", "sj://bucket/3", "back"]).ok();
    for number in 0..FILES {
        assert!(home.read(&format!("back/{number}")) == bytes(FILE_SIZE + number), "{number}");
    }
    let log = network.end();
    assert!(!log.contains("open files"), "{log}");
}
