//! A storage node of the public network, with an identity that we create.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use uplink_core::id::NodeId;
use uplink_interop::go;
use uplink_rpc::tls::Identity;

use super::process::{Process, finish, folder, free_address};

pub(crate) struct StockNode {
    pub(crate) id: NodeId,
    pub(crate) process: Process,
}

impl StockNode {
    /// Starts a node that trusts one satellite, `id@address:port`, and stores everything in its own
    /// folder. `flags` are added to those of `storagenode run`.
    pub(crate) fn start(home: &Path, satellite: &str, flags: &[String]) -> Self {
        let program = go::storagenode().unwrap_or_else(|error| panic!("{error}"));
        let identity = Identity::generate().expect("an identity");
        identity.save(folder(&home.join("identity"))).expect("saved");
        let command = |verb: &str| {
            let mut command = Command::new(&program);
            command.arg(verb).env("HOME", home).arg("--defaults=release");
            command.arg("--config-dir").arg(home.join("config"));
            command.arg("--identity-dir").arg(home.join("identity"));
            command
        };
        let settings = settings(satellite);
        let mut setup = command("setup");
        setup.arg("--storage.path").arg(home.join("storage")).args(&settings);
        finish(setup);
        // Setup does not persist all settings.
        let mut run = command("run");
        run.args(&settings).args(flags);
        Self { id: identity.node_id(), process: Process::start(run, home.join("node.log")) }
    }

    /// Fails the test if the node has logged an error of its periodic queries to the satellite.
    pub(crate) fn assert_quiet(&self) {
        let log = self.process.log();
        let asked = |line: &str| ASKED.iter().any(|subject| line.contains(subject));
        let error = |line: &&str| line.contains("\tERROR\t") && asked(line);
        assert_eq!(log.lines().find(error), None, "{}", self.id);
    }

    /// Returns the number of pieces that it stored.
    pub(crate) fn uploads(&self) -> usize {
        self.process.count("\tuploaded\t")
    }

    /// Returns the number of complete downloads of pieces or ranges of them.
    pub(crate) fn downloads(&self) -> usize {
        self.process.count("\tdownloaded\t")
    }
}

/// Words that identify periodic queries in a node's log.
const ASKED: [&str; 5] = ["nodestats", "heldamount", "payout", "reputation", "pricing"];

/// Returns the settings of a node on a single machine.
fn settings(satellite: &str) -> Vec<String> {
    let address = free_address();
    let listen = |name: &str, address: SocketAddr| format!("--{name}={address}");
    let mut settings = vec![
        listen("server.address", address),
        listen("contact.external-address", address),
        listen("server.private-address", free_address()),
        listen("console.address", free_address()),
        format!("--storage2.trust.sources={satellite}"),
    ];
    settings.extend(SETTINGS.iter().map(|setting| (*setting).to_owned()));
    settings
}

/// The version check cannot be disabled, but the node continues without a response. QUIC is
/// disabled because the node's library for it panics when built with Go 1.26. With the whitelist,
/// orders would not reach satellites whose authority is not on it.
const SETTINGS: &[&str] = &[
    "--contact.interval=5s",
    "--metrics.addr=",
    "--metrics.event-addr=",
    "--operator.email=operator@example.org",
    "--operator.wallet=0x0000000000000000000000000000000000000001",
    "--pieces.enable-lazy-filewalker=false",
    "--server.disable-quic",
    "--server.use-peer-ca-whitelist=false",
    "--storage.allocated-disk-space=2GB",
    "--storage2.monitor.minimum-disk-space=0B",
    "--tracing.enabled=false",
    "--version.run-mode=once",
    "--version.server-address=http://127.0.0.1:9",
];
