//! Keeps blocking file operations off the asynchronous runtime, a bounded number at a time.

use std::sync::Arc;

use tokio::{
    sync::Semaphore,
    task::{self, JoinHandle},
};

/// Runs blocking jobs. Clones share one bound.
#[derive(Clone, Debug)]
pub(crate) struct IoPool {
    permits: Arc<Semaphore>,
}

impl IoPool {
    /// A pool of [`MAX_JOBS`] jobs at a time.
    pub(crate) fn new() -> Self {
        Self { permits: Arc::new(Semaphore::new(MAX_JOBS)) }
    }

    /// Starts `job` when its turn comes. A job that has started runs to its end, whether or not
    /// anybody still waits for it.
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

/// Enough to keep several disks' queues filled, few enough threads.
const MAX_JOBS: usize = 32;
