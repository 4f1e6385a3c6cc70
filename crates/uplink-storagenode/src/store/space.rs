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
    trash: u64,
    trashed: u64,
    /// The free space that satellites were told last, and what the capacity left then.
    reported: Option<(u64, u64)>,
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
    /// Bytes of pieces in the trash, their headers included; they take space until they are deleted.
    pub trash: u64,
    /// Pieces in the trash.
    pub trashed: u64,
    /// Bytes that can still be stored: bounded by the capacity and by the file system.
    pub free: u64,
}

impl Space {
    /// `keep_free` bytes of the file system are never taken; `stored` and `trashed` are bytes and
    /// number of the pieces that are there.
    pub(crate) fn new(
        capacity: u64,
        keep_free: u64,
        (used, pieces): (u64, u64),
        (trash, trashed): (u64, u64),
    ) -> Self {
        let state = State { used, pieces, trash, trashed, ..State::default() };
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
            trash: state.trash,
            trashed: state.trashed,
            free: self.free(&state, disk),
        }
    }

    /// Notes what satellites were told.
    pub(crate) fn reported(&self, free: u64) {
        let mut state = self.state();
        state.reported = Some((free, self.by_capacity(&state)));
    }

    /// Changes whenever free space has moved by more than a twentieth since the last report.
    pub(crate) fn moved(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }

    /// A piece of `bytes` bytes went to the trash.
    pub(crate) fn trashed(&self, bytes: u64) {
        let mut state = self.state();
        state.used = state.used.saturating_sub(bytes);
        state.pieces = state.pieces.saturating_sub(1);
        state.trash = state.trash.saturating_add(bytes);
        state.trashed = state.trashed.saturating_add(1);
    }

    /// A piece of `bytes` bytes came back from the trash.
    pub(crate) fn restored(&self, bytes: u64) {
        let mut state = self.state();
        state.used = state.used.saturating_add(bytes);
        state.pieces = state.pieces.saturating_add(1);
        state.trash = state.trash.saturating_sub(bytes);
        state.trashed = state.trashed.saturating_sub(1);
    }

    /// A piece of `bytes` bytes was deleted from the trash.
    pub(crate) fn emptied(&self, bytes: u64) {
        let mut state = self.state();
        state.trash = state.trash.saturating_sub(bytes);
        state.trashed = state.trashed.saturating_sub(1);
        self.announce(&state);
    }

    fn announce(&self, state: &State) {
        let Some((free, left)) = state.reported else { return };
        if left.abs_diff(self.by_capacity(state)) > free / REPORT_FRACTION {
            self.moved.send_replace(());
        }
    }

    fn by_capacity(&self, state: &State) -> u64 {
        self.capacity.saturating_sub(state.used).saturating_sub(state.trash)
    }

    fn free(&self, state: &State, disk: u64) -> u64 {
        let by_capacity = self.by_capacity(state);
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
        self.space.announce(&state);
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
    fn the_trash_takes_space_until_it_is_emptied() {
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
        assert!(moved.has_changed().unwrap(), "satellites hear of space that is free again");
    }

    #[test]
    fn the_file_system_bounds_free_space() {
        let space = Arc::new(Space::new(1000, 50, (0, 0), (0, 0)));
        assert_eq!(space.usage(300).free, 250);
        assert_eq!(space.usage(40).free, 0);
        assert_eq!(space.reserve(251, 300).unwrap_err(), 250);
        assert!(space.reserve(250, 300).is_ok());
    }

    #[test]
    fn a_move_of_more_than_a_twentieth_is_announced() {
        let space = Arc::new(Space::new(1000, 0, (0, 0), (0, 0)));
        let moved = space.moved();
        space.reported(1000);
        space.reserve(50, PLENTY).unwrap().settle(50);
        assert!(!moved.has_changed().unwrap());
        space.reserve(1, PLENTY).unwrap().settle(1);
        assert!(moved.has_changed().unwrap());
    }
}
