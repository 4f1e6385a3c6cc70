//! The clock of the network's services, which advances only when a step says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// A clock that objects cannot outlive by chance: between two steps no expiry passes.
///
/// Every reading advances it by a microsecond, so that times are distinct.
#[derive(Clone, Debug)]
pub(crate) struct NetworkClock {
    start: SystemTime,
    micros: Arc<AtomicU64>,
}

impl NetworkClock {
    pub(crate) fn new() -> Self {
        Self { start: SystemTime::now(), micros: Arc::default() }
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.start + Duration::from_micros(self.micros.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn advance(&self, by: Duration) {
        let micros = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }
}
