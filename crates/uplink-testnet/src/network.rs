//! The network: a satellite and its storage nodes.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use uplink_core::erasure::Scheme;
use uplink_core::id::NodeId;
use uplink_core::node_url::NodeUrl;
use uplink_rpc::tls::Identity;
use uplink_satellite::{Admin, Clock, GarbageReport, NodeRecord, Satellite, StartError};

use crate::error::{NetworkError, Result};
use crate::files::{Home, Record, identity, require};
use crate::node::{Node, Settings};
use crate::options::{AdjustSatellite, Clocks, MAX_NODES, Now, Options, Party};
use crate::port;

/// A satellite and its storage nodes, running in this process.
///
/// Dropping it terminates all of them immediately, like a power failure, and removes a temporary
/// folder. [`stop`](Self::stop) lets transfers in flight finish.
#[derive(Debug)]
pub struct Network {
    satellite: Mutex<Option<Satellite>>,
    nodes: Vec<Node>,
    settings: SatelliteSettings,
    url: NodeUrl,
    // Last field: the folder must outlive the services that use it.
    home: Home,
}

/// Settings for every start of the satellite.
struct SatelliteSettings {
    folder: PathBuf,
    scheme: Scheme,
    address: SocketAddr,
    adjust: Option<AdjustSatellite>,
    now: Option<Now>,
    clocks: Option<Clocks>,
}

/// Credentials of a project, from which access grants are made.
#[derive(Clone)]
#[non_exhaustive]
pub struct Credentials {
    /// Node URL of the satellite, `id@address:port`.
    pub satellite: String,
    /// An API key with all permissions in the project.
    pub api_key: String,
    /// The project's name.
    pub project: String,
}

/// Grace period for calls in flight when the satellite is stopped.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Timeout for all nodes to come online.
const ONLINE_TIMEOUT: Duration = Duration::from_secs(30);
/// Interval between checks for nodes that are not online yet.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Name of a project's first API key.
const API_KEY_NAME: &str = "first";

impl Network {
    /// Starts a network and returns when all its nodes are online.
    ///
    /// # Errors
    /// Fails if the folder is in use, corrupt or of a newer format, the satellite's port is in use,
    /// the network has fewer nodes than the scheme stores pieces, or a service cannot be started.
    pub async fn start(options: Options) -> Result<Self> {
        // All services share this process's file descriptors.
        uplink_rpc::descriptors::raise_limit();
        let home = Home::open(options.directory.as_deref())?;
        let record = if options.reset { None } else { home.read()? };
        let (scheme, count) = plan(&options, record.as_ref(), home.path())?;
        if options.reset {
            home.clear()?;
        }

        let address = options.listen.or_else(|| record.as_ref().map(|record| record.satellite));
        let known_id = record.as_ref().and_then(|record| record.satellite_id);
        let (satellite, settings) =
            launch_satellite(&home, scheme, address, known_id, &options).await?;
        let url = satellite.node_url();
        let nodes = launch_nodes(&home, &url, count, record.as_ref(), &options).await?;
        let satellite_address = settings.address;
        let network = Self { satellite: Mutex::new(Some(satellite)), nodes, settings, url, home };

        let updated = Record {
            scheme,
            satellite: satellite_address,
            nodes: network.nodes.iter().map(Node::address).collect(),
            satellite_id: network.url.id,
            node_ids: network.nodes.iter().map(Node::id).collect(),
        };
        if record.as_ref() != Some(&updated) {
            network.home.write(&updated)?;
        }
        network.online().await?;
        Ok(network)
    }

    /// Returns the satellite's node URL, `id@address:port`, which access grants contain.
    #[must_use]
    pub fn satellite_url(&self) -> String {
        self.url.to_string()
    }

    /// Returns the satellite's identity, for a proxy that replaces it.
    #[cfg(feature = "faults")]
    pub(crate) fn satellite_identity(&self) -> Result<Identity> {
        identity(&self.settings.folder.join("identity"), SATELLITE)
    }

    /// Returns the id and listen address of the satellite itself.
    #[cfg(feature = "faults")]
    pub(crate) fn satellite_node(&self) -> (NodeId, String) {
        (self.url.id.unwrap_or_default(), self.url.address.clone())
    }

