//! How far this node's clock is from those of its satellites.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::sync::watch;
use uplink_core::id::NodeId;
use uplink_rpc::time::{is_skewed, relation, seconds_ahead};

use crate::clock::Clock;

/// The satellites' clocks as last read. Between two readings they are taken to run on, so that a
/// step of the node's own clock shows at once.
#[derive(Debug)]
pub(crate) struct Clocks {
    clock: Clock,
    readings: Mutex<HashMap<NodeId, Reading>>,
    doubted: watch::Sender<()>,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    theirs: SystemTime,
    steady: Duration,
}

impl Clocks {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, readings: Mutex::default(), doubted: watch::Sender::new(()) }
    }

    /// Notes what a satellite's clock shows now; returns the seconds by which the node's is ahead.
    pub(crate) fn note(&self, satellite: NodeId, theirs: SystemTime) -> i64 {
        let reading = Reading { theirs, steady: self.clock.steady() };
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        readings.insert(satellite, reading);
        seconds_ahead(self.clock.now(), theirs)
    }

    /// Changes when a limit was refused for its time, so that clocks should be compared again.
    pub(crate) fn doubted(&self) -> watch::Receiver<()> {
        self.doubted.subscribe()
    }

    /// Says why a satellite's order limit was not made within an hour of now, naming whose clock
    /// differs: the satellite's if another satellite agrees with the node, else the node's.
    pub(crate) fn explain(&self, satellite: NodeId, created_ahead: i64) -> String {
        self.doubted.send_replace(());
        let readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, steady) = (self.clock.now(), self.clock.steady());
        let ahead = |reading: &Reading| {
            let passed = steady.saturating_sub(reading.steady);
            seconds_ahead(now, reading.theirs.checked_add(passed).unwrap_or(reading.theirs))
        };
        let known = readings.get(&satellite).map(ahead);
        let others = readings.iter().filter(|(id, _)| **id != satellite);
        let agreeing = others.filter(|(_, reading)| !is_skewed(ahead(reading))).count();
        match known {
            Some(known) if !is_skewed(known) && created_ahead > 0 => {
                let relation = relation(created_ahead);
                format!(
                    "the clock of satellite {satellite} is {relation} that of this storage node, \
                     other than at the last check-in"
                )
            }
            Some(known) if !is_skewed(known) => {
                let ago = created_ahead.unsigned_abs();
                format!("made {ago} s ago by the clocks of this storage node and of its satellite")
            }
            Some(known) if agreeing > 0 => {
                let relation = relation(known.saturating_neg());
                format!(
                    "the clock of satellite {satellite} is {relation} those of this storage node \
                     and {agreeing} other satellites"
                )
            }
            Some(known) => {
                let relation = relation(known);
                format!(
                    "the clock of this storage node is {relation} that of satellite {satellite}"
                )
            }
            None if created_ahead < 0 => {
                format!("made {} s ago by this node's clock", created_ahead.unsigned_abs())
            }
            None => format!("made {created_ahead} s ahead of this node's clock"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
        time::UNIX_EPOCH,
    };

    use super::*;

    const A: NodeId = NodeId::new([1; 32]);
    const B: NodeId = NodeId::new([2; 32]);
    const NOW: u64 = 1_800_000_000;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn clocks() -> (Clocks, Arc<AtomicU64>) {
        let now = Arc::new(AtomicU64::new(NOW));
        let shown = Arc::clone(&now);
        (Clocks::new(Clock::stepping(move || at(shown.load(Ordering::Relaxed)))), now)
    }

    #[test]
    fn node_that_differs_from_all_names_itself_after_a_step() {
        let (clocks, now) = clocks();
        assert_eq!(clocks.note(A, at(NOW)), 0);
        clocks.note(B, at(NOW + 5));
        assert!(clocks.explain(A, -4000).contains("made 4000 s ago"));
        now.store(NOW + 7200, Ordering::Relaxed);
        let text = clocks.explain(A, -7200);
        assert!(text.starts_with("the clock of this storage node is 7"), "{text}");
        assert!(text.contains(&format!("s ahead of that of satellite {A}")), "{text}");
    }

    #[test]
    fn satellite_that_differs_from_all_is_named() {
        let (clocks, _) = clocks();
        clocks.note(A, at(NOW + 7200));
        clocks.note(B, at(NOW));
        let text = clocks.explain(A, 7200);
        assert!(text.starts_with(&format!("the clock of satellite {A} is 7")), "{text}");
        let text = clocks.explain(B, 3700);
        assert!(text.contains(&format!("satellite {B} is 3700 s ahead")), "{text}");
        assert!(clocks.explain(B, -3700).contains("made 3700 s ago by the clocks of"));
    }

    #[test]
    fn clock_that_was_never_compared_is_not_blamed() {
        let (clocks, _) = clocks();
        assert_eq!(clocks.explain(A, 3700), "made 3700 s ahead of this node's clock");
    }
}
