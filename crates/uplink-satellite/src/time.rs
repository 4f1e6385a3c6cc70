//! Points in time as the database keeps them, and the clock they come from.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prost_types::Timestamp;

/// Steady time at the start of a process, so that moments before it have one too.
const BEFORE_START: Duration = Duration::from_secs(24 * 3600);

/// Tells the time. Injected, so that tests decide what "48 hours later" means.
#[derive(Clone)]
pub struct Clock {
    now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    /// Time since some moment, for durations: never steps.
    steady: Arc<dyn Fn() -> Duration + Send + Sync>,
}

impl Clock {
    /// Takes the time from `source` whenever it is asked for. What `source` advances counts as time
    /// that has passed.
    pub fn new(source: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        let now: Arc<dyn Fn() -> SystemTime + Send + Sync> = Arc::new(source);
        let passed = Arc::clone(&now);
        let steady = move || passed().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { now, steady: Arc::new(steady) }
    }

    /// Takes the time from `source`, which may step: durations are the machine's.
    pub fn stepping(source: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        let start = Instant::now();
        let steady = move || BEFORE_START.saturating_add(start.elapsed());
        Self { now: Arc::new(source), steady: Arc::new(steady) }
    }

    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::stepping(SystemTime::now)
    }

    pub(crate) fn now(&self) -> Time {
        Time::from_system((self.now)())
    }

    /// Time since some moment, by a clock that never steps.
    pub(crate) fn steady(&self) -> Duration {
        (self.steady)()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({:?})", self.now())
    }
}

/// Microseconds since 1970 in UTC, negative before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(pub(crate) i64);

/// Seconds of the first instant of year 1, with which peers of the network say "not set".
const YEAR_ONE: i64 = -62_135_596_800;
const MICROS: i64 = 1_000_000;

impl Time {
    pub(crate) fn from_system(time: SystemTime) -> Self {
        let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(micros(after)),
            Err(before) => Self(micros(before.duration()).saturating_neg()),
        }
    }

    /// Reads a time of a message: `None` when it is absent or the network's "not set", and cut to
    /// microseconds. An empty message is 1970 and set.
    pub(crate) fn from_wire(time: Option<&Timestamp>) -> Option<Self> {
        let time = time.filter(|time| time.seconds != YEAR_ONE || time.nanos != 0)?;
        let micros = i64::from(time.nanos).div_euclid(1_000);
        Some(Self(time.seconds.saturating_mul(MICROS).saturating_add(micros)))
    }

    pub(crate) fn to_wire(self) -> Timestamp {
        let nanos = i32::try_from(self.0.rem_euclid(MICROS).saturating_mul(1_000)).unwrap_or(0);
        Timestamp { seconds: self.unix_seconds(), nanos }
    }

    pub(crate) fn unix_seconds(self) -> i64 {
        self.0.div_euclid(MICROS)
    }

    /// Months since year 0 began, in UTC.
    pub(crate) fn month(self) -> i64 {
        let date = ::time::OffsetDateTime::from_unix_timestamp(self.unix_seconds());
        date.map_or(0, |date| i64::from(date.year()) * 12 + i64::from(u8::from(date.month())) - 1)
    }

    pub(crate) fn to_system(self) -> SystemTime {
        let span = Duration::from_micros(self.0.unsigned_abs());
        let time =
            if self.0 < 0 { UNIX_EPOCH.checked_sub(span) } else { UNIX_EPOCH.checked_add(span) };
        time.unwrap_or(UNIX_EPOCH)
    }

    pub(crate) fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    pub(crate) fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_times_read_as_the_network_means_them() {
        let wire = |seconds, nanos| Time::from_wire(Some(&Timestamp { seconds, nanos }));
        assert_eq!(Time::from_wire(None), None);
        assert_eq!(wire(YEAR_ONE, 0), None);
        assert_eq!(wire(0, 0), Some(Time(0)));
        assert_eq!(wire(1, 2_999), Some(Time(1_000_002)));
        assert_eq!(wire(-1, 500_000_000), Some(Time(-500_000)));
        assert_eq!(wire(i64::MAX, i32::MAX), Some(Time(i64::MAX)));
        assert_eq!(wire(i64::MIN, -1), Some(Time(i64::MIN)));
    }

    #[test]
    fn months_begin_with_their_first_instant() {
        // 2026-02-01 and 1969-12-31.
        assert_eq!(Time(1_769_904_000 * MICROS).month(), 2026 * 12 + 1);
        assert_eq!(Time(1_769_904_000 * MICROS - 1).month(), 2026 * 12);
        assert_eq!(Time(-1).month(), 1969 * 12 + 11);
    }

    #[test]
    fn times_survive_a_round_trip() {
        for time in [Time(0), Time(-1), Time(1_750_000_000_123_456), Time(-500_000)] {
            assert_eq!(Time::from_wire(Some(&time.to_wire())), Some(time));
            assert_eq!(Time::from_system(time.to_system()), time);
        }
    }
}
