//! Runs blocking file operations outside the asynchronous runtime, with bounded concurrency.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::{self, JoinHandle};

/// Runs blocking jobs. Clones share one limit.
#[derive(Clone, Debug)]
pub(crate) struct IoPool {
    permits: Arc<Semaphore>,
}

impl IoPool {
    /// Returns a pool that runs at most [`MAX_JOBS`] jobs concurrently.
    pub(crate) fn new() -> Self {
        Self { permits: Arc::new(Semaphore::new(MAX_JOBS)) }
    }

    /// Starts `job` as soon as the limit allows. A started job runs to completion, even if its
    /// handle is dropped.
    pub(crate) async fn start<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        task::spawn_blocking(move || {
            let _permit = permit;
            job()
        })
    }

    /// Runs `job` and waits for its result.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, task::JoinError> {
        self.start(job).await.await
    }
}

/// Enough to fill the queues of several disks, with few threads.
const MAX_JOBS: usize = 32;
