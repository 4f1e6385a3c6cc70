//! Time as an argument: everything in a storage node asks a [`Clock`].

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Tells the time; the machine's unless a test decides otherwise.
#[derive(Clone)]
pub struct Clock {
    now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    /// Time since some moment, for durations: never steps.
    steady: Arc<dyn Fn() -> Duration + Send + Sync>,
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::stepping(SystemTime::now)
    }

    /// A clock that asks `now` each time. What `now` advances counts as time that has passed.
    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        let now: Arc<dyn Fn() -> SystemTime + Send + Sync> = Arc::new(now);
        let passed = Arc::clone(&now);
        let steady = move || passed().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { now, steady: Arc::new(steady) }
    }

    /// A clock that asks `now` each time, and that may step: durations are the machine's.
    pub fn stepping(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        let start = Instant::now();
        Self { now: Arc::new(now), steady: Arc::new(move || start.elapsed()) }
    }

    /// Tells the time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        (self.now)()
    }

    /// Time since some moment, by a clock that never steps.
    pub(crate) fn steady(&self) -> Duration {
        (self.steady)()
    }

    /// Whole seconds since 1970, negative before.
    pub(crate) fn unix_seconds(&self) -> i64 {
        match self.now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            Err(before) => {
                i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |seconds| -seconds)
            }
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").finish_non_exhaustive()
    }
}
