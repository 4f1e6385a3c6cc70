//! The only seam to clock, randomness and threads.

use uplink_core::encryption::Nonce;
use uplink_core::encryption::mark::ChainValue;

use crate::error::{Error, ErrorKind, Result};

/// Fresh random bytes.
///
/// # Errors
/// The system's random source fails; nothing may be encrypted then.
fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::new(ErrorKind::Internal, format!("the system gives no random bytes: {error}"))
    })?;
    Ok(bytes)
}

/// A fresh value to make marked keys of.
pub(crate) fn random_chain_value() -> Result<ChainValue> {
    random().map(ChainValue::new)
}

/// A fresh nonce.
pub(crate) fn random_nonce() -> Result<Nonce> {
    random().map(Nonce::new)
}

/// A random number for spreading pauses.
pub(crate) fn jitter() -> Result<u32> {
    random().map(u32::from_be_bytes)
}

/// Runs arithmetic on this thread if it is `quick`, less than a millisecond, else as [`compute`].
///
/// # Errors
/// The runtime is shutting down.
pub(crate) async fn compute_unless<T: Send + 'static>(
    quick: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    if quick { Ok(work()) } else { compute(work).await }
}

/// Runs arithmetic that would hold up other tasks on a thread of its own.
///
/// # Errors
/// The runtime is shutting down.
pub(crate) async fn compute<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        Error::new(ErrorKind::Internal, format!("a computation was ended: {error}"))
    })
}
