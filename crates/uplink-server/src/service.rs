//! A running server: its listening port and its workers.

use std::net::SocketAddr;
use std::time::Duration;

use uplink_rpc::server::Running;

use crate::workers::{WorkerStates, Workers};

/// Maximum wait for work in progress. All work is safe to abort, and what depends on the stop, such as
/// writing the last orders, must not wait for a worker that waits for a lost peer.
const WORKER_GRACE: Duration = Duration::from_secs(2);

/// A listening port and background workers that stop together.
///
/// # Cancellation
/// Dropping it closes the port and aborts the workers, as [`kill`](Self::kill) does.
#[derive(Debug)]
pub struct Service {
    port: Running,
    workers: Workers,
}

impl Service {
    /// Combines a port that is being served with the workers behind it.
    #[must_use]
    pub fn new(port: Running, workers: Workers) -> Self {
        Self { port, workers }
    }

    /// Returns the address being served.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Returns a handle to the states of the workers.
    #[must_use]
    pub fn workers(&self) -> WorkerStates {
        self.workers.states()
    }

    /// Stops accepting connections and starting work, waits up to `grace` for calls and at most
    /// two seconds for work in progress, then ends what is left. The port is free when it returns.
    pub async fn stop(self, grace: Duration) {
        tokio::join!(self.port.stop(grace), self.workers.stop(grace.min(WORKER_GRACE)));
    }

    /// Closes the port and all connections and aborts the workers at once.
    pub fn kill(&self) {
        self.port.kill();
        self.workers.abort();
    }
}
