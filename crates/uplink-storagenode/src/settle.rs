//! Settlement: streams the orders of each closed hour to its satellite until it replies.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use uplink_rpc::client;
use uplink_rpc::r#gen::orders::SettlementRequest;
use uplink_rpc::r#gen::orders::settlement_with_window_response::Status as Outcome;
use uplink_rpc::pool::{Connection, Pool};
use uplink_rpc::status::Failure;
use uplink_server::workers::{Schedule, Work};

use crate::config::Satellite;
use crate::settlement::{self, Settlement};

/// Settles with one satellite.
#[derive(Debug)]
pub(crate) struct Settler {
    satellite: Satellite,
    settlement: Arc<Settlement>,
    pool: Pool,
    /// A satellite accepts one hour of a node at a time.
    settling: Mutex<()>,
}

impl Settler {
    pub(crate) fn new(satellite: &Satellite, settlement: &Arc<Settlement>, pool: &Pool) -> Self {
        Self {
            satellite: satellite.clone(),
            settlement: Arc::clone(settlement),
            pool: pool.clone(),
            settling: Mutex::default(),
        }
    }

    /// Closes the hours that are over and sends all closed hours, oldest first. A file that cannot be
    /// read does not block the others.
    pub(crate) async fn settle(&self) -> Result<(), SettleError> {
        let _settling = self.settling.lock().await;
        Arc::clone(&self.settlement).flush().await;
        let mut outcome = Ok(());
        for path in self.closed().await? {
            match self.send(&path).await {
                Ok(()) => {}
                Err(error @ SettleError::File { .. }) => outcome = outcome.and(Err(error)),
                Err(error) => return Err(error),
            }
        }
        outcome
    }

    async fn closed(&self) -> Result<Vec<PathBuf>, SettleError> {
        let settlement = Arc::clone(&self.settlement);
        let satellite = self.satellite.id;
        on_disk(Path::new("orders"), spawn_blocking(move || settlement.closed(satellite))).await
    }

    /// Streams one file with at most [`READ_AHEAD`] records in memory.
    async fn send(&self, path: &Path) -> Result<(), SettleError> {
        let (sender, records) = mpsc::channel(READ_AHEAD);
        let file = path.to_owned();
        let reading = spawn_blocking(move || settlement::send_records(&file, sender));
        let connection = self.pool.peer(self.satellite.id, &self.satellite.address);
        let mut orders = client::orders(connection.channel());
        let call = orders.settlement_with_window(ReceiverStream::new(records));
        let reply = tokio::select! {
            reply = timeout(TIMEOUT, call) => reply,
            source = failed(reading) => {
                return Err(SettleError::File { path: path.to_owned(), source });
            }
        };
        let reply = match reply {
            Ok(Ok(reply)) => reply.into_inner(),
            Ok(Err(status)) => return Err(self.call_error(&connection, status)),
            Err(_) => return Err(SettleError::TimedOut { satellite: self.satellite.clone() }),
        };
        let satellite = &self.satellite;
        let accepted = match Outcome::try_from(reply.status) {
            Ok(Outcome::Accepted) => true,
            Ok(Outcome::Rejected) => false,
            Err(_) => {
                let reason = format!("unknown status {} in the reply", reply.status);
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

    fn call_error(&self, connection: &Connection, status: tonic::Status) -> SettleError {
        let reason = match connection.dial_error() {
            Some(error) => error.to_string(),
            None => Failure::from(status).to_string(),
        };
        SettleError::Call { satellite: self.satellite.clone(), reason }
    }
}

/// Waits for `reading` to fail; never completes if it succeeds. On failure the stream of records
/// stays open until the satellite drops it, because a stream that ends counts as the whole hour.
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

/// Regular settlement with one satellite.
#[derive(Debug)]
pub(crate) struct SettleWork(pub(crate) Arc<Settler>);

impl SettleWork {
    /// Settles at once and at intervals, because hours may have closed; after a failure in 1 s, 2 s,
    /// 4 s …
    pub(crate) const SCHEDULE: Schedule = Schedule::every(INTERVAL).retry(FIRST_RETRY, MAX_RETRY);
}

impl Work for SettleWork {
    type Error = SettleError;

    async fn run(&mut self) -> Result<(), SettleError> {
        self.0.settle().await
    }

    fn failed(&self, error: &SettleError, retry_in: Duration) {
        tracing::warn!(%error, "settlement failed; next try in {} s", retry_in.as_secs());
    }
}

/// Why orders could not be settled. They are sent again later.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettleError {
    /// The satellite is unreachable or fails.
    #[error("settlement with satellite {satellite}: {reason}")]
    Call {
        /// The satellite.
        satellite: Satellite,
        /// Error of the satellite or the connection.
        reason: String,
    },
    /// The satellite did not reply in time.
    #[error("settlement with satellite {satellite}: no reply within {} s", TIMEOUT.as_secs())]
    TimedOut {
        /// The satellite.
        satellite: Satellite,
    },
    /// A file of orders cannot be read or moved.
    #[error("settlement: {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Error of the file system.
        source: io::Error,
    },
}

/// Time between two checks for closed hours.
const INTERVAL: Duration = Duration::from_secs(60);
/// Time until the first retry; doubles with each further failure …
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// … up to this maximum: satellites accept orders for a day after their creation.
const MAX_RETRY: Duration = Duration::from_secs(600);
/// Time for sending one hour.
const TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// Records read ahead of the connection.
const READ_AHEAD: usize = 64;
