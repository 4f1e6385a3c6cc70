//! The network under test: on a separate disk, behind proxies, with test clocks.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use uplink::{Access, Config, ErrorKind, Project, Transport};
use uplink_testnet::{Network, Options};

use super::clocks::Clocks;
pub(crate) use super::clocks::NODES;
use super::disk::Disk;
use super::line::Line;
use super::model::content;

/// Nodes that may be down: eight of ten are enough for an upload.
pub(crate) const SPARE: usize = 2;
pub(crate) const BUCKET: &str = "bucket";
const SEGMENT: u64 = 128 << 10;
/// Time limit of recovery.
const RECOVERY: Duration = Duration::from_secs(30);
/// Sizes of the objects that check recovery: one inline, one remote.
const PROBES: [u64; 2] = [100, 50_000];
/// Lifetime of uncommitted segments; garbage must be older.
const SEGMENT_LIFETIME: Duration = Duration::from_secs(40);

pub(crate) struct FaultyNetwork {
    pub(crate) network: Network,
    pub(crate) satellite_line: Arc<Line>,
    pub(crate) node_lines: Vec<Arc<Line>>,
    pub(crate) clocks: Arc<Clocks>,
    access: Access,
    /// A client that is kept during the whole run.
    project: Project,
    // Dropped last: the network's files are on it.
    pub(crate) disk: Disk,
}

impl FaultyNetwork {
    /// Starts a network for a run of this duration.
    pub(crate) async fn start(length: Duration) -> Self {
        let disk = Disk::new(length);
        let clocks = Arc::new(Clocks::default());
        let satellite_line = Arc::new(Line::start().await);
        let mut node_lines = Vec::new();
        for _ in 0..NODES {
            node_lines.push(Arc::new(Line::start().await));
        }
        let test_clocks = Arc::clone(&clocks);
        let to_satellite = Arc::clone(&satellite_line);
        let to_nodes = node_lines.clone();
        let options = Options::new()
            .nodes(NODES)
            .directory(disk.path().join("network"))
            .stepping_clocks(move |party| test_clocks.now(party))
            .satellite_config(move |config| {
                to_satellite.lead_to(config.listen);
                config.segment_lifetime = SEGMENT_LIFETIME;
                config.garbage_interval = Duration::ZERO;
            })
            .node_config(move |index, config| {
                to_nodes[index].lead_to(config.listen);
                config.external_address = Some(to_nodes[index].address.to_string());
                config.creation_margin = SEGMENT_LIFETIME + Duration::from_secs(5);
                config.trash_lifetime = Duration::from_secs(20);
            });
        let network = Network::start(options).await.expect("the network starts");
        let credentials = network.project("test").await.expect("a project");
        let (id, _) = credentials.satellite.split_once('@').expect("a node URL");
        let satellite = format!("{id}@{}", satellite_line.address);
        let access = Access::request(&satellite, &credentials.api_key, "x").await;
        let access = access.expect("an access grant");
        let project = client(&access, Transport::Negotiated);
        project.create_bucket(BUCKET).await.expect("a bucket");
        Self { network, satellite_line, node_lines, clocks, access, project, disk }
    }

    /// Opens a new client, without history of the network.
    pub(crate) fn client(&self, transport: Transport) -> Project {
        client(&self.access, transport)
    }

    /// Waits until everything wait_until_works, for the old client and for new ones.
    pub(crate) async fn wait_until_works(&self) {
        let started = Instant::now();
        while let Err(what) = self.try_everything().await {
            assert!(
                started.elapsed() < RECOVERY,
                "not recovered after {:?}: {what}",
                started.elapsed()
            );
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn try_everything(&self) -> Result<(), String> {
        let nodes = self.network.satellite_nodes().await.map_err(|error| error.to_string())?;
        let online = nodes.iter().filter(|node| node.online).count();
        if online < NODES {
            return Err(format!("{online} of {NODES} nodes are online"));
        }
        let clients = [
            ("old", self.project.clone()),
            ("new", self.client(Transport::Negotiated)),
            ("new DRPC", self.client(Transport::Drpc)),
        ];
        for (name, project) in clients {
            for size in PROBES {
                let done = probe(&project, size).await;
                done.map_err(|error| format!("{name} client: {error:?}"))?;
            }
        }
        Ok(())
    }

    /// Collects garbage, and deletes expired pieces from the trash.
    pub(crate) async fn collect_garbage(&self) {
        let report = self.network.collect_garbage().await.expect("collected");
        assert_eq!((report.notified, report.failed), (NODES, 0), "garbage is collected everywhere");
        for node in self.network.nodes() {
            node.empty_trash().await.expect("emptied");
        }
    }

    pub(crate) async fn stop(self) {
        self.network.stop().await;
    }
}

fn client(access: &Access, transport: Transport) -> Project {
    let config = Config::new()
        .transport(transport)
        .dial_timeout(Duration::from_secs(3))
        .call_timeout(Duration::from_secs(10))
        .progress_timeout(Duration::from_secs(5))
        .segment_size(SEGMENT);
    Project::open_with(access, &config).expect("a project")
}

/// Writes, reads and deletes an object.
async fn probe(project: &Project, size: u64) -> Result<(), uplink::Error> {
    let key = format!("probe {size}");
    let bytes = content("probe", 0, size);
    let mut upload = project.upload_object(BUCKET, &key)?;
    upload.write(&bytes).await?;
    upload.commit().await?;
    let mut download = project.download_object(BUCKET, &key).await?;
    assert!(download.read_to_end(u64::MAX).await? == bytes, "wrong bytes");
    assert!(project.delete_object(BUCKET, &key).await?, "the probe existed");
    match project.download_object(BUCKET, &key).await {
        Err(error) if error.kind() == ErrorKind::ObjectNotFound => Ok(()),
        Err(error) => Err(error),
        Ok(_) => panic!("the probe exists after its deletion"),
    }
}
