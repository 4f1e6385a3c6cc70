//! Storage and bandwidth limits of projects, if the operator configured any.
//!
//! Storage is counted in the database every few seconds at most; later commits are added to that
//! count. The size of an upload is known only at its end, so a segment may begin and be committed
//! while the project is below its limit, and may exceed the limit by its own size. Deletions count
//! after a delay. Bandwidth is counted when order limits are issued, as if the client downloaded all
//! that the limits of the required pieces allow.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uplink_rpc::status::{Code, Failure};

use crate::config::Config;
use crate::failure::database;
use crate::metabase::{Metabase, Stored};
use crate::time::Time;

/// Maximum age of a count for accepting a request.
const MAX_AGE_TO_ACCEPT: Duration = Duration::from_secs(10);
/// Maximum age of a count for rejecting a request.
const MAX_AGE_TO_REJECT: Duration = Duration::from_secs(1);

/// Limits of every project and their cached usage. Each process of a satellite adds only its own
/// commits to a count.
#[derive(Debug)]
pub(crate) struct Usage {
    metabase: Metabase,
    /// Maximum bytes and segments; `i64::MAX` for no limit.
    max_stored: Stored,
    /// Maximum bytes downloaded per month; `i64::MAX` for no limit.
    max_bandwidth: i64,
    counts: Mutex<HashMap<[u8; 16], Count>>,
    /// Locked while the database counts.
    counting: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    at: Time,
    stored: Stored,
}

impl Usage {
    pub(crate) fn new(config: &Config, metabase: Metabase) -> Self {
        let limit = |number: u64| match number {
            0 => i64::MAX,
            number => i64::try_from(number).unwrap_or(i64::MAX),
        };
        Self {
            metabase,
            max_stored: Stored {
                bytes: limit(config.storage_per_project),
                segments: limit(config.segments_per_project),
            },
            max_bandwidth: limit(config.bandwidth_per_project_and_month),
            counts: Mutex::default(),
            counting: tokio::sync::Mutex::default(),
        }
    }

    /// Whether there is a limit on stored bytes or segments.
    pub(crate) fn limits_storage(&self) -> bool {
        self.max_stored.bytes < i64::MAX || self.max_stored.segments < i64::MAX
    }

    /// Adds `added` to the storage of a project if its limits leave room for `required`; otherwise
    /// rejects the request.
    pub(crate) async fn store(
        &self,
        project: &[u8; 16],
        (required, added): (Stored, Stored),
        now: Time,
    ) -> Result<(), Failure> {
        if !self.limits_storage() {
            return Ok(());
        }
        if let Some(outcome) = self.store_by_cached_count(project, (required, added), now) {
            return outcome;
        }
        // One task counts; concurrent tasks wait and use its count.
        let _counting = self.counting.lock().await;
        if let Some(outcome) = self.store_by_cached_count(project, (required, added), now) {
            return outcome;
        }
        let stored = self.metabase.stored(project, now).await.map_err(database)?;
        let mut count = Count { at: now, stored };
        let allowed = self.add(&mut count, (required, added));
        self.counts().insert(*project, count);
        allowed
    }

    /// Like [`store`](Self::store) with a cached count; `None` if there is no recent one.
    fn store_by_cached_count(
        &self,
        project: &[u8; 16],
        amounts: (Stored, Stored),
        now: Time,
    ) -> Option<Result<(), Failure>> {
        let mut counts = self.counts();
        // A count in the future is from before the clock was set back.
        let recent = |count: &&mut Count| count.at <= now && count.at.plus(MAX_AGE_TO_ACCEPT) > now;
        let count = counts.get_mut(project).filter(recent)?;
        let allowed = self.add(count, amounts);
        (allowed.is_ok() || count.at.plus(MAX_AGE_TO_REJECT) > now).then_some(allowed)
    }

    fn add(&self, count: &mut Count, (required, added): (Stored, Stored)) -> Result<(), Failure> {
        let stored = &mut count.stored;
        if stored.bytes.saturating_add(required.bytes) > self.max_stored.bytes {
            return Err(exceeded("Exceeded Storage Limit"));
        }
        if stored.segments.saturating_add(required.segments) > self.max_stored.segments {
            return Err(exceeded("Exceeded Segments Limit"));
        }
        stored.bytes = stored.bytes.saturating_add(added.bytes);
        stored.segments = stored.segments.saturating_add(added.segments);
        Ok(())
    }

    /// Rejects a download if the project used up its bandwidth for this month.
    pub(crate) async fn require_bandwidth(
        &self,
        project: &[u8; 16],
        now: Time,
    ) -> Result<(), Failure> {
        if self.max_bandwidth == i64::MAX {
            return Ok(());
        }
        let used = self.metabase.bandwidth(project, now.month()).await.map_err(database)?;
        if used < self.max_bandwidth { Ok(()) } else { Err(exceeded("Exceeded Usage Limit")) }
    }

    /// Counts the bytes that a download may transfer.
    pub(crate) async fn add_bandwidth(
        &self,
        project: &[u8; 16],
        bytes: i64,
        now: Time,
    ) -> Result<(), Failure> {
        if self.max_bandwidth == i64::MAX || bytes <= 0 {
            return Ok(());
        }
        self.metabase.add_bandwidth(project, now.month(), bytes).await.map_err(database)
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<[u8; 16], Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Clients recognize these limits by their texts.
fn exceeded(text: &str) -> Failure {
    Failure::new(Code::RESOURCE_EXHAUSTED, text)
}
