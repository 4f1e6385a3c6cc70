//! How much a project may store and fetch, where the operator set limits.
//!
//! What a project stores is counted in the store every few seconds at most, and what was stored since
//! is added to that. An upload's size is known at its end: a segment may begin, and be committed,
//! while there is any room, and may then go beyond the limit by its own size. What was deleted makes
//! room a moment later. What a project fetches is counted when order limits are handed out, as if
//! all they allow were fetched of the pieces needed.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uplink_rpc::status::{Code, Failure};

use crate::config::Config;
use crate::failure::database;
use crate::metabase::{Metabase, Stored};
use crate::time::Time;

/// How long a count is good enough to allow something.
const GOOD_FOR: Duration = Duration::from_secs(10);
/// How long it is good enough to refuse something.
const GOOD_TO_REFUSE: Duration = Duration::from_secs(1);

/// Limits of every project, and what is known of their use. Several processes of one satellite add by
/// themselves what was stored since a count.
#[derive(Debug)]
pub(crate) struct Usage {
    metabase: Metabase,
    /// Bytes and segments; `i64::MAX` for any number.
    most: Stored,
    /// Bytes in a month; `i64::MAX` for any number.
    bandwidth: i64,
    counts: Mutex<HashMap<[u8; 16], Count>>,
    /// Held while the store counts.
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
            most: Stored {
                bytes: limit(config.storage_per_project),
                segments: limit(config.segments_per_project),
            },
            bandwidth: limit(config.bandwidth_per_project_and_month),
            counts: Mutex::default(),
            counting: tokio::sync::Mutex::default(),
        }
    }

    /// Whether stored bytes or segments are limited at all.
    pub(crate) fn limits_storage(&self) -> bool {
        self.most.bytes < i64::MAX || self.most.segments < i64::MAX
    }

    /// Counts that a project stores `more`, if there is room for `least`; else refuses it.
    pub(crate) async fn store(
        &self,
        project: &[u8; 16],
        (least, more): (Stored, Stored),
        now: Time,
    ) -> Result<(), Failure> {
        if !self.limits_storage() {
            return Ok(());
        }
        if let Some(known) = self.store_as_known(project, (least, more), now) {
            return known;
        }
        // One counts, the others wait for what it found.
        let _counting = self.counting.lock().await;
        if let Some(known) = self.store_as_known(project, (least, more), now) {
            return known;
        }
        let stored = self.metabase.stored(project, now).await.map_err(database)?;
        let mut count = Count { at: now, stored };
        let allowed = self.add(&mut count, (least, more));
        self.counts().insert(*project, count);
        allowed
    }

    /// As [`store`](Self::store), by a count that is there; none if that is too old.
    fn store_as_known(
        &self,
        project: &[u8; 16],
        amounts: (Stored, Stored),
        now: Time,
    ) -> Option<Result<(), Failure>> {
        let mut counts = self.counts();
        // A count of the future is one from before the clock was set back.
        let recent = |count: &&mut Count| count.at <= now && count.at.plus(GOOD_FOR) > now;
        let count = counts.get_mut(project).filter(recent)?;
        let allowed = self.add(count, amounts);
        (allowed.is_ok() || count.at.plus(GOOD_TO_REFUSE) > now).then_some(allowed)
    }

    fn add(&self, count: &mut Count, (least, more): (Stored, Stored)) -> Result<(), Failure> {
        let stored = &mut count.stored;
        if stored.bytes.saturating_add(least.bytes) > self.most.bytes {
            return Err(exceeded("Exceeded Storage Limit"));
        }
        if stored.segments.saturating_add(least.segments) > self.most.segments {
            return Err(exceeded("Exceeded Segments Limit"));
        }
        stored.bytes = stored.bytes.saturating_add(more.bytes);
        stored.segments = stored.segments.saturating_add(more.segments);
        Ok(())
    }

    /// Refuses a download when the project has fetched enough in this month.
    pub(crate) async fn require_bandwidth(
        &self,
        project: &[u8; 16],
        now: Time,
    ) -> Result<(), Failure> {
        if self.bandwidth == i64::MAX {
            return Ok(());
        }
        let fetched = self.metabase.fetched(project, now.month()).await.map_err(database)?;
        if fetched < self.bandwidth { Ok(()) } else { Err(exceeded("Exceeded Usage Limit")) }
    }

    /// Counts what a download may fetch.
    pub(crate) async fn fetch(
        &self,
        project: &[u8; 16],
        bytes: i64,
        now: Time,
    ) -> Result<(), Failure> {
        if self.bandwidth == i64::MAX || bytes <= 0 {
            return Ok(());
        }
        self.metabase.add_fetched(project, now.month(), bytes).await.map_err(database)
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<[u8; 16], Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Clients tell these limits by their texts.
fn exceeded(text: &str) -> Failure {
    Failure::new(Code::RESOURCE_EXHAUSTED, text)
}
