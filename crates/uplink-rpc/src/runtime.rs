//! The seam to the wall clock, tasks, threads and randomness.
//!
//! Monotonic time, sleeps and timeouts come from `tokio::time`, whose clock tests can pause.

#![allow(clippy::disallowed_methods, reason = "the seam itself")]

use std::cell::Cell;
use std::time::SystemTime;

use tokio::task::JoinHandle;
use uplink_core::secret::Secret;

/// Why a computation or the random number generator failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// A computation was cancelled because the runtime is shutting down, or it panicked.
    #[error("computation did not complete: {0}")]
    Computation(#[from] tokio::task::JoinError),
    /// The system's random number generator failed. Nothing may be encrypted without it.
    #[error("random number generator failed: {0}")]
    Random(getrandom::Error),
}

/// Returns the time of the wall clock.
#[must_use]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// Spawns a task. Dropping the handle detaches it.
///
/// Must be called inside a tokio runtime.
#[track_caller]
pub fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(task)
}

/// Returns random bytes of the operating system.
///
/// # Errors
/// [`RuntimeError::Random`].
pub fn random<const N: usize>() -> Result<[u8; N], RuntimeError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(RuntimeError::Random)?;
    Ok(bytes)
}

/// Returns a random secret, which is on the heap from the beginning.
///
/// # Errors
/// [`RuntimeError::Random`].
pub fn random_secret<const N: usize>() -> Result<Secret<[u8; N]>, RuntimeError> {
    let mut secret = Secret::zeros();
    getrandom::fill(secret.expose_mut()).map_err(RuntimeError::Random)?;
    Ok(secret)
}

/// Gives this thread its state of the TLS provider's random number generator. Returns whether this
/// function had done so before.
///
/// While a process exits, AWS-LC aborts it when a thread asks for its first random bytes, and blocks
/// threads that have asked before, which does no harm. Threads that may run until then ask early.
pub fn prepare_thread_for_exit() -> bool {
    thread_local! {
        static IS_PREPARED: Cell<bool> = const { Cell::new(false) };
    }
    let was_prepared = IS_PREPARED.replace(true);
    if !was_prepared {
        // Without effect if it fails.
        let _ = aws_lc_rs::rand::fill(&mut [0]);
    }
    was_prepared
}

/// Returns a random number for retry jitter; 0 if the random number generator fails.
#[must_use]
pub fn jitter() -> u32 {
    random().map(u32::from_be_bytes).unwrap_or_default()
}

/// Runs a computation inline if it is `quick`, which means less than a millisecond, otherwise as
/// [`compute`] does.
///
/// # Errors
/// See [`compute`].
pub async fn compute_unless<T: Send + 'static>(
    quick: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RuntimeError> {
    if quick { Ok(work()) } else { compute(work).await }
}

/// Runs a computation on the thread pool for blocking work, so that it does not block other tasks.
///
/// # Errors
/// [`RuntimeError::Computation`].
pub async fn compute<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RuntimeError> {
    Ok(tokio::task::spawn_blocking(work).await?)
}
