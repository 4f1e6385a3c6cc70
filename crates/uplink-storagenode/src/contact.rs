//! Check-in: the node reports address, free space and version to each satellite, which pings it
//! back.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tonic::Status;
use uplink_rpc::client;
use uplink_rpc::r#gen::contact::{CheckInRequest, GetTimeRequest};
use uplink_rpc::r#gen::node::{NodeCapacity, NodeOperator, NodeVersion};
use uplink_rpc::pool::{Connection, Pool};
use uplink_rpc::status::Failure;
use uplink_rpc::time::{MAX_SKEW, describe_skew, is_skewed, system_time, timestamp, zero};
use uplink_server::workers::{Schedule, Work};

use crate::config::Satellite;
use crate::endpoint::Shared;

/// Checks in with satellites.
#[derive(Debug)]
pub(crate) struct Contact {
    pub shared: Arc<Shared>,
    pub pool: Pool,
    pub satellites: Vec<Satellite>,
    /// `host:port` at which satellites ping back.
    pub address: String,
    pub interval: Duration,
}

impl Contact {
    /// Checks in with every satellite once.
    pub(crate) async fn check_in_with_all(&self) -> Result<(), CheckInError> {
        for satellite in &self.satellites {
            self.check_in(satellite).await?;
        }
        Ok(())
    }

    /// Returns when to check in: at once and after each interval; after a failure in 1 s, 2 s, 4 s …
    pub(crate) fn schedule(&self) -> Schedule {
        let max_retry = self.interval.clamp(FIRST_RETRY, MAX_RETRY);
        Schedule::every(self.interval).retry(FIRST_RETRY, max_retry)
    }

    async fn check_in(&self, satellite: &Satellite) -> Result<(), CheckInError> {
        let connection = self.pool.peer(satellite.id, &satellite.address);
        let ahead = self.compare_clocks(satellite, &connection).await;
        let shared = Arc::clone(&self.shared);
        let usage = self.shared.io.run(move || shared.store.usage()).await;
        let free = usage.ok().and_then(Result::ok).map_or(0, |usage| usage.free);
        let request = self.request(free);
        let call = async { client::node(connection.channel()).check_in(request).await };
        let reply = match timeout(TIMEOUT, call).await {
            Ok(Ok(reply)) => reply.into_inner(),
            Ok(Err(status)) => return Err(failed(satellite, &connection, status)),
            Err(_) => return Err(CheckInError::TimedOut { satellite: satellite.clone() }),
        };
        if let Some(peer) = connection.identity() {
            self.shared.verifier.trust().learn(&peer).await;
        }
        if let Some(ahead) = ahead.filter(|ahead| is_skewed(*ahead)) {
            let satellite = satellite.clone();
            return Err(CheckInError::Clock { satellite, ahead });
        }
        if !reply.ping_node_success {
            let reason = Failure::from(Status::unavailable(reply.ping_error_message)).message;
            let satellite = satellite.clone();
            let address = self.address.clone();
            return Err(CheckInError::NotReachable { satellite, address, reason });
        }
        self.shared.store.space().reported(free);
        tracing::debug!(%satellite, free, "checked in");
        Ok(())
    }

    fn request(&self, free: u64) -> CheckInRequest {
        let version = NodeVersion {
            version: concat!("v", env!("CARGO_PKG_VERSION")).to_owned(),
            commit_hash: String::new(),
            timestamp: Some(zero()),
            release: false,
        };
        let free_disk = i64::try_from(free).unwrap_or(i64::MAX);
        CheckInRequest {
            address: self.address.clone(),
            version: Some(version),
            capacity: Some(NodeCapacity { free_bandwidth: 0, free_disk }),
            operator: Some(NodeOperator::default()),
            node_time: Some(timestamp(self.shared.clock.now())),
            ..CheckInRequest::default()
        }
    }

