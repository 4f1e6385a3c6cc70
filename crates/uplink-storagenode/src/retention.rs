//! Garbage collection: satellites send filters of the pieces to keep; other pieces are deleted.
//!
//! ```text
//!   Retain, RetainBig ──► filter on disk ──► reply
//!                              │ asynchronously, per directory
//!                              ▼
//!   pieces ──── old and not in the filter ───► trash ──── trash lifetime ───► deleted
//!      ▲                                         │
//!      └──── RestoreTrash, or an order limit ────┘
//! ```
//!
//! Applying a filter takes longer than a satellite waits. A filter is therefore acknowledged once it
//! is durable and applied afterwards; after a restart the node resumes. A newer filter replaces the
//! current one, even while it is being applied.
//!
//! A piece is old if the order limit of its upload was created more than the creation margin before
//! the creation time of the filter. Both times are of the satellite's clock. A satellite includes a
//! piece from the commit of its segment on, and rejects commits once the limits are older than its
//! segment lifetime, which must be shorter than the margin. How long a multipart upload stays pending
//! does not matter: its segments are committed one by one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use prost_types::Timestamp;
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::task::JoinError;
use uplink_core::bloom_filter::BloomFilter;
use uplink_core::id::NodeId;
use uplink_rpc::time::{StepGuard, system_time};
use uplink_server::Clock;
use uplink_server::workers::{Schedule, Work};

use crate::config::Config;
use crate::store::{IoPool, Keep, PieceStore, StoreError};

/// Applies filters and manages the trash.
#[derive(Debug)]
pub(crate) struct Retention {
    store: PieceStore,
    io: IoPool,
    clock: Clock,
    /// Prevents deletions because the clock stepped ahead.
    guard: StepGuard,
    margin: Duration,
    trash_lifetime: Duration,
    satellites: Vec<NodeId>,
    /// Number of requests from each satellite, which detects that a filter became stale while it was
    /// applied. Locked while a filter is written or removed.
    generations: Arc<Mutex<HashMap<NodeId, u64>>>,
    arrived: Notify,
    /// Locked by every job that moves pieces.
    working: Arc<AsyncMutex<()>>,
}

impl Retention {
    pub(crate) fn new(store: PieceStore, io: IoPool, config: &Config) -> Self {
        Self {
            store,
            io,
            clock: config.clock.clone(),
            guard: StepGuard::default(),
            margin: config.creation_margin,
            trash_lifetime: config.trash_lifetime,
            satellites: config.satellites.iter().map(|satellite| satellite.id).collect(),
            generations: Arc::default(),
            arrived: Notify::new(),
            working: Arc::default(),
        }
    }

    /// Accepts a filter that a satellite created at `created`. When this returns, the filter is
    /// durable and will be applied.
    pub(crate) async fn retain(
        &self,
        satellite: NodeId,
        created: Timestamp,
        filter: BloomFilter,
    ) -> Result<(), RetentionError> {
        let store = self.store.clone();
        let generations = Arc::clone(&self.generations);
        let written = self.io.run(move || {
            let mut generations = generations.lock().unwrap_or_else(PoisonError::into_inner);
            store.keep_filter(satellite, created, filter)?;
            next_generation(&mut generations, satellite);
            Ok::<_, StoreError>(())
        });
        written.await??;
        self.arrived.notify_one();
        Ok(())
    }

    /// Drops a satellite's filter and restores its pieces from the trash. If the future is dropped,
    /// some pieces stay there until the next call.
    pub(crate) async fn restore(&self, satellite: NodeId) -> Result<(), RetentionError> {
        let store = self.store.clone();
        let generations = Arc::clone(&self.generations);
        let dropped = self.io.run(move || {
            let mut generations = generations.lock().unwrap_or_else(PoisonError::into_inner);
            next_generation(&mut generations, satellite);
            store.drop_filter(satellite)
        });
        dropped.await??;
        let mut restored = 0u64;
        for prefix in self.job(move |store| store.trash_prefixes(satellite)).await? {
            let count = self.job(move |store| store.restore(&prefix)).await?;
            restored = restored.saturating_add(count);
        }
        tracing::info!(%satellite, restored, "pieces restored from the trash");
        Ok(())
    }

    /// Applies the pending filters of all satellites, including those of an earlier process. Returns
    /// the last error after trying all of them.
    async fn apply_all(&self) -> Result<(), RetentionError> {
        let mut outcome = Ok(());
        for &satellite in &self.satellites {
            if let Err(error) = self.apply(satellite).await {
                tracing::error!(%satellite, %error, "garbage collection failed");
                outcome = Err(error);
            }
        }
        outcome
    }

