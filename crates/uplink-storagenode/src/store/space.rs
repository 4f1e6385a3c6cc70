//! Space accounting: bytes used by pieces, reserved by uploads in flight, and free.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Space accounting of one store.
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
    trash: u64,
    trashed: u64,
    /// The free space last reported to satellites, and the unused capacity at that time.
    reported: Option<(u64, u64)>,
}

/// Used and free space of a storage node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Bytes of all stored pieces, including headers.
    pub used: u64,
    /// Bytes reserved for uploads in flight.
    pub reserved: u64,
    /// Number of stored pieces.
    pub pieces: u64,
    /// Bytes of pieces in the trash, including headers. They use space until they are deleted.
    pub trash: u64,
    /// Number of pieces in the trash.
    pub trashed: u64,
    /// Bytes that can still be stored, limited by the capacity and the file system.
    pub free: u64,
}

impl Space {
    /// Returns the accounting of a store that leaves `keep_free` bytes of the file system unused.
    /// The tuples are bytes and number of the pieces in the store and in the trash.
    pub(crate) fn new(
        capacity: u64,
        keep_free: u64,
        (used, pieces): (u64, u64),
        (trash, trashed): (u64, u64),
    ) -> Self {
        let state = State { used, pieces, trash, trashed, ..State::default() };
        Self { capacity, keep_free, state: Mutex::new(state), moved: watch::Sender::new(()) }
    }

    /// Reserves `bytes`, or returns the free bytes if they do not fit.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64, disk: u64) -> Result<Reservation, u64> {
        let mut state = self.state();
        let free = self.free(&state, disk);
        if bytes > free {
            return Err(free);
        }
        state.reserved = state.reserved.saturating_add(bytes);
        Ok(Reservation { space: Arc::clone(self), bytes })
    }

    /// Returns the usage, given the free bytes of the file system.
    pub(crate) fn usage(&self, disk: u64) -> Usage {
        let state = self.state();
        Usage {
            used: state.used,
            reserved: state.reserved,
            pieces: state.pieces,
            trash: state.trash,
            trashed: state.trashed,
            free: self.free(&state, disk),
        }
    }

    /// Records the free space reported to satellites.
    pub(crate) fn reported(&self, free: u64) {
        let mut state = self.state();
        state.reported = Some((free, self.unused_capacity(&state)));
    }

    /// Returns a receiver that changes when free space moves by over 1/20 since the last report.
    pub(crate) fn moved(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }

    /// Records that a piece of `bytes` bytes was moved to the trash.
    pub(crate) fn trashed(&self, bytes: u64) {
        let mut state = self.state();
        state.used = state.used.saturating_sub(bytes);
        state.pieces = state.pieces.saturating_sub(1);
        state.trash = state.trash.saturating_add(bytes);
        state.trashed = state.trashed.saturating_add(1);
    }

    /// Records that a piece of `bytes` bytes was restored from the trash.
    pub(crate) fn restored(&self, bytes: u64) {
        let mut state = self.state();
        state.used = state.used.saturating_add(bytes);
        state.pieces = state.pieces.saturating_add(1);
        state.trash = state.trash.saturating_sub(bytes);
        state.trashed = state.trashed.saturating_sub(1);
    }

    /// Records that a piece of `bytes` bytes was deleted from the trash.
    pub(crate) fn emptied(&self, bytes: u64) {
        let mut state = self.state();
        state.trash = state.trash.saturating_sub(bytes);
        state.trashed = state.trashed.saturating_sub(1);
        self.announce(&state);
    }

    fn announce(&self, state: &State) {
        let Some((free, unused)) = state.reported else { return };
        if unused.abs_diff(self.unused_capacity(state)) > free / REPORT_FRACTION {
            self.moved.send_replace(());
        }
    }

    fn unused_capacity(&self, state: &State) -> u64 {
        self.capacity.saturating_sub(state.used).saturating_sub(state.trash)
    }

    fn free(&self, state: &State, disk: u64) -> u64 {
        let disk = disk.saturating_sub(self.keep_free);
        self.unused_capacity(state).min(disk).saturating_sub(state.reserved)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Space reserved for one upload, released on drop.
#[derive(Debug)]
pub(crate) struct Reservation {
    space: Arc<Space>,
    bytes: u64,
}

impl Reservation {
    /// Converts the reservation into a stored piece of `bytes` bytes.
    pub(crate) fn settle(self, bytes: u64) {
        let mut state = self.space.state();
        state.used = state.used.saturating_add(bytes);
        state.pieces = state.pieces.saturating_add(1);
        self.space.announce(&state);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.space.state();
        state.reserved = state.reserved.saturating_sub(self.bytes);
    }
}

/// A change of free space by more than 1/20 is reported.
const REPORT_FRACTION: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    const PLENTY: u64 = u64::MAX;

    #[test]
    fn reservations_and_pieces_share_the_capacity() {
        let space = Arc::new(Space::new(1000, 0, (100, 1), (0, 0)));
        let first = space.reserve(400, PLENTY).unwrap();
        assert_eq!(space.reserve(501, PLENTY).unwrap_err(), 500);
        let second = space.reserve(500, PLENTY).unwrap();
        assert_eq!(space.usage(PLENTY).free, 0);
        drop(second);
        first.settle(150);
        let expected = Usage { used: 250, reserved: 0, pieces: 2, trash: 0, trashed: 0, free: 750 };
        assert_eq!(space.usage(PLENTY), expected);
    }

    #[test]
    fn trash_uses_space_until_it_is_emptied() {
        let space = Arc::new(Space::new(1000, 0, (700, 3), (100, 1)));
        assert_eq!(space.usage(PLENTY).free, 200);
        space.trashed(300);
        let usage = Usage { used: 400, reserved: 0, pieces: 2, trash: 400, trashed: 2, free: 200 };
        assert_eq!(space.usage(PLENTY), usage);
        space.restored(100);
        space.reported(200);
        let moved = space.moved();
        space.emptied(300);
        let usage = Usage { used: 500, reserved: 0, pieces: 3, trash: 0, trashed: 0, free: 500 };
        assert_eq!(Usage { trashed: 0, ..space.usage(PLENTY) }, usage);
        assert!(moved.has_changed().unwrap(), "freed space is announced to satellites");
    }

    #[test]
    fn file_system_limits_free_space() {
        let space = Arc::new(Space::new(1000, 50, (0, 0), (0, 0)));
        assert_eq!(space.usage(300).free, 250);
        assert_eq!(space.usage(40).free, 0);
        assert_eq!(space.reserve(251, 300).unwrap_err(), 250);
        assert!(space.reserve(250, 300).is_ok());
    }

    #[test]
    fn change_of_more_than_a_twentieth_is_announced() {
        let space = Arc::new(Space::new(1000, 0, (0, 0), (0, 0)));
        let moved = space.moved();
        space.reported(1000);
        space.reserve(50, PLENTY).unwrap().settle(50);
        assert!(!moved.has_changed().unwrap());
        space.reserve(1, PLENTY).unwrap().settle(1);
        assert!(moved.has_changed().unwrap());
    }
}
