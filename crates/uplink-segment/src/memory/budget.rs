//! The budget of memory and of concurrent transfers, shared by all segments of one caller.

use std::collections::HashMap;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep, timeout};
use uplink_core::erasure::Scheme;
use uplink_core::layout;
use uplink_core::policy::memory::{MemoryDecision, MemoryPolicy, STALL};

use super::pool::{BufferPool, BufferPools};
use crate::error::SegmentError;
use crate::window::{piece_window_size, window_size};

/// What all transfers may use at once: bytes of encrypted segments, and concurrent piece transfers.
///
/// Clones share it. The pools of buffers keep at most as many bytes as the budget allows.
#[derive(Clone, Debug)]
pub struct Budget {
    memory: Arc<Memory>,
    transfers: Arc<Semaphore>,
    pools: Arc<BufferPools>,
}

struct Memory {
    capacity: u64,
    began: Instant,
    state: Mutex<State>,
}

struct State {
    policy: MemoryPolicy,
    next: u64,
    waiting: HashMap<u64, oneshot::Sender<bool>>,
    /// Segments granted beyond the budget.
    exceeded: u64,
}

/// Memory reserved for one segment. Dropping it gives the memory back.
#[derive(Debug)]
pub struct Reservation {
    memory: Arc<Memory>,
    segment: u64,
}

/// One transfer that may run until this is dropped.
#[derive(Debug)]
pub(crate) struct TransferPermit(
    #[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit,
);

impl Budget {
    /// Allows `memory` bytes of segments and `transfers` piece transfers at a time.
    ///
    /// More than the whole budget counts as the whole budget, so that one segment always fits. When
    /// all memory is held by segments whose writers do not write, one more segment is allowed, or
    /// refused if the budget is `strict` (`core policy/memory.rs`).
    #[must_use]
    pub fn new(memory: u64, transfers: usize, strict: bool) -> Self {
        let state = State {
            policy: MemoryPolicy::new(memory.max(1), strict),
            next: 0,
            waiting: HashMap::new(),
            exceeded: 0,
        };
        let memory =
            Memory { capacity: memory.max(1), began: Instant::now(), state: Mutex::new(state) };
        Self {
            memory: Arc::new(memory),
            transfers: Arc::new(Semaphore::new(transfers)),
            pools: Arc::default(),
        }
    }

    /// Waits until `bytes` may be used for a segment. Dropping the future cancels the request.
    ///
    /// # Errors
    /// [`SegmentError::MemoryBudgetExceeded`]: the budget is strict, and only writers of other open
    /// segments could free memory.
    pub async fn reserve(&self, bytes: u64) -> Result<Reservation, SegmentError> {
        let (sender, mut granted) = oneshot::channel();
        // Exists before it is granted: dropping it while it waits cancels the request.
        let reservation = self.memory.request(bytes, sender);
        loop {
            tokio::select! {
                granted = &mut granted => {
                    let refused = SegmentError::MemoryBudgetExceeded(self.memory.capacity);
                    return if granted == Ok(true) { Ok(reservation) } else { Err(refused) };
                }
                () = sleep(STALL) => self.memory.change(|policy, now| policy.tick(now)),
            }
        }
    }

