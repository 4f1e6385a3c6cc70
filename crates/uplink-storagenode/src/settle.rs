//! Handing in orders: every closed hour is streamed to its satellite until that has answered.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Mutex, mpsc},
    task::{JoinHandle, spawn_blocking},
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use uplink_rpc::{
    client,
    r#gen::orders::{SettlementRequest, settlement_with_window_response::Status as Outcome},
    pool::{Connection, Pool},
    status::Failure,
};

use crate::{
    config::Satellite,
    settlement::{self, Settlement},
};

/// Settles with one satellite.
#[derive(Debug)]
pub(crate) struct Settler {
    satellite: Satellite,
    settlement: Arc<Settlement>,
    pool: Pool,
    /// A satellite takes one hour of a node at a time.
    alone: Mutex<()>,
}

impl Settler {
    pub(crate) fn new(satellite: &Satellite, settlement: &Arc<Settlement>, pool: &Pool) -> Self {
        Self {
            satellite: satellite.clone(),
            settlement: Arc::clone(settlement),
            pool: pool.clone(),
            alone: Mutex::default(),
        }
    }

    /// Settles for ever: at once, and whenever hours may have closed; after a failure again in 1 s,
    /// 2 s, 4 s …
    pub(crate) async fn run(self: Arc<Self>) {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.settle().await {
                Ok(()) => {
                    pause = FIRST_PAUSE;
                    sleep(EVERY).await;
                }
                Err(error) => {
                    let seconds = pause.as_secs();
                    tracing::warn!(%error, "settlement failed; next try in {seconds} s");
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Closes the hours that are over and hands in all that are closed, oldest first. A file that
    /// cannot be read stops no other one.
    pub(crate) async fn settle(&self) -> Result<(), SettleError> {
        let _alone = self.alone.lock().await;
        Arc::clone(&self.settlement).flush().await;
        let mut outcome = Ok(());
        for path in self.closed().await? {
            match self.hand_in(&path).await {
                Ok(()) => {}
                Err(error @ SettleError::File { .. }) => outcome = outcome.and(Err(error)),
                Err(error) => return Err(error),
            }
        }
        outcome
    }

    async fn closed(&self) -> Result<Vec<PathBuf>, SettleError> {
        let (settlement, satellite) = (Arc::clone(&self.settlement), self.satellite.id);
        on_disk(Path::new("orders"), spawn_blocking(move || settlement.closed(satellite))).await
    }

    /// Streams one file; the records in memory at once are few, however many it holds.
    async fn hand_in(&self, path: &Path) -> Result<(), SettleError> {
        let (to, records) = mpsc::channel(AHEAD);
        let file = path.to_owned();
        let reading = spawn_blocking(move || settlement::send_records(&file, to));
        let connection = self.pool.peer(self.satellite.id, &self.satellite.address);
        let mut orders = client::orders(connection.channel());
        let call = orders.settlement_with_window(ReceiverStream::new(records));
        let reply = tokio::select! {
            reply = timeout(DEADLINE, call) => reply,
            source = failed(reading) => {
                return Err(SettleError::File { path: path.to_owned(), source });
            }
        };
        let reply = match reply {
            Ok(Ok(reply)) => reply.into_inner(),
            Ok(Err(status)) => return Err(self.refused(&connection, status)),
            Err(_) => return Err(SettleError::Deadline { satellite: self.satellite.clone() }),
        };
        let satellite = &self.satellite;
        let accepted = match Outcome::try_from(reply.status) {
            Ok(Outcome::Accepted) => true,
            Ok(Outcome::Rejected) => false,
            Err(_) => {
                let reason = format!("it answers with the unknown status {}", reply.status);
                return Err(SettleError::Call { satellite: satellite.clone(), reason });
            }
        };
        if accepted {
            tracing::debug!(%satellite, sums = ?reply.action_settled, "orders were accepted");
        } else {
            tracing::warn!(%satellite, file = %path.display(), "orders were rejected and are kept");
        }
        let file = path.to_owned();
        on_disk(path, spawn_blocking(move || settlement::settled(&file, accepted))).await
    }

    fn refused(&self, connection: &Connection, status: tonic::Status) -> SettleError {
        let reason = match connection.dial_error() {
            Some(error) => error.to_string(),
            None => Failure::from(status).to_string(),
        };
        SettleError::Call { satellite: self.satellite.clone(), reason }
    }
}

/// Waits for the failure of `reading`, for ever if it succeeds. The stream of records then stays
/// open as long as the satellite listens: one that ended would count as the whole hour.
async fn failed(
    reading: JoinHandle<Result<(), (io::Error, mpsc::Sender<SettlementRequest>)>>,
) -> io::Error {
    match reading.await {
        Ok(Ok(())) => std::future::pending().await,
        Ok(Err((error, open))) => {
            tokio::spawn(async move { open.closed().await });
            error
        }
        Err(interrupted) => io::Error::other(interrupted),
    }
}

async fn on_disk<T>(path: &Path, job: JoinHandle<io::Result<T>>) -> Result<T, SettleError> {
    let done = job.await.unwrap_or_else(|interrupted| Err(io::Error::other(interrupted)));
    done.map_err(|source| SettleError::File { path: path.to_owned(), source })
}

/// Why orders could not be handed in. They are handed in again later.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettleError {
    /// The satellite cannot be reached or fails.
    #[error("settlement with satellite {satellite}: {reason}")]
    Call {
        /// The satellite.
        satellite: Satellite,
        /// What it or the connection said.
        reason: String,
    },
    /// The satellite did not answer in time.
    #[error("settlement with satellite {satellite}: no answer within {} s", DEADLINE.as_secs())]
    Deadline {
        /// The satellite.
        satellite: Satellite,
    },
    /// A file of orders cannot be read, or not be put away.
    #[error("settlement: {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
}

/// Time between two looks for closed hours.
const EVERY: Duration = Duration::from_secs(60);
/// Pause after the first failure; doubles with each further one …
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// … up to this one: satellites take orders for a day after they were made.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// Time for handing in one hour.
const DEADLINE: Duration = Duration::from_secs(30 * 60);
/// Records read ahead of the connection.
const AHEAD: usize = 64;
