//! The runtimes of this process and of those it was forked from.

use std::num::NonZero;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use uplink_rpc::runtime::prepare_thread_for_exit;

use crate::error::{Error, ErrorKind, Result};

/// Maximum processes in a line of forks that all use the library.
const GENERATIONS: usize = 16;
/// Worker threads of a runtime. With one, a task that blocks would stop all others; beyond the maximum,
/// the network is the bottleneck.
const MIN_WORKERS: usize = 2;
const MAX_WORKERS: usize = 8;

/// How long the start of a runtime waits for each worker to be prepared.
const PREPARATION: Duration = Duration::from_secs(1);

static RUNTIMES: Runtimes = Runtimes::new();

/// Returns the runtime of this process, which the first call starts.
///
/// It has two to eight worker threads, one per core, named `uplink`, installs no signal handler, and
/// runs as long as the process. Bindings to other languages spawn futures of the asynchronous API on it.
/// After a fork it must not be used: call this function again in the new process.
///
/// # Errors
/// [`ErrorKind::Internal`]: the system refuses to create its descriptors, or more than 16 processes in a
/// line of forks have used the library.
///
/// # Panics
/// Panics if the system refuses to create its threads.
pub fn runtime() -> Result<Handle> {
    RUNTIMES.of(std::process::id()).cloned()
}

/// One runtime for each process in a line of forks, the first process first.
///
/// A fork copies the memory, and the state of locks in it, but only the thread that forks. A runtime of
/// the parent has no threads in the child, and a lock that another thread of the parent held stays
/// locked. So a process touches nothing but the process ids in slots that are not its own.
///
/// A process that has the id of an exited ancestor takes the ancestor's runtime for its own. The system
/// reuses an id only after all others.
struct Runtimes {
    slots: [Slot; GENERATIONS],
}

/// The runtime of one process.
struct Slot {
    /// Id of the process; 0 while the slot is free. Written once.
    process: AtomicU32,
    starting: Mutex<()>,
    runtime: OnceLock<Runtime>,
}

impl Runtimes {
    const fn new() -> Self {
        Self { slots: [const { Slot::new() }; GENERATIONS] }
    }

    /// Returns the runtime of a process, which the first call starts.
    fn of(&self, process: u32) -> Result<&Handle> {
        match self.slots.iter().find(|slot| slot.claim(process)) {
            Some(slot) => slot.runtime(),
            None => {
                let text = format!("more than {GENERATIONS} nested forks have used the library");
                Err(Error::new(ErrorKind::Internal, text))
            }
        }
    }
}

impl Slot {
    const fn new() -> Self {
        Self { process: AtomicU32::new(0), starting: Mutex::new(()), runtime: OnceLock::new() }
    }

    /// Claims the slot for a process if it is free. Returns whether it belongs to the process.
    fn claim(&self, process: u32) -> bool {
        let claimed =
            self.process.compare_exchange(0, process, Ordering::Relaxed, Ordering::Relaxed);
        claimed.is_ok() || claimed == Err(process)
    }

    fn runtime(&self) -> Result<&Handle> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime.handle());
        }
        let _starting = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        let runtime = match self.runtime.get() {
            Some(runtime) => runtime,
            None => {
                let runtime = start()?;
                self.runtime.get_or_init(|| runtime)
            }
        };
        Ok(runtime.handle())
    }
}

fn start() -> Result<Runtime> {
    let cores = available_parallelism().map_or(MIN_WORKERS, NonZero::get);
    let workers = cores.clamp(MIN_WORKERS, MAX_WORKERS);
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(workers).thread_name("uplink").enable_all();
    let prepared = prepare_workers(&mut builder, workers);
    let runtime = builder.build().map_err(|error| {
        Error::new(ErrorKind::Internal, "runtime cannot be started").with_source(error)
    })?;
    // The process may exit right after the first call. A system too busy to run the workers within a
    // second does not hold it up.
    for _ in 0..workers {
        let _ = prepared.recv_timeout(PREPARATION);
    }
    Ok(runtime)
}

/// Prepares the worker threads, which make TLS connections, for the exit of the process. The receiver
/// learns of each one.
fn prepare_workers(builder: &mut Builder, workers: usize) -> Receiver<()> {
    let (sender, prepared) = channel();
    // The workers are the first threads; later ones only compute.
    let left = AtomicUsize::new(workers);
    builder.on_thread_start(move || {
        let take = |left: usize| left.checked_sub(1);
        if left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            prepare_thread_for_exit();
            // Nothing waits for it if the runtime could not be started.
            let _ = sender.send(());
        }
    });
    prepared
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Barrier};
    use std::thread;

    use super::*;

    #[test]
    fn every_worker_is_prepared_for_the_exit_of_the_process() {
        let runtime = start().expect("started");
        let workers = runtime.metrics().num_workers();
        // Each worker runs one of the tasks, because all of them wait for each other.
        let together = Arc::new(Barrier::new(workers));
        let tasks = (0..workers).map(|_| {
            let together = Arc::clone(&together);
            runtime.spawn(async move {
                together.wait();
                prepare_thread_for_exit()
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            assert!(runtime.block_on(task).expect("no panic"), "a worker was not prepared");
        }
    }

    #[test]
    fn process_keeps_its_runtime_and_a_forked_one_gets_another() {
        let runtimes = Runtimes::new();
        let parent = runtimes.of(100).expect("started").id();
        let child = runtimes.of(101).expect("started").id();
        assert_ne!(parent, child);
        assert_eq!(runtimes.of(100).expect("running").id(), parent);
        assert_eq!(runtimes.of(101).expect("running").id(), child);
    }

    #[test]
    fn threads_that_call_first_at_once_get_one_runtime() {
        let runtimes = Runtimes::new();
        let ids = thread::scope(|scope| {
            let first = || runtimes.of(100).expect("started").id();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(first)).collect();
            let ids = threads.into_iter().map(|thread| thread.join().expect("no panic"));
            ids.collect::<Vec<_>>()
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }

    #[test]
    fn runtime_is_found_while_the_parent_was_starting_its_own() {
        let runtimes = Runtimes::new();
        let parent = &runtimes.slots[0];
        assert!(parent.claim(100));
        let _starting = parent.starting.lock().expect("no thread has panicked");
        runtimes.of(101).expect("does not wait for the parent's slot");
    }

    #[test]
    fn too_many_nested_forks_are_an_error() {
        let runtimes = Runtimes::new();
        for (slot, process) in runtimes.slots.iter().zip(1..) {
            assert!(slot.claim(process));
        }
        let error = runtimes.of(99).expect_err("no slot is left");
        assert_eq!(error.kind(), ErrorKind::Internal);
    }
}
