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
/// Dropping it ends all of them at once, like a power failure, and removes a temporary folder;
/// [`stop`](Self::stop) lets transfers under way finish.
#[derive(Debug)]
pub struct Network {
    satellite: Mutex<Option<Satellite>>,
    nodes: Vec<Node>,
    service: Service,
    url: NodeUrl,
    // Last: the folder goes after those who use it.
    home: Home,
}

/// What the satellite is started with, again and again.
struct Service {
    folder: PathBuf,
    scheme: Scheme,
    address: SocketAddr,
    adjust: Option<AdjustSatellite>,
    now: Option<Now>,
    clocks: Option<Clocks>,
}

/// What opens a project: material for an access grant.
#[derive(Clone)]
#[non_exhaustive]
pub struct Credentials {
    /// The satellite, `id@address:port`.
    pub satellite: String,
    /// An API key that allows everything in the project.
    pub api_key: String,
    /// The project's name.
    pub project: String,
}

/// Time that calls under way get when the satellite is stopped.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Time in which all nodes come online.
const ONLINE_DEADLINE: Duration = Duration::from_secs(30);
/// Pause between two looks at what came online.
const PAUSE: Duration = Duration::from_millis(20);
/// Name of a project's first API key.
const API_KEY_NAME: &str = "first";

impl Network {
    /// Starts a network and returns when all its nodes are online.
    ///
    /// # Errors
    /// The folder is in use, damaged or of a newer version; the satellite's port is taken; there
    /// are fewer nodes than the scheme stores pieces; a service does not start.
    pub async fn start(options: Options) -> Result<Self> {
        // One process for all of them.
        uplink_rpc::descriptors::raise_limit();
        let home = Home::open(options.directory.as_deref())?;
        let record = if options.anew { None } else { home.read()? };
        let (scheme, count) = plan(&options, record.as_ref(), home.path())?;
        if options.anew {
            home.clear()?;
        }
        let kept = options.listen.or_else(|| record.as_ref().map(|record| record.satellite));
        let known = record.as_ref().and_then(|record| record.satellite_id);
        let (satellite, service) = launch_satellite(&home, scheme, kept, known, &options).await?;
        let url = satellite.node_url();
        let nodes = launch_nodes(&home, &url, count, record.as_ref(), &options).await?;
        let satellite_address = service.address;
        let network = Self { satellite: Mutex::new(Some(satellite)), nodes, service, url, home };
        let fresh = Record {
            scheme,
            satellite: satellite_address,
            nodes: network.nodes.iter().map(Node::address).collect(),
            satellite_id: network.url.id,
            node_ids: network.nodes.iter().map(Node::id).collect(),
        };
        if record.as_ref() != Some(&fresh) {
            network.home.write(&fresh)?;
        }
        network.online().await?;
        Ok(network)
    }

    /// The satellite's node URL, `id@address:port`: what access grants hold.
    #[must_use]
    pub fn satellite_url(&self) -> String {
        self.url.to_string()
    }

    /// The satellite's identity, for a proxy that stands in its place.
    #[cfg(feature = "faults")]
    pub(crate) fn satellite_identity(&self) -> Result<Identity> {
        identity(&self.service.folder.join("identity"), SATELLITE)
    }

    /// Where the satellite itself listens.
    #[cfg(feature = "faults")]
    pub(crate) fn satellite_node(&self) -> (NodeId, String) {
        (self.url.id.unwrap_or_default(), self.url.address.clone())
    }