    /// Keeps the writer counted as running while it awaits `work`.
    ///
    /// `work` is what the writer of an open segment depends on, such as a call or its transfers. A writer
    /// that is not polled, because its task writes to another upload, does not count as running.
    pub async fn while_running<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            match timeout(STALL / 2, work.as_mut()).await {
                Ok(done) => return done,
                Err(_) => self.memory.progress(),
            }
        }
    }

    /// Returns the number of segments granted beyond the budget.
    #[must_use]
    pub fn exceeded(&self) -> u64 {
        self.memory.lock().exceeded
    }

    /// Waits until one more transfer may run.
    pub(crate) async fn transfer_permit(&self) -> TransferPermit {
        match Arc::clone(&self.transfers).acquire_owned().await {
            Ok(permit) => TransferPermit(permit),
            // The semaphore is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// Returns the pool of buffers for the windows of sealed segments, as many as the budget allows.
    /// Must be called inside a tokio runtime.
    pub(crate) fn windows(&self, scheme: &Scheme) -> BufferPool {
        let size = window_size(scheme);
        let bytes = self.memory.capacity.max(layout::SEGMENT_SIZE);
        let max = usize::try_from(bytes).unwrap_or(usize::MAX) / size.max(1);
        self.pools.of(size, max)
    }

    /// Returns the pool of buffers for coded windows of pieces, of which `max` are kept. Must be
    /// called inside a tokio runtime.
    pub(crate) fn piece_windows(&self, scheme: &Scheme, max: usize) -> BufferPool {
        self.pools.of(piece_window_size(scheme), max)
    }
}

impl Memory {
    fn request(self: &Arc<Self>, bytes: u64, sender: oneshot::Sender<bool>) -> Reservation {
        let mut state = self.lock();
        state.next += 1;
        let segment = state.next;
        state.waiting.insert(segment, sender);
        let decisions = state.policy.request(segment, bytes, self.now());
        self.apply(&mut state, decisions);
        Reservation { memory: Arc::clone(self), segment }
    }

    /// Passes an event to the policy and applies its decisions.
    fn change(&self, event: impl FnOnce(&mut MemoryPolicy, Duration) -> Vec<MemoryDecision>) {
        let mut state = self.lock();
        let decisions = event(&mut state.policy, self.now());
        self.apply(&mut state, decisions);
    }

    fn apply(&self, state: &mut State, decisions: Vec<MemoryDecision>) {
        for decision in decisions {
            let (segment, granted) = match decision {
                MemoryDecision::Exceeded(segment) => (segment, false),
                MemoryDecision::Granted(segment) => (segment, true),
                MemoryDecision::GrantedOver(segment) => {
                    if state.exceeded == 0 {
                        let used = state.policy.used();
                        let capacity = self.capacity;
                        tracing::warn!(used, capacity, "open uploads exceed the memory budget");
                    }
                    state.exceeded += 1;
                    (segment, true)
                }
            };
            if let Some(sender) = state.waiting.remove(&segment) {
                // A receiver that is gone has dropped its reservation, or is about to.
                let _ = sender.send(granted);
            }
        }
    }

    fn progress(&self) {
        let now = self.now();
        self.lock().policy.progress(now);
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

impl Reservation {
    /// Records progress of the segment while it is open.
    pub(crate) fn progress(&self) {
        self.memory.progress();
    }

    /// Records that the segment is complete, and frees what exceeds `bytes`.
    pub(crate) fn complete(&self, bytes: u64) {
        self.memory.change(|policy, now| policy.complete(self.segment, bytes, now));
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.memory.lock().waiting.remove(&self.segment);
        self.memory.change(|policy, now| policy.free(self.segment, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: u64 = 1 << 20;

    #[tokio::test]
    async fn segment_above_the_budget_waits_until_all_memory_is_free() {
        let budget = Budget::new(4 * UNIT, 1, false);
        let small = budget.reserve(3 * UNIT).await.unwrap();
        small.complete(3 * UNIT);
        let mut large = Box::pin(budget.reserve(100 * UNIT));
        assert!(futures_util::poll!(&mut large).is_pending());
        drop(small);
        assert!(futures_util::poll!(&mut large).is_ready());
        assert_eq!(budget.exceeded(), 0);
    }

    #[tokio::test]
    async fn dropped_request_lets_the_next_one_through() {
        let budget = Budget::new(UNIT, 1, false);
        let held = budget.reserve(UNIT).await.unwrap();
        held.complete(UNIT);
        let mut first = Box::pin(budget.reserve(UNIT));
        let mut second = Box::pin(budget.reserve(UNIT));
        assert!(futures_util::poll!(&mut first).is_pending());
        assert!(futures_util::poll!(&mut second).is_pending());
        drop((first, held));
        assert!(futures_util::poll!(&mut second).is_ready());
    }

    #[tokio::test]
    async fn segments_written_in_turn_proceed_with_a_budget_of_one() {
        let budget = Budget::new(UNIT, 1, false);
        let mut open = Vec::new();
        for _ in 0..4 {
            open.push(budget.reserve(UNIT).await.unwrap());
        }
        assert_eq!(budget.exceeded(), 3);
    }

    #[tokio::test]
    async fn polled_writer_that_waits_for_a_call_is_running() {
        let budget = Budget::new(UNIT, 1, true);
        let open = budget.reserve(UNIT).await.unwrap();
        let call = async {
            sleep(5 * STALL).await;
            open.complete(UNIT);
            drop(open);
        };
        let (reserved, ()) = tokio::join!(budget.reserve(UNIT), budget.while_running(call));
        reserved.expect("granted once the other segment is stored");
        assert_eq!(budget.exceeded(), 0);
    }

    #[tokio::test]
    async fn strict_budget_refuses_segments_written_in_turn() {
        let budget = Budget::new(UNIT, 1, true);
        let _open = budget.reserve(UNIT).await.unwrap();
        let refused = budget.reserve(UNIT).await;
        assert!(matches!(refused, Err(SegmentError::MemoryBudgetExceeded(UNIT))));
    }
}
