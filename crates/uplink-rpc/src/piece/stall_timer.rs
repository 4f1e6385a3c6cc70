//! Detection of a stalled transfer that another task drives.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::PieceError;

/// Measures how long the peer of one transfer makes no progress, as its sending side reports it; `T` is
/// the result.
pub(super) struct StallTimer<T>(Mutex<State<T>>);

struct State<T> {
    /// Whether it waits for its own input, which does not count against the peer's deadline.
    waiting: bool,
    /// Time of the last progress, or since which it waits.
    since: Instant,
    outcome: Option<Result<T, PieceError>>,
}

impl<T> State<T> {
    /// Returns when the peer's deadline passes. The time spent waiting for input does not count.
    fn deadline(&self, now: Instant, timeout: Duration) -> Instant {
        let from = if self.waiting { now } else { self.since };
        // A deadline beyond the clock's range means never.
        from.checked_add(timeout).or_else(|| from.checked_add(FAR_FUTURE)).unwrap_or(from)
    }
}

/// Replaces deadlines beyond the clock's range.
const FAR_FUTURE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl<T> Default for StallTimer<T> {
    fn default() -> Self {
        Self(Mutex::new(State { waiting: false, since: Instant::now(), outcome: None }))
    }
}

impl<T> StallTimer<T> {
    /// Records that the connection polled for bytes and received some.
    pub(super) fn mark_active(&self) {
        self.record(false);
    }

    /// Records that the connection polled for bytes and the transfer waits for its own input.
    pub(super) fn mark_waiting(&self) {
        self.record(true);
    }

    /// Records that everything was handed to the connection, or why the transfer failed.
    pub(super) fn finish(&self, outcome: Result<T, PieceError>) {
        self.record(false);
        self.lock().outcome = Some(outcome);
    }

    /// Takes the outcome recorded by [`Self::finish`], if any.
    pub(super) fn take_outcome(&self) -> Option<Result<T, PieceError>> {
        self.lock().outcome.take()
    }

    /// Waits for the response to the transfer; `None` if the peer stalled it for `timeout`.
    pub(super) async fn watch<R>(
        &self,
        timeout: Duration,
        response: impl Future<Output = R>,
    ) -> Option<R> {
        let mut response = std::pin::pin!(response);
        loop {
            let now = Instant::now();
            let deadline = self.lock().deadline(now, timeout);
            if deadline <= now {
                return None;
            }
            tokio::select! {
                response = &mut response => return Some(response),
                () = sleep_until(deadline) => {}
            }
        }
    }

    fn record(&self, waiting: bool) {
        let mut state = self.lock();
        state.waiting = waiting;
        state.since = Instant::now();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    #[test]
    fn waiting_for_own_input_extends_the_deadline() {
        let start = Instant::now();
        let mut state: State<()> = State { waiting: false, since: start, outcome: None };
        let later = start + SHORT / 2;
        assert_eq!(state.deadline(later, SHORT), start + SHORT);
        state.waiting = true;
        assert_eq!(state.deadline(later, SHORT), later + SHORT);
    }

    #[tokio::test]
    async fn stalled_peer_times_out_and_responding_one_does_not() {
        let stall_timer = StallTimer::<()>::default();
        assert_eq!(stall_timer.watch(SHORT, pending::<()>()).await, None);
        stall_timer.mark_active();
        assert_eq!(stall_timer.watch(SHORT, ready(7)).await, Some(7));
    }

    #[tokio::test]
    async fn transfer_waiting_for_own_input_does_not_time_out() {
        let stall_timer = StallTimer::<()>::default();
        stall_timer.mark_waiting();
        let response = tokio::time::sleep(4 * SHORT);
        assert_eq!(stall_timer.watch(SHORT, response).await, Some(()));
    }
}
