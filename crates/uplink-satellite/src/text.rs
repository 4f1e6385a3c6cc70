//! Text forms of configuration values: durations and sizes with a unit.

use std::time::Duration;

const DURATIONS: [(&str, u128); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];
const SIZES: [(&str, u128); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Parses an integer with a unit, such as `30s` or `64 MiB`.
fn parse(text: &str, units: &[(&str, u128)]) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim();
    let factor = units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let value = number.parse::<u64>().ok().zip(factor);
    let value = value.and_then(|(number, factor)| u128::from(number).checked_mul(factor));
    value.and_then(|value| u64::try_from(value).ok()).ok_or_else(|| {
        let known: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
        format!("{text:?} is not an integer with one of the units {}", known.join(", "))
    })
}

/// Formats a number with the largest unit that divides it.
fn format(value: u128, units: &[(&str, u128)]) -> String {
    let fitting = units.iter().filter(|(_, factor)| value.is_multiple_of(*factor));
    let (name, factor) = fitting.max_by_key(|(_, factor)| *factor).unwrap_or(&("", 1));
    if value == 0 {
        let smallest = units.last().map_or("", |(name, _)| *name);
        return format!("0{smallest}");
    }
    format!("{}{name}", value / factor)
}

/// Formats a size for humans as the public network does: one decimal place from 1 KiB on.
pub(crate) fn readable_size(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut size = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if size.abs() < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, next);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{size:.1} {unit}") }
}

pub(crate) mod duration {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::{DURATIONS, Duration, format, parse};

    pub(crate) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format(value.as_millis(), &DURATIONS))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        parse(&text, &DURATIONS).map(Duration::from_millis).map_err(D::Error::custom)
    }
}

pub(crate) mod size {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::{SIZES, format, parse};

    pub(crate) fn serialize<S: Serializer>(value: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format(u128::from(*value), &SIZES))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        parse(&text, &SIZES).map_err(D::Error::custom)
    }
}

/// Serde for values with `Display` and `FromStr`.
pub(crate) mod display {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<T: Display, S: Serializer>(
        value: &T,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units_round_trip() {
        for (text, millis) in
            [("0ms", 0), ("1500ms", 1_500), ("30s", 30_000), ("9min", 540_000), ("2d", 172_800_000)]
        {
            assert_eq!(parse(text, &DURATIONS), Ok(millis));
            assert_eq!(format(millis.into(), &DURATIONS), text);
        }
        assert_eq!(parse(" 64 MiB ", &SIZES), Ok(64 << 20));
        assert_eq!(format(64 << 20, &SIZES), "64MiB");
        assert_eq!(format(1_000_000_000, &SIZES), "1GB");
    }

    #[test]
    fn readable_sizes_match_the_public_network() {
        for (bytes, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (5 << 20, "5.0 MiB"),
            (4_150, "4.1 KiB"),
            (i64::MAX, "8.0 EiB"),
        ] {
            assert_eq!(readable_size(bytes), text);
        }
    }

    #[test]
    fn text_without_number_or_unit_is_rejected() {
        for text in
            ["", "5", "s", "-5s", "1.5h", "5 S", "99999999999999999999s", "18446744073709551615d"]
        {
            assert!(parse(text, &DURATIONS).is_err(), "{text}");
        }
    }
}
