//! Serial numbers of order limits that were used, so that none is used twice.
//!
//! They live in memory alone: limits made before the process started are refused, so a restart
//! opens no window.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use uplink_core::id::{NodeId, SerialNumber};

/// Used serial numbers, each kept until its limit is too old to be accepted anyway.
#[derive(Debug, Default)]
pub(crate) struct Serials {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Second until which a serial number must be remembered.
    used: HashMap<(NodeId, SerialNumber), i64>,
    next_sweep: i64,
}

/// Why a serial number cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SerialRefusal {
    /// It was taken before.
    Used,
    /// More are remembered than memory allows.
    TooMany,
}

impl Serials {
    /// Takes a serial number of a satellite and remembers it beyond second `until`.
    pub(crate) fn take(
        &self,
        satellite: NodeId,
        serial: SerialNumber,
        until: i64,
        now: i64,
    ) -> Result<(), SerialRefusal> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now >= state.next_sweep || state.used.len() >= MAX_SERIALS {
            state.used.retain(|_, until| *until >= now);
            state.next_sweep = now.saturating_add(SWEEP_SECONDS);
        }
        let full = state.used.len() >= MAX_SERIALS;
        match state.used.entry((satellite, serial)) {
            std::collections::hash_map::Entry::Occupied(_) => Err(SerialRefusal::Used),
            std::collections::hash_map::Entry::Vacant(_) if full => Err(SerialRefusal::TooMany),
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert(until);
                Ok(())
            }
        }
    }
}

const SWEEP_SECONDS: i64 = 60;
/// About 100 bytes each.
const MAX_SERIALS: usize = 1 << 21;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_is_taken_once_per_satellite_and_forgotten_only_after_its_time() {
        let serials = Serials::default();
        let (a, b) = (NodeId::new([1; 32]), NodeId::new([2; 32]));
        let serial = SerialNumber::new([7; 16]);
        assert_eq!(serials.take(a, serial, 100, 0), Ok(()));
        assert_eq!(serials.take(a, serial, 100, 0), Err(SerialRefusal::Used));
        assert_eq!(serials.take(b, serial, 100, 0), Ok(()));
        assert_eq!(serials.take(a, serial, 100, 100), Err(SerialRefusal::Used));
        assert_eq!(serials.take(a, SerialNumber::new([8; 16]), 300, 161), Ok(()));
        assert_eq!(serials.state.lock().unwrap().used.len(), 1);
    }
}
