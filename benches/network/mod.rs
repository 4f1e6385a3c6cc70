//! A satellite and its storage nodes, each kind in a process of its own, so that the CPU time of
//! client, satellite and nodes can be told apart.
//!
//! The nodes keep their pieces in memory where the system has a file system there: what is measured
//! is the way of the bytes, not a disk.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use uplink::{Access, Config};
use uplink_core::erasure::Scheme;
use uplink_rpc::tls::Identity;
use uplink_satellite::Satellite;
use uplink_storagenode::StorageNode;

/// Tells a copy of this program what to be.
const ROLE: &str = "UPLINK_BENCH_ROLE";
const SCHEME: &str = "UPLINK_BENCH_SCHEME";
const SATELLITE: &str = "UPLINK_BENCH_SATELLITE";
const MEMORY: &str = "/dev/shm";
const CAPACITY: u64 = 1 << 40;
/// Less than the satellite of a development network waits before a node counts as offline.
const CHECK_IN_INTERVAL: Duration = Duration::from_secs(10);
const ONLINE_DEADLINE: Duration = Duration::from_secs(30);
const READY: &str = "ready";

/// A running network; its processes end with it.
pub(crate) struct Network {
    pub(crate) satellite: Service,
    pub(crate) nodes: Service,
    url: String,
    api_key: String,
}

/// Bytes of pieces that all nodes together have taken and given, wasted ones included.
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
        let (url, api_key) = (url.to_owned(), api_key.to_owned());
        let mut nodes = Service::start("nodes", scheme, &url);
        assert_eq!(nodes.line(), READY);
        Self { satellite, nodes, url, api_key }
    }

    pub(crate) async fn access(&self) -> Access {
        let (satellite, key) = (&self.url, &self.api_key);
        let config = Config::new();
        let access = Access::request_with_passphrase(satellite, key, "bench", &config).await;
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

/// A child process that answers each line with a line, until its input ends.
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
        input.write_all(b"\n").expect("asked");
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

/// Serves if this process was started to; tells whether it was.
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
    let deadline = Instant::now() + ONLINE_DEADLINE;
    for node in &nodes {
        while let Err(error) = node.check_in_now().await {
            assert!(Instant::now() < deadline, "a node does not come online: {error}");
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

/// Prints a line at once and one for each line that comes in.
async fn answer(mut line: impl FnMut() -> String) {
    loop {
        println!("{}", line());
        std::io::stdout().flush().expect("flushed");
        let asked = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
        if asked.await.expect("waited").expect("read") == 0 {
            return;
        }
    }
}
