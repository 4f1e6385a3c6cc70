//! One storage node of a network.

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

/// A storage node, running or not. Its identity, address and folder stay the same.
///
/// Calls on one node wait for each other; a call dropped half way may leave it stopped.
#[derive(Debug)]
pub struct Node {
    settings: Settings,
    id: NodeId,
    address: SocketAddr,
    running: Mutex<Option<Running>>,
}

/// The node's service, and what may stand before it.
#[derive(Debug)]
struct Running {
    service: StorageNode,
    relay: Option<Relay>,
    delay: Duration,
}

/// What a node is started with, again and again.
pub(crate) struct Settings {
    index: usize,
    folder: PathBuf,
    satellite: Satellite,
    capacity: u64,
    adjust: Option<AdjustNode>,
    now: Option<Now>,
    clocks: Option<Clocks>,
    /// The id it had before; its folder must still be there.
    known: Option<NodeId>,
}

/// Time that transfers under way get when a node is stopped.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Time between two check-ins.
const CHECK_IN_INTERVAL: Duration = Duration::from_secs(10);
/// Age of pieces that may be garbage: a little more than the satellite's segment lifetime.
const CREATION_MARGIN: Duration = Duration::from_secs(10 * 60);
/// Time that garbage is kept.
const TRASH_LIFETIME: Duration = Duration::from_secs(60);

impl Node {
    /// Starts a node on the address it had before, if that is free, else on another.
    pub(crate) async fn launch(settings: Settings, kept: Option<SocketAddr>) -> Result<Self> {
        let begins = settings.known.is_none();
        let start = |address| settings.start(address, Duration::ZERO, begins);
        let kept = match kept {
            Some(address) => match port::on_same(address, port::FOREIGN, start).await {
                Err(error) if port::StartFailure::port_taken(&error) => {
                    tracing::warn!(node = settings.index, %error, "moving to another port");
                    None
                }
                outcome => Some(outcome),
            },
            None => None,
        };
        let started = match kept {
            Some(outcome) => outcome,
            None => port::on_free(start).await,
        };
        let running = started.map_err(|error| settings.failed(error))?;
        let (id, address) = (running.service.node_id(), running.service.address());
        Ok(Self { settings, id, address, running: Mutex::new(Some(running)) })
    }

