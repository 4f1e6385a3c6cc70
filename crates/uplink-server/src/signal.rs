//! Signals that request a graceful stop.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGHUP, SIGINT and SIGTERM. While it exists, they do not end the process.
///
/// SIGHUP stays ignored when the process was started that way, as by `nohup`.
#[derive(Debug)]
pub struct StopSignal {
    hang_up: Option<Signal>,
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignal {
    /// Installs the handlers. Must be called within a runtime, before the server reports that it is
    /// ready.
    ///
    /// # Errors
    /// The system refuses a handler.
    pub fn listen() -> io::Result<Self> {
        // A handler would end the state "ignored", on which `nohup` relies.
        let hang_up = (!starts_with_hang_up_ignored()).then(|| signal(SignalKind::hangup()));
        Ok(Self {
            hang_up: hang_up.transpose()?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next of the signals.
    pub async fn received(&mut self) {
        let hang_up = async {
            match &mut self.hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = hang_up => {}
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Returns whether the process was started with SIGHUP ignored. Where the system does not say,
/// SIGHUP keeps its default action.
fn starts_with_hang_up_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignores_hang_up(&status).unwrap_or(true)
}

/// Reads the mask of ignored signals, in which SIGHUP is the first bit.
fn ignores_hang_up(status: &str) -> Option<bool> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
    Some(mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn hang_up_and_terminate_request_a_stop() {
        let mut stop = StopSignal::listen().unwrap();
        let mut signals = vec![Signal::TERM, Signal::INT];
        signals.extend(stop.hang_up.is_some().then_some(Signal::HUP));
        for signal in signals {
            kill_process(getpid(), signal).unwrap();
            timeout(Duration::from_secs(10), stop.received()).await.expect("a signal");
        }
    }

    #[test]
    fn ignored_hang_up_is_read_from_the_process_status() {
        assert_eq!(ignores_hang_up("Name:\tx\nSigIgn:\t0000000000001001\n"), Some(true));
        assert_eq!(ignores_hang_up("SigIgn:\t0000000000001000\n"), Some(false));
        assert_eq!(ignores_hang_up("SigBlk:\t0000000000000001\n"), None);
    }
}
