//! Clock skew between this node and its satellites.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use uplink_core::id::NodeId;
use uplink_rpc::time::{describe_skew, is_skewed, seconds_ahead};
use uplink_server::Clock;

/// Last readings of the satellites' clocks. They are extrapolated in steady time, so that a step of
/// the node's own clock is detected at once.
#[derive(Debug)]
pub(crate) struct Clocks {
    clock: Clock,
    readings: Mutex<HashMap<NodeId, Reading>>,
    suspected: watch::Sender<()>,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    theirs: SystemTime,
    steady: Duration,
}

impl Clocks {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, readings: Mutex::default(), suspected: watch::Sender::new(()) }
    }

    /// Records a satellite's clock; returns the seconds by which the node's clock is ahead.
    pub(crate) fn record(&self, satellite: NodeId, theirs: SystemTime) -> i64 {
        let reading = Reading { theirs, steady: self.clock.steady() };
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        readings.insert(satellite, reading);
        seconds_ahead(self.clock.now(), theirs)
    }

    /// Returns a channel that changes when a limit was rejected for its creation time: the clocks
    /// should be compared again.
    pub(crate) fn suspected(&self) -> watch::Receiver<()> {
        self.suspected.subscribe()
    }

    /// Explains why an order limit was not created within an hour of now. Blames the satellite's clock
    /// if another satellite agrees with the node, otherwise the node's.
    pub(crate) fn explain(&self, satellite: NodeId, created_ahead: i64) -> String {
        self.suspected.send_replace(());
        let readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let steady = self.clock.steady();
        let ahead = |reading: &Reading| {
            let elapsed = steady.saturating_sub(reading.steady);
            seconds_ahead(now, reading.theirs.checked_add(elapsed).unwrap_or(reading.theirs))
        };
        let known = readings.get(&satellite).map(ahead);
        let others = readings.iter().filter(|(id, _)| **id != satellite);
        let agreeing = others.filter(|(_, reading)| !is_skewed(ahead(reading))).count();
        match known {
            Some(known) if !is_skewed(known) && created_ahead > 0 => {
                let skew = describe_skew(created_ahead);
                format!(
                    "the clock of satellite {satellite} is {skew} that of this storage node, \
                     other than at the last check-in"
                )
            }
            Some(known) if !is_skewed(known) => {
                let ago = created_ahead.unsigned_abs();
                format!("made {ago} s ago by the clocks of this storage node and of its satellite")
            }
            Some(known) if agreeing > 0 => {
                let skew = describe_skew(known.saturating_neg());
                format!(
                    "the clock of satellite {satellite} is {skew} those of this storage node \
                     and {agreeing} other satellites"
                )
            }
            Some(known) => {
                let skew = describe_skew(known);
                format!("the clock of this storage node is {skew} that of satellite {satellite}")
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::UNIX_EPOCH;

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
    fn node_that_differs_from_all_blames_itself_after_a_step() {
        let (clocks, now) = clocks();
        assert_eq!(clocks.record(A, at(NOW)), 0);
        clocks.record(B, at(NOW + 5));
        assert!(clocks.explain(A, -4000).contains("made 4000 s ago"));
        now.store(NOW + 7200, Ordering::Relaxed);
        let text = clocks.explain(A, -7200);
        assert!(text.starts_with("the clock of this storage node is 7"), "{text}");
        assert!(text.contains(&format!("s ahead of that of satellite {A}")), "{text}");
    }

    #[test]
    fn satellite_that_differs_from_all_is_blamed() {
        let (clocks, _) = clocks();
        clocks.record(A, at(NOW + 7200));
        clocks.record(B, at(NOW));
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
