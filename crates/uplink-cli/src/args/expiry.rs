//! Times as typed: a point in time, or a duration from now.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::failure::{Failure, Outcome};

/// Parses a point in time in the future, as [`parse_time`]. `name` is what it is the time of.
pub(crate) fn parse_future(name: &str, text: &str, now: SystemTime) -> Outcome<SystemTime> {
    let time = parse_time(name, text, now)?;
    if time > now {
        return Ok(time);
    }
    Err(Failure::usage(format!("invalid {name} {text:?}: not in the future")))
}

/// Parses a point in time: RFC 3339 (`2030-01-31T12:00:00Z`), or a number of seconds, minutes, hours
/// or days from now (`90s`, `15m`, `24h`, `7d`).
pub(crate) fn parse_time(name: &str, text: &str, now: SystemTime) -> Outcome<SystemTime> {
    let time = match OffsetDateTime::parse(text, &Rfc3339) {
        Ok(time) => Some(time.into()),
        Err(_) => parse_duration(text).and_then(|duration| now.checked_add(duration)),
    };
    // The wire format holds the years 1970 to 9999.
    let is_in_range = |time: &SystemTime| {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        since.is_ok_and(|since| since.as_secs() < YEAR_10000)
    };
    time.filter(is_in_range).ok_or_else(|| {
        Failure::usage(format!(
            "invalid {name} {text:?}: must be like 2030-01-31T12:00:00Z, 90s, 15m, 24h or 7d"
        ))
    })
}

/// Parses a duration of at least a second.
pub(crate) fn parse_lifetime(name: &str, text: &str) -> Outcome<Duration> {
    let duration = parse_duration(text).filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| {
        Failure::usage(format!("invalid {name} {text:?}: must be like 90s, 15m, 24h or 7d"))
    })
}

const YEAR_10000: u64 = 253_402_300_800;

fn parse_duration(text: &str) -> Option<Duration> {
    let (unit_index, unit) = text.char_indices().last()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    let number =
        text.get(..unit_index).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
    number.parse::<u64>().ok()?.checked_mul(seconds).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_900_000_000);

    fn seconds(text: &str) -> Option<u64> {
        let expires = parse_future("expiry", text, SystemTime::UNIX_EPOCH + NOW).ok()?;
        Some(expires.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs())
    }

    #[test]
    fn times_and_durations_are_parsed() {
        assert_eq!(seconds("90s"), Some(1_900_000_090));
        assert_eq!(seconds("1m"), Some(1_900_000_060));
        assert_eq!(seconds("2h"), Some(1_900_007_200));
        assert_eq!(seconds("1d"), Some(1_900_086_400));
        assert_eq!(seconds("2033-05-18T03:33:20Z"), Some(2_000_000_000));
        assert_eq!(seconds("2033-05-18T05:33:20+02:00"), Some(2_000_000_000));
    }

    #[test]
    fn past_and_malformed_times_are_rejected() {
        for bad in
            ["", "d", "5", "5w", "-1d", "+1d", "0s", "2020-01-01T00:00:00Z", "tomorrow", "1é"]
        {
            assert_eq!(seconds(bad), None, "{bad}");
        }
        assert_eq!(seconds("18446744073709551615d"), None);
        assert_eq!(seconds("99999999d"), None);
    }
}
