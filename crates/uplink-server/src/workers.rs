//! Workers: background loops with a name, a schedule and a visible state.
//!
//! ```text
//!              ┌────────── interval, or due ──────────┐
//!              ▼                                      │
//!   idle ──► running ──► finished ──► success ────────┤
//!                            └──────► failure ── retry, with backoff
//! ```

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

/// What a worker does repeatedly.
pub trait Work: Send + 'static {
    /// Why a run fails.
    type Error: fmt::Display + Send;

    /// Runs once. Dropping the future must be safe: it is aborted when the deadline of a stop passes.
    fn run(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Completes when a run is due ahead of schedule; never, by default. Must be cancel-safe.
    fn due(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Logs a failed run, which is retried after `retry_in`.
    fn failed(&self, error: &Self::Error, retry_in: Duration);
}

/// When a worker runs.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    interval: Option<Duration>,
    first_run_after: Option<Duration>,
    first_retry: Duration,
    max_retry: Duration,
}

impl Schedule {
    /// Runs at once and `interval` after each run, failed or not.
    #[must_use]
    pub const fn every(interval: Duration) -> Self {
        Self {
            interval: Some(interval),
            first_run_after: Some(Duration::ZERO),
            first_retry: interval,
            max_retry: interval,
        }
    }

    /// Runs at once and whenever [`Work::due`] completes; failed runs are retried after `retry`.
    #[must_use]
    pub const fn on_demand(retry: Duration) -> Self {
        Self {
            interval: None,
            first_run_after: Some(Duration::ZERO),
            first_retry: retry,
            max_retry: retry,
        }
    }

    /// Delays the first run by one interval.
    #[must_use]
    pub const fn delayed(mut self) -> Self {
        self.first_run_after = self.interval;
        self
    }

    /// Retries a failed run after `first`, and after twice the time with each further failure, up to
    /// `max`.
    #[must_use]
    pub const fn retry(mut self, first: Duration, max: Duration) -> Self {
        self.first_retry = first;
        self.max_retry = max;
        self
    }
}

/// State of one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerState {
    /// Name of the worker.
    pub name: String,
    /// Time between two runs; `None` if it runs on demand.
    pub interval: Option<Duration>,
    /// What it does now.
    pub activity: Activity,
    /// Duration of the last run.
    pub last_duration: Option<Duration>,
    /// Error of the last run; `None` if it succeeded.
    pub last_error: Option<String>,
    /// Runs that finished.
    pub runs: u64,
}

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activity {
    /// It waits for its next run.
    Idle {
        /// Start of the wait.
        since: SystemTime,
        /// Time of the next run; `None` if it runs on demand.
        next_run: Option<SystemTime>,
    },
    /// It runs.
    Running {
        /// Start of the run.
        since: SystemTime,
    },
    /// It was stopped.
    Stopped,
}

/// Handle to the states of all workers of a server. Clones see the same workers.
#[derive(Clone, Debug, Default)]
pub struct WorkerStates(Arc<Mutex<Vec<WorkerState>>>);

impl WorkerStates {
    /// Returns the current state of each worker, in the order in which they were started.
    #[must_use]
    pub fn all(&self) -> Vec<WorkerState> {
        self.lock().clone()
    }

    /// Returns the current state of the worker with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<WorkerState> {
        self.lock().iter().find(|state| state.name == name).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<WorkerState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The workers of a server.
///
/// # Cancellation
/// Dropping it aborts them.
#[derive(Debug)]
pub struct Workers {
    clock: Clock,
    stop: CancellationToken,
    states: WorkerStates,
    tasks: JoinSet<()>,
    aborts: Vec<AbortHandle>,
}

impl Workers {
    /// Creates an empty set. States show times of `clock`.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            stop: CancellationToken::new(),
            states: WorkerStates::default(),
            tasks: JoinSet::new(),
            aborts: Vec::new(),
        }
    }

    /// Starts a worker. Must be called within a runtime.
    pub fn start(&mut self, name: impl Into<String>, schedule: Schedule, work: impl Work) {
        let report = self.report(name.into(), schedule.interval);
        let task = run(work, schedule, report, self.stop.clone());
        self.aborts.push(self.tasks.spawn(task));
    }

    /// Returns a handle to the states of the workers.
    #[must_use]
    pub fn states(&self) -> WorkerStates {
        self.states.clone()
    }

    /// Ends idle workers, waits up to `grace` for those that run, then aborts what is left.
    pub async fn stop(mut self, grace: Duration) {
        self.stop.cancel();
        let finished = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(grace, finished).await.is_err() {
            for state in self.states.all() {
                if matches!(state.activity, Activity::Running { .. }) {
                    tracing::info!(worker = state.name, "worker aborted: it did not stop in time");
                }
            }
            self.tasks.shutdown().await;
        }
    }

    /// Aborts all workers at once.
    pub fn abort(&self) {
        self.aborts.iter().for_each(AbortHandle::abort);
    }

    fn report(&self, name: String, interval: Option<Duration>) -> Report {
        let since = self.clock.now();
        let activity = Activity::Idle { since, next_run: None };
        let mut states = self.states.lock();
        states.push(WorkerState {
            name,
            interval,
            activity,
            last_duration: None,
            last_error: None,
            runs: 0,
        });
        let index = states.len() - 1;
        Report { clock: self.clock.clone(), states: self.states.clone(), index }
    }
}

async fn run(mut work: impl Work, schedule: Schedule, report: Report, stop: CancellationToken) {
    let mut pause = schedule.first_run_after;
    let mut retry = schedule.first_retry;
    loop {
        report.idle(pause);
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = pause_for(pause) => {}
            () = work.due() => {}
        }

        report.started();
        let start = Instant::now();
        let result = work.run().await;
        report.finished(start.elapsed(), result.as_ref().err());

        match result {
            Ok(()) => {
                pause = schedule.interval;
                retry = schedule.first_retry;
            }
            Err(error) => {
                work.failed(&error, retry);
                pause = Some(retry);
                retry = retry.saturating_mul(2).min(schedule.max_retry);
            }
        }
    }
}

async fn pause_for(pause: Option<Duration>) {
    match pause {
        Some(pause) => sleep(pause).await,
        None => std::future::pending().await,
    }
}

/// A worker's access to its state. Dropping it marks the worker as stopped.
#[derive(Debug)]
struct Report {
    clock: Clock,
    states: WorkerStates,
    index: usize,
}

impl Report {
    fn idle(&self, pause: Option<Duration>) {
        let since = self.clock.now();
        let next_run = pause.and_then(|pause| since.checked_add(pause));
        self.update(|state| state.activity = Activity::Idle { since, next_run });
    }

    fn started(&self) {
        let since = self.clock.now();
        self.update(|state| state.activity = Activity::Running { since });
    }

    fn finished(&self, duration: Duration, error: Option<&impl fmt::Display>) {
        let last_error = error.map(ToString::to_string);
        self.update(|state| {
            state.last_duration = Some(duration);
            state.last_error = last_error;
            state.runs = state.runs.saturating_add(1);
        });
    }

    fn update(&self, change: impl FnOnce(&mut WorkerState)) {
        if let Some(state) = self.states.lock().get_mut(self.index) {
            change(state);
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        self.update(|state| state.activity = Activity::Stopped);
    }
}

#[cfg(test)]
mod tests;
