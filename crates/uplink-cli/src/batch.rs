//! Commands on many objects: a failure of one object does not stop the others.
//!
//! Failures are collected and printed once, when the command ends, also when it is stopped or
//! interrupted. The command then fails with [`Exit::Incomplete`]. Two kinds of failures stop it,
//! with the exit code of their own family: those that would affect every other object, like a full
//! disk ([`Scope::Command`]) or a missing bucket ([`Scope::Bucket`]), and [`MAX_NETWORK_FAILURES`]
//! consecutive network failures.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::action::Action;
use crate::failure::{Exit, Failure, Outcome, Scope};
use crate::summary::Summary;

/// Consecutive network failures that stop a command.
const MAX_NETWORK_FAILURES: u32 = 8;

/// Failures that are printed; further ones are only counted.
const MAX_PRINTED: usize = 100_000;

/// Results of the objects of one command.
#[derive(Debug, Default)]
pub(crate) struct Batch(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// What is summarized at the end; `None` for a command on a single object.
    begun: Option<Begun>,
    succeeded: u64,
    /// Bytes of the objects that succeeded.
    bytes: u64,
    /// Whether the size of an object that succeeded is unknown.
    has_unknown_size: bool,
    failed: u64,
    /// Network failures since the last success.
    network_failures: u32,
    /// The first [`MAX_PRINTED`] failures.
    printed: Vec<Failure>,
}

/// A command on many objects.
#[derive(Clone, Copy, Debug)]
struct Begun {
    action: Action,
    dry_run: bool,
    start: Instant,
}

impl Batch {
    /// Starts the time of a command that is summarized at its end.
    pub(crate) fn begin(&self, action: Action, dry_run: bool) {
        self.counts().begun = Some(Begun { action, dry_run, start: Instant::now() });
    }

    /// Returns the totals of a command on many objects that succeeded or has done something.
    pub(crate) fn summary(&self, is_success: bool) -> Option<Summary> {
        let counts = self.counts();
        let Counts { begun, succeeded, bytes, failed, .. } = *counts;
        let begun = begun.filter(|_| is_success || succeeded + failed > 0)?;
        Some(Summary {
            action: begun.action,
            objects: succeeded,
            bytes: (!counts.has_unknown_size).then_some(bytes),
            failed,
            duration: begun.start.elapsed(),
            dry_run: begun.dry_run,
        })
    }

    /// Records the outcome of one object: its size if it is known, or why it failed.
    ///
    /// # Errors
    /// Returns the failure if it stops the command.
    pub(crate) fn record(
        &self,
        object: impl fmt::Display,
        outcome: Outcome<Option<u64>>,
    ) -> Outcome {
        let mut counts = self.counts();
        let failure = match outcome {
            Ok(size) => return counts.record_success(size),
            // The object is complete; only the reader of the report exited.
            Err(failure) if failure.exit() == Exit::BrokenPipe => {
                return counts.record_success(None);
            }
            Err(failure) => failure.within(object),
        };
        if failure.scope() == Scope::Network {
            counts.network_failures += 1;
        }
        let affects_all = matches!(failure.scope(), Scope::Bucket | Scope::Command);
        if affects_all || counts.network_failures >= MAX_NETWORK_FAILURES {
            let Counts { succeeded, failed, .. } = *counts;
            return Err(failure.stopping().followed_by(format_args!(
                "stopped after {succeeded} objects succeeded and {failed} failed"
            )));
        }
        counts.failed += 1;
        if counts.printed.len() < MAX_PRINTED {
            counts.printed.push(failure);
        }
        Ok(())
    }

    /// Returns success if no object failed.
    pub(crate) fn outcome(&self, action: Action) -> Outcome {
        let Counts { succeeded, failed, .. } = *self.counts();
        if failed == 0 {
            return Ok(());
        }
        let total = succeeded + failed;
        let done = action.done().to_lowercase();
        let text = format!("incomplete: {failed} of {total} entries were not {done}");
        Err(Failure::new(Exit::Incomplete, text))
    }

