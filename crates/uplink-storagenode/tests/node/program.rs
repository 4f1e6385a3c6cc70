//! The program: `setup`, `run`, and kills at random times.

use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tonic::service::Routes;
use uplink_core::id::NodeId;
use uplink_core::order::{PieceAction, PieceHashAlgorithm};
use uplink_rpc::server::Running;
use uplink_rpc::status::Code;
use uplink_rpc::tls::Identity;

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

/// Returns the error message of a failed invocation.
async fn error(arguments: &[&str], home: &Path) -> String {
    let output = output(arguments, home).await;
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    let line = text.lines().rev().find(|line| line.starts_with('{')).unwrap_or(&text);
    serde_json::from_str::<Value>(line).unwrap()["error"].as_str().unwrap().to_owned()
}

/// A satellite on a port, and a node's directory after `setup`.
struct Installation {
    satellite: Arc<Identity>,
    port: Running,
    home: TempDir,
}

impl Installation {
    async fn new() -> Self {
        let satellite = Arc::new(Identity::generate().unwrap());
        let port = serve(&satellite, Routes::default()).await;
        let installation = Self { satellite, port, home: TempDir::new().unwrap() };
        let output = output(&installation.setup_arguments(), installation.home.path()).await;
        assert!(output.status.success(), "{output:?}");
        installation
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
        let announcement: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(announcement["pid"], child.id().unwrap());
        let node = announcement["node_id"].as_str().unwrap().parse().unwrap();
        let address = announcement["address"].as_str().unwrap().to_owned();
        Node { child, link: Link { pool: pool(), node, address } }
    }
}

struct Node {
    child: Child,
    link: Link,
}

