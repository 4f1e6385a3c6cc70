//! Garbage collection: satellites say which pieces to keep, and the others go.
//!
//! ```text
//!   Retain, RetainBig ──► filter on disk ──► reply
//!                              │ later, directory by directory
//!                              ▼
//!   pieces ──── old and not in the filter ───► trash ──── trash lifetime ───► deleted
//!      ▲                                         │
//!      └──── RestoreTrash, or an order limit ────┘
//! ```
//!
//! A round over many pieces takes longer than a satellite waits, so that a filter is answered once
//! it is durable, and applied afterwards; a node that is stopped meanwhile goes on when it starts
//! again. A newer filter replaces the one before, also in the middle of its round.
//!
//! A piece is old when the order limit of its upload was made longer than the creation margin before
//! the satellite began to look which pieces there are. Both times are of the satellite's clock. A
//! satellite takes a piece into account from the commit of its segment on, which it refuses once
//! the limits are older than its segment lifetime; this must be shorter than the margin. How long
//! an object with several parts stays pending does not matter: its segments are committed one by one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use prost_types::Timestamp;
use tokio::{
    sync::{Mutex as AsyncMutex, Notify},
    task::JoinError,
    time::sleep,
};
use uplink_core::{bloom_filter::BloomFilter, id::NodeId};
use uplink_rpc::time::{StepGuard, system_time};

use crate::{
    clock::Clock,
    config::Config,
    store::{IoPool, Keep, PieceStore, StoreError},
};

