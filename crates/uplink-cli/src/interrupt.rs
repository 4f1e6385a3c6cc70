//! Ctrl-C (SIGINT), SIGTERM and SIGHUP.
//!
//! The first signal cancels a command by dropping its future, unless the command holds an
//! [`InterruptGuard`]: then it observes the signal itself and shuts down in order. A second signal
//! ends the process immediately.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

use crate::failure::{Exit, Failure, Outcome};

/// Notifies commands of signals. Clones share the state.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    signals: watch::Receiver<Signals>,
    guards: Arc<AtomicUsize>,
}

/// The number of signals received, and the exit code of the last one.
#[derive(Clone, Copy, Debug)]
struct Signals {
    count: usize,
    exit: Exit,
}

/// Prevents a command from being cancelled by the first signal.
#[derive(Debug)]
pub(crate) struct InterruptGuard(Arc<AtomicUsize>);

impl Drop for InterruptGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Interrupt {
    /// Starts to watch for signals, which no longer end the process by default. Needs a runtime.
    pub(crate) fn watch() -> Outcome<Self> {
        let none = Signals { count: 0, exit: Exit::Interrupted };
        let (sender, signals) = watch::channel(none);
        let mut source =
            SignalSource::new().map_err(|error| Failure::io("cannot watch for signals", &error))?;
        tokio::spawn(async move {
            loop {
                let exit = source.next().await;
                sender.send_modify(|signals| *signals = Signals { count: signals.count + 1, exit });
            }
        });
        Ok(Self { signals, guards: Arc::default() })
    }

    /// Waits for the first signal and returns the failure of the command. Returns immediately if it
    /// was already received.
    pub(crate) async fn wait(&self) -> Failure {
        self.nth(1).await
    }

    /// Defers cancellation to the second signal. The caller must watch [`wait`](Self::wait) and end
    /// soon after it.
    pub(crate) fn defer(&self) -> InterruptGuard {
        self.guards.fetch_add(1, Ordering::Relaxed);
        InterruptGuard(Arc::clone(&self.guards))
    }

    /// Waits until the command has to be cancelled.
    pub(crate) async fn cancelled(&self) -> Failure {
        let first = self.nth(1).await;
        if self.guards.load(Ordering::Relaxed) > 0 { self.nth(2).await } else { first }
    }

    /// Waits for a signal received after this call.
    pub(crate) async fn next(&self) -> Failure {
        let count = self.signals.borrow().count;
        self.nth(count.saturating_add(1)).await
    }

    async fn nth(&self, count: usize) -> Failure {
        let mut signals = self.signals.clone();
        let exit = signals.wait_for(|signals| signals.count >= count).await.map(|found| found.exit);
        match exit {
            Ok(exit) => Failure::new(exit, "interrupted"),
            // The watcher ended with the runtime: no further signal is received.
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(unix)]
struct SignalSource {
    hang_up: Option<tokio::signal::unix::Signal>,
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl SignalSource {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        // A handler would replace the ignored SIGHUP that `nohup` sets up.
        let hang_up = (!hang_up_is_ignored()).then(|| signal(SignalKind::hangup()));
        Ok(Self {
            hang_up: hang_up.transpose()?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> Exit {
        let hang_up = async {
            match &mut self.hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = hang_up => Exit::HungUp,
            _ = self.interrupt.recv() => Exit::Interrupted,
            _ = self.terminate.recv() => Exit::Terminated,
        }
    }
}

/// Returns whether the process was started with SIGHUP ignored. Assumes so where `/proc` is
/// missing, which leaves the default action in place.
#[cfg(unix)]
fn hang_up_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    parse_hang_up_ignored(&status).unwrap_or(true)
}

/// Parses the mask of ignored signals, in which SIGHUP is the lowest bit.
#[cfg(unix)]
fn parse_hang_up_ignored(status: &str) -> Option<bool> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
    Some(mask & 1 == 1)
}

#[cfg(not(unix))]
struct SignalSource;

#[cfg(not(unix))]
impl SignalSource {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> Exit {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Exit::Interrupted,
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_hang_up_is_parsed_from_the_mask() {
        let status = |mask| format!("Name:\tuplink\nSigBlk:\tffffffff\nSigIgn:\t{mask}\n");
        assert_eq!(parse_hang_up_ignored(&status("0000000000001001")), Some(true));
        assert_eq!(parse_hang_up_ignored(&status("fffffffffffffffe")), Some(false));
        assert_eq!(parse_hang_up_ignored("Name:\tuplink\n"), None);
    }
}
