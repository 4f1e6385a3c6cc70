//! A running satellite.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use uplink_core::node_url::NodeUrl;
use uplink_rpc::dial::Dialer;
use uplink_rpc::server::{ListenError, Listener, Running};
use uplink_rpc::time::MAX_SKEW;
use uplink_rpc::tls::{Identity, IdentityError};

use crate::admin::{Admin, AdminError, NodeRecord};
use crate::config::Config;
use crate::endpoint::{self, State};
use crate::garbage::{self, GarbageError, GarbageReport};
use crate::metabase::{Metabase, MetabaseError};
use crate::time::Clock;

/// A satellite that serves its port.
///
/// Dropping it closes the port and all connections at once, as [`kill`](Self::kill) does.
#[derive(Debug)]
pub struct Satellite {
    running: Running,
    identity: Arc<Identity>,
    state: Arc<State>,
    sweeper: AbortHandle,
    collector: AbortHandle,
}

/// Why a satellite does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The store cannot be used.
    #[error(transparent)]
    Database(#[from] MetabaseError),
    /// The identity cannot be used.
    #[error("identity: {0}")]
    Identity(#[from] IdentityError),
    /// The port cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

/// How often overdue uploads and expired objects are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Time for which overdue rows are kept: a clock that is set ahead by mistake deletes nothing.
const SWEEP_GRACE: Duration = MAX_SKEW;
/// Objects deleted in one transaction of a sweep.
const SWEEP_BATCH: i64 = 100;

impl Satellite {
    /// Creates an empty database that belongs to an identity. One that exists is left as it is.
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
        Self::start_with_clock(config, identity, Clock::system()).await
    }

    /// As [`start`](Self::start), with a clock of the caller's.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_with_clock(
        config: Config,
        identity: impl Into<Arc<Identity>>,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let identity = identity.into();
        let listener = Listener::bind(config.listen).await?;
        let metabase = Metabase::open(&config.database_path(), true, clock.now()).await?;
        metabase.claim(&identity.node_id().to_string()).await?;
        let dialer = Dialer::new(&identity)?;
        let state = Arc::new(State::new(config, clock, metabase, &identity, dialer));
        state.recall_nodes().await?;
        let running = listener.serve(&identity, endpoint::routes(&state))?;
        let sweeper = tokio::spawn(sweep(Arc::clone(&state))).abort_handle();
        let collector = tokio::spawn(garbage::run(Arc::clone(&state))).abort_handle();
        let satellite = Self { running, identity, state, sweeper, collector };
        tracing::info!(url = %satellite.node_url(), "satellite runs");
        Ok(satellite)
    }

    /// The address being served.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.running.address()
    }

    /// The satellite's identity and the address by which others reach it: what access grants hold
    /// and storage nodes trust.
    #[must_use]
    pub fn node_url(&self) -> NodeUrl {
        let external = &self.state.config.external_address;
        let address =
            if external.is_empty() { self.address().to_string() } else { external.clone() };
        NodeUrl { id: Some(self.identity.node_id()), address, ..NodeUrl::default() }
    }

    /// The operator's view of this satellite's database.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::of(self.state.metabase.clone(), self.state.clock.clone())
    }

    /// The storage nodes that ever checked in, as they are now.
    ///
    /// # Errors
    /// The store fails.
    pub async fn nodes(&self) -> Result<Vec<NodeRecord>, AdminError> {
        let mut nodes = self.admin().nodes(&self.state.config).await?;
        let (rows, rules) = self.state.nodes_and_rules(self.state.clock.now()).await?;
        for node in &mut nodes {
            node.online = rows.iter().any(|row| row.id == node.id && rules.is_online(row));
        }
        Ok(nodes)
    }

    /// Tells all storage nodes now which of their pieces are wanted, beside the regular collections.
    ///
    /// Nodes act on it after they have answered. Dropping the future leaves some of them untold.
    ///
    /// # Errors
    /// The store fails. Nodes that are not reached are counted in the report.
    pub async fn collect_garbage(&self) -> Result<GarbageReport, GarbageError> {
        garbage::collect(&self.state).await
    }

    /// Accepts nothing more, lets calls in progress finish for `grace`, closes all connections and
    /// the database. The port is free when it returns.
    pub async fn stop(self, grace: Duration) {
        let Self { running, state, sweeper, collector, .. } = self;
        sweeper.abort();
        collector.abort();
        running.stop(grace).await;
        state.metabase.close().await;
    }

    /// Closes the port and all connections at once. Calls in progress fail; what they have not
    /// committed is not done.
    pub fn kill(&self) {
        self.sweeper.abort();
        self.collector.abort();
        self.running.kill();
    }
}

/// Deletes uploads nobody went on with, and objects whose time is over. They are invisible already;
/// this frees their rows.
async fn sweep(state: Arc<State>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        loop {
            let overdue = state.clock.now().minus(SWEEP_GRACE);
            match state.metabase.delete_overdue(overdue, SWEEP_BATCH).await {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot delete overdue objects");
                    break;
                }
            }
        }
    }
}
