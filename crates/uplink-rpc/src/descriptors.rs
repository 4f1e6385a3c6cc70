//! The file descriptor budget of the process.
//!
//! | share of the limit | use |
//! |---|---|
//! | 1/2 | accepted connections of all listeners of the process |
//! | 1/16 | piece files that stay open between operations |
//! | 1/16 | files opened for one operation |
//! | 3/8 | other: databases, logs, listeners, outgoing connections, rejected connections |
//!
//! A holder of a descriptor from one share never waits for a descriptor from another, so that an
//! exhausted share cannot cause a deadlock.

use std::sync::{Condvar, LazyLock, Mutex, PoisonError};
use std::time::Duration;
use std::{fs, io};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};

/// Limit assumed if the system sets none.
const UNLIMITED: usize = 1 << 20;
/// Minimum size of each share; below it, nothing would work.
const MIN_SHARE: usize = 4;
/// Maximum number of attempts at an operation while the process has no descriptor left.
const BRIEF_ATTEMPTS: u32 = 50;
/// Pause between attempts.
const BRIEF_PAUSE: Duration = Duration::from_millis(20);

/// The shares of this process. The limit is read on first use.
static SHARES: LazyLock<Shares> = LazyLock::new(|| Shares::of(limit()));

/// Raises the soft limit on open files to the hard limit. Servers call it first.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, "cannot raise the limit on open files");
    }
}

/// A permit to keep a file open between operations, returned on drop.
#[derive(Debug)]
pub struct KeptFile(#[expect(dead_code, reason = "held for its drop")] SemaphorePermit<'static>);

/// Acquires a permit to keep a file open; `None` if all permits are in use.
pub fn keep_file() -> Option<KeptFile> {
    match SHARES.kept.try_acquire() {
        Ok(permit) => Some(KeptFile(permit)),
        Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => None,
    }
}

/// Runs a short operation that opens one file, and closes it or keeps it with a [`KeptFile`]. Blocks
/// while too many other operations run.
///
/// If the process has no descriptor left, the operation is retried for a second. An attempt that fails
/// for this reason must have no effect.
///
/// # Errors
/// Returns the error of `operation`.
pub fn briefly<T>(mut operation: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let _permit = SHARES.brief.acquire();
    let mut left = BRIEF_ATTEMPTS;
    loop {
        match operation() {
            Err(error) if left > 1 && is_exhausted(&error) => left -= 1,
            outcome => return outcome,
        }
        #[allow(clippy::disallowed_methods, reason = "blocks, as documented")]
        std::thread::sleep(BRIEF_PAUSE);
    }
}

/// Returns whether the process or the system has no descriptor left.
fn is_exhausted(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// Returns whether too few descriptors are left to accept another connection. Counts open descriptors
/// only if many of them are accepted connections.
pub(crate) fn are_scarce(connections: usize) -> bool {
    connections >= SHARES.connections / 2
        && open().is_none_or(|open| open.saturating_add(SHARES.headroom) >= SHARES.limit)
}

/// Returns the number of open descriptors; `None` if no descriptor is left to count them.
fn open() -> Option<usize> {
    fs::read_dir("/dev/fd").ok().map(Iterator::count)
}

/// Returns the maximum number of accepted connections of this process.
pub(crate) fn connections() -> usize {
    SHARES.connections
}

/// Returns the maximum number of rejected connections beyond [`connections`].
pub(crate) fn refusals() -> usize {
    SHARES.refusals
}

#[derive(Debug)]
struct Shares {
    limit: usize,
    /// Number of descriptors that accepted connections must leave free.
    headroom: usize,
    connections: usize,
    refusals: usize,
    kept: Semaphore,
    brief: BlockingSemaphore,
}

impl Shares {
    fn of(limit: usize) -> Self {
        let share = |parts: usize| (limit / parts).clamp(MIN_SHARE, Semaphore::MAX_PERMITS);
        Self {
            limit,
            headroom: share(8),
            connections: share(2),
            refusals: share(16).min(MAX_REFUSALS),
            kept: Semaphore::new(share(16)),
            brief: BlockingSemaphore { free: Mutex::new(share(16)), returned: Condvar::new() },
        }
    }
}

/// Upper bound on [`refusals`]; more would not be answered faster.
const MAX_REFUSALS: usize = 64;

/// A semaphore that blocks the thread.
#[derive(Debug)]
struct BlockingSemaphore {
    free: Mutex<usize>,
    returned: Condvar,
}

struct BlockingPermit<'a>(&'a BlockingSemaphore);

impl BlockingSemaphore {
    fn acquire(&self) -> BlockingPermit<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.returned.wait_while(free, |free| *free == 0);
        *free.unwrap_or_else(PoisonError::into_inner) -= 1;
        BlockingPermit(self)
    }
}

impl Drop for BlockingPermit<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.returned.notify_one();
    }
}

fn limit() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(UNLIMITED).min(UNLIMITED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_leave_three_eighths_for_other_uses() {
        for limit in [64, 256, 1024, UNLIMITED] {
            let shares = Shares::of(limit);
            let brief = *shares.brief.free.lock().unwrap();
            let total = shares.connections + shares.kept.available_permits() + brief;
            assert_eq!(total, limit * 5 / 8);
            assert!(shares.refusals <= limit / 16);
        }
    }

    #[test]
    fn operation_without_a_descriptor_is_retried() {
        let mut attempts = 0;
        let outcome = briefly(|| {
            attempts += 1;
            if attempts < 3 { Err(Errno::MFILE.into()) } else { Ok(attempts) }
        });
        assert_eq!(outcome.unwrap(), 3);
        assert_eq!(
            briefly::<()>(|| Err(Errno::NOENT.into())).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn brief_operations_wait_for_a_permit() {
        let semaphore = BlockingSemaphore { free: Mutex::new(1), returned: Condvar::new() };
        let first = semaphore.acquire();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| drop(semaphore.acquire()));
            assert!(!second.is_finished());
            drop(first);
        });
        assert_eq!(*semaphore.free.lock().unwrap(), 1);
    }
}
