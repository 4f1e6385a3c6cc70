//! How many pieces a download decodes from.
//!
//! k pieces are enough as long as what they decode to is authentic. When it is not, some of them
//! are wrong, and the same shares are decoded again from more pieces: k + 2e of them correct e wrong
//! ones. Nobody waits for more nodes than needed, so e is taken to be 1 at first and doubles with
//! every attempt; the last attempt takes all pieces there are. Attempts are counted from the last
//! time that something was authentic.
//!
//! Pieces that do not come are not waited for longer than [`PATIENCE`], if those that have come are
//! more than at the last attempt.

use std::time::Duration;

use super::retry::{Attempts, DOWNLOAD_RETRIES};

/// How long an attempt waits for as many pieces as it wants.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// The number of pieces behind each window of a segment.
#[derive(Clone, Debug)]
pub struct Correction {
    required: u16,
    wanted: u16,
    attempts: Attempts,
    /// Pieces that did not do, and when that was found.
    failed: Option<(u16, Duration)>,
}

/// What to do with the pieces that have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)] // callers must handle all
pub enum Verdict {
    /// Decode from at least so many pieces.
    Decode(u16),
    /// Stop: no more pieces come, and those there are did not do.
    GiveUp,
    /// Wait for more pieces.
    Wait,
}

impl Correction {
    /// Starts with the `required` pieces.
    pub const fn new(required: u16) -> Self {
        let attempts = Attempts::new(DOWNLOAD_RETRIES);
        Self { required, wanted: required, attempts, failed: None }
    }

    /// Notes that what `used` pieces decoded to is not authentic, or that they contradict each
    /// other. Returns whether another attempt is allowed.
    pub fn failed(&mut self, used: u16, now: Duration) -> bool {
        if !self.attempts.failed() {
            return false;
        }
        let doubled = 1_u16.checked_shl(self.attempts.failures()).unwrap_or(u16::MAX);
        self.wanted = match self.attempts.failures() {
            DOWNLOAD_RETRIES => u16::MAX,
            _ => self.required.saturating_add(doubled).max(used.saturating_add(1)),
        };
        self.failed = Some((used, now));
        true
    }

    /// Notes that more was found to be authentic.
    pub const fn progressed(&mut self) {
        self.attempts.progressed();
    }

    /// Notes that everything in doubt was found to be authentic: the required pieces do again.
    pub const fn settled(&mut self) {
        self.attempts.progressed();
        self.wanted = self.required;
        self.failed = None;
    }

    /// Decides what follows when `have` pieces have come; `more` says that others may.
    ///
    /// May be asked again at any time.
    pub fn decide(&self, have: u16, more: bool, now: Duration) -> Verdict {
        let Some((used, since)) = self.failed else {
            return if have < self.required {
                Verdict::Wait
            } else {
                Verdict::Decode(self.required)
            };
        };
        let waited = now >= since.saturating_add(PATIENCE);
        if have >= self.wanted {
            Verdict::Decode(self.wanted)
        } else if have > used.max(self.required) && (waited || !more) {
            Verdict::Decode(have)
        } else if more || have < self.required {
            // Whether the required number can still come is decided elsewhere.
            Verdict::Wait
        } else {
            Verdict::GiveUp
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Duration = Duration::from_secs(5);

    #[test]
    fn required_pieces_do_until_something_is_wrong() {
        let mut correction = Correction::new(4);
        assert_eq!(correction.decide(3, true, NOW), Verdict::Wait);
        assert_eq!(correction.decide(3, false, NOW), Verdict::Wait);
        assert_eq!(correction.decide(9, true, NOW), Verdict::Decode(4));
        assert!(correction.failed(4, NOW));
        assert_eq!(correction.decide(5, true, NOW), Verdict::Wait);
        assert_eq!(correction.decide(6, true, NOW), Verdict::Decode(6));
        correction.settled();
        assert_eq!(correction.decide(4, true, NOW), Verdict::Decode(4));
    }

    #[test]
    fn assumed_number_of_wrong_pieces_doubles_and_the_last_attempt_takes_all() {
        let mut correction = Correction::new(29);
        let mut wanted = Vec::new();
        while correction.failed(29, NOW) {
            wanted.push(correction.wanted);
        }
        assert_eq!(wanted, [31, 33, 37, 45, 61, u16::MAX]);
        assert_eq!(correction.decide(80, true, NOW), Verdict::Wait);
        assert_eq!(correction.decide(80, false, NOW), Verdict::Decode(80));
    }

    #[test]
    fn progress_renews_the_attempts_but_not_the_trust() {
        let mut correction = Correction::new(4);
        for _ in 0..100 {
            assert!(correction.failed(4, NOW));
            correction.progressed();
            assert_eq!(correction.decide(5, true, NOW), Verdict::Wait);
        }
    }

    #[test]
    fn pieces_that_do_not_come_are_not_waited_for() {
        let mut correction = Correction::new(4);
        assert!(correction.failed(4, NOW) && correction.failed(6, NOW));
        let later = NOW + PATIENCE;
        assert_eq!(correction.decide(7, true, later - Duration::from_nanos(1)), Verdict::Wait);
        assert_eq!(correction.decide(7, true, later), Verdict::Decode(7));
        assert_eq!(correction.decide(7, false, NOW), Verdict::Decode(7));
        assert_eq!(correction.decide(6, true, later), Verdict::Wait, "six did not do");
        assert_eq!(correction.decide(6, false, later), Verdict::GiveUp);
    }

    proptest! {
        #![proptest_config(crate::cases(10_000))]

        /// With the pieces of any network: attempts use more and more pieces and come to an end.
        #[test]
        fn every_doubt_ends_within_the_attempts_and_with_all_pieces_used(
            required in 1..100_u16, spare in 0..150_u16,
        ) {
            let (held, mut correction, mut used) = (required + spare, Correction::new(required), 0);
            for attempt in 0.. {
                match correction.decide(held, false, NOW) {
                    Verdict::Decode(pieces) => {
                        prop_assert!(pieces <= held && pieces > used);
                        used = pieces;
                    }
                    verdict => {
                        prop_assert_eq!((verdict, used), (Verdict::GiveUp, held));
                        break;
                    }
                }
                if !correction.failed(used, NOW) {
                    prop_assert_eq!((attempt, used), (DOWNLOAD_RETRIES, held));
                    break;
                }
            }
        }
    }
}
