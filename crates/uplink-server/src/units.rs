//! Sizes and durations as text: a whole number and a unit, such as `64MiB` or `30s`.
//!
//! The modules [`duration`], [`size`] and [`display`] are for `#[serde(with = "…")]`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Units of durations in milliseconds, largest first. Minutes are written as `min`.
const DURATIONS: &[(&str, u64)] =
    &[("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of sizes in bytes, largest first. A number without a unit counts bytes.
const SIZES: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
    ("", 1),
];

/// The text is not a whole number with a known unit, or the value is out of range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid {quantity} {text:?}: expected a whole number and one of {}", names(.units))]
pub struct UnitError {
    quantity: &'static str,
    text: String,
    units: &'static [(&'static str, u64)],
}

fn names(units: &[(&str, u64)]) -> String {
    let names = units.iter().map(|(name, _)| *name).filter(|name| !name.is_empty());
    names.collect::<Vec<_>>().join(", ")
}

/// Parses a duration. Units are case-sensitive; `m` and `min` are both minutes.
///
/// # Errors
/// The number or the unit is missing or unknown, or the value overflows.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let find = |unit: &str| DURATIONS.iter().find(|(name, _)| *name == unit);
    let millis = parse(text, find);
    let error = || UnitError { quantity: "duration", text: text.to_owned(), units: DURATIONS };
    millis.map(Duration::from_millis).ok_or_else(error)
}

/// Parses a number of bytes: `GB` is decimal, `GiB` binary, in any case; without a unit, bytes.
///
/// # Errors
/// The number is missing, the unit unknown, or the value overflows.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let find = |unit: &str| SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
    let error = || UnitError { quantity: "size", text: text.to_owned(), units: SIZES };
    parse(text, find).ok_or_else(error)
}

fn parse<'a>(text: &str, find: impl Fn(&str) -> Option<&'a (&'a str, u64)>) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (_, factor) = find(unit.trim())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Formats a duration with the largest unit that divides it, cut to milliseconds.
#[must_use]
pub fn format_duration(value: Duration) -> String {
    format(u64::try_from(value.as_millis()).unwrap_or(u64::MAX), DURATIONS, "ms")
}

/// Formats a number of bytes with the largest unit that divides it.
#[must_use]
pub fn format_size(value: u64) -> String {
    format(value, SIZES, "B")
}

fn format(value: u64, units: &[(&str, u64)], smallest: &str) -> String {
    let divides = |factor: u64| value != 0 && value.is_multiple_of(factor);
    match units.iter().find(|(_, factor)| divides(*factor)) {
        Some((name, factor)) => format!("{}{name}", value / factor),
        None => format!("{value}{smallest}"),
    }
}

/// Formats a size for people as the public network does: one decimal digit from 1 KiB on.
#[must_use]
pub fn readable_size(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut size = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if size.abs() < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{size:.1} {unit}") }
}

/// A number of bytes whose text form has a unit. In a file it may be a plain number, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse_size(text).map(Self)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_size(self.0))
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(SizeVisitor)
    }
}

struct SizeVisitor;

impl de::Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of bytes or a size with a unit")
    }

    fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
        Ok(Size(bytes))
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
        let invalid = |_| E::invalid_value(de::Unexpected::Signed(bytes), &self);
        u64::try_from(bytes).map(Size).map_err(invalid)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
        text.parse().map_err(E::custom)
    }
}

/// Durations as text.
pub mod duration {
    use serde::de::Error;

    use super::{Deserialize, Deserializer, Duration, Serializer, format_duration, parse_duration};

    /// Writes a duration with a unit.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format_duration(*value))
    }

    /// Reads a duration with a unit.
    ///
    /// # Errors
    /// The value is not a text or not a duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        parse_duration(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// Sizes as text.
pub mod size {
    use super::{Deserialize, Deserializer, Serialize, Serializer, Size};

    /// Writes a size with a unit.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(value: &u64, to: S) -> Result<S::Ok, S::Error> {
        Size(*value).serialize(to)
    }

    /// Reads a size with a unit, or a number of bytes.
    ///
    /// # Errors
    /// The value is not a size.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        Size::deserialize(from).map(|size| size.0)
    }
}

/// Values whose text form is that of `Display` and `FromStr`.
pub mod display {
    use serde::de::Error;

    use super::fmt::Display;
    use super::{Deserialize, Deserializer, FromStr, Serializer};

    /// Writes a value as it is displayed.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    /// Parses a value.
    ///
    /// # Errors
    /// The value is not a text or cannot be parsed.
    pub fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
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
    fn durations_with_units_are_parsed_and_formatted() {
        for (text, millis, written) in [
            ("0ms", 0, "0ms"),
            ("1500ms", 1_500, "1500ms"),
            ("30s", 30_000, "30s"),
            ("9min", 540_000, "9min"),
            ("9m", 540_000, "9min"),
            (" 60 m ", 3_600_000, "1h"),
            ("72h", 259_200_000, "3d"),
            ("2d", 172_800_000, "2d"),
        ] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(duration, Duration::from_millis(millis), "{text}");
            assert_eq!(format_duration(duration), written);
        }
    }

    #[test]
    fn sizes_with_units_are_parsed_and_formatted() {
        for (text, bytes, written) in [
            (" 64 MiB ", 64 << 20, "64MiB"),
            ("1000000000B", 1_000_000_000, "1GB"),
            ("500GB", 500_000_000_000, "500GB"),
            ("2 tib", 2 << 40, "2TiB"),
            ("1536", 1_536, "1536B"),
            ("10kb", 10_000, "10KB"),
            ("0", 0, "0B"),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
            assert_eq!(format_size(bytes), written);
        }
    }

    #[test]
    fn text_without_number_or_known_unit_is_rejected() {
        for text in
            ["", "5", "s", "-5s", "1.5h", "5 S", "99999999999999999999s", "18446744073709551615d"]
        {
            let error = parse_duration(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("invalid duration {text:?}: ")), "{error}");
        }
        for text in ["", "GB", "-1", "5 parsec", "99999999TiB"] {
            let error = parse_size(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("invalid size {text:?}: ")), "{error}");
        }
        let error = parse_duration("5 parsec").unwrap_err().to_string();
        assert!(error.ends_with("expected a whole number and one of d, h, min, m, s, ms"));
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
}
