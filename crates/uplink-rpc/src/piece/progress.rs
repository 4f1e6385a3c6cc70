//! Whether a transfer that another task carries on is still moving.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::PieceError;

/// What the sending side of one transfer tells of itself; `T` is its result.
pub(super) struct Progress<T>(Mutex<State<T>>);

struct State<T> {
    /// Whether it waits for its own input, which nobody blames the peer for.
    waiting: bool,
    /// When it last moved or began to wait.
    since: Instant,
    outcome: Option<Result<T, PieceError>>,
}

impl<T> State<T> {
    /// When the peer may have held the transfer up for too long; what waits for itself now may be
    /// held up later.
    fn due(&self, now: Instant, deadline: Duration) -> Instant {
        let from = if self.waiting { now } else { self.since };
        // Further than clocks reach is never; the longest wait they allow comes next to it.
        from.checked_add(deadline).or_else(|| from.checked_add(LONGEST)).unwrap_or(from)
    }
}

/// Stands for deadlines beyond what clocks reach.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl<T> Default for Progress<T> {
    fn default() -> Self {
        Self(Mutex::new(State { waiting: false, since: Instant::now(), outcome: None }))
    }
}

impl<T> Progress<T> {
    /// Notes that the connection has taken what there was, and something goes on its way.
    pub(super) fn moves(&self) {
        self.note(false);
    }

    /// Notes that the connection has taken what there was, and there is nothing to go on with.
    pub(super) fn waits(&self) {
        self.note(true);
    }

    /// Notes that everything is on its way, or why it never will be.
    pub(super) fn finish(&self, outcome: Result<T, PieceError>) {
        self.note(false);
        self.lock().outcome = Some(outcome);
    }

    /// What was noted at the end, if that has come.
    pub(super) fn outcome(&self) -> Option<Result<T, PieceError>> {
        self.lock().outcome.take()
    }

    /// Waits for the answer to the transfer; `None` when the peer held it up for `deadline`.
    pub(super) async fn watch<A>(
        &self,
        deadline: Duration,
        answer: impl Future<Output = A>,
    ) -> Option<A> {
        let mut answer = std::pin::pin!(answer);
        loop {
            let now = Instant::now();
            let due = self.lock().due(now, deadline);
            if due <= now {
                return None;
            }
            tokio::select! {
                answer = &mut answer => return Some(answer),
                () = sleep_until(due) => {}
            }
        }
    }

    fn note(&self, waiting: bool) {
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
    fn only_time_without_input_of_its_own_is_forgiven() {
        let began = Instant::now();
        let mut state: State<()> = State { waiting: false, since: began, outcome: None };
        let later = began + SHORT / 2;
        assert_eq!(state.due(later, SHORT), began + SHORT);
        state.waiting = true;
        assert_eq!(state.due(later, SHORT), later + SHORT);
    }

    #[tokio::test]
    async fn peer_that_takes_nothing_is_given_up_and_one_that_answers_is_not() {
        let progress = Progress::<()>::default();
        assert_eq!(progress.watch(SHORT, pending::<()>()).await, None);
        progress.moves();
        assert_eq!(progress.watch(SHORT, ready(7)).await, Some(7));
    }

    #[tokio::test]
    async fn transfer_that_waits_for_its_own_input_is_waited_for() {
        let progress = Progress::<()>::default();
        progress.waits();
        let answer = tokio::time::sleep(4 * SHORT);
        assert_eq!(progress.watch(SHORT, answer).await, Some(()));
    }
}