    /// The node's place in the network, from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.settings.index
    }

    /// The node's id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Where the node listens while it runs.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The folder with the node's identity and data.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.settings.folder
    }

    /// Whether the node runs.
    pub async fn is_running(&self) -> bool {
        self.running.lock().await.is_some()
    }

    /// What the node stores and still takes; `None` while it does not run.
    pub async fn usage(&self) -> Option<Usage> {
        self.running.lock().await.as_ref().and_then(|running| running.service.usage().ok())
    }

    /// How much longer than the machine's own every way to and from the node takes; `None` while it
    /// does not run.
    pub async fn delay(&self) -> Option<Duration> {
        self.running.lock().await.as_ref().map(|running| running.delay)
    }

    /// Bytes of pieces handed to downloads since the node's start; 0 while it does not run.
    pub async fn served(&self) -> u64 {
        self.running.lock().await.as_ref().map_or(0, |running| running.service.served())
    }

    /// Stops the node in order: transfers under way may finish within seconds.
    ///
    /// # Errors
    /// It does not run.
    pub async fn stop(&self) -> Result<()> {
        let mut running = self.running.lock().await;
        running.take().ok_or_else(|| self.stopped())?.stop().await;
        Ok(())
    }

    /// Cuts all of the node's connections at once, as a lost machine would. Pieces it acknowledged
    /// stay on its disk.
    ///
    /// # Errors
    /// It does not run.
    pub async fn kill(&self) -> Result<()> {
        let mut running = self.running.lock().await;
        running.take().ok_or_else(|| self.stopped())?.service.kill();
        Ok(())
    }

    /// Starts the node again with identity, address and pieces as before.
    ///
    /// Returns once it listens. It checks in by itself at once;
    /// [`Network::online`](crate::Network::online) waits for that.
    ///
    /// # Errors
    /// It runs already, or something else took its port or folder.
    pub async fn start(&self) -> Result<()> {
        let mut running = self.running.lock().await;
        if running.is_some() {
            return Err(NetworkError::Running(self.name()));
        }
        *running = Some(self.start_with(Duration::ZERO).await?);
        Ok(())
    }

    /// Makes every way to and from the node take longer, by up to about a second; more, and the
    /// satellite takes it for lost. Zero makes it as fast as before. The node is started anew.
    ///
    /// # Errors
    /// It does not run, or something else took its port in between.
    pub async fn slow(&self, delay: Duration) -> Result<()> {
        let mut running = self.running.lock().await;
        running.take().ok_or_else(|| self.stopped())?.stop().await;
        *running = Some(self.start_with(delay).await?);
        Ok(())
    }

    async fn start_with(&self, delay: Duration) -> Result<Running> {
        let start = |address| self.settings.start(address, delay, false);
        let started = port::on_same(self.address, port::OWN, start).await;
        started.map_err(|error| self.settings.failed(error))
    }

    /// Checks in with the satellite, which pings the node back. Does nothing while it is stopped.
    ///
    /// # Errors
    /// One of the two does not reach the other.
    pub async fn check_in(&self) -> Result<()> {
        let running = self.running.lock().await;
        let Some(running) = running.as_ref() else { return Ok(()) };
        running.service.check_in_now().await.map_err(|error| NetworkError::NotOnline {
            index: self.index(),
            reason: error.to_string(),
        })
    }

    /// Deletes what has been in the node's trash for its lifetime, beside the regular times; tells how
    /// many pieces.
    ///
    /// # Errors
    /// The node does not run, or its file system fails.
    pub async fn empty_trash(&self) -> Result<u64> {
        let running = self.running.lock().await;
        let running = running.as_ref().ok_or_else(|| self.stopped())?;
        running
            .service
            .empty_trash()
            .await
            .map_err(|source| NetworkError::Trash { index: self.index(), source: Box::new(source) })
    }

    /// Hands in the orders of all hours that are over. Does nothing while the node is stopped.
    ///
    /// # Errors
    /// The satellite does not answer, or the orders cannot be read.
    pub async fn settle(&self) -> Result<()> {
        let running = self.running.lock().await;
        let Some(running) = running.as_ref() else { return Ok(()) };
        running.service.settle_now().await.map_err(|source| {
            let (index, source) = (self.index(), Box::new(source));
            NetworkError::Settlement { index, source }
        })
    }

    fn stopped(&self) -> NetworkError {
        NetworkError::Stopped(self.name())
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
        known: Option<NodeId>,
        options: &Options,
    ) -> Self {
        let capacity = options.capacity.unwrap_or(DEFAULT_CAPACITY);
        let (adjust, now) = (options.node.clone(), options.now.clone());
        let clocks = options.clocks.clone();
        Self { index, folder, satellite, capacity, adjust, now, clocks, known }
    }

    /// Makes the node's folders and identity, or requires those that it had.
    pub(crate) fn prepare(&self) -> Result<()> {
        let whose = format!("storage node {}", self.index);
        let Some(known) = self.known else {
            create_directory(&self.data())?;
            return identity(&self.identity(), &whose).map(drop);
        };
        require(&self.folder, &self.identity(), known, &whose)
    }

    /// Starts the node so that it is reached at `address`.
    async fn start(
        &self,
        address: SocketAddr,
        delay: Duration,
        begins: bool,
    ) -> std::result::Result<Running, StartError> {
        let identity = uplink_rpc::tls::Identity::load(&self.identity())?;
        let mut config = Config::new(self.data(), self.capacity, vec![self.satellite.clone()]);
        config.listen = address;
        config.check_in_interval = CHECK_IN_INTERVAL;
        config.accept_empty_data = begins;
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

    fn failed(&self, source: StartError) -> NetworkError {
        if let StartError::Data(MarkerError::Missing { data, .. }) = source {
            return NetworkError::Gone {
                whose: format!("storage node {}", self.index),
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
