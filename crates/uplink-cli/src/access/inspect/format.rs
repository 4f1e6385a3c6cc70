//! Formats of encrypted paths, times, durations and counts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uplink::grant::Timestamp;

/// Formats an encrypted path: each component in URL-safe Base64.
pub(super) fn encoded_path(path: &[u8]) -> String {
    path.split(|byte| *byte == b'/').map(|part| URL_SAFE.encode(part)).collect::<Vec<_>>().join("/")
}

/// Formats a time as RFC 3339, or as seconds if the year has more than four digits.
pub(super) fn timestamp(time: Timestamp) -> String {
    let nanos = i128::from(time.seconds()) * 1_000_000_000 + i128::from(time.nanos());
    let date_time = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok();
    let text = date_time.and_then(|date_time| date_time.format(&Rfc3339).ok());
    text.unwrap_or_else(|| format!("{} s after 1970", time.seconds()))
}

/// Formats a time as [`timestamp`] does.
pub(super) fn system_time(time: SystemTime) -> String {
    let (seconds, nanos) = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (seconds(after), after.subsec_nanos()),
        Err(before) => (-seconds(before.duration()), 0),
    };
    timestamp(Timestamp::new(seconds, nanos))
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// Formats a duration in the largest unit that divides it.
pub(super) fn duration(duration: Duration) -> String {
    const UNITS: [(u128, &str); 4] = [
        (86_400_000_000_000, "day"),
        (3_600_000_000_000, "hour"),
        (60_000_000_000, "minute"),
        (1_000_000_000, "second"),
    ];
    let nanos = duration.as_nanos();
    let unit = UNITS.into_iter().find(|(unit, _)| nanos >= *unit && nanos.is_multiple_of(*unit));
    match unit.map(|(unit, name)| (usize::try_from(nanos / unit), name)) {
        Some((Ok(number), name)) => count(number, name),
        _ => format!("{nanos} nanoseconds"),
    }
}

/// Formats a number of things.
pub(super) fn count(number: usize, noun: &str) -> String {
    match number {
        0 => format!("no {noun}s"),
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}
