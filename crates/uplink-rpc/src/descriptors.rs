//! Descriptors of the process: how many it may open, and what they are kept for.
//!
//! | share of the limit | for |
//! |---|---|
//! | 1/2 | accepted connections, of all listeners of the process together |
//! | 1/16 | piece files that stay open between two operations |
//! | 1/16 | files that are opened for one operation |
//! | 3/8 | all else: databases, logs, listeners, connections to others, refusals |
//!
//! Nothing that holds a descriptor of one share waits for another one, so that shares run dry without
//! a deadlock.

use std::fs;
use std::io;
use std::sync::{Condvar, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};

/// Limit taken for granted where the system has none.
const UNLIMITED: usize = 1 << 20;
/// Least number in each share, below which nothing would work.
const MIN_SHARE: usize = 4;
/// Attempts at an operation while the process has no descriptor left, and the pause between them.
const BRIEF_ATTEMPTS: u32 = 50;
const BRIEF_PAUSE: Duration = Duration::from_millis(20);

/// The shares of this process. Its limit is read when they are first asked for.
static SHARES: LazyLock<Shares> = LazyLock::new(|| Shares::of(limit()));

/// Raises the limit on open files as far as the process may. Programs that serve call it before
/// anything else.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, "cannot raise the limit on open files");
    }
}

/// The right to keep a file open between operations, until this is dropped.
#[derive(Debug)]
pub struct KeptFile(#[expect(dead_code, reason = "held for its drop")] SemaphorePermit<'static>);

/// Asks for the right to keep a file open; `None` while too many are.
pub fn keep_file() -> Option<KeptFile> {
    match SHARES.kept.try_acquire() {
        Ok(permit) => Some(KeptFile(permit)),
        Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => None,
    }
}

/// Runs a short operation that opens one file and closes it again, or hands it to a [`KeptFile`].
/// Blocks while too many others do.
///
/// When the process has no descriptor left all the same, the operation is repeated for a second: it
/// must have changed nothing by then.
///
/// # Errors
/// Those of `operation`.
pub fn briefly<T>(mut operation: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let _turn = SHARES.brief.take();
    let mut left = BRIEF_ATTEMPTS;
    loop {
        match operation() {
            Err(error) if left > 1 && is_exhausted(&error) => left -= 1,
            outcome => return outcome,
        }
        std::thread::sleep(BRIEF_PAUSE);
    }
}

/// Whether the process or the system has no descriptor left.
fn is_exhausted(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// Whether so few descriptors are left, with so many connections accepted, that no further one should
/// be. Counts those that are open, but only when connections may be the reason.
pub(crate) fn are_scarce(connections: usize) -> bool {
    connections >= SHARES.connections / 2
        && open().is_none_or(|open| open.saturating_add(SHARES.headroom) >= SHARES.limit)
}

/// Descriptors that are open; `None` when not even counting them has one left.
fn open() -> Option<usize> {
    fs::read_dir("/dev/fd").ok().map(Iterator::count)
}

/// Most connections that this process accepts at once.
pub(crate) fn connections() -> usize {
    SHARES.connections
}

/// Most connections that are told so beyond [`connections`].
pub(crate) fn refusals() -> usize {
    SHARES.refusals
}

#[derive(Debug)]
struct Shares {
    limit: usize,
    /// What accepted connections leave in any case.
    headroom: usize,
    connections: usize,
    refusals: usize,
    kept: Semaphore,
    brief: Turns,
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
            brief: Turns { free: Mutex::new(share(16)), returned: Condvar::new() },
        }
    }
}

/// More would not be answered faster.
const MAX_REFUSALS: usize = 64;

/// A semaphore for threads that may block.
#[derive(Debug)]
struct Turns {
    free: Mutex<usize>,
    returned: Condvar,
}

struct Turn<'a>(&'a Turns);

impl Turns {
    fn take(&self) -> Turn<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.returned.wait_while(free, |free| *free == 0);
        *free.unwrap_or_else(PoisonError::into_inner) -= 1;
        Turn(self)
    }
}

impl Drop for Turn<'_> {
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
    fn shares_leave_three_eighths_for_all_else() {
        for limit in [64, 256, 1024, UNLIMITED] {
            let shares = Shares::of(limit);
            let brief = *shares.brief.free.lock().unwrap();
            let given = shares.connections + shares.kept.available_permits() + brief;
            assert_eq!(given, limit * 5 / 8);
            assert!(shares.refusals <= limit / 16);
        }
    }

    #[test]
    fn operation_without_a_descriptor_is_repeated() {
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
    fn brief_operations_wait_for_their_turn() {
        let turns = Turns { free: Mutex::new(1), returned: Condvar::new() };
        let first = turns.take();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| drop(turns.take()));
            assert!(!second.is_finished());
            drop(first);
        });
        assert_eq!(*turns.free.lock().unwrap(), 1);
    }
}
