//! Commands that work on many objects: one failure does not keep the others from being worked on.
//!
//! Failures are collected and printed once, when the command ends, whether it is complete, stopped
//! or interrupted. The command then ends with [`Exit::Incomplete`]. Two kinds of failures stop it,
//! with the code of their own family: those that every other object would meet too, like a full
//! disk ([`Scope::Command`]), and [`MAX_OUTAGES`] failures of the network in a row.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::failure::{Exit, Failure, Outcome, Scope};

/// Failures of the network without a success between them that a command puts up with.
const MAX_OUTAGES: u32 = 8;

/// Failures that are printed one by one; others are counted.
const MAX_LINES: usize = 100_000;

/// What became of the objects of one command.
#[derive(Debug, Default)]
pub(crate) struct Batch(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    done: u64,
    failed: u64,
    outages: u32,
    lines: Vec<Failure>,
}

impl Batch {
    /// Counts what became of one object.
    ///
    /// # Errors
    /// The failure, if the command has to stop because of it.
    pub(crate) fn record(&self, object: impl fmt::Display, outcome: Outcome) -> Outcome {
        let mut state = self.state();
        let failure = match outcome {
            Ok(()) => return state.succeeded(),
            // The object is done; the reader of the report went away.
            Err(failure) if failure.exit() == Exit::BrokenPipe => return state.succeeded(),
            Err(failure) => failure.within(object),
        };
        if failure.scope() == Scope::Network {
            state.outages += 1;
        }
        if failure.scope() == Scope::Command || state.outages >= MAX_OUTAGES {
            let State { done, failed, .. } = *state;
            return Err(failure.followed_by(format_args!(
                "stopped after {done} objects succeeded and {failed} failed"
            )));
        }
        state.failed += 1;
        if state.lines.len() < MAX_LINES {
            state.lines.push(failure);
        }
        Ok(())
    }

    /// Returns success if nothing failed. `what` says what the objects that failed were not.
    pub(crate) fn outcome(&self, what: &str) -> Outcome {
        let State { done, failed, .. } = *self.state();
        if failed == 0 {
            return Ok(());
        }
        let total = done + failed;
        let text = format!("incomplete: {failed} of {total} entries were not {what}");
        Err(Failure::new(Exit::Incomplete, text))
    }

    /// Takes the failures that are to be printed, and the number of those that were counted only.
    pub(crate) fn take_failures(&self) -> (Vec<Failure>, u64) {
        let mut state = self.state();
        let lines = std::mem::take(&mut state.lines);
        let others = state.failed - lines.len() as u64;
        (lines, others)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn succeeded(&mut self) -> Outcome {
        self.done += 1;
        self.outages = 0;
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
    fn single_failures_are_collected_and_end_with_one_code() {
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
    fn closed_reader_of_the_report_is_success() {
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
            for _ in 1..MAX_OUTAGES {
                batch.record("a", network()).unwrap();
            }
            batch.record("b", Ok(())).unwrap();
        }
        for _ in 1..MAX_OUTAGES {
            batch.record("a", network()).unwrap();
        }
        assert_eq!(batch.record("a", network()).unwrap_err().exit(), Exit::Network);
    }

    #[test]
    fn failures_beyond_the_limit_are_counted() {
        let batch = Batch::default();
        for _ in 0..=MAX_LINES {
            batch.record("a", Err(Failure::new(Exit::Other, "bad"))).unwrap();
        }
        let (lines, others) = batch.take_failures();
        assert_eq!((lines.len(), others), (MAX_LINES, 1));
    }
}
