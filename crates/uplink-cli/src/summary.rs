//! The totals of a command on many objects, printed at its end.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::action::Action;
use crate::failure::Outcome;
use crate::output::Output;
use crate::text::binary_size;

/// What a batch did to its objects.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    #[serde(skip)]
    pub(crate) action: Action,
    /// Objects that succeeded.
    pub(crate) objects: u64,
    /// Bytes of these objects; `None` if the size of one of them is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<u64>,
    pub(crate) failed: u64,
    #[serde(serialize_with = "seconds", rename = "seconds")]
    pub(crate) duration: Duration,
    /// Whether nothing was changed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) dry_run: bool,
}

/// A summary as JSON.
#[derive(Serialize)]
struct Report {
    summary: Summary,
}

impl Summary {
    /// Prints the summary: as a note, or with `--json` as the last object.
    pub(crate) fn print(self, out: Output) -> Outcome {
        out.note(self);
        out.object(&Report { summary: self })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { action, objects, failed, dry_run, .. } = self;
        let done = if *dry_run { action.would() } else { action.done() };
        write!(f, "{done} {}", count(*objects, action.noun()))?;
        if let Some(bytes) = self.bytes {
            write!(f, " ({})", binary_size(bytes))?;
        }
        write!(f, " in {:.1} s", self.duration.as_secs_f64())?;
        if *failed > 0 {
            write!(f, ", {failed} failed")?;
        }
        f.write_str(".")
    }
}

/// Formats a number of things, like `1 object`.
fn count(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Writes a duration in seconds with milliseconds.
fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((duration.as_secs_f64() * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_leaves_out_what_is_unknown_or_zero() {
        let summary = Summary {
            action: Action::Copy,
            objects: 1,
            bytes: Some(1 << 20),
            failed: 0,
            duration: Duration::from_millis(1_260),
            dry_run: false,
        };
        assert_eq!(summary.to_string(), "Copied 1 object (1.00 MiB) in 1.3 s.");
        let summary =
            Summary { action: Action::Abort, objects: 2, bytes: None, failed: 3, ..summary };
        assert_eq!(summary.to_string(), "Aborted 2 uploads in 1.3 s, 3 failed.");
        let dry_run = Summary { dry_run: true, ..summary };
        assert_eq!(dry_run.to_string(), "Would abort 2 uploads in 1.3 s, 3 failed.");
        let json = serde_json::to_string(&Report { summary }).unwrap();
        assert_eq!(json, r#"{"summary":{"objects":2,"failed":3,"seconds":1.26}}"#);
    }
}
