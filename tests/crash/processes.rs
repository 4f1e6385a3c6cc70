//! Satellite and storage nodes as child processes.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use uplink::Access;
use uplink_rpc::tls::Identity;
use uplink_satellite::{Admin, Satellite};
use uplink_storagenode::StorageNode;

/// Number of nodes, and the scheme: six are selected, two may be down.
const NODES: usize = 8;
const SCHEME: &str = "2/3/4/6-256";
const CAPACITY: u64 = 4 << 30;
/// Time limit for a process to listen on its port.
const START_TIMEOUT: Duration = Duration::from_secs(20);

const ROLE: &str = "UPLINK_CRASH_ROLE";
const FOLDER: &str = "UPLINK_CRASH_FOLDER";
const LISTEN: &str = "UPLINK_CRASH_LISTEN";
const SATELLITE: &str = "UPLINK_CRASH_SATELLITE";

/// All processes of a network.
pub(crate) struct Processes {
    satellite: Process,
    nodes: Vec<Process>,
    url: String,
    api_key: String,
}

struct Process {
    role: &'static str,
    folder: PathBuf,
    listen: SocketAddr,
    satellite: String,
    child: Option<Child>,
}

impl Processes {
    pub(crate) async fn start(folder: &Path) -> Self {
        let mut satellite = Process::prepare("satellite", folder.join("satellite"), String::new());
        let id = Identity::load(&satellite.folder).expect("an identity").node_id();
        let url = format!("{id}@{}", satellite.listen);
        satellite.start();
        satellite.ready().await;
        let api_key = api_key(&satellite.folder).await;
        let mut nodes: Vec<Process> = (0..NODES)
            .map(|number| {
                Process::prepare("node", folder.join(format!("node-{number}")), url.clone())
            })
            .collect();
        nodes.iter_mut().for_each(Process::start);
        for node in &nodes {
            node.ready().await;
        }
        let started = Self { satellite, nodes, url, api_key };
        started.online().await;
        started
    }

    pub(crate) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) async fn access(&self) -> Access {
        let access = Access::request(&self.url, &self.api_key, "x").await;
        access.expect("an access grant")
    }

    pub(crate) fn kill_satellite(&mut self) {
        self.satellite.kill();
    }

    pub(crate) fn kill_node(&mut self, number: usize) {
        self.nodes[number].kill();
    }

    /// Restarts killed processes and waits until the satellite counts every node as online: it may
    /// have been down at each node's last check-in.
    pub(crate) async fn restart_dead(&mut self) {
        for process in self.nodes.iter_mut().chain([&mut self.satellite]) {
            if process.child.is_none() {
                process.start();
                process.ready().await;
            }
        }
        self.online().await;
    }

    /// Waits until every node has checked in.
    async fn online(&self) {
        let database = self.satellite.folder.join("satellite.db").display().to_string();
        let deadline = Instant::now() + START_TIMEOUT;
        let satellite = dev_satellite();
        loop {
            let admin = Admin::open(&database).await.expect("the database");
            let nodes = admin.nodes(&satellite).await.expect("nodes");
            if nodes.iter().filter(|node| node.online).count() == NODES {
                return;
            }
            assert!(Instant::now() < deadline, "only {} nodes came online", nodes.len());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Returns a free port below the ephemeral range: a restarted service needs the same port again,
/// whatever ports other tests open meanwhile.
fn free_port() -> SocketAddr {
    static TRIED: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 600) as u16 * 20;
    loop {
        let port = first + TRIED.fetch_add(1, Ordering::Relaxed);
        assert!(port < 32_768, "no free port from {first} on");
        if let Ok(free) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return free.local_addr().expect("its address");
        }
    }
}

impl Process {
    fn prepare(role: &'static str, folder: PathBuf, satellite: String) -> Self {
        std::fs::create_dir_all(&folder).expect("a folder");
        Identity::generate().expect("an identity").save(&folder).expect("saved");
        Self { role, folder, listen: free_port(), satellite, child: None }
    }

    fn start(&mut self) {
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "service", "--nocapture"])
            .env(ROLE, self.role)
            .env(FOLDER, &self.folder)
            .env(LISTEN, self.listen.to_string())
            .env(SATELLITE, &self.satellite)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        self.child = Some(child.expect("a child process"));
    }

    async fn ready(&self) {
        let deadline = Instant::now() + START_TIMEOUT;
        while tokio::net::TcpStream::connect(self.listen).await.is_err() {
            assert!(
                Instant::now() < deadline,
                "timeout: the {} does not listen on its port",
                self.role
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Kills with SIGKILL, so that the process cannot finish anything.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("reaped");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn api_key(folder: &Path) -> String {
    let database = folder.join("satellite.db").display().to_string();
    let deadline = Instant::now() + START_TIMEOUT;
    // The satellite listens before it creates its database.
    let admin = loop {
        match Admin::open(&database).await {
            Ok(admin) => break admin,
            Err(error) => assert!(Instant::now() < deadline, "no database: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let project = admin.create_project("crash").await.expect("a project");
    admin.create_api_key(&project, "key").await.expect("an API key").serialize()
}

fn dev_satellite() -> uplink_satellite::Config {
    let mut config = uplink_satellite::Config::dev();
    config.scheme = SCHEME.parse().expect("a scheme");
    config
}

/// Runs a service forever if this process was started as one.
pub(crate) fn serve_if_asked() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let variable = |name| std::env::var(name).expect("given by the parent");
    let folder = PathBuf::from(variable(FOLDER));
    let listen = variable(LISTEN);
    let listen = listen.parse().expect("an address");
    let identity = Identity::load(&folder).expect("an identity");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        if role == "satellite" {
            let mut config = dev_satellite();
            config.listen = listen;
            config.folder = folder;
            let _satellite = Satellite::start(config, identity).await.expect("a satellite");
            return std::future::pending::<()>().await;
        }
        let trusted = vec![variable(SATELLITE).parse().expect("a satellite")];
        let mut config = uplink_storagenode::Config::new(folder, CAPACITY, trusted);
        config.listen = listen;
        config.check_in_interval = Duration::from_secs(5);
        let _node = StorageNode::start(config, identity).await.expect("a storage node");
        std::future::pending::<()>().await;
    });
}
