//! A storage node of a network.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::Mutex;
use uplink_core::id::NodeId;
use uplink_storagenode::{Clock, Config, MarkerError, Satellite, StartError, StorageNode, Usage};

use crate::error::{NetworkError, Result};
use crate::files::{create_directory, identity, require};
use crate::options::{AdjustNode, Clocks, DEFAULT_CAPACITY, Now, Options, Party};
use crate::port;
use crate::relay::{self, Relay};

/// A storage node, running or not. Its identity, address and folder never change.
///
/// Calls on one node are serialized. A cancelled call may leave the node not_running.
#[derive(Debug)]
pub struct Node {
    settings: Settings,
    id: NodeId,
    address: SocketAddr,
    running: Mutex<Option<Running>>,
}

/// A running node's service, and the relay in front of a slowed one.
#[derive(Debug)]
struct Running {
    service: StorageNode,
    relay: Option<Relay>,
    delay: Duration,
}

/// Settings for every start of a node.
pub(crate) struct Settings {
    index: usize,
    folder: PathBuf,
    satellite: Satellite,
    capacity: u64,
    adjust: Option<AdjustNode>,
    now: Option<Now>,
    clocks: Option<Clocks>,
    /// The node's id if it ran before. Its folder must then exist.
    known_id: Option<NodeId>,
}

/// Grace period for transfers in flight when a node is stopped.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Interval between check-ins.
const CHECK_IN_INTERVAL: Duration = Duration::from_secs(10);
/// Minimum age of garbage: slightly above the satellite's segment lifetime.
const CREATION_MARGIN: Duration = Duration::from_secs(10 * 60);
/// Time that garbage stays in the trash.
const TRASH_LIFETIME: Duration = Duration::from_secs(60);

impl Node {
    /// Starts a node on its previous address, or on a free one if that is in use.
    pub(crate) async fn launch(
        settings: Settings,
        known_address: Option<SocketAddr>,
    ) -> Result<Self> {
        let is_new = settings.known_id.is_none();
        let start = |address| settings.start(address, Duration::ZERO, is_new);
        let restarted = match known_address {
            Some(address) => {
                match port::start_on_same(address, port::LAUNCH_TIMEOUT, start).await {
                    Err(error) if port::StartFailure::port_taken(&error) => {
                        tracing::warn!(node = settings.index, %error, "port in use, choosing another");
                        None
                    }
                    outcome => Some(outcome),
                }
            }
            None => None,
        };
        let started = match restarted {
            Some(outcome) => outcome,
            None => port::start_on_free(start).await,
        };
        let running = started.map_err(|error| settings.start_error(error))?;
        let id = running.service.node_id();
        let address = running.service.address();
        Ok(Self { settings, id, address, running: Mutex::new(Some(running)) })
    }

    /// Returns the node's index in the network, from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.settings.index
    }

    /// Returns the node's id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Returns the address on which the node listens while it is running.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the folder with the node's identity and data.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.settings.folder
    }

    /// Returns whether the node is running.
    pub async fn is_running(&self) -> bool {
        self.running.lock().await.is_some()
    }

    /// Returns the node's used and free space, or `None` while it is not running.
    pub async fn usage(&self) -> Option<Usage> {
        self.running.lock().await.as_ref().and_then(|running| running.service.usage().ok())
    }

    /// Returns the latency added in each direction, or `None` while the node is not running.
    pub async fn delay(&self) -> Option<Duration> {
        self.running.lock().await.as_ref().map(|running| running.delay)
    }

    /// Returns the bytes of pieces sent to downloads since the node's start, or 0 while it is not
    /// running.
    pub async fn served(&self) -> u64 {
        self.running.lock().await.as_ref().map_or(0, |running| running.service.served())
    }

    /// Stops the node gracefully: transfers in flight get a few seconds to finish.
    ///
    /// # Errors
    /// Fails if the node is not running.
    pub async fn stop(&self) -> Result<()> {
        let mut running = self.running.lock().await;
        running.take().ok_or_else(|| self.not_running())?.stop().await;
        Ok(())
    }

    /// Stops the node immediately, closing all its connections as a machine failure would.
    /// Acknowledged pieces stay on its disk.
    ///
    /// # Errors
    /// Fails if the node is not running.
    pub async fn kill(&self) -> Result<()> {
        let mut running = self.running.lock().await;
        running.take().ok_or_else(|| self.not_running())?.service.kill();
        Ok(())
    }

    /// Restarts the node with the same identity, address and pieces.
    ///
    /// Returns once the node listens. It then checks in on its own;
    /// [`Network::online`](crate::Network::online) waits for that.
    ///
    /// # Errors
    /// Fails if the node is already running, or its port or folder is in use.
    pub async fn start(&self) -> Result<()> {
        let mut running = self.running.lock().await;
        if running.is_some() {
            return Err(NetworkError::AlreadyRunning(self.name()));
        }
        *running = Some(self.start_with(Duration::ZERO).await?);
        Ok(())
    }

    /// Adds latency in each direction; zero removes it. The node is restarted.
    ///
    /// Above about one second the satellite considers the node offline.
    ///
    /// # Errors
    /// Fails if the node is not running, or another program took its port during the restart.
    pub async fn slow(&self, delay: Duration) -> Result<()> {
        let mut running = self.running.lock().await;
        running.take().ok_or_else(|| self.not_running())?.stop().await;
        *running = Some(self.start_with(delay).await?);
        Ok(())
    }

    async fn start_with(&self, delay: Duration) -> Result<Running> {
        let start = |address| self.settings.start(address, delay, false);
        let started = port::start_on_same(self.address, port::RESTART_TIMEOUT, start).await;
        started.map_err(|error| self.settings.start_error(error))
    }

    /// Checks in with the satellite, which pings the node back. Does nothing while the node is not
    /// running.
    ///
    /// # Errors
    /// Fails if the node cannot reach the satellite, or the satellite cannot reach the node.
    pub async fn check_in(&self) -> Result<()> {
        let running = self.running.lock().await;
        let Some(running) = running.as_ref() else { return Ok(()) };
        running.service.check_in_now().await.map_err(|error| NetworkError::NotOnline {
            index: self.index(),
            reason: error.to_string(),
        })
    }

    /// Deletes pieces that have been in the trash for its lifetime now, and returns their number.
    ///
    /// # Errors
    /// Fails if the node is not running, or its file system fails.
    pub async fn empty_trash(&self) -> Result<u64> {
        let running = self.running.lock().await;
        let running = running.as_ref().ok_or_else(|| self.not_running())?;
        running
            .service
            .empty_trash()
            .await
            .map_err(|source| NetworkError::Trash { index: self.index(), source: Box::new(source) })
    }

    /// Settles the orders of all past hours with the satellite. Does nothing while the node is not
    /// running.
    ///
    /// # Errors
    /// Fails if the satellite does not reply, or the orders cannot be read.
    pub async fn settle(&self) -> Result<()> {
        let running = self.running.lock().await;
        let Some(running) = running.as_ref() else { return Ok(()) };
        running.service.settle_now().await.map_err(|source| NetworkError::Settlement {
            index: self.index(),
            source: Box::new(source),
        })
    }

    fn not_running(&self) -> NetworkError {
        NetworkError::NotRunning(self.name())
    }

    fn name(&self) -> String {
        format!("storage node {}", self.index())
    }
}