    /// Takes the failures to print, and the number of those that were only counted.
    pub(crate) fn take_failures(&self) -> (Vec<Failure>, u64) {
        let mut counts = self.counts();
        let printed = std::mem::take(&mut counts.printed);
        let omitted = counts.failed - printed.len() as u64;
        (printed, omitted)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn record_success(&mut self, size: Option<u64>) -> Outcome {
        self.succeeded += 1;
        self.bytes = self.bytes.saturating_add(size.unwrap_or_default());
        self.has_unknown_size |= size.is_none();
        self.network_failures = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn network() -> Outcome<Option<u64>> {
        Err(Failure::new(Exit::Network, "no answer"))
    }

    #[test]
    fn failures_of_objects_are_collected_as_incomplete() {
        let batch = Batch::default();
        batch.record("a", Ok(Some(1))).unwrap();
        batch.record("b", Err(Failure::new(Exit::Conflict, "in the way"))).unwrap();
        batch.record("c", Err(Failure::new(Exit::Permission, "denied"))).unwrap();
        let failure = batch.outcome(Action::Copy).unwrap_err();
        assert_eq!(failure.exit(), Exit::Incomplete);
        assert_eq!(failure.to_string(), "incomplete: 2 of 3 entries were not copied");
        let (lines, others) = batch.take_failures();
        let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
        assert_eq!((lines, others), (vec!["b: in the way".into(), "c: denied".into()], 0));
    }

    #[test]
    fn summary_counts_what_succeeded_and_failed() {
        let batch = Batch::default();
        batch.record("a", Ok(Some(3))).unwrap();
        assert_eq!(batch.summary(true), None);
        let batch = Batch::default();
        batch.begin(Action::Copy, false);
        assert_eq!(batch.summary(false), None);
        assert_eq!(batch.summary(true).unwrap().objects, 0);
        batch.record("a", Ok(Some(3))).unwrap();
        batch.record("b", Ok(Some(4))).unwrap();
        batch.record("c", Err(Failure::new(Exit::Conflict, "in the way"))).unwrap();
        let summary = batch.summary(false).unwrap();
        assert_eq!((summary.objects, summary.bytes, summary.failed), (2, Some(7), 1));
        batch.record("d", Ok(None)).unwrap();
        assert_eq!(batch.summary(false).unwrap().bytes, None);
    }

    #[test]
    fn broken_pipe_of_the_report_counts_as_success() {
        let batch = Batch::default();
        let closed = io::Error::from(io::ErrorKind::BrokenPipe);
        batch.record("a", Err(Failure::io("cannot write", &closed))).unwrap();
        batch.outcome(Action::Copy).unwrap();
    }

    #[test]
    fn full_disk_stops_the_batch() {
        let batch = Batch::default();
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            let full = Failure::io("cannot write \"x\"", &io::Error::from(kind));
            let stopped = batch.record("a", Err(full)).unwrap_err();
            assert_eq!(stopped.exit(), Exit::Other);
        }
    }

    #[test]
    fn only_consecutive_network_failures_stop_the_batch() {
        let batch = Batch::default();
        for _ in 0..3 {
            for _ in 1..MAX_NETWORK_FAILURES {
                batch.record("a", network()).unwrap();
            }
            batch.record("b", Ok(Some(1))).unwrap();
        }
        for _ in 1..MAX_NETWORK_FAILURES {
            batch.record("a", network()).unwrap();
        }
        assert_eq!(batch.record("a", network()).unwrap_err().exit(), Exit::Network);
    }

    #[test]
    fn failures_beyond_the_limit_are_only_counted() {
        let batch = Batch::default();
        for _ in 0..=MAX_PRINTED {
            batch.record("a", Err(Failure::new(Exit::Other, "bad"))).unwrap();
        }
        let (lines, others) = batch.take_failures();
        assert_eq!((lines.len(), others), (MAX_PRINTED, 1));
    }
}
