//! Timestamps as the database stores them, and the clock that reads them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost_types::Timestamp;

/// The server's clock, read in the unit of the database.
#[derive(Clone, Debug)]
pub(crate) struct Clock(uplink_server::Clock);

impl Clock {
    /// Returns the machine's clock.
    pub(crate) fn system() -> Self {
        Self(uplink_server::Clock::system())
    }

    /// Returns the wall time.
    pub(crate) fn now(&self) -> Time {
        Time::from_system(self.0.now())
    }

    /// Returns the time since an arbitrary moment by a clock that never steps.
    pub(crate) fn steady(&self) -> Duration {
        self.0.steady()
    }
}

impl From<uplink_server::Clock> for Clock {
    fn from(clock: uplink_server::Clock) -> Self {
        Self(clock)
    }
}

/// Microseconds since 1970 in UTC; negative before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(pub(crate) i64);

/// Seconds of the first instant of year 1, which peers send for "not set".
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

    /// Converts a time of a message, cut to microseconds. Returns `None` when it is absent or "not
    /// set". An empty message is 1970 and set.
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

    /// Returns the number of months since the start of year 0, in UTC.
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
    fn wire_times_convert_and_year_one_is_not_set() {
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
    fn month_starts_at_its_first_instant() {
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