impl Running {
    async fn stop(self) {
        self.service.stop(STOP_GRACE).await;
        drop(self.relay);
    }
}

impl Settings {
    pub(crate) fn new(
        index: usize,
        folder: PathBuf,
        satellite: Satellite,
        known_id: Option<NodeId>,
        options: &Options,
    ) -> Self {
        Self {
            index,
            folder,
            satellite,
            capacity: options.capacity.unwrap_or(DEFAULT_CAPACITY),
            adjust: options.node.clone(),
            now: options.now.clone(),
            clocks: options.clocks.clone(),
            known_id,
        }
    }

    /// Creates the folders and identity of a new node, or requires those of an existing one.
    pub(crate) fn prepare(&self) -> Result<()> {
        let service = format!("storage node {}", self.index);
        let Some(known_id) = self.known_id else {
            create_directory(&self.data())?;
            return identity(&self.identity(), &service).map(drop);
        };
        require(&self.folder, &self.identity(), known_id, &service)
    }

    /// Starts the node, reachable at `address`.
    async fn start(
        &self,
        address: SocketAddr,
        delay: Duration,
        is_new: bool,
    ) -> std::result::Result<Running, StartError> {
        let identity = uplink_rpc::tls::Identity::load(&self.identity())?;
        let mut config = Config::new(self.data(), self.capacity, vec![self.satellite.clone()]);
        config.listen = address;
        config.check_in_interval = CHECK_IN_INTERVAL;
        config.accept_empty_data = is_new;
        config.creation_margin = CREATION_MARGIN;
        config.trash_lifetime = TRASH_LIFETIME;
        if let Some(now) = self.now.clone() {
            config.clock = Clock::new(move || now());
        }
        if let Some(clocks) = self.clocks.clone() {
            let party = Party::Node(self.index);
            config.clock = Clock::stepping(move || clocks(party));
        }
        if let Some(adjust) = &self.adjust {
            adjust(self.index, &mut config);
        }

        if delay.is_zero() {
            let service = StorageNode::start(config, identity).await?;
            return Ok(Running { service, relay: None, delay });
        }
        let listener = relay::listen(config.listen).await?;
        config.external_address.get_or_insert_with(|| address.to_string());
        config.listen.set_port(0);
        let service = StorageNode::start(config, identity).await?;
        let relay = Some(Relay::start(listener, service.address(), delay));
        Ok(Running { service, relay, delay })
    }

    fn start_error(&self, source: StartError) -> NetworkError {
        if let StartError::Data(MarkerError::Missing { data, .. }) = source {
            return NetworkError::FolderMissing {
                service: format!("storage node {}", self.index),
                path: data,
            };
        }
        NetworkError::Node { index: self.index, source: Box::new(source) }
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn identity(&self) -> PathBuf {
        self.folder.join("identity")
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("index", &self.index)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}
