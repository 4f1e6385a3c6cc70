//! Commands on many objects: a failure of one object does not stop the others.
//!
//! Failures are collected and printed once, when the command ends, also when it is stopped or
//! interrupted. The command then fails with [`Exit::Incomplete`]. Two kinds of failures stop it,
//! with the exit code of their own family: those that would affect every other object, like a full
//! disk ([`Scope::Command`]) or a missing bucket ([`Scope::Bucket`]), and [`MAX_NETWORK_FAILURES`]
//! consecutive network failures.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::failure::{Exit, Failure, Outcome, Scope};

/// Consecutive network failures that stop a command.
const MAX_NETWORK_FAILURES: u32 = 8;

/// Failures that are printed; further ones are only counted.
const MAX_PRINTED: usize = 100_000;

/// Results of the objects of one command.
#[derive(Debug, Default)]
pub(crate) struct Batch(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    succeeded: u64,
    failed: u64,
    /// Network failures since the last success.
    network_failures: u32,
    /// The first [`MAX_PRINTED`] failures.
    printed: Vec<Failure>,
}

impl Batch {
    /// Records the outcome of one object.
    ///
    /// # Errors
    /// Returns the failure if it stops the command.
    pub(crate) fn record(&self, object: impl fmt::Display, outcome: Outcome) -> Outcome {
        let mut counts = self.counts();
        let failure = match outcome {
            Ok(()) => return counts.record_success(),
            // The object is complete; only the reader of the report exited.
            Err(failure) if failure.exit() == Exit::BrokenPipe => return counts.record_success(),
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

    /// Returns success if no object failed. `action` is what was done to them, like `copied`.
    pub(crate) fn outcome(&self, action: &str) -> Outcome {
        let Counts { succeeded, failed, .. } = *self.counts();
        if failed == 0 {
            return Ok(());
        }
        let total = succeeded + failed;
        let text = format!("incomplete: {failed} of {total} entries were not {action}");
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
    fn record_success(&mut self) -> Outcome {
        self.succeeded += 1;
        self.network_failures = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn network() -> Outcome {
        Err(Failure::new(Exit::Network, "no answer"))
    }

    #[test]
    fn failures_of_objects_are_collected_as_incomplete() {
        let batch = Batch::default();
        batch.record("a", Ok(())).unwrap();
        batch.record("b", Err(Failure::new(Exit::Conflict, "in the way"))).unwrap();
        batch.record("c", Err(Failure::new(Exit::Permission, "denied"))).unwrap();
        let failure = batch.outcome("copied").unwrap_err();
        assert_eq!(failure.exit(), Exit::Incomplete);
        assert_eq!(failure.to_string(), "incomplete: 2 of 3 entries were not copied");
        let (lines, others) = batch.take_failures();
        let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
        assert_eq!((lines, others), (vec!["b: in the way".into(), "c: denied".into()], 0));
    }

    #[test]
    fn broken_pipe_of_the_report_counts_as_success() {
        let batch = Batch::default();
        let closed = io::Error::from(io::ErrorKind::BrokenPipe);
        batch.record("a", Err(Failure::io("cannot write", &closed))).unwrap();
        batch.outcome("copied").unwrap();
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
            batch.record("b", Ok(())).unwrap();
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