    /// Returns the redundancy scheme of new segments.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.settings.scheme
    }

    /// Returns the folder that holds all state of this network.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.home.path()
    }

    /// Returns all storage nodes, running or not.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Returns the storage node with an index.
    ///
    /// # Errors
    /// Fails if the index is out of range.
    pub fn node(&self, index: usize) -> Result<&Node> {
        let count = self.nodes.len();
        self.nodes.get(index).ok_or(NetworkError::NoSuchNode { index, count })
    }

    /// Returns the storage node with an id.
    ///
    /// # Errors
    /// Fails if no node has this id.
    pub fn node_by_id(&self, id: NodeId) -> Result<&Node> {
        let found = self.nodes.iter().find(|node| node.id() == id);
        found.ok_or(NetworkError::NoSuchNodeId(id))
    }

    /// Creates a project with an API key.
    ///
    /// # Errors
    /// Fails if a project with this name exists, or the satellite is not running.
    pub async fn project(&self, name: &str) -> Result<Credentials> {
        let admin = self.admin().await?;
        let project = admin.create_project(name).await?;
        let api_key = admin.create_api_key(&project, API_KEY_NAME).await?;
        Ok(Credentials {
            satellite: self.satellite_url(),
            api_key: api_key.serialize(),
            project: project.name,
        })
    }

    /// Returns the satellite's administration interface.
    ///
    /// # Errors
    /// Fails if the satellite is not running.
    pub async fn admin(&self) -> Result<Admin> {
        Ok(self.satellite.lock().await.as_ref().ok_or_else(not_running)?.admin())
    }

    /// Returns the satellite's records of the storage nodes.
    ///
    /// # Errors
    /// Fails if the satellite is not running, or its database fails.
    pub async fn satellite_nodes(&self) -> Result<Vec<NodeRecord>> {
        let satellite = self.satellite.lock().await;
        Ok(satellite.as_ref().ok_or_else(not_running)?.nodes().await?)
    }

    /// Runs a round of garbage collection now: the satellite sends every storage node a filter of
    /// the pieces to keep. Nodes apply it after they have replied.
    ///
    /// # Errors
    /// Fails if the satellite is not running, or its database fails.
    pub async fn collect_garbage(&self) -> Result<GarbageReport> {
        let satellite = self.satellite.lock().await;
        Ok(satellite.as_ref().ok_or_else(not_running)?.collect_garbage().await?)
    }

    /// Returns whether the satellite is running.
    pub async fn satellite_is_running(&self) -> bool {
        self.satellite.lock().await.is_some()
    }

    /// Stops the satellite gracefully: calls in flight get a few seconds to finish.
    ///
    /// # Errors
    /// Fails if the satellite is not running.
    pub async fn stop_satellite(&self) -> Result<()> {
        let mut satellite = self.satellite.lock().await;
        satellite.take().ok_or_else(not_running)?.stop(STOP_GRACE).await;
        Ok(())
    }

    /// Stops the satellite immediately, closing all its connections.
    ///
    /// # Errors
    /// Fails if the satellite is not running.
    pub async fn kill_satellite(&self) -> Result<()> {
        let mut satellite = self.satellite.lock().await;
        satellite.take().ok_or_else(not_running)?.kill();
        Ok(())
    }

    /// Restarts the satellite with the same identity, address and database.
    ///
    /// # Errors
    /// Fails if the satellite is already running, or its port is in use.
    pub async fn start_satellite(&self) -> Result<()> {
        let mut satellite = self.satellite.lock().await;
        if satellite.is_some() {
            return Err(NetworkError::AlreadyRunning(SATELLITE.to_owned()));
        }

        let start = |address| self.settings.start(address);
        let started =
            port::start_on_same(self.settings.address, port::RESTART_TIMEOUT, start).await;
        *satellite = Some(started.map_err(|error| start_error(error, &self.home))?);
        Ok(())
    }

    /// Makes all running nodes check in and waits until the satellite reports them online.
    ///
    /// # Errors
    /// Fails if the satellite is not running, or cannot reach a node within the timeout.
    pub async fn online(&self) -> Result<()> {
        let deadline = Instant::now() + ONLINE_TIMEOUT;
        for node in &self.nodes {
            while let Err(error) = node.check_in().await {
                if Instant::now() >= deadline {
                    return Err(error);
                }
                sleep(POLL_INTERVAL).await;
            }
        }
        while let Some(index) = self.first_offline().await? {
            if Instant::now() >= deadline {
                let reason = "the satellite reports it offline".to_owned();
                return Err(NetworkError::NotOnline { index, reason });
            }
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Returns the index of the first running node that the satellite reports offline.
    async fn first_offline(&self) -> Result<Option<usize>> {
        let records = self.satellite_nodes().await?;
        for node in &self.nodes {
            let online = records.iter().any(|record| record.id == node.id() && record.online);
            if !online && node.is_running().await {
                return Ok(Some(node.index()));
            }
        }
        Ok(None)
    }

    /// Stops the nodes and the satellite gracefully: transfers in flight get a few seconds to
    /// finish. A temporary folder is removed before this returns.
    pub async fn stop(self) {
        for node in &self.nodes {
            // The only error is that the node is not running.
            let _ = node.stop().await;
        }
        let _ = self.stop_satellite().await;
    }
}

impl SatelliteSettings {
    fn config(&self, address: SocketAddr) -> uplink_satellite::Config {
        let mut config = uplink_satellite::Config::dev();
        config.listen = address;
        config.folder.clone_from(&self.folder);
        config.scheme = self.scheme;
        if let Some(adjust) = &self.adjust {
            adjust(&mut config);
        }
        config
    }

    async fn start(&self, address: SocketAddr) -> std::result::Result<Satellite, StartError> {
        let identity = Identity::load(&self.folder.join("identity"))?;
        let config = self.config(address);
        let clock = match (self.clocks.clone(), self.now.clone()) {
            (Some(clocks), _) => Clock::stepping(move || clocks(Party::Satellite)),
            (None, Some(now)) => Clock::new(move || now()),
            (None, None) => Clock::system(),
        };
        Satellite::start_with_clock(config, identity, clock).await
    }
}

const SATELLITE: &str = "the satellite";

fn not_running() -> NetworkError {
    NetworkError::NotRunning(SATELLITE.to_owned())
}

/// Returns the scheme and the number of nodes, validated against each other and the stored record.
fn plan(options: &Options, record: Option<&Record>, path: &Path) -> Result<(Scheme, usize)> {
    let scheme = options
        .scheme
        .or_else(|| record.map(|record| record.scheme))
        .unwrap_or_else(|| uplink_satellite::Config::dev().scheme);
    let found = record.map(|record| record.nodes.len());
    let nodes = options.nodes.or(found).unwrap_or_else(|| scheme.total().into());
    if nodes == 0 || nodes > MAX_NODES {
        return Err(NetworkError::NodeCount(nodes));
    }
    if let Some(found) = found.filter(|found| *found > nodes) {
        let path = path.to_owned();
        return Err(NetworkError::NodesLost { path, found, wanted: nodes });
    }
    let optimal = usize::from(scheme.optimal());
    if nodes < optimal {
        return Err(NetworkError::TooFewNodes { scheme, optimal, nodes });
    }

    match options.listen {
        Some(address) if !address.ip().is_loopback() => Err(NetworkError::NotLoopback(address)),
        _ => Ok((scheme, nodes)),
    }
}

async fn launch_satellite(
    home: &Home,
    scheme: Scheme,
    known_address: Option<SocketAddr>,
    known_id: Option<NodeId>,
    options: &Options,
) -> Result<(Satellite, SatelliteSettings)> {
    let folder = home.satellite_path();
    match known_id {
        Some(known_id) => require(&folder, &folder.join("identity"), known_id, SATELLITE)?,
        None => drop(identity(&folder.join("identity"), SATELLITE)?),
    }

    let mut settings = SatelliteSettings {
        folder,
        scheme,
        address: known_address.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0))),
        adjust: options.satellite.clone(),
        now: options.now.clone(),
        clocks: options.clocks.clone(),
    };
    let database = settings.config(settings.address).database_path();
    if known_id.is_some() && !database.exists() {
        return Err(NetworkError::DatabaseMissing { path: database });
    }

    let start = |address| settings.start(address);
    let started = match known_address {
        Some(address) if address.port() != 0 => {
            port::start_on_same(address, port::LAUNCH_TIMEOUT, start).await
        }
        _ => port::start_on_free(start).await,
    };
    let satellite = started.map_err(|error| start_error(error, home))?;
    settings.address = satellite.address();
    Ok((satellite, settings))
}