    /// Applies the last filter of a satellite, if it is pending.
    async fn apply(&self, satellite: NodeId) -> Result<(), RetentionError> {
        let generations = Arc::clone(&self.generations);
        let pending = self.job(move |store| {
            let generations = generations.lock().unwrap_or_else(PoisonError::into_inner);
            Ok((current_generation(&generations, satellite), store.kept_filter(satellite)?))
        });
        let (generation, Some((created, filter))) = pending.await? else { return Ok(()) };
        let created = system_time(Some(&created));
        let keep = Arc::new(Keep::new(filter, created, self.margin, self.clock.now()));
        let mut trashed = 0u64;
        for prefix in self.job(move |store| store.prefixes(satellite)).await? {
            let keep = Arc::clone(&keep);
            let generations = Arc::clone(&self.generations);
            let moved = self.job(move |store| {
                let generations = generations.lock().unwrap_or_else(PoisonError::into_inner);
                let is_current = current_generation(&generations, satellite) == generation;
                drop(generations);
                is_current.then(|| store.retain(&prefix, &keep)).transpose()
            });
            let Some(moved) = moved.await? else { return Ok(()) };
            trashed = trashed.saturating_add(moved);
        }
        tracing::info!(%satellite, trashed, "garbage pieces moved to the trash");
        self.finish(satellite, generation).await
    }

    /// Removes an applied filter, unless a newer one has replaced it.
    async fn finish(&self, satellite: NodeId, generation: u64) -> Result<(), RetentionError> {
        let store = self.store.clone();
        let generations = Arc::clone(&self.generations);
        let finished = self.io.run(move || {
            let generations = generations.lock().unwrap_or_else(PoisonError::into_inner);
            if current_generation(&generations, satellite) == generation {
                store.drop_filter(satellite)?;
            }
            Ok::<_, StoreError>(())
        });
        Ok(finished.await??)
    }

    /// Deletes pieces that have been in the trash for its lifetime; returns their number.
    pub(crate) async fn empty_trash(&self) -> Result<u64, RetentionError> {
        let now = self.guard.read(self.clock.now(), self.clock.steady());
        let until = now.checked_sub(self.trash_lifetime).unwrap_or(UNIX_EPOCH);
        let mut removed = 0u64;
        for satellite in self.job(PieceStore::trash_satellites).await? {
            for prefix in self.job(move |store| store.trash_prefixes(satellite)).await? {
                let count = self.job(move |store| store.empty_trash(&prefix, until)).await?;
                removed = removed.saturating_add(count);
            }
        }
        if removed > 0 {
            tracing::info!(removed, "pieces deleted from the trash");
        }
        Ok(removed)
    }

    /// Waits until no job moves pieces. The caller must prevent new ones.
    pub(crate) async fn idle(&self) {
        drop(self.working.lock().await);
    }

    /// Runs one short job; jobs run one at a time.
    async fn job<T: Send + 'static>(
        &self,
        job: impl FnOnce(&PieceStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, RetentionError> {
        let working = Arc::clone(&self.working).lock_owned().await;
        let store = self.store.clone();
        let done = self.io.run(move || {
            let _working = working;
            job(&store)
        });
        Ok(done.await??)
    }
}

fn current_generation(generations: &HashMap<NodeId, u64>, satellite: NodeId) -> u64 {
    generations.get(&satellite).copied().unwrap_or(0)
}

fn next_generation(generations: &mut HashMap<NodeId, u64>, satellite: NodeId) {
    let generation = generations.entry(satellite).or_default();
    *generation = generation.wrapping_add(1);
}

/// Applies filters when they arrive.
#[derive(Debug)]
pub(crate) struct FilterWork(pub(crate) Arc<Retention>);

impl FilterWork {
    pub(crate) const SCHEDULE: Schedule = Schedule::on_demand(RETRY_INTERVAL);
}

impl Work for FilterWork {
    type Error = RetentionError;

    async fn run(&mut self) -> Result<(), RetentionError> {
        self.0.apply_all().await
    }

    async fn due(&mut self) {
        self.0.arrived.notified().await;
    }

    /// The error was logged with its satellite.
    fn failed(&self, _: &RetentionError, _: Duration) {}
}

/// Empties the trash several times in its lifetime.
#[derive(Debug)]
pub(crate) struct TrashWork(pub(crate) Arc<Retention>);

impl TrashWork {
    pub(crate) fn schedule(&self) -> Schedule {
        let interval = self.0.trash_lifetime / 4;
        Schedule::every(interval.clamp(MIN_TRASH_INTERVAL, MAX_TRASH_INTERVAL))
    }
}

impl Work for TrashWork {
    type Error = RetentionError;

    async fn run(&mut self) -> Result<(), RetentionError> {
        self.0.empty_trash().await.map(drop)
    }

    fn failed(&self, error: &RetentionError, _: Duration) {
        tracing::error!(%error, "cannot empty the trash");
    }
}

/// Time until filters are applied again after a failure.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);
/// Bounds of the time between two deletions from the trash.
const MIN_TRASH_INTERVAL: Duration = Duration::from_secs(1);
const MAX_TRASH_INTERVAL: Duration = Duration::from_secs(3600);

/// Why garbage collection fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RetentionError {
    /// A disk operation did not finish: the runtime is shutting down.
    #[error("disk operation did not complete")]
    Interrupted(#[from] JoinError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