    /// Reads the satellite's clock and warns if the node's differs notably. Returns the seconds by
    /// which the node's clock is ahead; `None` if the satellite does not reply.
    async fn compare_clocks(&self, satellite: &Satellite, connection: &Connection) -> Option<i64> {
        let call = async { client::node(connection.channel()).get_time(GetTimeRequest {}).await };
        let Ok(Ok(reply)) = timeout(TIMEOUT, call).await else { return None };
        let theirs = system_time(reply.into_inner().timestamp.as_ref())?;
        let ahead = self.shared.verifier.clocks().record(satellite.id, theirs);
        if ahead.unsigned_abs() > NOTABLE_SKEW.as_secs() {
            let skew = describe_skew(ahead);
            let max = MAX_SKEW.as_secs();
            tracing::warn!(
                "the clock of this storage node is {skew} that of satellite {satellite}; \
                 order limits are rejected beyond {max} s"
            );
        }
        Some(ahead)
    }
}

fn failed(satellite: &Satellite, connection: &Connection, status: Status) -> CheckInError {
    let satellite = satellite.clone();
    match connection.dial_error() {
        Some(error) => CheckInError::Call { satellite, reason: error.to_string() },
        None => CheckInError::Call { satellite, reason: Failure::from(status).to_string() },
    }
}

/// Regular check-ins with one satellite.
#[derive(Debug)]
pub(crate) struct CheckInWork {
    contact: Arc<Contact>,
    satellite: Satellite,
    /// Changes when free space has moved.
    moved: watch::Receiver<()>,
    /// Changes when an order limit was rejected for its creation time.
    suspected: watch::Receiver<()>,
    /// Earliest time of the next check-in ahead of schedule; `None` after a failure.
    earliest: Option<Instant>,
}

impl CheckInWork {
    pub(crate) fn new(contact: &Arc<Contact>, satellite: &Satellite) -> Self {
        Self {
            contact: Arc::clone(contact),
            satellite: satellite.clone(),
            moved: contact.shared.store.space().moved(),
            suspected: contact.shared.verifier.clocks().suspected(),
            earliest: None,
        }
    }
}

impl Work for CheckInWork {
    type Error = CheckInError;

    async fn run(&mut self) -> Result<(), CheckInError> {
        self.earliest = None;
        self.contact.check_in(&self.satellite).await?;
        self.earliest = Some(Instant::now() + MIN_PAUSE);
        Ok(())
    }

    async fn due(&mut self) {
        let Some(earliest) = self.earliest else { return pending().await };
        tokio::select! {
            Ok(()) = self.moved.changed() => {}
            Ok(()) = self.suspected.changed() => {}
            else => pending().await,
        }
        sleep_until(earliest).await;
    }

    fn failed(&self, error: &CheckInError, retry_in: Duration) {
        tracing::warn!(%error, "check-in failed; next try in {} s", retry_in.as_secs());
    }
}

/// Why a satellite does not count the node as online.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckInError {
    /// The clocks of node and satellite differ too much: order limits are rejected.
    #[error(
        "the clock of this storage node is {} that of satellite {satellite}: order limits are \
         rejected beyond {} s",
        describe_skew(*.ahead), MAX_SKEW.as_secs()
    )]
    Clock {
        /// The satellite.
        satellite: Satellite,
        /// Seconds by which the node's clock is ahead; negative when it is behind.
        ahead: i64,
    },
    /// The satellite is unreachable or rejects the node.
    #[error("check-in with satellite {satellite}: {reason}")]
    Call {
        /// The satellite.
        satellite: Satellite,
        /// Error of the satellite or the connection.
        reason: String,
    },
    /// The satellite did not reply in time.
    #[error("check-in with satellite {satellite}: no reply within {} s", TIMEOUT.as_secs())]
    TimedOut {
        /// The satellite.
        satellite: Satellite,
    },
    /// The satellite could not ping the node back.
    #[error("satellite {satellite} cannot reach this node at {address}: {reason}")]
    NotReachable {
        /// The satellite.
        satellite: Satellite,
        /// The reported address.
        address: String,
        /// Error reported by the satellite.
        reason: String,
    },
}

/// Time for one call, including the ping back.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Time until the first retry; doubles with each further failure, up to the interval or the maximum.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Maximum time until a retry: a satellite knows its nodes again this soon after an outage.
const MAX_RETRY: Duration = Duration::from_secs(15);
/// Minimum time between a check-in and the next one ahead of schedule.
const MIN_PAUSE: Duration = Duration::from_secs(1);
/// A clock skew that is worth a warning.
const NOTABLE_SKEW: Duration = Duration::from_secs(60);
