//! Times on the wire.
//!
//! Peers of the public network write a missing time as the first second of year 1; readers treat
//! that value, and an absent field, as "not set".

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

/// Seconds of the first instant of year 1, which stands for "not set".
pub const ZERO_SECONDS: i64 = -62_135_596_800;

/// Converts a system time, cutting it to microseconds as databases of the network do.
#[must_use]
pub fn timestamp(time: SystemTime) -> Timestamp {
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
    let nanos = nanos.saturating_sub(nanos % 1_000);
    Timestamp { seconds, nanos: i32::try_from(nanos).unwrap_or(0) }
}

/// Reads a time; `None` when it is absent, zero or outside what the system can represent.
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

/// Largest difference between two parties' clocks with which transfers work. Storage nodes of the
/// public network refuse order limits made further away.
pub const MAX_SKEW: Duration = Duration::from_secs(60 * 60);

/// Signed seconds by which `one` is ahead of `other`; negative when it is behind.
#[must_use]
pub fn seconds_ahead(one: SystemTime, other: SystemTime) -> i64 {
    let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    match one.duration_since(other) {
        Ok(ahead) => seconds(ahead),
        Err(behind) => seconds(behind.duration()).saturating_neg(),
    }
}

/// Whether clocks that differ by this many seconds are too far apart for transfers.
#[must_use]
pub fn is_skewed(seconds: i64) -> bool {
    seconds.unsigned_abs() > MAX_SKEW.as_secs()
}

/// Says how a clock that is `seconds` ahead of another relates to it: `7200 s ahead of`.
#[must_use]
pub fn relation(seconds: i64) -> String {
    let direction = if seconds < 0 { "behind" } else { "ahead of" };
    format!("{} s {direction}", seconds.unsigned_abs())
}

/// Holds back steps of a clock, for decisions that cannot be taken back: what is deleted because it
/// is old must not be deleted because a clock jumped.
///
/// A step ahead is believed once it has lasted for some time; a step back, at once, and so is the
/// return from it.
#[derive(Debug)]
pub struct StepGuard {
    hold: Duration,
    readings: Mutex<Option<Readings>>,
}

#[derive(Clone, Copy, Debug)]
struct Readings {
    /// The last one that was believed.
    last: Reading,
    /// The last one before a step back, which may be a mistake that ends.
    usual: Reading,
    /// Since when the clock has been ahead of both, in steady time.
    ahead_since: Option<Duration>,
    /// Since when it has been behind the usual reading.
    behind_since: Option<Duration>,
}

/// Two clocks at one moment.
#[derive(Clone, Copy, Debug)]
struct Reading {
    wall: SystemTime,
    steady: Duration,
}

impl Reading {
    /// What the wall clock shows later, if it does not step.
    fn after(&self, steady: Duration) -> SystemTime {
        self.wall.checked_add(steady.saturating_sub(self.steady)).unwrap_or(self.wall)
    }
}

impl StepGuard {
    /// A difference below this is drift, and believed at once.
    const DRIFT: Duration = Duration::from_secs(1);

    /// Believes a step ahead that has lasted for `hold`.
    #[must_use]
    pub fn new(hold: Duration) -> Self {
        Self { hold, readings: Mutex::new(None) }
    }

    /// Returns the time by which to decide, given that of the wall clock and of one that never steps.
    #[must_use]
    pub fn read(&self, wall: SystemTime, steady: Duration) -> SystemTime {
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Reading { wall, steady };
        let fresh = Readings { last: now, usual: now, ahead_since: None, behind_since: None };
        let Some(known) = readings.as_mut() else {
            *readings = Some(fresh);
            return wall;
        };
        let (expected, usual) = (known.last.after(steady), known.usual.after(steady));
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

/// Whether one time is ahead of another by more than drift.
fn is_ahead(one: SystemTime, other: SystemTime) -> bool {
    other.checked_add(StepGuard::DRIFT).is_some_and(|other| one > other)
}

/// The wire form of "not set" that peers of the public network write.
#[must_use]
pub fn zero() -> Timestamp {
    Timestamp { seconds: ZERO_SECONDS, nanos: 0 }
}

impl Default for StepGuard {
    /// Believes a step ahead that has lasted for an hour.
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
    fn step_ahead_is_believed_after_an_hour() {
        let guard = StepGuard::default();
        assert_eq!(read(&guard, START, 0), START);
        assert_eq!(read(&guard, START + 10, 10), START + 10);
        assert_eq!(read(&guard, START + 9 * HOUR, 20), START + 20);
        assert_eq!(read(&guard, START + 10 * HOUR, 20 + HOUR - 1), START + 20 + HOUR - 1);
        assert_eq!(read(&guard, START + 10 * HOUR, 20 + HOUR), START + 10 * HOUR);
    }

    #[test]
    fn step_ahead_that_is_taken_back_is_never_believed() {
        let guard = StepGuard::default();
        for round in 0..10 {
            let steady = round * HOUR / 2;
            assert_eq!(read(&guard, START + steady, steady), START + steady);
            assert_eq!(read(&guard, START + steady + HOUR, steady + 1), START + steady + 1);
        }
    }

    #[test]
    fn step_back_and_the_return_from_it_are_believed_at_once() {
        let guard = StepGuard::default();
        assert_eq!(read(&guard, START, 0), START);
        assert_eq!(read(&guard, START - HOUR, 1), START - HOUR);
        assert_eq!(read(&guard, START - HOUR + 1, 2), START - HOUR + 1);
        assert_eq!(read(&guard, START + 3, 3), START + 3);
        // Farther ahead than before is not.
        assert_eq!(read(&guard, START - HOUR + 4, 4), START - HOUR + 4);
        assert_eq!(read(&guard, START + HOUR, 5), START - HOUR + 5);
    }

    #[test]
    fn return_from_a_step_back_that_lasted_an_hour_is_a_step_ahead() {
        let guard = StepGuard::default();
        assert_eq!(read(&guard, START + HOUR, 0), START + HOUR);
        for second in 1..=HOUR + 1 {
            assert_eq!(read(&guard, START + second, second), START + second);
        }
        assert_eq!(read(&guard, START + 2 * HOUR + 2, HOUR + 2), START + HOUR + 2);
    }

    #[test]
    fn differences_have_a_sign_and_words() {
        assert_eq!(seconds_ahead(at(7200), at(0)), 7200);
        assert_eq!(seconds_ahead(at(0), at(7200)), -7200);
        assert!(!is_skewed(3600) && is_skewed(3601) && is_skewed(-3601) && is_skewed(i64::MIN));
        assert_eq!(relation(-5), "5 s behind");
        assert_eq!(relation(5), "5 s ahead of");
    }
}
