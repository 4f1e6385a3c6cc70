//! Test clocks of a network's satellite and nodes.

use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use uplink_testnet::Party;

/// Number of storage nodes with a clock.
pub(crate) const NODES: usize = 10;

/// Offset of each clock in seconds.
#[derive(Default)]
pub(crate) struct Clocks {
    satellite: AtomicI64,
    nodes: [AtomicI64; NODES],
}

impl Clocks {
    /// Returns the time of a party's clock.
    pub(crate) fn now(&self, party: Party) -> SystemTime {
        let ahead = match party {
            Party::Node(index) => self.nodes[index].load(Relaxed),
            _ => self.satellite.load(Relaxed),
        };
        let span = Duration::from_secs(ahead.unsigned_abs());
        if ahead < 0 { SystemTime::now() - span } else { SystemTime::now() + span }
    }

    /// Sets all offsets in seconds: the satellite's, and each node's.
    pub(crate) fn set(&self, satellite: i64, node: impl Fn(usize) -> i64) {
        self.satellite.store(satellite, Relaxed);
        for (index, clock) in self.nodes.iter().enumerate() {
            clock.store(node(index), Relaxed);
        }
    }
}
