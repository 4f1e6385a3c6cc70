//! The self-hosted storage node: pieces on disk, order limits and orders checked, check-in.
//!
//! ```text
//!   client ──► endpoint ──► verify (order limit, orders) ──► trust (satellites' keys)
//!                 │              │                              ▲
//!                 ▼              ▼                              │ learns
//!               store        settlement                      contact ──► satellites
//!          (pieces on disk)  (orders on disk) ─► settle ─────────────► satellites
//!                 ▲
//!   satellite ─ retention ──► trash
//! ```
//!
//! A storage node trusts a list of satellites. It stores and serves a piece for whoever shows an
//! order limit that one of them signed, and hands in the client's orders to the satellite as
//! evidence, hour by hour. A piece it has acknowledged survives the death of the process and a loss
//! of power.

mod clock;
mod clocks;
mod config;
mod contact;
mod endpoint;
mod hash;
mod lock;
mod retention;
mod serials;
mod settle;
mod settlement;
mod store;
mod trust;
mod verify;

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Semaphore, task::JoinSet};
use tonic::service::Routes;
use uplink_core::id::NodeId;
use uplink_rpc::{
    dial::Dialer,
    r#gen::contact::contact_server::ContactServer,
    piece::serve::PieceServer,
    pool::Pool,
    server::{ListenError, Listener, Running},
    tls::{Identity, IdentityError},
};

pub use crate::{
    clock::Clock,
    config::{Config, Satellite, SatelliteError},
    contact::CheckInError,
    retention::RetentionError,
    settle::SettleError,
    store::{
        Disk, Entry, Files, HeaderError, MarkerError, Owner, ReadableFile, StoreError, Usage,
        WritableFile,
    },
};

use crate::{
    clocks::Clocks,
    contact::Contact,
    endpoint::{Endpoint, Shared},
    lock::DirectoryLock,
    retention::Retention,
    serials::Serials,
    settle::Settler,
    settlement::Settlement,
    store::{IoPool, Marker, PieceStore},
    trust::Trust,
    verify::Verifier,
};

/// A running storage node. Dropping it stops it as [`kill`](Self::kill) does.
#[derive(Debug)]
pub struct StorageNode {
    shared: Arc<Shared>,
    serials: Serials,
    contact: Arc<Contact>,
    settlers: Vec<Arc<Settler>>,
    running: Running,
    tasks: JoinSet<()>,
    _lock: DirectoryLock,
}

impl StorageNode {
    /// Starts a node: takes the data directory, measures its pieces, listens, and begins to check
    /// in. Satellites need not be reachable yet.
    ///
    /// # Errors
    ///
    /// When the data directory is missing or in use, the store cannot be opened, or the address
    /// cannot be listened on.
    pub async fn start(config: Config, identity: Identity) -> Result<Self, StartError> {
        Self::start_on(config, identity, Arc::new(Disk)).await
    }