/// Applies filters, keeps and empties the trash.
#[derive(Debug)]
pub(crate) struct Retention {
    store: PieceStore,
    io: IoPool,
    clock: Clock,
    /// Nothing is deleted because the clock stepped ahead.
    guard: StepGuard,
    margin: Duration,
    trash_lifetime: Duration,
    satellites: Vec<NodeId>,
    /// Counts what each satellite said, so that a round notices when it is out of date. Held while
    /// a filter is written or removed.
    words: Arc<Mutex<HashMap<NodeId, u64>>>,
    arrived: Notify,
    /// Held by every job that moves pieces.
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
            words: Arc::default(),
            arrived: Notify::new(),
            working: Arc::default(),
        }
    }

    /// Takes a filter that a satellite began to make at `created`. When this returns, the filter is
    /// durable and will be applied.
    pub(crate) async fn retain(
        &self,
        satellite: NodeId,
        created: Timestamp,
        filter: BloomFilter,
    ) -> Result<(), RetentionError> {
        let (store, words) = (self.store.clone(), Arc::clone(&self.words));
        let kept = self.io.run(move || {
            let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
            store.keep_filter(satellite, created, filter)?;
            next_word(&mut words, satellite);
            Ok::<_, StoreError>(())
        });
        kept.await??;
        self.arrived.notify_one();
        Ok(())
    }

    /// Forgets a satellite's filter and moves its pieces back out of the trash. Dropping the future
    /// leaves some of them there, for the next call.
    pub(crate) async fn restore(&self, satellite: NodeId) -> Result<(), RetentionError> {
        let (store, words) = (self.store.clone(), Arc::clone(&self.words));
        let forgotten = self.io.run(move || {
            let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
            next_word(&mut words, satellite);
            store.drop_filter(satellite)
        });
        forgotten.await??;
        let mut restored = 0u64;
        for prefix in self.job(move |store| store.trash_prefixes(satellite)).await? {
            let back = self.job(move |store| store.restore(&prefix)).await?;
            restored = restored.saturating_add(back);
        }
        tracing::info!(%satellite, restored, "pieces came back from the trash");
        Ok(())
    }

    /// Applies filters for ever, those that an earlier process has left first.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            let mut failed = false;
            for &satellite in &self.satellites {
                if let Err(error) = self.apply(satellite).await {
                    tracing::error!(%satellite, %error, "a round of garbage collection failed");
                    failed = true;
                }
            }
            tokio::select! {
                () = self.arrived.notified() => {}
                () = sleep(AGAIN_AFTER), if failed => {}
            }
        }
    }

    /// Applies the filter that a satellite sent last, unless that is done.
    async fn apply(&self, satellite: NodeId) -> Result<(), RetentionError> {
        let words = Arc::clone(&self.words);
        let read = self.job(move |store| {
            let words = words.lock().unwrap_or_else(PoisonError::into_inner);
            Ok((last_word(&words, satellite), store.kept_filter(satellite)?))
        });
        let (word, Some((created, filter))) = read.await? else { return Ok(()) };
        let created = system_time(Some(&created));
        let keep = Arc::new(Keep::new(filter, created, self.margin, self.clock.now()));
        let mut trashed = 0u64;
        for prefix in self.job(move |store| store.prefixes(satellite)).await? {
            let (keep, words) = (Arc::clone(&keep), Arc::clone(&self.words));
            let moved = self.job(move |store| {
                let words = words.lock().unwrap_or_else(PoisonError::into_inner);
                let up_to_date = last_word(&words, satellite) == word;
                drop(words);
                up_to_date.then(|| store.retain(&prefix, &keep)).transpose()
            });
            let Some(moved) = moved.await? else { return Ok(()) };
            trashed = trashed.saturating_add(moved);
        }
        tracing::info!(%satellite, trashed, "pieces that the satellite does not retain are trash");
        self.finish(satellite, word).await
    }

    /// Removes a filter that was applied, unless it was replaced meanwhile.
    async fn finish(&self, satellite: NodeId, word: u64) -> Result<(), RetentionError> {
        let (store, words) = (self.store.clone(), Arc::clone(&self.words));
        let finished = self.io.run(move || {
            let words = words.lock().unwrap_or_else(PoisonError::into_inner);
            if last_word(&words, satellite) == word {
                store.drop_filter(satellite)?;
            }
            Ok::<_, StoreError>(())
        });
        Ok(finished.await??)
    }

    /// Empties the trash for ever, looking several times in its lifetime.
    pub(crate) async fn run_trash(self: Arc<Self>) {
        let pause = (self.trash_lifetime / 4).clamp(LEAST_PAUSE, MOST_PAUSE);
        loop {
            if let Err(error) = self.empty_trash().await {
                tracing::error!(%error, "the trash cannot be emptied");
            }
            sleep(pause).await;
        }
    }

    /// Deletes what has been in the trash for its lifetime; tells how many pieces.
    pub(crate) async fn empty_trash(&self) -> Result<u64, RetentionError> {
        let now = self.guard.read(self.clock.now(), self.clock.steady());
        let until = now.checked_sub(self.trash_lifetime).unwrap_or(UNIX_EPOCH);
        let mut removed = 0u64;
        for satellite in self.job(PieceStore::trash_satellites).await? {
            for prefix in self.job(move |store| store.trash_prefixes(satellite)).await? {
                let gone = self.job(move |store| store.empty_trash(&prefix, until)).await?;
                removed = removed.saturating_add(gone);
            }
        }
        if removed > 0 {
            tracing::info!(removed, "pieces were deleted from the trash");
        }
        Ok(removed)
    }

    /// Returns when no job moves pieces any more. New ones are the caller's to prevent.
    pub(crate) async fn idle(&self) {
        drop(self.working.lock().await);
    }

    /// Runs one short job, one at a time.
    async fn job<T: Send + 'static>(
        &self,
        job: impl FnOnce(&PieceStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, RetentionError> {
        let turn = Arc::clone(&self.working).lock_owned().await;
        let store = self.store.clone();
        let done = self.io.run(move || {
            let _turn = turn;
            job(&store)
        });
        Ok(done.await??)
    }
}

fn last_word(words: &HashMap<NodeId, u64>, satellite: NodeId) -> u64 {
    words.get(&satellite).copied().unwrap_or(0)
}

fn next_word(words: &mut HashMap<NodeId, u64>, satellite: NodeId) {
    let word = words.entry(satellite).or_default();
    *word = word.wrapping_add(1);
}

/// A failed round is tried again after this time.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Time between two looks into the trash, at least and at most.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
const MOST_PAUSE: Duration = Duration::from_secs(3600);

/// Why garbage collection does not get on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RetentionError {
    /// A disk operation did not finish: the runtime is shutting down.
    #[error("a disk operation did not finish")]
    Interrupted(#[from] JoinError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
