//! The bridge from a thread to the asynchronous API.
//!
//! ```text
//!   thread ─► Project, Upload, …  ─► Bridged ─► Bridge ─► wait.rs: polls the call on this thread
//!                                                  │
//!                                                  └─► runtimes.rs: IO, timers and tasks of this process
//! ```

use std::fmt;
use std::sync::Arc;

use futures_core::Stream;
use futures_util::TryStreamExt;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use uplink_rpc::runtime::prepare_thread_for_exit;

use super::runtimes::runtime;
use super::wait::wait;
use crate::error::{Error, ErrorKind, Result};

/// Runs asynchronous calls on the thread that makes them, until it is closed. Clones are closed together.
#[derive(Clone)]
pub(super) struct Bridge {
    runtime: Handle,
    /// The process that has the threads of `runtime`, and that alone may use what is behind this bridge.
    process: u32,
    /// In an `Arc` although a token is one: cloning a token locks it, and that lock may be locked forever
    /// in a forked process.
    closed: Arc<CancellationToken>,
}

impl Bridge {
    /// Opens a bridge to the runtime of this process.
    ///
    /// # Errors
    /// As [`runtime`].
    pub(super) fn open() -> Result<Self> {
        let process = std::process::id();
        Ok(Self { runtime: runtime()?, process, closed: Arc::default() })
    }

    /// Runs a call, and drops it when the bridge is closed.
    ///
    /// # Errors
    /// Those of the call, [`ErrorKind::Cancelled`] and [`ErrorKind::ProcessForked`].
    pub(super) fn block_on<T, E: From<Error>>(
        &self,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.check_process()?;
        prepare_thread_for_exit();
        let _context = self.runtime.enter();
        match wait(self.closed.run_until_cancelled(call)) {
            Some(outcome) => outcome,
            None => Err(Error::new(ErrorKind::Cancelled, "project is closed").into()),
        }
    }

    fn close(&self) {
        if self.check_process().is_ok() {
            self.closed.cancel();
        }
    }

    fn check_process(&self) -> Result<()> {
        match std::process::id() {
            process if process == self.process => Ok(()),
            process => {
                let opener = self.process;
                let text =
                    format!("handle of process {opener} cannot be used by its fork {process}");
                Err(Error::new(ErrorKind::ProcessForked, text))
            }
        }
    }
}

/// A handle of the asynchronous API and the bridge that runs its calls.
#[derive(Clone)]
pub(super) struct Bridged<T> {
    /// Taken only by what consumes the handle.
    parts: Option<Parts<T>>,
}

#[derive(Clone)]
struct Parts<T> {
    bridge: Bridge,
    handle: T,
}

impl<T> Bridged<T> {
    pub(super) fn new(bridge: Bridge, handle: T) -> Self {
        Self { parts: Some(Parts { bridge, handle }) }
    }

    /// Returns the handle.
    pub(super) fn get(&self) -> Result<&T> {
        self.parts.as_ref().map(|parts| &parts.handle).ok_or_else(consumed)
    }

    /// Runs a call of the handle.
    pub(super) fn call<R>(&self, call: impl AsyncFnOnce(&T) -> Result<R>) -> Result<R> {
        let parts = self.parts.as_ref().ok_or_else(consumed)?;
        parts.bridge.block_on(call(&parts.handle))
    }

    /// Runs a call that changes the handle.
    pub(super) fn call_mut<R, E: From<Error>>(
        &mut self,
        call: impl AsyncFnOnce(&mut T) -> Result<R, E>,
    ) -> Result<R, E> {
        let parts = self.parts.as_mut().ok_or_else(consumed)?;
        parts.bridge.block_on(call(&mut parts.handle))
    }

    /// Runs the last call of the handle.
    pub(super) fn finish<R>(mut self, call: impl AsyncFnOnce(T) -> Result<R>) -> Result<R> {
        // An inherited handle must stay where `drop` leaks it.
        self.parts.as_ref().ok_or_else(consumed)?.bridge.check_process()?;
        let Parts { bridge, handle } = self.parts.take().ok_or_else(consumed)?;
        bridge.block_on(call(handle))
    }

    /// Changes the handle without a call.
    pub(super) fn update(&mut self, change: impl FnOnce(&mut T)) {
        if let Some(parts) = &mut self.parts {
            change(&mut parts.handle);
        }
    }

    /// Opens another handle of the same project with a call.
    pub(super) fn open<H>(&self, call: impl AsyncFnOnce(&T) -> Result<H>) -> Result<Bridged<H>> {
        let parts = self.parts.as_ref().ok_or_else(consumed)?;
        let handle = parts.bridge.block_on(call(&parts.handle))?;
        Ok(Bridged::new(parts.bridge.clone(), handle))
    }

