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

    /// Notes a failure and tells how long to wait, unless the wait would end after `left`, the time
    /// until the caller's deadline: then none, for there is no other attempt.
    pub fn failed_within(&mut self, jitter: u32, left: Duration) -> Option<Duration> {
        Some(self.failed(jitter)).filter(|wait| *wait < left)
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

        /// Whatever fails and succeeds, and with whatever jitter: a wait is between half and the
        /// whole of the nominal one, which doubles from the first to the longest and never
        /// overflows; more jitter never waits less.
        #[test]
        fn waits_double_within_bounds_and_jitter_stays_within_half_and_whole(
            events in proptest::collection::vec(proptest::option::weighted(0.95, any::<(u32, u32)>()), 0..200),
        ) {
            let mut backoff = Backoff::new();
            let (mut nominal, mut failures) = (FIRST_DELAY, 0);
            for event in events {
                let Some((jitter, other)) = event else {
                    backoff.succeeded();
                    (nominal, failures) = (FIRST_DELAY, 0);
                    continue;
                };
                let wait = backoff.clone().failed(other);
                let again = backoff.failed(jitter);
                prop_assert!(nominal / 2 <= again && again < nominal);
                prop_assert!(wait == again || (wait < again) == (other < jitter));
                failures += 1;
                prop_assert_eq!(backoff.failures(), failures);
                nominal = (nominal * 2).min(MAX_DELAY);
            }
        }

        /// A caller that fails in every attempt stops before its deadline, and not while a wait
        /// still fits.
        #[test]
        fn attempts_never_begin_after_the_deadline(
            deadline in 0..100_000_u64, tries in proptest::collection::vec((any::<u32>(), 0..5000_u64), 200),
        ) {
            let deadline = Duration::from_millis(deadline);
            let (mut backoff, mut now, mut stopped) = (Backoff::new(), Duration::ZERO, false);
            for (jitter, lasts) in tries {
                now += Duration::from_millis(lasts);
                let left = deadline.saturating_sub(now);
                match backoff.clone().failed_within(jitter, left) {
                    Some(wait) => {
                        now += wait;
                        prop_assert!(now < deadline);
                    }
                    None => {
                        prop_assert!(now + backoff.failed(jitter) >= deadline);
                        stopped = true;
                        break;
                    }
                }
                backoff.failed(jitter);
            }
            prop_assert!(stopped);
        }

        #[test]
        fn attempts_are_as_many_as_allowed_since_the_last_progress(
            allowed in 0..5_u32, events in proptest::collection::vec(prop::bool::weighted(0.8), 0..60),
        ) {
            let (mut attempts, mut in_a_row) = (Attempts::new(allowed), 0);
            for fails in events {
                if fails {
                    in_a_row += 1;
                    prop_assert_eq!(attempts.failed(), in_a_row <= allowed);
                } else {
                    attempts.progressed();
                    in_a_row = 0;
                }
            }
        }
    }
}
