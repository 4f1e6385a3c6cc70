//! Pools of reusable buffers.
//!
//! Allocating per window costs more than encrypting it: the kernel zeroes every page. A buffer becomes
//! [`Bytes`] without a copy, and returns to its pool when the last slice of them is dropped.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use uplink_rpc::runtime;

use super::slab;

/// Unused pools are freed after about this time.
const IDLE: Duration = Duration::from_secs(5);

/// The buffer pools of one budget, by buffer size.
#[derive(Debug, Default)]
pub(crate) struct BufferPools(Arc<Mutex<Kinds>>);

#[derive(Debug, Default)]
struct Kinds {
    /// By size and maximum.
    pools: BTreeMap<(usize, usize), BufferPool>,
    sweeper: Option<JoinHandle<()>>,
}

/// A pool of buffers of one size. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct BufferPool(Arc<Shared>);

struct Shared {
    size: usize,
    /// Maximum buffers in use and kept together. Memory is freed by slabs: a buffer in use keeps the
    /// memory of the others in its slab allocated.
    max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    used: usize,
    free: Vec<BytesMut>,
}

/// A buffer in use, with unspecified initial contents.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: BytesMut,
    /// The pool to which it returns when it is dropped, if that still exists.
    home: Weak<Shared>,
}

impl BufferPools {
    /// Returns the pool of buffers of `size` bytes, shared between callers with the same arguments. Must
    /// be called inside a tokio runtime.
    pub(crate) fn of(&self, size: usize, max: usize) -> BufferPool {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kinds.sweeper.as_ref().is_none_or(JoinHandle::is_finished) {
            kinds.sweeper = Some(runtime::spawn(sweep(Arc::downgrade(&self.0))));
        }
        let pool = kinds.pools.entry((size, max));
        pool.or_insert_with(|| BufferPool::new(size, max)).clone()
    }
}

/// Frees unused pools until there are none left.
async fn sweep(kinds: Weak<Mutex<Kinds>>) {
    loop {
        sleep(IDLE).await;
        let Some(kinds) = kinds.upgrade() else { return };
        let mut kinds = kinds.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.free_unused();
        if kinds.pools.is_empty() {
            kinds.sweeper = None;
            return;
        }
    }
}

impl Kinds {
    fn free_unused(&mut self) {
        self.pools.retain(|_, buffers| Arc::strong_count(&buffers.0) > 1);
    }
}

impl BufferPool {
    /// Creates a pool of buffers of `size` bytes. A returned buffer is kept for reuse unless `max` are
    /// already in use or kept.
    pub(crate) fn new(size: usize, max: usize) -> Self {
        Self(Arc::new(Shared { size, max, state: Mutex::default() }))
    }

    pub(crate) fn take(&self) -> Buffer {
        let mut state = self.0.lock();
        if state.free.is_empty() {
            let max = self.0.max.saturating_sub(state.used);
            let fresh = slab::buffers(self.0.size, state.used, max);
            state.free.extend(fresh.into_iter().rev());
        }
        let bytes = state.free.pop().unwrap_or_default();
        state.used += 1;
        Buffer { bytes, home: Arc::downgrade(&self.0) }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buffer {
    /// Returns the first `length` bytes, or all if there are fewer.
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
        if state.used + state.free.len() < home.max {
            state.free.push(std::mem::take(&mut self.bytes));
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("size", &self.size).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(buffers: &BufferPool) -> usize {
        buffers.0.lock().free.len()
    }

    #[test]
    fn buffer_returns_when_its_last_slice_is_dropped() {
        let buffers = BufferPool::new(8, 1);
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
    fn buffers_beyond_the_maximum_are_not_kept() {
        let buffers = BufferPool::new(8, 2);
        let mut used: Vec<Buffer> = (0..4).map(|_| buffers.take()).collect();
        for expected in [0, 0, 0, 1] {
            assert_eq!(kept(&buffers), expected);
            drop(used.pop());
        }
        assert_eq!(kept(&buffers), 2);
    }

    #[tokio::test]
    async fn pools_of_one_budget_are_shared_and_freed_when_unused() {
        let pools = BufferPools::default();
        let upload = pools.of(8, 2);
        let next = pools.of(8, 2);
        drop(upload.take());
        assert_eq!((kept(&next), kept(&pools.of(9, 2))), (2, 0));
        let weak = Arc::downgrade(&upload.0);
        drop(upload);
        pools.0.lock().unwrap().free_unused();
        assert_eq!(kept(&next), 2);
        drop(next);
        pools.0.lock().unwrap().free_unused();
        assert!(weak.upgrade().is_none());
    }
}
