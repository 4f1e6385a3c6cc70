//! Timestamps on the wire, clock skew and clock steps.
//!
//! Peers of the public network write a missing time as the first second of year 1. Readers treat
//! that value and an absent field as "not set".

#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost_types::Timestamp;

/// Unix seconds of the first instant of year 1, which means "not set".
pub const ZERO_SECONDS: i64 = -62_135_596_800;

/// Converts a system time, truncated to microseconds as the network's databases do.
#[must_use]
pub fn timestamp(time: SystemTime) -> Timestamp {
    let Timestamp { seconds, nanos } = exact_timestamp(time);
    Timestamp { seconds, nanos: nanos.saturating_sub(nanos % 1_000) }
}

/// Converts a system time with its nanoseconds, as caveats have them.
#[must_use]
pub fn exact_timestamp(time: SystemTime) -> Timestamp {
    let (seconds, nanos) = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (i64::try_from(after.as_secs()).unwrap_or(i64::MAX), after.subsec_nanos()),
        Err(before) => {
            let before = before.duration();
            let whole = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            match before.subsec_nanos() {
                0 => (whole.saturating_neg(), 0),
                nanos => (
                    whole.saturating_neg().saturating_sub(1),
                    1_000_000_000_u32.saturating_sub(nanos),
                ),
            }
        }
    };
    Timestamp { seconds, nanos: i32::try_from(nanos).unwrap_or(0) }
}

/// Converts a timestamp; returns `None` if it is absent, not set or out of the system's range.
#[must_use]
pub fn system_time(time: Option<&Timestamp>) -> Option<SystemTime> {
    let time = time?;
    if time.seconds == ZERO_SECONDS && time.nanos == 0 {
        return None;
    }
    let nanos = Duration::from_nanos(u64::try_from(time.nanos).ok()?);
    let seconds = Duration::from_secs(time.seconds.unsigned_abs());
    let whole = if time.seconds < 0 {
        UNIX_EPOCH.checked_sub(seconds)
    } else {
        UNIX_EPOCH.checked_add(seconds)
    };
    whole?.checked_add(nanos)
}

/// Maximum clock skew between two parties with which transfers work. Storage nodes of the public
/// network reject order limits created further away.
pub const MAX_SKEW: Duration = Duration::from_secs(60 * 60);

/// Returns the seconds by which `one` is ahead of `other`; negative if it is behind.
#[must_use]
pub fn seconds_ahead(one: SystemTime, other: SystemTime) -> i64 {
    let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    match one.duration_since(other) {
        Ok(ahead) => seconds(ahead),
        Err(behind) => seconds(behind.duration()).saturating_neg(),
    }
}

/// Returns whether a clock skew of this many seconds prevents transfers.
#[must_use]
pub fn is_skewed(seconds: i64) -> bool {
    seconds.unsigned_abs() > MAX_SKEW.as_secs()
}

/// Describes a clock that is `seconds` ahead of another: `7200 s ahead of`.
#[must_use]
pub fn describe_skew(seconds: i64) -> String {
    let direction = if seconds < 0 { "behind" } else { "ahead of" };
    format!("{} s {direction}", seconds.unsigned_abs())
}

/// Delays forward steps of a wall clock, for irreversible decisions: data that is deleted because of
/// its age must not be deleted because a clock jumped.
///
/// A forward step is accepted once it has lasted for some time. A backward step is accepted at once,
/// and so is the return from it.
#[derive(Debug)]
pub struct StepGuard {
    hold: Duration,
    readings: Mutex<Option<Readings>>,
}

#[derive(Clone, Copy, Debug)]
struct Readings {
    /// The last accepted reading.
    last: Reading,
    /// The last reading before a backward step, which may be temporary.
    usual: Reading,
    /// Steady time since which the clock has been ahead of both.
    ahead_since: Option<Duration>,
    /// Steady time since which it has been behind the usual reading.
    behind_since: Option<Duration>,
}

/// Readings of both clocks at one moment.
#[derive(Clone, Copy, Debug)]
struct Reading {
    wall: SystemTime,
    steady: Duration,
}

impl Reading {
    /// Returns what the wall clock shows at `steady` if it does not step.
    fn after(&self, steady: Duration) -> SystemTime {
        self.wall.checked_add(steady.saturating_sub(self.steady)).unwrap_or(self.wall)
    }
}

impl StepGuard {
    /// A difference up to this is drift, and accepted at once.
    const DRIFT: Duration = Duration::from_secs(1);

    /// Creates a guard that accepts a forward step once it has lasted for `hold`.
    #[must_use]
    pub fn new(hold: Duration) -> Self {
        Self { hold, readings: Mutex::new(None) }
    }