    /// Derives another handle of the same project without a call.
    pub(super) fn derive<H>(&self, derive: impl FnOnce(&T) -> H) -> Bridged<H> {
        let parts = self.parts.as_ref();
        let derived = parts.map(|Parts { bridge, handle }| Parts {
            bridge: bridge.clone(),
            handle: derive(handle),
        });
        Bridged { parts: derived }
    }

    /// Cancels the calls of all handles of the project, now and later.
    pub(super) fn close(&self) {
        if let Some(parts) = &self.parts {
            parts.bridge.close();
        }
    }
}

impl<T, S: Stream<Item = Result<T>> + Unpin> Bridged<S> {
    /// Returns the next item of a listing.
    pub(super) fn next(&mut self) -> Option<Result<T>> {
        self.call_mut(async |list| list.try_next().await).transpose()
    }
}

impl<T> Drop for Bridged<T> {
    fn drop(&mut self) {
        let Some(parts) = self.parts.take() else { return };
        if parts.bridge.check_process().is_err() {
            // Dropping it could wait for a lock that another thread of the parent held at the fork, and
            // remove sockets from the event queue that the parent still uses.
            std::mem::forget(parts);
            return;
        }
        // An upload that is dropped notifies the satellite from a task.
        let _context = parts.bridge.runtime.enter();
        drop(parts.handle);
    }
}

impl<T> fmt::Debug for Bridged<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridged").finish_non_exhaustive()
    }
}

/// The error of a handle after its last call, which consumes it.
fn consumed() -> Error {
    Error::new(ErrorKind::Internal, "handle was used after its last call")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// Reports that it was dropped, and whether that was inside a runtime.
    struct Reporter(mpsc::Sender<bool>);

    impl Drop for Reporter {
        fn drop(&mut self) {
            let _ = self.0.send(Handle::try_current().is_ok());
        }
    }

    /// Returns a handle as a process sees it that was forked from its opener.
    fn inherited(handle: Reporter) -> Bridged<Reporter> {
        let bridge = Bridge::open().expect("a runtime");
        Bridged::new(Bridge { process: bridge.process + 1, ..bridge }, handle)
    }

    #[test]
    fn handle_is_dropped_inside_the_runtime() {
        let (sender, dropped) = mpsc::channel();
        let bridge = Bridge::open().expect("a runtime");
        drop(Bridged::new(bridge, Reporter(sender)));
        assert_eq!(dropped.try_recv(), Ok(true));
    }

    #[test]
    fn inherited_handle_fails_every_call_and_is_never_dropped() {
        let (sender, dropped) = mpsc::channel();
        let mut handle = inherited(Reporter(sender));
        let forked = |outcome: Result<()>| {
            assert_eq!(outcome.expect_err("forked").kind(), ErrorKind::ProcessForked);
        };
        forked(handle.call(async |_| Ok(())));
        forked(handle.call_mut(async |_| Ok(())));
        forked(handle.open(async |_| Ok(())).map(drop));
        handle.close();
        assert!(!handle.parts.as_ref().expect("kept").bridge.closed.is_cancelled());
        forked(handle.finish(async |_| Ok(())));
        assert_eq!(dropped.try_recv(), Err(mpsc::TryRecvError::Empty), "the handle is leaked");
    }

    #[test]
    fn closing_cancels_a_call_that_waits_and_every_later_one() {
        let handle = Bridged::new(Bridge::open().expect("a runtime"), ());
        let (sender, started) = mpsc::channel();
        let outcome = thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                handle.call(async |()| {
                    sender.send(()).expect("waited for");
                    std::future::pending::<Result<()>>().await
                })
            });
            started.recv().expect("started");
            handle.clone().close();
            waiting.join().expect("no panic")
        });
        assert_eq!(outcome.expect_err("cancelled").kind(), ErrorKind::Cancelled);
        let later = handle.derive(|()| ()).call(async |()| Ok(()));
        assert_eq!(later.expect_err("closed").kind(), ErrorKind::Cancelled);
    }

    #[test]
    fn calls_inside_another_runtime_use_that_of_the_bridge() {
        let bridge = Bridge::open().expect("a runtime");
        let outer = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let id = outer
            .block_on(async { bridge.block_on(async { Ok::<_, Error>(Handle::current().id()) }) });
        assert_eq!(id.expect("runs"), runtime().expect("running").id());
    }
}
