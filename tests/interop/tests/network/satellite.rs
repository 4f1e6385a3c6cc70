//! A satellite and storage nodes of the public network, with a project whose API key we create.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use uplink_core::macaroon::ApiKey;
use uplink_interop::go;
use uplink_rpc::tls::Identity;

use super::postgres::Postgres;
use super::process::{Process, finish, folder, free_address};
use super::stock::StockNode;
use super::world::{SMALL_SEGMENT, World};

pub(crate) struct Theirs {
    pub(crate) url: String,
    pub(crate) nodes: Vec<StockNode>,
    pub(crate) satellite: Process,
    program: PathBuf,
    settings: Vec<String>,
    postgres: Postgres,
    home: TempDir,
}

const NODES: usize = 4;
const DATABASE: &str = "satellite";
/// The database of segments.
const METAINFO: &str = "metainfo";
/// Time limit for the satellite to respond and to know all nodes.
const ONLINE_TIMEOUT: Duration = Duration::from_secs(60);

impl Theirs {
    /// Starts a satellite with four nodes, scheme 2/3/4/4-256, and the two clients on it.
    pub(crate) async fn start() -> World<Self> {
        let network = Self::launch().await;
        let url = network.url.clone();
        let api_key = network.project(1, None);
        World::on(network, &url, api_key, SMALL_SEGMENT, &[]).await
    }

    async fn launch() -> Self {
        let program = go::satellite().unwrap_or_else(|error| panic!("{error}"));
        let postgres = Postgres::start();
        postgres.execute("postgres", "create database satellite");
        postgres.execute("postgres", "create database metainfo");
        let home = TempDir::new().expect("a folder");
        let identity = Identity::generate().expect("an identity");
        identity.save(folder(&home.path().join("identity"))).expect("saved");
        let address = free_address().to_string();
        let settings = settings(home.path(), &address, &postgres);
        let command = |words: &[&str]| command(&program, home.path(), &settings, words);
        finish(command(&["setup"]));
        finish(command(&["run", "migration"]));
        let satellite = Process::start(command(&["run", "api"]), home.path().join("api.log"));
        let url = format!("{}@{address}", identity.node_id());
        let nodes = Vec::new();
        let mut network = Self { url, nodes, satellite, program, settings, postgres, home };
        network.answers().await;
        network.join().await;
        network
    }

    /// Starts the satellite again after it was killed, and waits until it responds.
    pub(crate) async fn start_satellite(&mut self) {
        let command = command(&self.program, self.home.path(), &self.settings, &["run", "api"]);
        self.satellite = Process::start(command, self.home.path().join("api-again.log"));
        self.answers().await;
    }

