//! A satellite and its storage nodes in two separate processes, so that the CPU time of client,
//! satellite and nodes is measured separately.
//!
//! The nodes keep their pieces in memory if the system has a file system there: the benchmark
//! measures the data path, not a disk.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use uplink::Access;
use uplink_core::erasure::Scheme;
use uplink_rpc::tls::Identity;
use uplink_satellite::Satellite;
use uplink_storagenode::StorageNode;

/// Set in a child process to its role.
const ROLE: &str = "UPLINK_BENCH_ROLE";
const SCHEME: &str = "UPLINK_BENCH_SCHEME";
const SATELLITE: &str = "UPLINK_BENCH_SATELLITE";
const MEMORY: &str = "/dev/shm";
const CAPACITY: u64 = 1 << 40;
/// Shorter than the time after which a development satellite counts a node as offline.
const CHECK_IN_INTERVAL: Duration = Duration::from_secs(10);
const ONLINE_TIMEOUT: Duration = Duration::from_secs(30);
const READY: &str = "ready";

/// A running network; its processes stop when it is dropped.
pub(crate) struct Network {
    pub(crate) satellite: Service,
    pub(crate) nodes: Service,
    url: String,
    api_key: String,
}

/// Bytes of pieces that all nodes received and served, discarded ones included.
#[derive(Clone, Copy, Default)]
pub(crate) struct Moved {
    pub(crate) received: u64,
    pub(crate) served: u64,
}

impl Network {
    /// Starts a satellite and as many nodes as the scheme has pieces.
    pub(crate) fn start(scheme: &Scheme) -> Self {
        let mut satellite = Service::start("satellite", scheme, "");
        let line = satellite.line();
        let (url, api_key) = line.split_once(' ').expect("address and key");
        let url = url.to_owned();
        let api_key = api_key.to_owned();
        let mut nodes = Service::start("nodes", scheme, &url);
        assert_eq!(nodes.line(), READY);
        Self { satellite, nodes, url, api_key }
    }

    pub(crate) async fn access(&self) -> Access {
        let access = Access::request(&self.url, &self.api_key, "bench").await;
        access.expect("an access grant")
    }

    pub(crate) fn moved(&mut self) -> Moved {
        self.nodes.ask();
        let line = self.nodes.line();
        let (received, served) = line.split_once(' ').expect("two numbers");
        let number = |text: &str| text.parse().expect("a number");
        Moved { received: number(received), served: number(served) }
    }
}

/// A child process that answers each line with a line until its input ends.
pub(crate) struct Service {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Service {
    fn start(role: &str, scheme: &Scheme, satellite: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .env(ROLE, role)
            .env(SCHEME, scheme.to_string())
            .env(SATELLITE, satellite)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child process");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        Self { input: child.stdin.take(), child, output }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn ask(&mut self) {
        let input = self.input.as_mut().expect("its input");
        input.write_all(b"\n").expect("written");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        line.trim().to_owned()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// Runs a service if this process was started as one, and returns whether it was.
pub(crate) fn serve_if_asked(runtime: &tokio::runtime::Runtime) -> bool {
    let Ok(role) = std::env::var(ROLE) else { return false };
    let variable = |name| std::env::var(name).expect("given by the parent");
    let scheme: Scheme = variable(SCHEME).parse().expect("a scheme");
    let folder = match Path::new(MEMORY) {
        memory if memory.is_dir() => TempDir::new_in(memory),
        _ => TempDir::new(),
    };
    let folder = folder.expect("a folder");
    if role == "satellite" {
        runtime.block_on(satellite(scheme, folder.path()));
    } else {
        runtime.block_on(nodes(scheme, folder.path(), &variable(SATELLITE)));
    }
    true
}

async fn satellite(scheme: Scheme, folder: &Path) {
    let mut config = uplink_satellite::Config::dev();
    config.scheme = scheme;
    config.folder = folder.to_owned();
    config.listen = ([127, 0, 0, 1], 0).into();
    let identity = Identity::generate().expect("an identity");
    let satellite = Satellite::start(config, identity).await.expect("a satellite");
    let admin = satellite.admin();
    let project = admin.create_project("bench").await.expect("a project");
    let key = admin.create_api_key(&project, "bench").await.expect("an API key");
    answer(|| format!("{} {}", satellite.node_url(), key.serialize())).await;
}

async fn nodes(scheme: Scheme, folder: &Path, satellite: &str) {
    let mut nodes = Vec::new();
    for number in 0..scheme.total() {
        let data = folder.join(number.to_string());
        std::fs::create_dir(&data).expect("a folder");
        let trusted = vec![satellite.parse().expect("a satellite")];
        let mut config = uplink_storagenode::Config::new(data, CAPACITY, trusted);
        config.listen = ([127, 0, 0, 1], 0).into();
        config.check_in_interval = CHECK_IN_INTERVAL;
        let identity = Identity::generate().expect("an identity");
        nodes.push(StorageNode::start(config, identity).await.expect("a storage node"));
    }
    let deadline = Instant::now() + ONLINE_TIMEOUT;
    for node in &nodes {
        while let Err(error) = node.check_in_now().await {
            assert!(Instant::now() < deadline, "node failed to come online: {error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let mut first = true;
    answer(|| {
        if std::mem::take(&mut first) {
            return READY.to_owned();
        }
        let total = |bytes: fn(&StorageNode) -> u64| nodes.iter().map(bytes).sum::<u64>();
        format!("{} {}", total(StorageNode::received), total(StorageNode::served))
    })
    .await;
}

/// Prints one line at once and one for each line of input.
async fn answer(mut line: impl FnMut() -> String) {
    loop {
        println!("{}", line());
        std::io::stdout().flush().expect("flushed");
        let read = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
        if read.await.expect("joined").expect("read") == 0 {
            return;
        }
    }
}
