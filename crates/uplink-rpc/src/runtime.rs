//! The seam to randomness and to threads for computation.

/// The system cannot do what the runtime needs of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// A computation was cancelled because the runtime is shutting down, or it panicked.
    #[error("computation did not complete: {0}")]
    Computation(#[from] tokio::task::JoinError),
    /// The system's random number generator failed; nothing may be encrypted then.
    #[error("random number generator failed: {0}")]
    Random(getrandom::Error),
}

/// Returns fresh random bytes of the operating system.
///
/// # Errors
/// [`RuntimeError::Random`].
pub fn random<const N: usize>() -> Result<[u8; N], RuntimeError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(RuntimeError::Random)?;
    Ok(bytes)
}

/// Returns a random number for the jitter of retries; 0 if there is none.
#[must_use]
pub fn jitter() -> u32 {
    random().map(u32::from_be_bytes).unwrap_or_default()
}

/// Runs a computation inline if it is `quick`, less than a millisecond, else as [`compute`].
///
/// # Errors
/// As [`compute`].
pub async fn compute_unless<T: Send + 'static>(
    quick: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RuntimeError> {
    if quick { Ok(work()) } else { compute(work).await }
}

/// Runs a computation that would block other tasks on the pool for blocking work.
///
/// # Errors
/// [`RuntimeError::Computation`].
pub async fn compute<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RuntimeError> {
    Ok(tokio::task::spawn_blocking(work).await?)
}
