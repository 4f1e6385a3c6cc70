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

/// The wire form of "not set" that peers of the public network write.
#[must_use]
pub fn zero() -> Timestamp {
    Timestamp { seconds: ZERO_SECONDS, nanos: 0 }
}
