//! Time as an argument: servers read it from a [`Clock`] only.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use uplink_rpc::runtime;

/// Steady time at which a [stepping](Clock::stepping) clock starts, so that moments before the start
/// of the process have a steady time too.
const STEADY_START: Duration = Duration::from_secs(24 * 3600);

/// Wall time and steady time. Tests inject their own source.
#[derive(Clone)]
pub struct Clock {
    now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    steady: Arc<dyn Fn() -> Duration + Send + Sync>,
}

impl Clock {
    /// Creates a clock that reads `source` on each call. Steady time advances with `source`.
    pub fn new(source: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        let now: Arc<dyn Fn() -> SystemTime + Send + Sync> = Arc::new(source);
        let wall = Arc::clone(&now);
        let steady = move || wall().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { now, steady: Arc::new(steady) }
    }

    /// Creates a clock that reads `source` on each call, which may step. Steady time is the
    /// machine's.
    pub fn stepping(source: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        #[allow(clippy::disallowed_methods, reason = "the machine's, which tests do not pause")]
        let start = Instant::now();
        let steady = move || STEADY_START.saturating_add(start.elapsed());
        Self { now: Arc::new(source), steady: Arc::new(steady) }
    }

    /// Returns the machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::stepping(runtime::now)
    }

    /// Returns the wall time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        (self.now)()
    }

    /// Returns the time since an arbitrary moment by a clock that never steps.
    #[must_use]
    pub fn steady(&self) -> Duration {
        (self.steady)()
    }

    /// Returns whole seconds since 1970, negative before.
    #[must_use]
    pub fn unix_seconds(&self) -> i64 {
        let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        match self.now().duration_since(UNIX_EPOCH) {
            Ok(since) => seconds(since),
            Err(before) => seconds(before.duration()).saturating_neg(),
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
        f.debug_struct("Clock").field("now", &self.now()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn source() -> (Arc<AtomicU64>, impl Fn() -> SystemTime) {
        let seconds = Arc::new(AtomicU64::new(1_000));
        let shown = Arc::clone(&seconds);
        (seconds, move || UNIX_EPOCH + Duration::from_secs(shown.load(Ordering::Relaxed)))
    }

    #[test]
    fn steady_time_follows_an_injected_source() {
        let (seconds, now) = source();
        let clock = Clock::new(now);
        let before = clock.steady();
        seconds.store(1_007, Ordering::Relaxed);
        assert_eq!(clock.steady() - before, Duration::from_secs(7));
        assert_eq!(clock.unix_seconds(), 1_007);
    }

    #[test]
    fn steady_time_ignores_a_step_of_the_wall_clock() {
        let (seconds, now) = source();
        let clock = Clock::stepping(now);
        let before = clock.steady();
        seconds.store(1_000_000, Ordering::Relaxed);
        assert!(clock.steady() - before < Duration::from_secs(1_000));
        assert_eq!(clock.unix_seconds(), 1_000_000);
    }

    #[test]
    fn seconds_before_1970_are_negative() {
        let clock = Clock::new(|| UNIX_EPOCH - Duration::from_secs(5));
        assert_eq!(clock.unix_seconds(), -5);
    }
}
