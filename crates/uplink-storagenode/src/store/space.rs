//! Capacity: what pieces take, what uploads under way may still take, what is left.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Keeps the books of one store.
#[derive(Debug)]
pub(crate) struct Space {
    capacity: u64,
    keep_free: u64,
    state: Mutex<State>,
    moved: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    used: u64,
    reserved: u64,
    pieces: u64,
    /// What satellites were told last.
    reported: Option<u64>,
}

/// What a storage node holds and can still take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Bytes of all stored pieces, their headers included.
    pub used: u64,
    /// Bytes set aside for uploads under way.
    pub reserved: u64,
    /// Stored pieces.
    pub pieces: u64,
    /// Bytes that can still be stored: bounded by the capacity and by the file system.
    pub free: u64,
}

impl Space {
    /// `keep_free` bytes of the file system are never taken.
    pub(crate) fn new(capacity: u64, keep_free: u64, used: u64, pieces: u64) -> Self {
        let state = State { used, pieces, ..State::default() };
        Self { capacity, keep_free, state: Mutex::new(state), moved: watch::Sender::new(()) }
    }

    /// Sets `bytes` aside if they fit beside everything else; otherwise says what is free.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64, disk: u64) -> Result<Reservation, u64> {
        let mut state = self.state();
        let free = self.free(&state, disk);
        if bytes > free {
            return Err(free);
        }
        state.reserved = state.reserved.saturating_add(bytes);
        Ok(Reservation { space: Arc::clone(self), bytes })
    }

    /// The books, given what the file system has left.
    pub(crate) fn usage(&self, disk: u64) -> Usage {
        let state = self.state();
        Usage {
            used: state.used,
            reserved: state.reserved,
            pieces: state.pieces,
            free: self.free(&state, disk),
        }
    }

    /// Notes what satellites were told.
    pub(crate) fn reported(&self, free: u64) {
        self.state().reported = Some(free);
    }

    /// Changes whenever free space has moved by more than a twentieth since the last report.
    pub(crate) fn moved(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }

    fn free(&self, state: &State, disk: u64) -> u64 {
        let by_capacity = self.capacity.saturating_sub(state.used);
        let by_disk = disk.saturating_sub(self.keep_free);
        by_capacity.min(by_disk).saturating_sub(state.reserved)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Space set aside for one upload; given back on drop.
#[derive(Debug)]
pub(crate) struct Reservation {
    space: Arc<Space>,
    bytes: u64,
}

impl Reservation {
    /// The upload became a piece of `bytes` bytes.
    pub(crate) fn settle(self, bytes: u64) {
        let mut state = self.space.state();
        state.used = state.used.saturating_add(bytes);
        state.pieces = state.pieces.saturating_add(1);
        let Some(reported) = state.reported else { return };
        let by_capacity = self.space.capacity.saturating_sub(state.used);
        if reported.saturating_sub(by_capacity) > reported / REPORT_FRACTION {
            self.space.moved.send_replace(());
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.space.state();
        state.reserved = state.reserved.saturating_sub(self.bytes);
    }
}

/// A change of free space by more than one part of this many is worth a report.
const REPORT_FRACTION: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    const PLENTY: u64 = u64::MAX;

    #[test]
    fn reservations_and_pieces_share_the_capacity() {
        let space = Arc::new(Space::new(1000, 0, 100, 1));
        let first = space.reserve(400, PLENTY).unwrap();
        assert_eq!(space.reserve(501, PLENTY).unwrap_err(), 500);
        let second = space.reserve(500, PLENTY).unwrap();
        assert_eq!(space.usage(PLENTY).free, 0);
        drop(second);
        first.settle(150);
        assert_eq!(space.usage(PLENTY), Usage { used: 250, reserved: 0, pieces: 2, free: 750 });
    }

    #[test]
    fn the_file_system_bounds_free_space() {
        let space = Arc::new(Space::new(1000, 50, 0, 0));
        assert_eq!(space.usage(300).free, 250);
        assert_eq!(space.usage(40).free, 0);
        assert_eq!(space.reserve(251, 300).unwrap_err(), 250);
        assert!(space.reserve(250, 300).is_ok());
    }

    #[test]
    fn a_move_of_more_than_a_twentieth_is_announced() {
        let space = Arc::new(Space::new(1000, 0, 0, 0));
        let moved = space.moved();
        space.reported(1000);
        space.reserve(50, PLENTY).unwrap().settle(50);
        assert!(!moved.has_changed().unwrap());
        space.reserve(1, PLENTY).unwrap().settle(1);
        assert!(moved.has_changed().unwrap());
    }
}
