use std::time::UNIX_EPOCH;

use tokio::sync::mpsc;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const GRACE: Duration = Duration::from_millis(50);

/// Runs until it is sent a result.
struct Controlled {
    results: mpsc::UnboundedReceiver<Result<(), String>>,
    due: mpsc::UnboundedReceiver<()>,
    retries: mpsc::UnboundedSender<Duration>,
}

struct Control {
    results: mpsc::UnboundedSender<Result<(), String>>,
    due: mpsc::UnboundedSender<()>,
    retries: mpsc::UnboundedReceiver<Duration>,
}

impl Work for Controlled {
    type Error = String;

    async fn run(&mut self) -> Result<(), String> {
        self.results.recv().await.unwrap()
    }

    async fn due(&mut self) {
        if self.due.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    fn failed(&self, _: &String, retry_in: Duration) {
        let _ = self.retries.send(retry_in);
    }
}

fn controlled() -> (Controlled, Control) {
    let (results_to, results) = mpsc::unbounded_channel();
    let (due_to, due) = mpsc::unbounded_channel();
    let (retries_to, retries) = mpsc::unbounded_channel();
    let work = Controlled { results, due, retries: retries_to };
    (work, Control { results: results_to, due: due_to, retries })
}

fn start(schedule: Schedule) -> (Workers, Control) {
    let mut workers = Workers::new(Clock::new(|| UNIX_EPOCH + HOUR));
    let (work, control) = controlled();
    workers.start("sweep", schedule, work);
    (workers, control)
}

/// Waits until the worker's state satisfies a condition.
async fn state(
    states: &WorkerStates,
    mut condition: impl FnMut(&WorkerState) -> bool,
) -> WorkerState {
    let found = async {
        loop {
            let state = states.get("sweep").unwrap();
            if condition(&state) {
                return state;
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(10), found).await.expect("the state in time")
}

fn is_running(state: &WorkerState) -> bool {
    matches!(state.activity, Activity::Running { .. })
}

#[tokio::test]
async fn state_follows_a_worker_through_its_runs() {
    let (workers, control) = start(Schedule::every(HOUR));
    let states = workers.states();
    let running = state(&states, is_running).await;
    assert_eq!(running.activity, Activity::Running { since: UNIX_EPOCH + HOUR });
    assert_eq!((running.runs, running.interval), (0, Some(HOUR)));

    control.results.send(Err("disk full".to_owned())).unwrap();
    let failed = state(&states, |state| state.runs == 1 && !is_running(state)).await;
    assert_eq!(failed.last_error.as_deref(), Some("disk full"));
    assert!(failed.last_duration.is_some());
    let next_run = Some(UNIX_EPOCH + HOUR + HOUR);
    assert_eq!(failed.activity, Activity::Idle { since: UNIX_EPOCH + HOUR, next_run });

    control.due.send(()).unwrap();
    control.results.send(Ok(())).unwrap();
    let done = state(&states, |state| state.runs == 2 && !is_running(state)).await;
    assert_eq!(done.last_error, None);

    workers.stop(HOUR).await;
    assert_eq!(states.all()[0].activity, Activity::Stopped);
}

#[tokio::test]
async fn delayed_worker_waits_for_its_first_interval() {
    let (workers, control) = start(Schedule::every(Duration::from_millis(20)).delayed());
    let states = workers.states();
    assert!(!is_running(&states.get("sweep").unwrap()));
    state(&states, is_running).await;
    drop(control);
}

#[tokio::test]
async fn worker_on_demand_runs_when_due() {
    let (workers, control) = start(Schedule::on_demand(HOUR));
    let states = workers.states();
    control.results.send(Ok(())).unwrap();
    let idle = state(&states, |state| state.runs == 1 && !is_running(state)).await;
    assert!(matches!(idle.activity, Activity::Idle { next_run: None, .. }));
    control.due.send(()).unwrap();
    state(&states, is_running).await;
}

#[tokio::test]
async fn retries_back_off_and_reset_after_success() {
    let unit = Duration::from_millis(1);
    let (workers, mut control) = start(Schedule::every(unit).retry(unit, 4 * unit));
    let fail = || control.results.send(Err("unreachable".to_owned())).unwrap();
    (0..4).for_each(|_| fail());
    control.results.send(Ok(())).unwrap();
    fail();
    let mut retries = Vec::new();
    for _ in 0..5 {
        retries.push(control.retries.recv().await.unwrap());
    }
    assert_eq!(retries, [unit, 2 * unit, 4 * unit, 4 * unit, unit]);
    workers.abort();
}

#[tokio::test]
async fn stop_waits_for_a_run_in_progress() {
    let (workers, control) = start(Schedule::every(HOUR));
    let states = workers.states();
    state(&states, is_running).await;
    let stopping = tokio::spawn(workers.stop(HOUR));
    sleep(GRACE).await;
    assert!(!stopping.is_finished() && is_running(&states.get("sweep").unwrap()));
    control.results.send(Ok(())).unwrap();
    timeout(Duration::from_secs(10), stopping).await.expect("stopped in time").unwrap();
    let stopped = states.get("sweep").unwrap();
    assert_eq!((stopped.activity, stopped.runs), (Activity::Stopped, 1));
}

#[tokio::test]
async fn stop_aborts_a_run_after_the_grace_period() {
    let (workers, _control) = start(Schedule::every(HOUR));
    let states = workers.states();
    state(&states, is_running).await;
    timeout(Duration::from_secs(10), workers.stop(GRACE)).await.expect("stopped in time");
    let stopped = states.get("sweep").unwrap();
    assert_eq!((stopped.activity, stopped.runs), (Activity::Stopped, 0));
}

#[tokio::test]
async fn dropped_workers_are_aborted() {
    let (workers, _control) = start(Schedule::every(HOUR));
    let states = workers.states();
    state(&states, is_running).await;
    drop(workers);
    state(&states, |state| state.activity == Activity::Stopped).await;
}
