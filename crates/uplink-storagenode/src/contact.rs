//! Check-in: the node tells each satellite where it is and what it can take, and the satellite
//! pings it back.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until, timeout};
use tonic::Status;
use uplink_rpc::{
    client,
    r#gen::{
        contact::{CheckInRequest, GetTimeRequest},
        node::{NodeCapacity, NodeOperator, NodeVersion},
    },
    pool::{Connection, Pool},
    status::Failure,
    time::{MAX_SKEW, is_skewed, relation, system_time, timestamp, zero},
};

use crate::{config::Satellite, endpoint::Shared};

/// Keeps a node known to its satellites.
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

    /// Checks in with one satellite for ever: at once, after each interval, and soon after free
    /// space has moved or an order limit was refused for its time; after a failure again in 1 s, 2 s, 4 s …
    pub(crate) async fn run(self: Arc<Self>, satellite: Satellite) {
        let mut moved = self.shared.store.space().moved();
        let mut doubted = self.shared.verifier.clocks().doubted();
        let mut pause = FIRST_PAUSE;
        loop {
            match self.check_in(&satellite).await {
                Ok(()) => {
                    pause = FIRST_PAUSE;
                    let earliest = Instant::now() + MOVED_PAUSE;
                    tokio::select! {
                        () = sleep(self.interval) => {}
                        Ok(()) = moved.changed() => sleep_until(earliest).await,
                        Ok(()) = doubted.changed() => sleep_until(earliest).await,
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "check-in failed; next try in {} s", pause.as_secs());
                    sleep(pause).await;
                    pause = (pause * 2).min(self.interval.clamp(FIRST_PAUSE, LAST_PAUSE));
                }
            }
        }
    }

    async fn check_in(&self, satellite: &Satellite) -> Result<(), CheckInError> {
        let connection = self.pool.peer(satellite.id, &satellite.address);
        let ahead = self.compare_clocks(satellite, &connection).await;
        let shared = Arc::clone(&self.shared);
        let usage = self.shared.io.run(move || shared.store.usage()).await;
        let free = usage.ok().and_then(Result::ok).map_or(0, |usage| usage.free);
        let request = self.request(free);
        let call = async { client::node(connection.channel()).check_in(request).await };
        let reply = match timeout(DEADLINE, call).await {
            Ok(Ok(reply)) => reply.into_inner(),
            Ok(Err(status)) => return Err(failed(satellite, &connection, status)),
            Err(_) => return Err(CheckInError::Deadline { satellite: satellite.clone() }),
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
            let (satellite, address) = (satellite.clone(), self.address.clone());
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

    /// Reads the satellite's clock, and warns when ours differs notably; `None` when it does not
    /// answer.
    async fn compare_clocks(&self, satellite: &Satellite, connection: &Connection) -> Option<i64> {
        let call = async { client::node(connection.channel()).get_time(GetTimeRequest {}).await };
        let Ok(Ok(reply)) = timeout(DEADLINE, call).await else { return None };
        let theirs = system_time(reply.into_inner().timestamp.as_ref())?;
        let ahead = self.shared.verifier.clocks().note(satellite.id, theirs);
        if ahead.unsigned_abs() > NOTABLE_SKEW.as_secs() {
            let (relation, most) = (relation(ahead), MAX_SKEW.as_secs());
            tracing::warn!(
                "the clock of this storage node is {relation} that of satellite {satellite}; \
                 order limits are refused beyond {most} s"
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

/// Why a satellite does not count the node as online.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckInError {
    /// The clocks of node and satellite differ too much for order limits to be accepted.
    #[error(
        "the clock of this storage node is {} that of satellite {satellite}: order limits are \
         refused beyond {} s",
        relation(*.ahead), MAX_SKEW.as_secs()
    )]
    Clock {
        /// The satellite.
        satellite: Satellite,
        /// Seconds by which the node's clock is ahead; negative when it is behind.
        ahead: i64,
    },
    /// The satellite cannot be reached or refuses the node.
    #[error("check-in with satellite {satellite}: {reason}")]
    Call {
        /// The satellite.
        satellite: Satellite,
        /// What it or the connection said.
        reason: String,
    },
    /// The satellite did not answer in time.
    #[error("check-in with satellite {satellite}: no answer within {} s", DEADLINE.as_secs())]
    Deadline {
        /// The satellite.
        satellite: Satellite,
    },
    /// The satellite could not ping the node back.
    #[error("satellite {satellite} cannot reach this node at {address}: {reason}")]
    NotReachable {
        /// The satellite.
        satellite: Satellite,
        /// The address given to it.
        address: String,
        /// What it said.
        reason: String,
    },
}

/// Time for one call, the ping back included.
const DEADLINE: Duration = Duration::from_secs(30);
/// Pause after the first failure; doubles with each further one, up to the interval or the last pause.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause between tries: a satellite that was down for long knows its nodes again this soon.
const LAST_PAUSE: Duration = Duration::from_secs(15);
/// A check-in because free space moved comes no sooner than this after the last one.
const MOVED_PAUSE: Duration = Duration::from_secs(1);
/// A difference of clocks that is worth a warning.
const NOTABLE_SKEW: Duration = Duration::from_secs(60);