    /// Returns the time to decide by, given a wall clock and a steady clock, which never steps.
    #[must_use]
    pub fn read(&self, wall: SystemTime, steady: Duration) -> SystemTime {
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Reading { wall, steady };
        let fresh = Readings { last: now, usual: now, ahead_since: None, behind_since: None };
        let Some(known) = readings.as_mut() else {
            *readings = Some(fresh);
            return wall;
        };
        let expected = known.last.after(steady);
        let usual = known.usual.after(steady);
        let lasts = |since: Duration| steady.saturating_sub(since) >= self.hold;
        if is_ahead(wall, expected) && is_ahead(wall, usual) {
            let since = *known.ahead_since.get_or_insert(steady);
            if !lasts(since) {
                return expected;
            }
            *known = fresh;
        } else if is_ahead(usual, wall) {
            let since = *known.behind_since.get_or_insert(steady);
            *known = if lasts(since) {
                fresh
            } else {
                Readings { last: now, ahead_since: None, ..*known }
            };
        } else {
            *known = fresh;
        }
        wall
    }
}

/// Returns whether one time is ahead of another by more than drift.
fn is_ahead(one: SystemTime, other: SystemTime) -> bool {
    other.checked_add(StepGuard::DRIFT).is_some_and(|other| one > other)
}

/// Returns the timestamp that peers of the public network write for "not set".
#[must_use]
pub fn zero() -> Timestamp {
    Timestamp { seconds: ZERO_SECONDS, nanos: 0 }
}

impl Default for StepGuard {
    /// Creates a guard that accepts a forward step once it has lasted for an hour.
    fn default() -> Self {
        Self::new(MAX_SKEW)
    }
}

#[cfg(test)]
mod guard_tests {
    use super::*;

    const START: u64 = 1_000_000_000;
    const HOUR: u64 = 3600;

    fn read(guard: &StepGuard, wall: u64, steady: u64) -> u64 {
        let read = guard.read(at(wall), Duration::from_secs(steady));
        read.duration_since(UNIX_EPOCH).unwrap().as_secs()
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn forward_step_is_accepted_after_an_hour() {
        let guard = StepGuard::default();
        assert_eq!(read(&guard, START, 0), START);
        assert_eq!(read(&guard, START + 10, 10), START + 10);
        assert_eq!(read(&guard, START + 9 * HOUR, 20), START + 20);
        assert_eq!(read(&guard, START + 10 * HOUR, 20 + HOUR - 1), START + 20 + HOUR - 1);
        assert_eq!(read(&guard, START + 10 * HOUR, 20 + HOUR), START + 10 * HOUR);
    }

    #[test]
    fn reverted_forward_step_is_never_accepted() {
        let guard = StepGuard::default();
        for round in 0..10 {
            let steady = round * HOUR / 2;
            assert_eq!(read(&guard, START + steady, steady), START + steady);
            assert_eq!(read(&guard, START + steady + HOUR, steady + 1), START + steady + 1);
        }
    }

    #[test]
    fn backward_step_and_its_return_are_accepted_at_once() {
        let guard = StepGuard::default();
        assert_eq!(read(&guard, START, 0), START);
        assert_eq!(read(&guard, START - HOUR, 1), START - HOUR);
        assert_eq!(read(&guard, START - HOUR + 1, 2), START - HOUR + 1);
        assert_eq!(read(&guard, START + 3, 3), START + 3);
        // A step beyond the previous reading is not.
        assert_eq!(read(&guard, START - HOUR + 4, 4), START - HOUR + 4);
        assert_eq!(read(&guard, START + HOUR, 5), START - HOUR + 5);
    }

    #[test]
    fn return_from_an_hour_long_backward_step_is_a_forward_step() {
        let guard = StepGuard::default();
        assert_eq!(read(&guard, START + HOUR, 0), START + HOUR);
        for second in 1..=HOUR + 1 {
            assert_eq!(read(&guard, START + second, second), START + second);
        }
        assert_eq!(read(&guard, START + 2 * HOUR + 2, HOUR + 2), START + HOUR + 2);
    }

    #[test]
    fn skew_has_a_sign_and_a_text() {
        assert_eq!(seconds_ahead(at(7200), at(0)), 7200);
        assert_eq!(seconds_ahead(at(0), at(7200)), -7200);
        assert!(!is_skewed(3600) && is_skewed(3601) && is_skewed(-3601) && is_skewed(i64::MIN));
        assert_eq!(describe_skew(-5), "5 s behind");
        assert_eq!(describe_skew(5), "5 s ahead of");
    }
}
