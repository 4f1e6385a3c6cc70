//! How long to wait before another attempt, and when to stop.

use std::time::Duration;

/// Wait before the second attempt, at most.
pub const FIRST_DELAY: Duration = Duration::from_millis(100);

/// Longest wait between two attempts.
pub const MAX_DELAY: Duration = Duration::from_secs(3);

/// Waits that double from [`FIRST_DELAY`] to [`MAX_DELAY`].
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Starts without failures.
    pub const fn new() -> Self {
        Self { failures: 0 }
    }

    /// Notes a failure and tells how long to wait.
    ///
    /// `jitter` is a random number: the wait is spread evenly over the second half of the nominal
    /// one, so that clients that failed together do not return together.
    pub fn failed(&mut self, jitter: u32) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        let nominal = FIRST_DELAY.saturating_mul(factor).min(MAX_DELAY);
        let half = nominal / 2;
        // At most 1.5 s × 2³² in nanoseconds, which fits 64 bits.
        let spread = (half.as_nanos() as u64 * u64::from(jitter)) >> 32;
        half + Duration::from_nanos(spread)
    }

    /// Notes a success: the next wait is short again.
    pub const fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success.
    pub const fn failures(&self) -> u32 {
        self.failures
    }
}

/// A number of attempts that progress renews.
#[derive(Clone, Debug)]
pub struct Attempts {
    allowed: u32,
    failures: u32,
}

/// Attempts to continue a download that stopped without progress.
pub const DOWNLOAD_RETRIES: u32 = 6;

impl Attempts {
    /// Allows `allowed` failures without progress.
    pub const fn new(allowed: u32) -> Self {
        Self { allowed, failures: 0 }
    }

    /// Notes a failure and tells whether another attempt is allowed.
    pub const fn failed(&mut self) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.failures <= self.allowed
    }

    /// Failures since something was last achieved.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Notes that something was achieved since the last failure.
    pub const fn progressed(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::new();
        let longest: Vec<u128> = (0..7).map(|_| backoff.failed(u32::MAX).as_millis()).collect();
        assert_eq!(longest, [99, 199, 399, 799, 1599, 2999, 2999]);
        assert_eq!(backoff.failures(), 7);
        backoff.succeeded();
        assert_eq!(backoff.failed(0), FIRST_DELAY / 2);
    }

    #[test]
    fn progress_renews_the_attempts() {
        let mut attempts = Attempts::new(2);
        assert!(attempts.failed() && attempts.failed());
        attempts.progressed();
        assert!(attempts.failed() && attempts.failed() && !attempts.failed());
    }

    proptest! {
        #![proptest_config(crate::cases(10_000))]

        #[test]
        fn waits_stay_within_half_and_whole(events in proptest::collection::vec(any::<Option<u32>>(), 0..80)) {
            let mut backoff = Backoff::new();
            let mut nominal = FIRST_DELAY;
            for event in events {
                let Some(jitter) = event else {
                    backoff.succeeded();
                    nominal = FIRST_DELAY;
                    continue;
                };
                let wait = backoff.failed(jitter);
                prop_assert!(nominal / 2 <= wait && wait <= nominal);
                nominal = (nominal * 2).min(MAX_DELAY);
            }
        }
    }
}
