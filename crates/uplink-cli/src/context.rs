//! State that all commands share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use uplink::{Config, Project};

use crate::access_store::AccessStore;
use crate::args::grant::AccessArgs;
use crate::batch::Batch;
use crate::failure::Outcome;
use crate::interrupt::Interrupt;
use crate::output::Output;

/// The context that a command runs in.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) out: Output,
    /// Settings of projects.
    pub(crate) config: Config,
    pub(crate) store: AccessStore,
    pub(crate) interrupt: Interrupt,
    /// Failures of single objects, printed when the command ends.
    pub(crate) batch: Arc<Batch>,
    waits_for_tasks: Arc<AtomicBool>,
}

impl Context {
    /// Starts to watch for signals. Needs a runtime.
    pub(crate) fn new(out: Output, call_timeout: Duration) -> Outcome<Self> {
        let user_agent = concat!("uplink-cli/", env!("CARGO_PKG_VERSION"));
        Ok(Self {
            out,
            config: Config::new().user_agent(user_agent).call_timeout(call_timeout),
            store: AccessStore::locate(),
            interrupt: Interrupt::watch()?,
            batch: Arc::default(),
            waits_for_tasks: Arc::default(),
        })
    }

    /// Opens the project of the selected access grant.
    pub(crate) fn project(&self, args: &AccessArgs) -> Outcome<Project> {
        Ok(Project::open_with(&self.store.access(args.access.as_deref())?, &self.config)?)
    }

    /// Makes the process wait for background tasks if the command fails, such as the one that
    /// aborts an upload at the satellite.
    pub(crate) fn wait_for_tasks(&self) {
        self.waits_for_tasks.store(true, Ordering::Relaxed);
    }

    /// Returns whether [`wait_for_tasks`](Self::wait_for_tasks) was called.
    pub(crate) fn waits_for_tasks(&self) -> bool {
        self.waits_for_tasks.load(Ordering::Relaxed)
    }
}