    async fn answers(&mut self) {
        let (_, address) = self.url.split_once('@').expect("id and address");
        let deadline = Instant::now() + ONLINE_TIMEOUT;
        while tokio::net::TcpStream::connect(address).await.is_err() {
            self.satellite.assert_runs();
            assert!(Instant::now() < deadline, "timeout: no response:\n{}", self.satellite.end());
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Starts the nodes and marks them as vetted, because new nodes receive almost no pieces.
    async fn join(&mut self) {
        let home = self.home.path().to_owned();
        let start =
            |index| StockNode::start(folder(&home.join(format!("node-{index}"))), &self.url, &[]);
        self.nodes = (0..NODES).map(start).collect();
        let deadline = Instant::now() + ONLINE_TIMEOUT;
        let count = "select count(*) from nodes where last_contact_success > '2000-01-01'";
        while self.postgres.query(DATABASE, count) != NODES.to_string() {
            self.nodes.iter_mut().for_each(|node| node.process.assert_runs());
            assert!(
                Instant::now() < deadline,
                "timeout: nodes are missing:\n{}",
                self.satellite.end()
            );
            sleep(Duration::from_millis(200)).await;
        }
        self.postgres.execute(DATABASE, "update nodes set vetted_at = now()");
    }

    /// Creates a project and an unrestricted API key, and returns the key. `number` identifies the
    /// project; `rate` limits its requests per second.
    ///
    /// Inserts the rows itself: the satellite has no command for that, and its web interface
    /// requires a confirmed e-mail address.
    pub(crate) fn project(&self, number: u8, rate: Option<u32>) -> String {
        let secret = [number; 32];
        let head = [number ^ 0x5a; 32];
        let id = hex::encode([number; 16]);
        let rate = rate.map_or_else(|| "null".to_owned(), |rate| rate.to_string());
        let secret_hex = hex::encode(secret);
        let head_hex = hex::encode(head);
        self.postgres.execute(
            DATABASE,
            &format!(
                "insert into users (id, full_name, email, normalized_email, password_hash, status, \
                 created_at, kind) values ('\\x{id}', 'u', 'u{number}@example.org', \
                 'U{number}@EXAMPLE.ORG', '\\x00', 1, now(), 1); \
                 insert into projects (id, public_id, owner_id, name, description, created_at, \
                 salt, usage_limit, bandwidth_limit, rate_limit, burst_limit) values ('\\x{id}', \
                 '\\x{id}', '\\x{id}', 'p', '', now(), '\\x{secret_hex}', 1000000000000, \
                 1000000000000, {rate}, {rate}); \
                 insert into api_keys (id, project_id, head, name, secret, created_at) values \
                 ('\\x{id}', '\\x{id}', '\\x{head_hex}', 'k', '\\x{secret_hex}', now())"
            ),
        );
        ApiKey::new(&secret, head.to_vec()).serialize()
    }

    /// Returns the number of remote segments in the satellite's database.
    pub(crate) fn remote_segments(&self) -> usize {
        let count = "select count(*) from segments where remote_alias_pieces is not null";
        self.postgres.query(METAINFO, count).parse().expect("a number")
    }
}

/// Returns a command of the satellite. Setup does not persist all settings.
fn command(program: &Path, home: &Path, settings: &[String], words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(words).arg("--defaults=dev").env("HOME", home);
    command.arg("--config-dir").arg(home.join("config"));
    command.arg("--identity-dir").arg(home.join("identity"));
    command.args(settings);
    command
}

fn settings(home: &Path, address: &str, postgres: &Postgres) -> Vec<String> {
    // It does not start without e-mail templates.
    let mails = home.join("mails");
    for name in ["Welcome.html", "Welcome.txt"] {
        std::fs::write(folder(&mails).join(name), "Welcome").expect("a template");
    }
    let mut settings = vec![
        format!("--server.address={address}"),
        format!("--contact.external-address={address}"),
        format!("--server.private-address={}", free_address()),
        format!("--console.address={}", free_address()),
        format!("--database={}", postgres.url(DATABASE)),
        format!("--metainfo.database-url={}", postgres.url(METAINFO)),
        format!("--mail.template-path={}", mails.display()),
        format!("--server.revocation-dburl=bolt://{}", home.join("revocations.db").display()),
    ];
    settings.extend(SETTINGS.iter().map(|setting| (*setting).to_owned()));
    settings
}

/// Settings of a satellite on a single machine. Without live accounting it needs no Redis; the
/// default limit of 100 requests per second is too low for tests.
const SETTINGS: &[&str] = &[
    "--contact.allow-private-ip",
    "--live-accounting.storage-backend=noop",
    "--mail.auth-type=simulate",
    "--metainfo.rate-limiter.rate=10000",
    "--metainfo.rs=2/3/4/4-256B",
    "--metrics.addr=",
    "--metrics.event-addr=",
    "--orders.encryption-keys=\
     0100000000000000=0100000000000000000000000000000000000000000000000000000000000000",
    "--overlay.minimum-new-node-id-difficulty=0",
    "--overlay.node-selection-cache.staleness=1s",
    "--overlay.node.distinct-ip=false",
    "--overlay.node.minimum-disk-space=0B",
    "--tracing.enabled=false",
    "--version.server-address=http://127.0.0.1:9",
];
