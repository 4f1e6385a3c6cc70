//! Our satellite with storage nodes of the public network.

use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use uplink_core::id::NodeId;
use uplink_rpc::tls::Identity;
use uplink_satellite::{Clock, Config, Satellite};

use super::process::folder;
use super::stock::StockNode;
use super::world::{SMALL_SEGMENT, World};

pub(crate) struct Ours {
    satellite: Satellite,
    pub(crate) nodes: Vec<StockNode>,
    pub(crate) home: TempDir,
}

/// Time limit for all nodes to come online.
const ONLINE_TIMEOUT: Duration = Duration::from_secs(60);

impl Ours {
    /// Starts a satellite with nodes, and the two clients on it.
    pub(crate) async fn start(scheme: &str, nodes: usize) -> World<Self> {
        Self::start_with(scheme, nodes, Clock::system(), &[]).await
    }

    pub(crate) async fn start_with(
        scheme: &str,
        nodes: usize,
        clock: Clock,
        flags: &[String],
    ) -> World<Self> {
        let home = TempDir::new().expect("a folder");
        let mut config = Config::dev();
        config.folder = folder(&home.path().join("satellite")).to_owned();
        config.scheme = scheme.parse().expect("a scheme");
        let identity = Identity::generate().expect("an identity");
        let satellite = Satellite::start_with_clock(config, identity, clock).await;
        let satellite = satellite.expect("the satellite starts");
        let url = satellite.node_url().to_string();
        let admin = satellite.admin();
        let project = admin.create_project("test").await.expect("a project");
        let api_key = admin.create_api_key(&project, "first").await.expect("an API key");
        let nodes = (0..nodes).map(|index| {
            StockNode::start(folder(&home.path().join(format!("node-{index}"))), &url, flags)
        });
        let mut network = Self { satellite, nodes: nodes.collect(), home };
        network.online().await;
        World::on(network, &url, api_key.serialize(), SMALL_SEGMENT, &[]).await
    }

    async fn online(&mut self) {
        let deadline = Instant::now() + ONLINE_TIMEOUT;
        loop {
            let seen = self.satellite.nodes().await.expect("the nodes");
            let online = |id: NodeId| seen.iter().any(|node| node.id == id && node.online);
            let Some(missing) = self.nodes.iter_mut().find(|node| !online(node.id)) else { return };
            missing.process.assert_runs();
            let end = || missing.process.end();
            assert!(Instant::now() < deadline, "{} is not online:\n{}", missing.id, end());
            sleep(Duration::from_millis(100)).await;
        }
    }
}
