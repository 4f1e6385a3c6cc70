//! How much a project may store and fetch, where the operator set limits.
//!
//! What a project stores is counted in the store every few seconds at most, and what was begun since
//! is added to that. So uploads at the same time may exceed a limit by what they had begun before it
//! was reached, and what was deleted makes room a moment later. What a project fetches is counted
//! when order limits are handed out, as if all they allow were fetched of the pieces needed.

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

/// Limits of every project, and what is known of their use. Several processes of one satellite count
/// by themselves what was begun.
#[derive(Debug)]
pub(crate) struct Usage {
    metabase: Metabase,
    /// Bytes and segments; `i64::MAX` for any number.
    most: Stored,
    /// Bytes in a month; `i64::MAX` for any number.
    bandwidth: i64,
    counts: Mutex<HashMap<[u8; 16], Count>>,
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
        }
    }

    /// Whether stored bytes or segments are limited at all.
    pub(crate) fn limits_storage(&self) -> bool {
        self.most.bytes < i64::MAX || self.most.segments < i64::MAX
    }

    /// Allows a project to store that much more, or refuses it.
    pub(crate) async fn begin(
        &self,
        project: &[u8; 16],
        more: Stored,
        now: Time,
    ) -> Result<(), Failure> {
        if !self.limits_storage() {
            return Ok(());
        }
        let count = self.counts().get(project).copied();
        let count = count.filter(|count| count.at.plus(GOOD_FOR) > now);
        if let Some(count) = count {
            let allowed = self.allow(count.stored, more);
            if allowed.is_ok() || count.at.plus(GOOD_TO_REFUSE) > now {
                self.add(project, more, allowed.is_ok());
                return allowed;
            }
        }
        let stored = self.metabase.stored(project).await.map_err(database)?;
        self.counts().insert(*project, Count { at: now, stored });
        let allowed = self.allow(stored, more);
        self.add(project, more, allowed.is_ok());
        allowed
    }

    /// Notes how many bytes a segment has that was begun without this being known.
    pub(crate) fn committed(&self, project: &[u8; 16], bytes: i64) {
        self.add(project, Stored { bytes, segments: 0 }, self.limits_storage());
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

    fn allow(&self, stored: Stored, more: Stored) -> Result<(), Failure> {
        if stored.bytes.saturating_add(more.bytes) > self.most.bytes {
            return Err(exceeded("Exceeded Storage Limit"));
        }
        if stored.segments.saturating_add(more.segments) > self.most.segments {
            return Err(exceeded("Exceeded Segments Limit"));
        }
        Ok(())
    }

    fn add(&self, project: &[u8; 16], more: Stored, allowed: bool) {
        if let Some(count) = self.counts().get_mut(project).filter(|_| allowed) {
            count.stored.bytes = count.stored.bytes.saturating_add(more.bytes);
            count.stored.segments = count.stored.segments.saturating_add(more.segments);
        }
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<[u8; 16], Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Clients tell these limits by their texts.
fn exceeded(text: &str) -> Failure {
    Failure::new(Code::RESOURCE_EXHAUSTED, text)
}
