//! Buffers that are used again and again.
//!
//! Megabytes per second of fresh memory cost more than what is done in it: the system zeroes every
//! page that it gives. A buffer becomes [`Bytes`] without a copy and comes back when the last part
//! of those is dropped, wherever that is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::slab;

/// Unused buffers of a project are given back to the system when nothing has wanted them for about
/// this long.
const IDLE: Duration = Duration::from_secs(5);

/// All buffers of a project, for its uploads one after the other and beside each other.
#[derive(Debug, Default)]
pub(crate) struct Shelves(Arc<Mutex<Kinds>>);

#[derive(Debug, Default)]
struct Kinds {
    /// By size and most.
    shelves: BTreeMap<(usize, usize), Buffers>,
    sweeper: Option<JoinHandle<()>>,
}

/// Buffers of one size. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Buffers(Arc<Shelf>);

struct Shelf {
    size: usize,
    /// Buffers in use and kept together, beyond which none is kept. Memory goes back by slabs: one
    /// that is still in use keeps its neighbours'.
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    used: usize,
    free: Vec<BytesMut>,
}

/// A buffer in use. What was in it before is unspecified.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: BytesMut,
    /// Where it goes when it is dropped, if anybody may still want it then.
    home: Weak<Shelf>,
}

impl Shelves {
    /// Buffers of `size` bytes, the same for all who name the same figures. Must be called inside a
    /// tokio runtime.
    pub(crate) fn of(&self, size: usize, most: usize) -> Buffers {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kinds.sweeper.as_ref().is_none_or(JoinHandle::is_finished) {
            kinds.sweeper = Some(tokio::spawn(sweep(Arc::downgrade(&self.0))));
        }
        let shelf = kinds.shelves.entry((size, most));
        shelf.or_insert_with(|| Buffers::new(size, most)).clone()
    }
}

/// Lets go of buffers that nobody holds a shelf for, until there are none.
async fn sweep(kinds: Weak<Mutex<Kinds>>) {
    loop {
        sleep(IDLE).await;
        let Some(kinds) = kinds.upgrade() else { return };
        let mut kinds = kinds.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.let_go();
        if kinds.shelves.is_empty() {
            kinds.sweeper = None;
            return;
        }
    }
}

impl Kinds {
    fn let_go(&mut self) {
        self.shelves.retain(|_, buffers| Arc::strong_count(&buffers.0) > 1);
    }
}

impl Buffers {
    /// Buffers of `size` bytes. One that comes back is kept for the next user unless `most` are in
    /// use or kept then.
    pub(crate) fn new(size: usize, most: usize) -> Self {
        Self(Arc::new(Shelf { size, most, state: Mutex::default() }))
    }

    pub(crate) fn take(&self) -> Buffer {
        let mut state = self.0.lock();
        if state.free.is_empty() {
            let most = self.0.most.saturating_sub(state.used);
            let fresh = slab::buffers(self.0.size, state.used, most);
            state.free.extend(fresh.into_iter().rev());
        }
        let bytes = state.free.pop().unwrap_or_default();
        state.used += 1;
        Buffer { bytes, home: Arc::downgrade(&self.0) }
    }
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buffer {
    /// The first `length` bytes; more than there are means all.
    pub(crate) fn freeze(self, length: usize) -> Bytes {
        let mut bytes = Bytes::from_owner(self);
        bytes.truncate(length);
        bytes
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(home) = self.home.upgrade() else { return };
        let mut state = home.lock();
        state.used = state.used.saturating_sub(1);
        if state.used + state.free.len() < home.most {
            state.free.push(std::mem::take(&mut self.bytes));
        }
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").field("size", &self.size).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(buffers: &Buffers) -> usize {
        buffers.0.lock().free.len()
    }

    #[test]
    fn buffer_comes_back_when_the_last_part_of_it_is_dropped() {
        let buffers = Buffers::new(8, 1);
        let mut first = buffers.take();
        first.as_mut().copy_from_slice(b"used now");
        let whole = first.freeze(6);
        let part = whole.slice(2..4);
        assert_eq!(whole, &b"used n"[..]);
        drop(whole);
        assert_eq!((kept(&buffers), &part[..]), (0, &b"ed"[..]));
        drop(part);
        assert_eq!(kept(&buffers), 1);
        assert_eq!(buffers.take().as_ref().len(), 8);
        assert_eq!(kept(&buffers), 1);
    }

    #[test]
    fn no_more_buffers_are_in_use_and_kept_together_than_wanted() {
        let buffers = Buffers::new(8, 2);
        let mut used: Vec<Buffer> = (0..4).map(|_| buffers.take()).collect();
        for expected in [0, 0, 0, 1] {
            assert_eq!(kept(&buffers), expected);
            drop(used.pop());
        }
        assert_eq!(kept(&buffers), 2);
    }

    #[tokio::test]
    async fn buffers_of_a_project_are_shared_and_given_back_when_nobody_wants_them_any_more() {
        let shelves = Shelves::default();
        let (upload, next) = (shelves.of(8, 2), shelves.of(8, 2));
        drop(upload.take());
        assert_eq!((kept(&next), kept(&shelves.of(9, 2))), (2, 0));
        let weak = Arc::downgrade(&upload.0);
        drop(upload);
        shelves.0.lock().unwrap().let_go();
        assert_eq!(kept(&next), 2);
        drop(next);
        shelves.0.lock().unwrap().let_go();
        assert!(weak.upgrade().is_none());
    }
}
