//! A running satellite.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use uplink_core::node_url::NodeUrl;
use uplink_rpc::dial::Dialer;
use uplink_rpc::server::{ListenError, Listener};
use uplink_rpc::time::MAX_SKEW;
use uplink_rpc::tls::{Identity, IdentityError};
use uplink_server::Service;
use uplink_server::workers::{Schedule, Work, WorkerStates, Workers};

use crate::admin::{Admin, AdminError, NodeRecord};
use crate::config::Config;
use crate::endpoint::{self, State};
use crate::garbage::{self, GarbageError, GarbageReport, GarbageWork};
use crate::metabase::{Metabase, MetabaseError};
use crate::time::Clock;

/// A running satellite.
///
/// # Cancellation
/// Dropping it closes the port and all connections at once, as [`kill`](Self::kill) does.
#[derive(Debug)]
pub struct Satellite {
    service: Service,
    identity: Arc<Identity>,
    state: Arc<State>,
}

/// Why a satellite cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] MetabaseError),
    /// The identity cannot be used.
    #[error("identity: {0}")]
    Identity(#[from] IdentityError),
    /// The port cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

impl Satellite {
    /// Creates an empty database that belongs to an identity. An existing one is left unchanged.
    ///
    /// # Errors
    /// The database cannot be created, has a newer schema or belongs to another identity.
    pub async fn create_database(config: &Config, identity: &Identity) -> Result<(), StartError> {
        let now = Clock::system().now();
        let metabase = Metabase::open(&config.database_path(), true, now).await?;
        metabase.claim(&identity.node_id().to_string()).await?;
        metabase.close().await;
        Ok(())
    }

    /// Opens the database, creating it if it does not exist, and serves the port.
    ///
    /// # Errors
    /// The database cannot be opened, has a newer schema or belongs to another identity; or the
    /// port is in use.
    pub async fn start(
        config: Config,
        identity: impl Into<Arc<Identity>>,
    ) -> Result<Self, StartError> {
        Self::start_with_clock(config, identity, uplink_server::Clock::system()).await
    }

    /// Starts as [`start`](Self::start) does, with an injected clock.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_with_clock(
        config: Config,
        identity: impl Into<Arc<Identity>>,
        clock: uplink_server::Clock,
    ) -> Result<Self, StartError> {
        let identity = identity.into();
        let mut workers = Workers::new(clock.clone());
        let clock = Clock::from(clock);
        let listener = Listener::bind(config.listen).await?;
        let metabase = Metabase::open(&config.database_path(), true, clock.now()).await?;
        metabase.claim(&identity.node_id().to_string()).await?;
        let dialer = Dialer::new(&identity)?;
        let state = Arc::new(State::new(config, clock, metabase, &identity, dialer));
        state.recall_nodes().await?;
        let port = listener.serve(&identity, endpoint::routes(&state))?;
        let sweep = SweepWork { state: Arc::clone(&state) };
        workers.start("sweep", Schedule::every(SWEEP_INTERVAL).delayed(), sweep);
        if let Some(schedule) = garbage::schedule(&state.config) {
            workers.start("garbage", schedule, GarbageWork { state: Arc::clone(&state) });
        }

        let satellite = Self { service: Service::new(port, workers), identity, state };
        tracing::info!(url = %satellite.node_url(), "satellite is running");
        Ok(satellite)
    }

    /// Returns the address being served.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.service.address()
    }

    /// Returns a handle to the states of the background workers.
    #[must_use]
    pub fn workers(&self) -> WorkerStates {
        self.service.workers()
    }

    /// Returns the satellite's identity and external address: the part of access grants that names
    /// the satellite, and what storage nodes trust.
    #[must_use]
    pub fn node_url(&self) -> NodeUrl {
        let external = &self.state.config.external_address;
        let address =
            if external.is_empty() { self.address().to_string() } else { external.clone() };
        NodeUrl { id: Some(self.identity.node_id()), address, ..NodeUrl::default() }
    }

    /// Returns the operator's view of this satellite's database.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::of(self.state.metabase.clone(), self.state.clock.clone())
    }

    /// Returns the current state of all storage nodes that ever checked in.
    ///
    /// # Errors
    /// The database fails.
    pub async fn nodes(&self) -> Result<Vec<NodeRecord>, AdminError> {
        let mut nodes = self.admin().nodes(&self.state.config).await?;
        let (rows, rules) = self.state.nodes_and_rules(self.state.clock.now()).await?;
        for node in &mut nodes {
            node.online = rows.iter().any(|row| row.id == node.id && rules.is_online(row));
        }
        Ok(nodes)
    }

    /// Sends each storage node a filter of the pieces to keep, in addition to the regular collections.
    ///
    /// Nodes apply the filter after they have replied. If the future is dropped, some nodes get no
    /// filter.
    ///
    /// # Errors
    /// The database fails. The report counts unreachable nodes.
    pub async fn collect_garbage(&self) -> Result<GarbageReport, GarbageError> {
        garbage::collect(&self.state).await
    }

    /// Stops accepting calls, waits up to `grace` for calls and work in progress, then closes all
    /// connections and the database. The port is free when it returns.
    pub async fn stop(self, grace: Duration) {
        let Self { service, state, .. } = self;
        service.stop(grace).await;
        state.metabase.close().await;
    }

    /// Closes the port and all connections at once. Calls in progress fail; what they have not
    /// committed is discarded.
    pub fn kill(&self) {
        self.service.kill();
    }
}

/// Deletes the rows of stale uploads and expired objects, which are already invisible.
#[derive(Debug)]
struct SweepWork {
    state: Arc<State>,
}

impl Work for SweepWork {
    type Error = MetabaseError;

    async fn run(&mut self) -> Result<(), MetabaseError> {
        loop {
            let overdue = self.state.clock.now().minus(SWEEP_GRACE);
            if self.state.metabase.delete_overdue(overdue, SWEEP_BATCH).await? == 0 {
                return Ok(());
            }
        }
    }

    fn failed(&self, error: &MetabaseError, _: Duration) {
        tracing::warn!(%error, "cannot delete overdue objects");
    }
}

/// Time between two sweeps.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// Time for which overdue rows are kept, so that a clock set ahead by mistake deletes nothing.
const SWEEP_GRACE: Duration = MAX_SKEW;
/// Objects deleted in one transaction of a sweep.
const SWEEP_BATCH: i64 = 100;
