//! The budget of memory and of concurrent transfers, shared by all segments of one caller.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uplink_core::erasure::Scheme;
use uplink_core::layout;

use super::pool::{BufferPool, BufferPools};
use crate::window::{piece_window, stripes_window};

/// Bytes that one permit of memory stands for.
const UNIT: u64 = 64 << 10;

/// What all transfers may use at once: bytes of encrypted segments, and concurrent piece transfers.
///
/// Clones share it. The pools of buffers keep at most as many bytes as the budget allows.
#[derive(Clone, Debug)]
pub struct Budget {
    memory: Arc<Semaphore>,
    units: u32,
    transfers: Arc<Semaphore>,
    pools: Arc<BufferPools>,
}

/// Memory reserved for one segment. Dropping it gives the memory back.
#[derive(Debug)]
pub struct Reservation(OwnedSemaphorePermit);

/// One transfer that may run until this is dropped.
#[derive(Debug)]
pub(crate) struct Transfer(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Budget {
    /// Allows `memory` bytes of segments and `transfers` piece transfers at a time.
    #[must_use]
    pub fn new(memory: u64, transfers: usize) -> Self {
        let units = u32::try_from(memory.div_ceil(UNIT)).unwrap_or(u32::MAX).max(1);
        Self {
            memory: Arc::new(Semaphore::new(units as usize)),
            units,
            transfers: Arc::new(Semaphore::new(transfers)),
            pools: Arc::default(),
        }
    }

    /// Waits until `bytes` may be used. More than the whole budget counts as the whole budget, so
    /// that one segment always fits.
    pub async fn reserve(&self, bytes: u64) -> Reservation {
        let units = units(bytes).min(self.units);
        Reservation(acquire(&self.memory, units).await)
    }

    /// Waits until one more transfer may run.
    pub(crate) async fn transfer(&self) -> Transfer {
        Transfer(acquire(&self.transfers, 1).await)
    }

    /// Returns the pool of buffers for the windows of sealed segments, as many as the budget allows.
    /// Must be called inside a tokio runtime.
    pub(crate) fn windows(&self, scheme: &Scheme) -> BufferPool {
        let size = stripes_window(scheme);
        let bytes = (u64::from(self.units) * UNIT).max(layout::SEGMENT_SIZE);
        let max = usize::try_from(bytes).unwrap_or(usize::MAX) / size.max(1);
        self.pools.of(size, max)
    }

    /// Returns the pool of buffers for coded windows of pieces, of which `max` are kept. Must be
    /// called inside a tokio runtime.
    pub(crate) fn piece_windows(&self, scheme: &Scheme, max: usize) -> BufferPool {
        self.pools.of(piece_window(scheme), max)
    }
}

impl Reservation {
    /// Gives back what exceeds `bytes`.
    pub(crate) fn shrink(&mut self, bytes: u64) {
        let held = self.0.num_permits();
        let surplus = held.saturating_sub(units(bytes) as usize);
        drop(self.0.split(surplus));
    }
}

/// Waits for permits of a semaphore that is never closed.
async fn acquire(semaphore: &Arc<Semaphore>, permits: u32) -> OwnedSemaphorePermit {
    match Arc::clone(semaphore).acquire_many_owned(permits).await {
        Ok(permit) => permit,
        Err(_) => std::future::pending().await,
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn more_than_the_budget_waits_until_everything_else_is_given_back() {
        let budget = Budget::new(4 * UNIT, 1);
        let mut small = budget.reserve(3 * UNIT).await;
        let mut large = Box::pin(budget.reserve(100 * UNIT));
        assert!(futures_util::poll!(&mut large).is_pending());
        small.shrink(UNIT);
        assert!(futures_util::poll!(&mut large).is_pending());
        drop(small);
        assert!(futures_util::poll!(&mut large).is_ready());
    }
}
