//! Permits for memory and transfers, shared by all handles of a project.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, ErrorKind, Result};

/// Bytes that one permit of memory stands for.
const UNIT: u64 = 64 << 10;

/// What a project may use at once.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    memory: Arc<Semaphore>,
    units: u32,
    transfers: Arc<Semaphore>,
}

/// Memory that may be used until this is dropped.
#[derive(Debug)]
pub(crate) struct Memory(OwnedSemaphorePermit);

/// One transfer that may run until this is dropped.
#[derive(Debug)]
pub(crate) struct Transfer(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Budget {
    pub(crate) fn new(memory: u64, transfers: usize) -> Self {
        let units = u32::try_from(memory.div_ceil(UNIT)).unwrap_or(u32::MAX).max(1);
        Self {
            memory: Arc::new(Semaphore::new(units as usize)),
            units,
            transfers: Arc::new(Semaphore::new(transfers)),
        }
    }

    /// Waits until `bytes` may be used. More than the whole budget counts as the whole budget, so
    /// that one segment always fits.
    pub(crate) async fn memory(&self, bytes: u64) -> Result<Memory> {
        let units = units(bytes).min(self.units);
        let permit = Arc::clone(&self.memory).acquire_many_owned(units).await;
        permit.map(Memory).map_err(closed)
    }

    /// Waits until one more transfer may run.
    pub(crate) async fn transfer(&self) -> Result<Transfer> {
        Arc::clone(&self.transfers).acquire_owned().await.map(Transfer).map_err(closed)
    }
}

impl Memory {
    /// Gives back what exceeds `bytes`.
    pub(crate) fn shrink(&mut self, bytes: u64) {
        let held = self.0.num_permits();
        let surplus = held.saturating_sub(units(bytes) as usize);
        drop(self.0.split(surplus));
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).max(1)
}

fn closed(_: tokio::sync::AcquireError) -> Error {
    Error::new(ErrorKind::Internal, "the project is closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn more_than_the_budget_waits_until_everything_else_is_given_back() {
        let budget = Budget::new(4 * UNIT, 1);
        let mut small = budget.memory(3 * UNIT).await.unwrap();
        let mut large = Box::pin(budget.memory(100 * UNIT));
        assert!(futures_util::poll!(&mut large).is_pending());
        small.shrink(UNIT);
        assert!(futures_util::poll!(&mut large).is_pending());
        drop(small);
        assert!(futures_util::poll!(&mut large).is_ready());
    }
}
