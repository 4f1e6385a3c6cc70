//! Expiry of an object: a point in time, or a duration from now.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::failure::{Failure, Outcome};

/// Parses a point in time in the future: RFC 3339 (`2030-01-31T12:00:00Z`), or a number of seconds,
/// minutes, hours or days from now (`90s`, `15m`, `24h`, `7d`).
pub(crate) fn parse(text: &str, now: SystemTime) -> Outcome<SystemTime> {
    let malformed = || {
        Failure::usage(format!(
            "invalid expiry {text:?}: must be like 2030-01-31T12:00:00Z, 90s, 15m, 24h, 7d or \
             never"
        ))
    };
    let expires = match OffsetDateTime::parse(text, &Rfc3339) {
        Ok(time) => time.into(),
        Err(_) => {
            let duration = parse_duration(text).ok_or_else(malformed)?;
            now.checked_add(duration).ok_or_else(malformed)?
        }
    };
    // The wire format holds years up to 9999.
    match expires.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) if since.as_secs() < YEAR_10000 && expires > now => Ok(expires),
        Ok(since) if since.as_secs() >= YEAR_10000 => Err(malformed()),
        _ => Err(Failure::usage(format!("invalid expiry {text:?}: not in the future"))),
    }
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
        let expires = parse(text, SystemTime::UNIX_EPOCH + NOW).ok()?;
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