#[tokio::test]
async fn setup_creates_what_run_needs_and_never_overwrites() {
    let installation = Installation::new().await;
    let home = installation.home.path();
    for file in ["config.toml", "identity/identity.key", "identity/ca.key"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = home.join(file).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let again = error(&installation.setup_arguments(), home).await;
    assert!(again.contains("never overwritten"), "{again}");
    let mut node = installation.run().await;
    let in_use = error(&["run"], home).await;
    assert!(in_use.contains("in use by another storage node"), "{in_use}");
    let pid = rustix::process::Pid::from_raw(node.child.id().unwrap() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = tokio::time::timeout(Duration::from_secs(15), node.child.wait()).await;
    assert!(status.unwrap().unwrap().success(), "stops cleanly on SIGTERM");
}

#[tokio::test]
async fn run_on_an_empty_disk_fails_with_instructions() {
    let installation = Installation::new().await;
    let home = installation.home.path();
    let data = home.join("data");
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::create_dir(&data).unwrap();
    let error = error(&["run"], home).await;
    assert!(error.contains("mount the node's disk"), "{error}");
    assert!(error.contains("--accept-empty-data"), "{error}");
}

#[tokio::test]
async fn operator_mistakes_are_reported_clearly() {
    let installation = Installation::new().await;
    let home = installation.home.path();
    let empty = TempDir::new().unwrap();
    let missing = error(&["run"], empty.path()).await;
    assert!(missing.contains("config.toml does not exist"), "{missing}");
    let incomplete = error(&["setup"], empty.path()).await;
    assert!(incomplete.contains("`capacity` is not set"), "{incomplete}");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let in_use = error(&["run", "--listen", &address], home).await;
    assert!(in_use.contains(&format!("cannot listen on {address}")), "{in_use}");
    let no_data = error(&["run", "--data", "elsewhere"], home).await;
    assert!(no_data.contains("elsewhere does not exist"), "{no_data}");
    let no_identity = error(&["run", "--identity", "elsewhere"], home).await;
    assert!(no_identity.contains("holds no identity"), "{no_identity}");
    let config = home.join("config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("capacity =", "capcity =")).unwrap();
    let unknown = error(&["run"], home).await;
    assert!(unknown.contains("did you mean \"capacity\"?"), "{unknown}");
    std::fs::write(&config, "capacity = [").unwrap();
    let malformed = error(&["run"], home).await;
    assert!(malformed.contains("config.toml") && malformed.contains("line 1"), "{malformed}");
}

#[tokio::test]
async fn flags_override_environment_and_environment_the_file() {
    let installation = Installation::new().await;
    for (variable, flag, expected) in [
        (None, None, "127.0.0.1"),
        (Some("127.0.0.2:0"), None, "127.0.0.2"),
        (Some("127.0.0.2:0"), Some("127.0.0.3:0"), "127.0.0.3"),
    ] {
        let mut command = program(&["run"], installation.home.path());
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

/// A started upload: its limit and content, and whether the node acknowledged it.
struct Upload {
    draft: Draft,
    size: usize,
    seed: u8,
    acknowledged: bool,
}

/// Uploads pieces of various sizes until the node is killed.
async fn upload_until_killed(
    link: Link,
    satellite: Arc<Identity>,
    writer: usize,
    uploads: Arc<Mutex<Vec<Upload>>>,
) {
    for number in 0.. {
        let size = [1, 700, 60_000, 300_000, 1_000_000][(writer + number) % 5];
        let now = SystemTime::now();
        let draft = Draft::new(&satellite, link.node, now, PieceAction::Put, size as i64);
        let seed = draft.limit.piece_id[0];
        let messages = draft.messages(&noise(size, seed), PieceHashAlgorithm::Blake3);
        let acknowledged = link.send(messages).await.is_ok();
        uploads.lock().unwrap().push(Upload { draft, size, seed, acknowledged });
        if !acknowledged {
            return;
        }
    }
}

/// Downloads every piece. Acknowledged pieces must be exact, others exact or missing.
async fn read_back(link: &Link, satellite: &Identity, uploads: &[Upload]) {
    for piece in uploads {
        let size = piece.size as i64;
        let mut get = Draft::new(satellite, link.node, SystemTime::now(), PieceAction::Get, size);
        get.limit.piece_id.clone_from(&piece.draft.limit.piece_id);
        get.sign(satellite);
        let (data, end) = link.collect(vec![get.range(0, size, Some(size))]).await;
        match end {
            Ok(()) => assert!(data == noise(piece.size, piece.seed), "partial or corrupt piece"),
            Err(failure) => {
                assert!(!piece.acknowledged, "an acknowledged piece is lost: {failure}");
                assert_eq!((failure.code, data.len()), (Code::NOT_FOUND, 0), "{failure}");
            }
        }
    }
}

#[tokio::test]
async fn acknowledged_pieces_survive_a_kill_during_uploads() {
    kill_while_writing(10).await;
}

#[tokio::test]
#[ignore = "slow: fifty kills"]
async fn acknowledged_pieces_survive_fifty_kills() {
    kill_while_writing(50).await;
}

async fn kill_while_writing(rounds: usize) {
    let installation = Installation::new().await;
    let satellite = Arc::clone(&installation.satellite);
    let mut all = Vec::new();
    let mut checked = 0;
    let mut node: Option<NodeId> = None;
    for round in 0..rounds {
        let mut running = installation.run().await;
        assert_eq!(*node.get_or_insert(running.link.node), running.link.node);
        read_back(&running.link, &satellite, &all[checked..]).await;
        checked = all.len();
        let uploads = Arc::new(Mutex::new(Vec::new()));
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let link = running.link.clone();
            let satellite = Arc::clone(&satellite);
            writers.spawn(upload_until_killed(link, satellite, writer, Arc::clone(&uploads)));
        }
        // Each round is killed at a different time during concurrent uploads.
        tokio::time::sleep(Duration::from_millis(100 + 37 * (round % 10) as u64)).await;
        running.child.start_kill().unwrap();
        running.child.wait().await.unwrap();
        while writers.join_next().await.is_some() {}
        all.append(&mut uploads.lock().unwrap());
    }
    let running = installation.run().await;
    read_back(&running.link, &satellite, &all).await;
    let acknowledged = all.iter().filter(|piece| piece.acknowledged).count();
    assert!(acknowledged > rounds * WRITERS, "{acknowledged} of {} pieces", all.len());
    assert!(all.len() > acknowledged, "no upload was in flight when the node was killed");
}