async fn launch_nodes(
    home: &Home,
    satellite: &NodeUrl,
    count: usize,
    record: Option<&Record>,
    options: &Options,
) -> Result<Vec<Node>> {
    let satellite = uplink_storagenode::Satellite {
        id: satellite.id.unwrap_or_default(),
        address: satellite.address.clone(),
    };
    let mut nodes = Vec::with_capacity(count);
    for index in 0..count {
        let known_id = record.and_then(|record| record.node_ids.get(index)).copied();
        let folder = home.node_path(index);
        let settings = Settings::new(index, folder, satellite.clone(), known_id, options);
        settings.prepare()?;
        let known_address = record.and_then(|record| record.nodes.get(index)).copied();
        nodes.push(Node::launch(settings, known_address).await?);
    }
    Ok(nodes)
}

fn start_error(error: StartError, home: &Home) -> NetworkError {
    match error {
        StartError::Listen(listen) => NetworkError::Port {
            address: listen.address,
            path: home.network_file(),
            source: listen.source,
        },
        error => NetworkError::Satellite(Box::new(error)),
    }
}

impl fmt::Debug for SatelliteSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SatelliteSettings")
            .field("folder", &self.folder)
            .field("scheme", &self.scheme)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("satellite", &self.satellite)
            .field("project", &self.project)
            .finish_non_exhaustive()
    }
}