    /// As [`start`](Self::start), with pieces on another file system than the machine's.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub async fn start_on(
        config: Config,
        identity: Identity,
        files: Arc<dyn Files>,
    ) -> Result<Self, StartError> {
        let lock = take_directory(&config.data)?;
        let (data, capacity, keep_free) = (config.data.clone(), config.capacity, config.keep_free);
        let io = IoPool::new();
        let (clock, begins) = (config.clock.clone(), config.accept_empty_data);
        let marker = Marker::new(&data, identity.node_id());
        let opened = io.run(move || {
            marker.claim(begins)?;
            let store = PieceStore::open(files, &data, capacity, keep_free)?;
            store.require(marker);
            let serials = Serials::open(&data, clock).map_err(in_directory(&data))?;
            Ok::<_, StartError>((store, serials))
        });
        let (store, serials) = opened.await.map_err(|_| StartError::Interrupted)??;
        let listener = Listener::bind(config.listen).await?;
        let dialer = Dialer::new(&identity)?;
        let trust = Trust::new(&config.satellites, dialer.clone());
        let retention = Arc::new(Retention::new(store.clone(), io.clone(), &config));
        let shared = Arc::new(Shared {
            verifier: Verifier::new(
                identity.node_id(),
                trust,
                serials.clone(),
                Clocks::new(config.clock.clone()),
                config.clock.clone(),
            ),
            identity: Arc::new(identity),
            settlement: Arc::new(Settlement::new(&config.data, config.clock.clone())),
            clock: config.clock,
            io,
            store,
            retention,
            large_filters: tokio::sync::Mutex::default(),
            uploads: Semaphore::new(config.max_uploads),
            downloads: Arc::new(Semaphore::new(MAX_DOWNLOADS)),
            received: AtomicU64::new(0),
            served: AtomicU64::new(0),
            idle: config.idle_limit,
        });
        let pool = Pool::new(dialer);
        let settler = |satellite| Settler::new(satellite, &shared.settlement, &pool);
        let settlers: Vec<_> = config.satellites.iter().map(settler).map(Arc::new).collect();
        let contact = Arc::new(Contact {
            shared: Arc::clone(&shared),
            pool,
            address: config.external_address.unwrap_or_else(|| listener.address().to_string()),
            satellites: config.satellites,
            interval: config.check_in_interval,
        });
        let running = listener.serve(&shared.identity, routes(&shared))?;
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&shared.settlement).run());
        tasks.spawn(serials.clone().run());
        tasks.spawn(Arc::clone(&shared.retention).run());
        tasks.spawn(Arc::clone(&shared.retention).run_trash());
        for satellite in &contact.satellites {
            tasks.spawn(Arc::clone(&contact).run(satellite.clone()));
        }
        for settler in &settlers {
            tasks.spawn(Arc::clone(settler).run());
        }
        Ok(Self { shared, serials, contact, settlers, running, tasks, _lock: lock })
    }

    /// The node's id.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.shared.identity.node_id()
    }

    /// The address listened on, with the actual port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.running.address()
    }

    /// What is stored and what still fits.
    ///
    /// # Errors
    ///
    /// When the file system does not tell its free space.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        self.shared.store.usage()
    }

    /// Bytes of pieces taken from uploads since the start, whatever became of them.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.shared.received.load(Ordering::Relaxed)
    }

    /// Bytes of pieces handed to downloads since the start.
    #[must_use]
    pub fn served(&self) -> u64 {
        self.shared.served.load(Ordering::Relaxed)
    }

    /// Checks in with all satellites now, beside the regular check-ins. When it succeeds, each of
    /// them has pinged the node back.
    ///
    /// # Errors
    ///
    /// At the first satellite that cannot be reached, or cannot reach the node.
    pub async fn check_in_now(&self) -> Result<(), CheckInError> {
        self.contact.check_in_with_all().await
    }

    /// Hands in the orders of all hours that are over, beside the regular times: an hour is over two
    /// hours after it began, once no transfer with a limit of it is under way. Orders are gone from
    /// the disk once their satellite has accepted them, and kept aside when it rejects them.
    ///
    /// # Errors
    ///
    /// At the first satellite that does not answer, and when a file of orders cannot be read. What
    /// was not answered is handed in again later.
    pub async fn settle_now(&self) -> Result<(), SettleError> {
        for settler in &self.settlers {
            settler.settle().await?;
        }
        Ok(())
    }

    /// Deletes what has been in the trash for its lifetime now, beside the regular looks; tells how
    /// many pieces that were.
    ///
    /// # Errors
    ///
    /// When the file system fails.
    pub async fn empty_trash(&self) -> Result<u64, RetentionError> {
        self.shared.retention.empty_trash().await
    }

    /// Stops: accepts nothing more, lets transfers under way finish for `grace`, writes what orders
    /// are pending. When it returns, port and data directory are free.
    pub async fn stop(mut self, grace: Duration) {
        self.tasks.shutdown().await;
        self.running.stop(grace).await;
        self.shared.retention.idle().await;
        Arc::clone(&self.shared.settlement).flush().await;
        let serials = self.serials;
        let closed = tokio::task::spawn_blocking(move || serials.close()).await;
        if let Ok(Err(error)) = closed {
            tracing::error!(%error, "used serial numbers could not be written");
        }
    }

    /// Closes all sockets at once, as the death of the process would; orders that were not written
    /// yet are lost.
    pub fn kill(mut self) {
        self.running.kill();
        self.tasks.abort_all();
    }
}

fn routes(shared: &Arc<Shared>) -> Routes {
    let endpoint = Endpoint(Arc::clone(shared));
    Routes::new(PieceServer::new(endpoint.clone())).add_service(ContactServer::new(endpoint))
}

fn take_directory(data: &Path) -> Result<DirectoryLock, StartError> {
    if !data.is_dir() {
        return Err(StartError::DirectoryMissing { path: data.to_owned() });
    }
    match DirectoryLock::take(data) {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(StartError::DirectoryInUse { path: data.to_owned() }),
        Err(source) => Err(in_directory(data)(source)),
    }
}

fn in_directory(data: &Path) -> impl Fn(io::Error) -> StartError {
    |source| StartError::Directory { path: data.to_owned(), source }
}

/// Notes in a data directory that it is a node's, before the node first runs on it.
///
/// # Errors
///
/// When the directory belongs to another node, or the file system fails.
pub fn prepare_data(data: &Path, node: NodeId) -> Result<(), MarkerError> {
    Marker::new(data, node).claim(true)
}

/// Downloads at once; further ones are refused.
const MAX_DOWNLOADS: usize = 1000;

/// Why a storage node does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory cannot be used.
    #[error("data directory {path}: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// The data directory holds nothing of this node.
    #[error(transparent)]
    Data(#[from] MarkerError),
    /// Another node runs on the data directory.
    #[error("data directory {path} is in use by another storage node")]
    DirectoryInUse {
        /// The directory.
        path: PathBuf,
    },
    /// The data directory does not exist.
    #[error("data directory {path} does not exist (is the disk mounted?)")]
    DirectoryMissing {
        /// The directory.
        path: PathBuf,
    },
    /// The identity cannot be used for TLS.
    #[error("identity: {0}")]
    Identity(#[from] IdentityError),
    /// The runtime is shutting down.
    #[error("interrupted while starting")]
    Interrupted,
    /// The address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The pieces cannot be opened.
    #[error("piece store: {0}")]
    Store(#[from] StoreError),
}
