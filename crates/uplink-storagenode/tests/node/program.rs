//! The program: `setup`, `run`, and being killed at any moment.

use std::{
    path::Path,
    process::{Output, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    task::JoinSet,
};
use tonic::service::Routes;
use uplink_core::{
    id::NodeId,
    order::{PieceAction, PieceHashAlgorithm},
};
use uplink_rpc::{server::Running, status::Code, tls::Identity};

use crate::world::{Draft, Link, noise, pool, serve};

const WRITERS: usize = 8;

fn program(arguments: &[&str], home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_uplink-storagenode"));
    command.args(arguments).arg("--json").arg("--directory").arg(home);
    command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn output(arguments: &[&str], home: &Path) -> Output {
    program(arguments, home).output().await.unwrap()
}

/// The sentence of a failed call.
async fn error(arguments: &[&str], home: &Path) -> String {
    let output = output(arguments, home).await;
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    let line = text.lines().rev().find(|line| line.starts_with('{')).unwrap_or(&text);
    serde_json::from_str::<Value>(line).unwrap()["error"].as_str().unwrap().to_owned()
}

/// A satellite on a port, and a directory set up for it.
struct Ready {
    satellite: Arc<Identity>,
    port: Running,
    home: TempDir,
}

impl Ready {
    async fn new() -> Self {
        let satellite = Arc::new(Identity::generate().unwrap());
        let port = serve(&satellite, Routes::default()).await;
        let ready = Self { satellite, port, home: TempDir::new().unwrap() };
        let made = output(&ready.setup_arguments(), ready.home.path()).await;
        assert!(made.status.success(), "{made:?}");
        ready
    }

    fn setup_arguments(&self) -> Vec<&'static str> {
        let trusted = format!("{}@{}", self.satellite.node_id(), self.port.address());
        let capacity = ["setup", "--listen", "127.0.0.1:0", "--capacity", "20GB", "--satellite"];
        capacity.into_iter().chain([&*trusted.leak()]).collect()
    }

    async fn run(&self) -> Node {
        let mut child = program(&["run"], self.home.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let read = lines.read_line(&mut line);
        tokio::time::timeout(Duration::from_secs(10), read).await.unwrap().unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ready["pid"], child.id().unwrap());
        let node = ready["node_id"].as_str().unwrap().parse().unwrap();
        let address = ready["address"].as_str().unwrap().to_owned();
        Node { child, link: Link { pool: pool(), node, address } }
    }
}

struct Node {
    child: Child,
    link: Link,
}

#[tokio::test]
async fn setup_makes_what_run_needs_and_never_overwrites() {
    let ready = Ready::new().await;
    let home = ready.home.path();
    for file in ["config.toml", "identity/identity.key", "identity/ca.key"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = home.join(file).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let again = error(&ready.setup_arguments(), home).await;
    assert!(again.contains("never overwritten"), "{again}");
    let mut node = ready.run().await;
    let in_use = error(&["run"], home).await;
    assert!(in_use.contains("in use by another storage node"), "{in_use}");
    let pid = rustix::process::Pid::from_raw(node.child.id().unwrap() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = tokio::time::timeout(Duration::from_secs(15), node.child.wait()).await;
    assert!(status.unwrap().unwrap().success(), "stops cleanly when told to");
}

#[tokio::test]
async fn run_on_an_empty_disk_is_refused_with_what_to_do() {
    let ready = Ready::new().await;
    let (home, data) = (ready.home.path(), ready.home.path().join("data"));
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::create_dir(&data).unwrap();
    let refused = error(&["run"], home).await;
    assert!(refused.contains("Mount the disk with the node's data"), "{refused}");
    assert!(refused.contains("--accept-empty-data"), "{refused}");
}

#[tokio::test]
async fn mistakes_of_the_operator_are_one_clear_sentence() {
    let ready = Ready::new().await;
    let home = ready.home.path();
    let empty = TempDir::new().unwrap();
    let missing = error(&["run"], empty.path()).await;
    assert!(missing.contains("config.toml does not exist"), "{missing}");
    let incomplete = error(&["setup"], empty.path()).await;
    assert!(incomplete.contains("`capacity` is not set"), "{incomplete}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let in_use = error(&["run", "--listen", &address], home).await;
    assert!(in_use.contains(&format!("cannot listen on {address}")), "{in_use}");
    let gone = error(&["run", "--data", "elsewhere"], home).await;
    assert!(gone.contains("elsewhere does not exist"), "{gone}");
    let stranger = error(&["run", "--identity", "elsewhere"], home).await;
    assert!(stranger.contains("holds no identity"), "{stranger}");
    let config = home.join("config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("capacity =", "capcity =")).unwrap();
    let unknown = error(&["run"], home).await;
    assert!(unknown.contains("did you mean `capacity`?"), "{unknown}");
    std::fs::write(&config, "capacity = [").unwrap();
    let damaged = error(&["run"], home).await;
    assert!(damaged.contains("config.toml") && damaged.contains("line 1"), "{damaged}");
}

#[tokio::test]
async fn flags_win_over_environment_and_environment_over_the_file() {
    let ready = Ready::new().await;
    for (variable, flag, expected) in [
        (None, None, "127.0.0.1"),
        (Some("127.0.0.2:0"), None, "127.0.0.2"),
        (Some("127.0.0.2:0"), Some("127.0.0.3:0"), "127.0.0.3"),
    ] {
        let mut command = program(&["run"], ready.home.path());
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        if let Some(value) = variable {
            command.env("UPLINK_NODE_LISTEN", value);
        }
        if let Some(value) = flag {
            command.args(["--listen", value]);
        }
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        lines.read_line(&mut line).await.unwrap();
        assert!(line.contains(&format!("\"address\":\"{expected}:")), "{line}");
        child.kill().await.unwrap();
    }
}

/// A piece that was begun: its limit and bytes, and whether the node acknowledged it.
struct Begun {
    draft: Draft,
    size: usize,
    seed: u8,
    acknowledged: bool,
}

/// Uploads pieces of many sizes until the node is gone.
async fn write_until_death(
    link: Link,
    satellite: Arc<Identity>,
    writer: usize,
    begun: Arc<Mutex<Vec<Begun>>>,
) {
    for number in 0.. {
        let size = [1, 700, 60_000, 300_000, 1_000_000][(writer + number) % 5];
        let (now, most) = (SystemTime::now(), size as i64);
        let draft = Draft::new(&satellite, link.node, now, PieceAction::Put, most);
        let seed = draft.limit.piece_id[0];
        let messages = draft.messages(&noise(size, seed), PieceHashAlgorithm::Blake3);
        let acknowledged = link.send(messages).await.is_ok();
        begun.lock().unwrap().push(Begun { draft, size, seed, acknowledged });
        if !acknowledged {
            return;
        }
    }
}

/// Reads every piece back: acknowledged ones must be exact, others exact or missing.
async fn read_back(link: &Link, satellite: &Identity, begun: &[Begun]) {
    for piece in begun {
        let size = piece.size as i64;
        let mut get = Draft::new(satellite, link.node, SystemTime::now(), PieceAction::Get, size);
        get.limit.piece_id.clone_from(&piece.draft.limit.piece_id);
        get.sign(satellite);
        let (data, end) = link.collect(vec![get.range(0, size, Some(size))]).await;
        match end {
            Ok(()) => assert!(data == noise(piece.size, piece.seed), "a partial or damaged piece"),
            Err(failure) => {
                assert!(!piece.acknowledged, "an acknowledged piece is lost: {failure}");
                assert_eq!((failure.code, data.len()), (Code::NOT_FOUND, 0), "{failure}");
            }
        }
    }
}

#[tokio::test]
async fn no_acknowledged_piece_is_lost_when_the_node_is_killed_while_writing() {
    kill_while_writing(10).await;
}

#[tokio::test]
#[ignore = "slow: fifty kills"]
async fn no_acknowledged_piece_is_lost_in_fifty_kills() {
    kill_while_writing(50).await;
}

async fn kill_while_writing(rounds: usize) {
    let ready = Ready::new().await;
    let satellite = Arc::clone(&ready.satellite);
    let (mut all, mut checked) = (Vec::new(), 0);
    let mut node: Option<NodeId> = None;
    for round in 0..rounds {
        let mut running = ready.run().await;
        assert_eq!(*node.get_or_insert(running.link.node), running.link.node);
        read_back(&running.link, &satellite, &all[checked..]).await;
        checked = all.len();
        let begun = Arc::new(Mutex::new(Vec::new()));
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let (link, satellite) = (running.link.clone(), Arc::clone(&satellite));
            writers.spawn(write_until_death(link, satellite, writer, Arc::clone(&begun)));
        }
        // Each round dies at another moment of many simultaneous uploads.
        tokio::time::sleep(Duration::from_millis(100 + 37 * (round % 10) as u64)).await;
        running.child.start_kill().unwrap();
        running.child.wait().await.unwrap();
        while writers.join_next().await.is_some() {}
        all.append(&mut begun.lock().unwrap());
    }
    let running = ready.run().await;
    read_back(&running.link, &satellite, &all).await;
    let acknowledged = all.iter().filter(|piece| piece.acknowledged).count();
    assert!(acknowledged > rounds * WRITERS, "{acknowledged} of {} pieces", all.len());
    assert!(all.len() > acknowledged, "no upload was under way when the node died");
}
