//! How long to back off before another attempt, and when to stop.

use std::time::Duration;

/// Maximum delay before the second attempt.
pub const FIRST_DELAY: Duration = Duration::from_millis(100);

/// Maximum delay between two attempts.
pub const MAX_DELAY: Duration = Duration::from_secs(3);

/// Exponential backoff with jitter: delays double from [`FIRST_DELAY`] to [`MAX_DELAY`].
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Creates a backoff without failures.
    pub const fn new() -> Self {
        Self { failures: 0 }
    }

    /// Records a failure and returns the delay before the next attempt.
    ///
    /// `jitter` is a random number: the delay is uniform over the second half of the nominal one, so
    /// that clients that failed at the same time do not retry at the same time.
    pub fn failed(&mut self, jitter: u32) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        let nominal = FIRST_DELAY.saturating_mul(factor).min(MAX_DELAY);
        let half = nominal / 2;
        // At most 1.5 s × 2³² in nanoseconds, which fits 64 bits.
        let spread = (half.as_nanos() as u64 * u64::from(jitter)) >> 32;
        half + Duration::from_nanos(spread)
    }

    /// Records a failure and returns the delay before the next attempt; `None` if the delay would not
    /// end within `left`, the time until the caller's deadline.
    pub fn failed_within(&mut self, jitter: u32, left: Duration) -> Option<Duration> {
        Some(self.failed(jitter)).filter(|delay| *delay < left)
    }

    /// Records a success and resets the delay.
    pub const fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Returns the number of failures since the last success.
    pub const fn failures(&self) -> u32 {
        self.failures
    }
}

/// A limit on attempts without progress.
#[derive(Clone, Debug)]
pub struct Attempts {
    allowed: u32,
    failures: u32,
}

/// Maximum retries of a download without progress.
pub const DOWNLOAD_RETRIES: u32 = 6;

impl Attempts {
    /// Allows `allowed` failures without progress.
    pub const fn new(allowed: u32) -> Self {
        Self { allowed, failures: 0 }
    }

    /// Records a failure and returns whether another attempt is allowed.
    pub const fn failed(&mut self) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.failures <= self.allowed
    }

    /// Returns the number of failures since the last progress.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Records progress and resets the failures.
    pub const fn progressed(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn delays_double_up_to_the_maximum() {
        let mut backoff = Backoff::new();
        let longest: Vec<u128> = (0..7).map(|_| backoff.failed(u32::MAX).as_millis()).collect();
        assert_eq!(longest, [99, 199, 399, 799, 1599, 2999, 2999]);
        assert_eq!(backoff.failures(), 7);
        backoff.succeeded();
        assert_eq!(backoff.failed(0), FIRST_DELAY / 2);
    }

    #[test]
    fn progress_resets_the_attempts() {
        let mut attempts = Attempts::new(2);
        assert!(attempts.failed() && attempts.failed());
        attempts.progressed();
        assert!(attempts.failed() && attempts.failed() && !attempts.failed());
    }

    proptest! {
        #![proptest_config(crate::cases(10_000))]

        /// For any failures, successes and jitter: a delay is between half and the whole of the
        /// nominal one, which doubles from the first to the maximum and never overflows. More jitter
        /// never gives a shorter delay.
        #[test]
        fn delays_double_within_bounds_and_jitter_covers_half(
            events in proptest::collection::vec(proptest::option::weighted(0.95, any::<(u32, u32)>()), 0..200),
        ) {
            let mut backoff = Backoff::new();
            let mut nominal = FIRST_DELAY;
            let mut failures = 0;
            for event in events {
                let Some((jitter, other)) = event else {
                    backoff.succeeded();
                    nominal = FIRST_DELAY;
                    failures = 0;
                    continue;
                };
                let other_delay = backoff.clone().failed(other);
                let delay = backoff.failed(jitter);
                prop_assert!(nominal / 2 <= delay && delay < nominal);
                prop_assert!(other_delay == delay || (other_delay < delay) == (other < jitter));
                failures += 1;
                prop_assert_eq!(backoff.failures(), failures);
                nominal = (nominal * 2).min(MAX_DELAY);
            }
        }

        /// A caller whose every attempt fails stops before its deadline, but not while another delay
        /// still fits.
        #[test]
        fn attempts_never_begin_after_the_deadline(
            deadline in 0..100_000_u64, tries in proptest::collection::vec((any::<u32>(), 0..5000_u64), 200),
        ) {
            let deadline = Duration::from_millis(deadline);
            let mut backoff = Backoff::new();
            let mut now = Duration::ZERO;
            let mut stopped = false;
            for (jitter, lasts) in tries {
                now += Duration::from_millis(lasts);
                let left = deadline.saturating_sub(now);
                match backoff.clone().failed_within(jitter, left) {
                    Some(delay) => {
                        now += delay;
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
        fn allowed_attempts_count_from_the_last_progress(
            allowed in 0..5_u32, events in proptest::collection::vec(prop::bool::weighted(0.8), 0..60),
        ) {
            let mut attempts = Attempts::new(allowed);
            let mut consecutive = 0;
            for fails in events {
                if fails {
                    consecutive += 1;
                    prop_assert_eq!(attempts.failed(), consecutive <= allowed);
                } else {
                    attempts.progressed();
                    consecutive = 0;
                }
            }
        }
    }
}
