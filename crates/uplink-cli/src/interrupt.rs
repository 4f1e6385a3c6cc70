//! Ctrl-C, the request to terminate, and a terminal that goes away.
//!
//! A command is simply dropped when the first signal arrives, unless it holds an
//! [`InterruptGuard`]: then it is trusted to notice by itself and to end in order, like an upload
//! that tells the satellite it is given up. A second signal ends the process at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

use crate::failure::{Exit, Failure, Outcome};

/// Tells commands of signals. Clones watch the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    signals: watch::Receiver<Signals>,
    holders: Arc<AtomicUsize>,
}

/// How many signals have come, and what the last one asks for.
#[derive(Clone, Copy, Debug)]
struct Signals {
    count: usize,
    exit: Exit,
}

/// Keeps a command from being dropped at the first signal.
#[derive(Debug)]
pub(crate) struct InterruptGuard(Arc<AtomicUsize>);

impl Drop for InterruptGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Interrupt {
    /// Begins to watch for signals; they no longer end the process by themselves. Needs a runtime.
    pub(crate) fn watch() -> Outcome<Self> {
        let none = Signals { count: 0, exit: Exit::Interrupted };
        let (sender, signals) = watch::channel(none);
        let mut source =
            Source::new().map_err(|error| Failure::io("cannot watch for signals", &error))?;
        tokio::spawn(async move {
            loop {
                let exit = source.next().await;
                sender.send_modify(|signals| *signals = Signals { count: signals.count + 1, exit });
            }
        });
        Ok(Self { signals, holders: Arc::default() })
    }

    /// Waits for the first signal and returns what to fail with; returns at once if it has come.
    pub(crate) async fn wait(&self) -> Failure {
        self.nth(1).await
    }

    /// Promises to watch [`wait`](Self::wait) and to end soon after it.
    pub(crate) fn hold(&self) -> InterruptGuard {
        self.holders.fetch_add(1, Ordering::Relaxed);
        InterruptGuard(Arc::clone(&self.holders))
    }

    /// Waits until the command has to be dropped.
    pub(crate) async fn must_end(&self) -> Failure {
        let first = self.nth(1).await;
        if self.holders.load(Ordering::Relaxed) > 0 { self.nth(2).await } else { first }
    }

    /// Waits for a signal that comes after this call.
    pub(crate) async fn again(&self) -> Failure {
        let count = self.signals.borrow().count;
        self.nth(count.saturating_add(1)).await
    }

    async fn nth(&self, count: usize) -> Failure {
        let mut signals = self.signals.clone();
        let exit = signals.wait_for(|signals| signals.count >= count).await.map(|found| found.exit);
        match exit {
            Ok(exit) => Failure::new(exit, "interrupted"),
            // Nobody watches any longer: no signal will come.
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(unix)]
struct Source {
    hang_up: Option<tokio::signal::unix::Signal>,
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Source {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        // Watching for a signal ends its being ignored, which is what `nohup` is for.
        let hang_up = (!starts_with_hang_up_ignored()).then(|| signal(SignalKind::hangup()));
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

/// Returns whether the process was started to ignore SIGHUP, as far as the system says: where it does
/// not, SIGHUP is left as it is.
#[cfg(unix)]
fn starts_with_hang_up_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignores_hang_up(&status).unwrap_or(true)
}

/// Reads the mask of ignored signals, in which SIGHUP is the first bit.
#[cfg(unix)]
fn ignores_hang_up(status: &str) -> Option<bool> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
    Some(mask & 1 == 1)
}

#[cfg(not(unix))]
struct Source;

#[cfg(not(unix))]
impl Source {
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn ignored_hang_up_is_read_from_the_mask() {
        let status = |mask| format!("Name:\tuplink\nSigBlk:\tffffffff\nSigIgn:\t{mask}\n");
        assert_eq!(ignores_hang_up(&status("0000000000001001")), Some(true));
        assert_eq!(ignores_hang_up(&status("fffffffffffffffe")), Some(false));
        assert_eq!(ignores_hang_up("Name:\tuplink\n"), None);
    }
}