    /// The redundancy scheme of new segments.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.service.scheme
    }

    /// The folder that holds everything of this network.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.home.path()
    }

    /// All storage nodes, running or not.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The storage node of an index.
    ///
    /// # Errors
    /// There is none.
    pub fn node(&self, index: usize) -> Result<&Node> {
        let count = self.nodes.len();
        self.nodes.get(index).ok_or(NetworkError::NoSuchNode { index, count })
    }

    /// The storage node of an id.
    ///
    /// # Errors
    /// There is none.
    pub fn node_by_id(&self, id: NodeId) -> Result<&Node> {
        let found = self.nodes.iter().find(|node| node.id() == id);
        found.ok_or(NetworkError::NoSuchNodeId(id))
    }

    /// Makes a project with an API key.
    ///
    /// # Errors
    /// A project of that name exists, or the satellite does not run.
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

    /// The operator's view of the satellite.
    ///
    /// # Errors
    /// The satellite does not run.
    pub async fn admin(&self) -> Result<Admin> {
        Ok(self.satellite.lock().await.as_ref().ok_or_else(stopped)?.admin())
    }

    /// The storage nodes as the satellite sees them.
    ///
    /// # Errors
    /// The satellite does not run, or its database fails.
    pub async fn satellite_nodes(&self) -> Result<Vec<NodeRecord>> {
        let satellite = self.satellite.lock().await;
        Ok(satellite.as_ref().ok_or_else(stopped)?.nodes().await?)
    }

    /// Lets the satellite tell all storage nodes which of their pieces are wanted, beside the regular
    /// times. Nodes act on it after they have answered.
    ///
    /// # Errors
    /// The satellite does not run, or its database fails.
    pub async fn collect_garbage(&self) -> Result<GarbageReport> {
        let satellite = self.satellite.lock().await;
        Ok(satellite.as_ref().ok_or_else(stopped)?.collect_garbage().await?)
    }

    /// Whether the satellite runs.
    pub async fn satellite_is_running(&self) -> bool {
        self.satellite.lock().await.is_some()
    }

    /// Stops the satellite in order: calls under way may finish within seconds.
    ///
    /// # Errors
    /// It does not run.
    pub async fn stop_satellite(&self) -> Result<()> {
        let mut satellite = self.satellite.lock().await;
        satellite.take().ok_or_else(stopped)?.stop(STOP_GRACE).await;
        Ok(())
    }

    /// Cuts all of the satellite's connections at once.
    ///
    /// # Errors
    /// It does not run.
    pub async fn kill_satellite(&self) -> Result<()> {
        let mut satellite = self.satellite.lock().await;
        satellite.take().ok_or_else(stopped)?.kill();
        Ok(())
    }

    /// Starts the satellite again with identity, address and database as before.
    ///
    /// # Errors
    /// It runs already, or something else took its port.
    pub async fn start_satellite(&self) -> Result<()> {
        let mut satellite = self.satellite.lock().await;
        if satellite.is_some() {
            return Err(NetworkError::Running(SATELLITE.to_owned()));
        }
        let start = |address| self.service.start(address);
        let started = port::on_same(self.service.address, port::OWN, start).await;
        *satellite = Some(started.map_err(|error| failed(error, &self.home))?);
        Ok(())
    }

    /// Lets all running nodes check in, and returns when the satellite counts them online.
    ///
    /// # Errors
    /// The satellite does not run, or does not reach one of them.
    pub async fn online(&self) -> Result<()> {
        let deadline = Instant::now() + ONLINE_DEADLINE;
        for node in &self.nodes {
            while let Err(error) = node.check_in().await {
                if Instant::now() >= deadline {
                    return Err(error);
                }
                sleep(PAUSE).await;
            }
        }
        while let Some(index) = self.missing().await? {
            if Instant::now() >= deadline {
                let reason = "the satellite does not count it".to_owned();
                return Err(NetworkError::NotOnline { index, reason });
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// A running node that the satellite does not count online.
    async fn missing(&self) -> Result<Option<usize>> {
        let seen = self.satellite_nodes().await?;
        for node in &self.nodes {
            let online = seen.iter().any(|record| record.id == node.id() && record.online);
            if !online && node.is_running().await {
                return Ok(Some(node.index()));
            }
        }
        Ok(None)
    }

    /// Stops nodes and satellite in order: transfers under way may finish within seconds. A
    /// temporary folder is gone when it returns.
    pub async fn stop(self) {
        for node in &self.nodes {
            // One that does not run needs no stop.
            let _ = node.stop().await;
        }
        let _ = self.stop_satellite().await;
    }
}

impl Service {
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

fn stopped() -> NetworkError {
    NetworkError::Stopped(SATELLITE.to_owned())
}

/// Scheme and number of nodes, checked against each other and what the folder holds.
fn plan(options: &Options, record: Option<&Record>, path: &Path) -> Result<(Scheme, usize)> {
    let kept = options.scheme.or_else(|| record.map(|record| record.scheme));
    let scheme = kept.unwrap_or_else(|| uplink_satellite::Config::dev().scheme);
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
    kept: Option<SocketAddr>,
    known: Option<NodeId>,
    options: &Options,
) -> Result<(Satellite, Service)> {
    let folder = home.satellite_path();
    match known {
        Some(known) => require(&folder, &folder.join("identity"), known, SATELLITE)?,
        None => drop(identity(&folder.join("identity"), SATELLITE)?),
    }
    let address = kept.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
    let (adjust, now) = (options.satellite.clone(), options.now.clone());
    let clocks = options.clocks.clone();
    let mut service = Service { folder, scheme, address, adjust, now, clocks };
    let database = service.config(address).database_path();
    if known.is_some() && !database.exists() {
        return Err(NetworkError::DatabaseGone { path: database });
    }
    let started = match kept {
        Some(address) if address.port() != 0 => {
            port::on_same(address, port::FOREIGN, |address| service.start(address)).await
        }
        _ => port::on_free(|address| service.start(address)).await,
    };
    let satellite = started.map_err(|error| failed(error, home))?;
    service.address = satellite.address();
    Ok((satellite, service))
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
        let known = record.and_then(|record| record.node_ids.get(index)).copied();
        let folder = home.node_path(index);
        let settings = Settings::new(index, folder, satellite.clone(), known, options);
        settings.prepare()?;
        let kept = record.and_then(|record| record.nodes.get(index)).copied();
        nodes.push(Node::launch(settings, kept).await?);
    }
    Ok(nodes)
}

fn failed(error: StartError, home: &Home) -> NetworkError {
    match error {
        StartError::Listen(listen) => NetworkError::Port {
            address: listen.address,
            path: home.network_file(),
            source: listen.source,
        },
        error => NetworkError::Satellite(Box::new(error)),
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
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
