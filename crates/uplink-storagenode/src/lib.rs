//! The self-hosted storage node: pieces on disk, order limits and orders checked, check-in.
//!
//! ```text
//!   client ──► endpoint ──► verify (order limit, orders) ──► trust (satellites' keys)
//!                 │              │                              ▲
//!                 ▼              ▼                              │ updates
//!               store        settlement                      contact ──► satellites
//!          (pieces on disk)  (orders on disk) ─► settle ─────────────► satellites
//!                 ▲
//!   satellite ─ retention ──► trash
//! ```
//!
//! A storage node trusts a list of satellites. It stores and serves a piece for a client that presents
//! an order limit signed by one of them, and settles the client's orders with the satellite, hour by
//! hour. An acknowledged piece survives a crash of the process and a power loss.

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

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tonic::service::Routes;
use uplink_core::id::NodeId;
use uplink_rpc::dial::Dialer;
use uplink_rpc::r#gen::contact::contact_server::ContactServer;
use uplink_rpc::piece::serve::PieceServer;
use uplink_rpc::pool::Pool;
use uplink_rpc::server::{ListenError, Listener};
use uplink_rpc::tls::{Identity, IdentityError};
pub use uplink_server::Clock;
use uplink_server::Service;
use uplink_server::workers::{WorkerStates, Workers};

use crate::clocks::Clocks;
pub use crate::config::{Config, Satellite, SatelliteError};
pub use crate::contact::CheckInError;
use crate::contact::{CheckInWork, Contact};
use crate::endpoint::{Endpoint, Shared};
use crate::lock::DirectoryLock;
pub use crate::retention::RetentionError;
use crate::retention::{FilterWork, Retention, TrashWork};
use crate::serials::{Serials, SyncWork};
pub use crate::settle::SettleError;
use crate::settle::{SettleWork, Settler};
use crate::settlement::{FlushWork, Settlement};
pub use crate::store::{
    Disk, Entry, Files, HeaderError, MarkerError, Owner, ReadableFile, StoreError, Usage,
    WritableFile,
};
use crate::store::{IoPool, Marker, PieceStore};
use crate::trust::Trust;
use crate::verify::Verifier;

/// A running storage node.
///
/// # Cancellation
///
/// Dropping it closes all sockets at once, as [`kill`](Self::kill) does.
#[derive(Debug)]
pub struct StorageNode {
    shared: Arc<Shared>,
    serials: Serials,
    contact: Arc<Contact>,
    settlers: Vec<Arc<Settler>>,
    service: Service,
    _lock: DirectoryLock,
}

impl StorageNode {
    /// Starts a node: locks the data directory, measures its pieces, listens, and starts to check in.
    /// The satellites may be unreachable.
    ///
    /// # Errors
    ///
    /// The data directory is missing or in use, the store cannot be opened, or the address cannot be
    /// listened on.
    pub async fn start(config: Config, identity: Identity) -> Result<Self, StartError> {
        Self::start_on(config, identity, Arc::new(Disk)).await
    }

    /// Starts as [`start`](Self::start) does, with pieces on another file system than the machine's.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub async fn start_on(
        config: Config,
        identity: Identity,
        files: Arc<dyn Files>,
    ) -> Result<Self, StartError> {
        let lock = lock_directory(&config.data)?;
        let io = IoPool::new();
        let (store, serials) = open(&config, identity.node_id(), files, &io).await?;
        let listener = Listener::bind(config.listen).await?;
        let dialer = Dialer::new(&identity)?;
        let shared = shared(&config, identity, store, &serials, io, &dialer);

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

        let port = listener.serve(&shared.identity, routes(&shared))?;
        let workers = start_workers(&shared, &serials, &contact, &settlers);
        let service = Service::new(port, workers);
        Ok(Self { shared, serials, contact, settlers, service, _lock: lock })
    }

    /// Returns the node's id.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.shared.identity.node_id()
    }

    /// Returns the listening address with the actual port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.service.address()
    }

    /// Returns a handle to the states of the background workers.
    #[must_use]
    pub fn workers(&self) -> WorkerStates {
        self.service.workers()
    }

    /// Returns used and free space.
    ///
    /// # Errors
    ///
    /// The file system does not report its free space.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        self.shared.store.usage()
    }

    /// Returns the bytes of pieces received from uploads since the start, completed or not.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.shared.received.load(Ordering::Relaxed)
    }

    /// Returns the bytes of pieces sent to downloads since the start.
    #[must_use]
    pub fn served(&self) -> u64 {
        self.shared.served.load(Ordering::Relaxed)
    }

    /// Checks in with all satellites now, in addition to the regular check-ins. When it succeeds, each
    /// of them has pinged the node back.
    ///
    /// # Errors
    ///
    /// A satellite is unreachable or cannot reach the node. The remaining ones are skipped.
    pub async fn check_in_now(&self) -> Result<(), CheckInError> {
        self.contact.check_in_with_all().await
    }

    /// Settles the orders of all hours that are over, in addition to the regular settlements. An hour
    /// is over two hours after its start, once no transfer with one of its limits is in progress.
    /// Orders are deleted when their satellite has accepted them, and kept aside when it rejects them.
    ///
    /// # Errors
    ///
    /// A satellite does not reply, or a file of orders cannot be read. Unsettled orders are sent again
    /// later.
    pub async fn settle_now(&self) -> Result<(), SettleError> {
        for settler in &self.settlers {
            settler.settle().await?;
        }
        Ok(())
    }

    /// Deletes pieces that have been in the trash for its lifetime, in addition to the regular
    /// deletions. Returns their number.
    ///
    /// # Errors
    ///
    /// The file system fails.
    pub async fn empty_trash(&self) -> Result<u64, RetentionError> {
        self.shared.retention.empty_trash().await
    }

    /// Stops accepting transfers, waits up to `grace` for transfers and work in progress, and writes
    /// pending orders. When it returns, port and data directory are free.
    pub async fn stop(self, grace: Duration) {
        self.service.stop(grace).await;
        self.shared.retention.idle().await;
        Arc::clone(&self.shared.settlement).flush().await;
        let serials = self.serials;
        let closed = tokio::task::spawn_blocking(move || serials.close()).await;
        if let Ok(Err(error)) = closed {
            tracing::error!(%error, "cannot write used serial numbers");
        }
    }

    /// Closes all sockets at once, as a crash of the process would. Unwritten orders are lost.
    pub fn kill(self) {
        self.service.kill();
    }
}

/// Opens the data directory.
async fn open(
    config: &Config,
    node: NodeId,
    files: Arc<dyn Files>,
    io: &IoPool,
) -> Result<(PieceStore, Serials), StartError> {
    let data = config.data.clone();
    let capacity = config.capacity;
    let keep_free = config.keep_free;
    let clock = config.clock.clone();
    let accept_empty = config.accept_empty_data;
    let marker = Marker::new(&data, node);
    let opened = io.run(move || {
        marker.claim(accept_empty)?;
        let store = PieceStore::open(files, &data, capacity, keep_free)?;
        store.require(marker);
        let serials = Serials::open(&data, clock).map_err(in_directory(&data))?;
        Ok::<_, StartError>((store, serials))
    });
    opened.await.map_err(|_| StartError::Interrupted)?
}

/// Creates what the endpoint and the workers share.
fn shared(
    config: &Config,
    identity: Identity,
    store: PieceStore,
    serials: &Serials,
    io: IoPool,
    dialer: &Dialer,
) -> Arc<Shared> {
    let verifier = Verifier::new(
        identity.node_id(),
        Trust::new(&config.satellites, dialer.clone()),
        serials.clone(),
        Clocks::new(config.clock.clone()),
        config.clock.clone(),
    );
    let retention = Arc::new(Retention::new(store.clone(), io.clone(), config));
    Arc::new(Shared {
        verifier,
        identity: Arc::new(identity),
        settlement: Arc::new(Settlement::new(&config.data, config.clock.clone())),
        clock: config.clock.clone(),
        io,
        store,
        retention,
        large_filters: tokio::sync::Mutex::default(),
        uploads: Semaphore::new(config.max_uploads),
        downloads: Arc::new(Semaphore::new(MAX_DOWNLOADS)),
        received: AtomicU64::new(0),
        served: AtomicU64::new(0),
        idle: config.idle_limit,
    })
}

fn start_workers(
    shared: &Arc<Shared>,
    serials: &Serials,
    contact: &Arc<Contact>,
    settlers: &[Arc<Settler>],
) -> Workers {
    let mut workers = Workers::new(shared.clock.clone());
    let orders = FlushWork(Arc::clone(&shared.settlement));
    workers.start("orders", FlushWork::SCHEDULE, orders);
    workers.start("serials", SyncWork::SCHEDULE, SyncWork(serials.clone()));
    let filters = FilterWork(Arc::clone(&shared.retention));
    workers.start("filters", FilterWork::SCHEDULE, filters);
    let trash = TrashWork(Arc::clone(&shared.retention));
    workers.start("trash", trash.schedule(), trash);
    for satellite in &contact.satellites {
        let check_in = CheckInWork::new(contact, satellite);
        workers.start(format!("check-in {satellite}"), contact.schedule(), check_in);
    }
    for (satellite, settler) in contact.satellites.iter().zip(settlers) {
        let settle = SettleWork(Arc::clone(settler));
        workers.start(format!("settlement {satellite}"), SettleWork::SCHEDULE, settle);
    }
    workers
}

fn routes(shared: &Arc<Shared>) -> Routes {
    let endpoint = Endpoint(Arc::clone(shared));
    Routes::new(PieceServer::new(endpoint.clone())).add_service(ContactServer::new(endpoint))
}

fn lock_directory(data: &Path) -> Result<DirectoryLock, StartError> {
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

/// Marks a data directory as a node's, before the node first runs on it.
///
/// # Errors
///
/// The directory belongs to another node, or the file system fails.
pub fn prepare_data(data: &Path, node: NodeId) -> Result<(), MarkerError> {
    Marker::new(data, node).claim(true)
}

/// Maximum number of concurrent downloads; further ones are rejected.
const MAX_DOWNLOADS: usize = 1000;

/// Why a storage node cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory cannot be used.
    #[error("data directory {path}: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Error of the file system.
        source: io::Error,
    },
    /// The data directory does not belong to this node.
    #[error(transparent)]
    Data(#[from] MarkerError),
    /// Another node uses the data directory.
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
    /// The piece store cannot be opened.
    #[error("piece store: {0}")]
    Store(#[from] StoreError),
}
