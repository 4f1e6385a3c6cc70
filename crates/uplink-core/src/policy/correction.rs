//! How many pieces a download decodes from, and when it gives up.
//!
//! k pieces are enough as long as what they decode to is authentic. When it is not, some of them are
//! corrupt, and the same block is recovered from more pieces: k + 2e − 1 of them correct e corrupt ones,
//! the last one by trial (see [`subsets`](super::subsets)). A recovery waits for no more pieces than
//! needed, so e is taken to be 1 at first and doubles with every attempt; the last attempt takes all
//! pieces there are. Attempts are counted from the last time that something was authentic.
//!
//! Pieces that do not come are not waited for longer than [`PATIENCE`], if those that have come are
//! more than at the last attempt. No longer than that are k *trusted* pieces waited for when others,
//! which had corrupt shares lately, have come.

use std::time::Duration;

use super::retry::{Attempts, DOWNLOAD_RETRIES};

/// How long an attempt waits for as many pieces as it wants.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// The number of pieces behind each window or block of a segment.
#[derive(Clone, Debug)]
pub struct Correction {
    required: u16,
    wanted: u16,
    attempts: Attempts,
    /// When something was last found to be authentic.
    progressed_at: Duration,
    /// Pieces that did not suffice, and when that was found.
    failed: Option<(u16, Duration)>,
}

/// Pieces that have delivered the next shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)] // inputs of the machine
pub struct Available {
    /// Those without corrupt shares lately.
    pub trusted: u16,
    /// All of them.
    pub all: u16,
    /// Whether others may still deliver them.
    pub more: bool,
}

/// What to do with the pieces that have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)] // callers must handle all
pub enum Verdict {
    /// Decode from at least so many pieces.
    Decode(u16),
    /// Stop: no more pieces come, and the available ones cannot be decoded.
    GiveUp,
    /// Wait for more pieces.
    Wait,
}

/// Why a block cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)] // callers must handle all
pub enum Cause {
    /// The pieces there are do not suffice, and no other exists: trying again does not help.
    Corrupt,
    /// Pieces that could not be read now may make the block readable.
    Unreachable,
}

impl Cause {
    /// Decides why a block cannot be read although k pieces or more were read, which contradict each
    /// other.
    ///
    /// `unreachable` pieces are known to exist and were not read; `all_known` says that there are no
    /// others. One correct piece more may always be the one that makes the block readable.
    #[must_use]
    pub const fn of(unreachable: usize, all_known: bool) -> Self {
        if unreachable > 0 || !all_known { Self::Unreachable } else { Self::Corrupt }
    }
}

impl Correction {
    /// Starts with the `required` pieces.
    #[must_use]
    pub const fn new(required: u16) -> Self {
        Self {
            required,
            wanted: required,
            attempts: Attempts::new(DOWNLOAD_RETRIES),
            progressed_at: Duration::ZERO,
            failed: None,
        }
    }

    /// Notes that nothing authentic was decoded from `used` pieces. Returns whether another attempt is
    /// allowed.
    pub fn failed(&mut self, used: u16, now: Duration) -> bool {
        if !self.attempts.failed() {
            return false;
        }
        let doubled = 1_u16.checked_shl(self.attempts.failures()).unwrap_or(u16::MAX);
        self.wanted = match self.attempts.failures() {
            DOWNLOAD_RETRIES => u16::MAX,
            _ => self.required.saturating_add(doubled - 1).max(used.saturating_add(1)),
        };
        self.failed = Some((used, now));
        true
    }

    /// Notes that more was found to be authentic: the required pieces do again.
    pub const fn progressed(&mut self, now: Duration) {
        self.attempts.progressed();
        self.wanted = self.required;
        self.progressed_at = now;
        self.failed = None;
    }

    /// Decides what follows with the pieces that have come.
    ///
    /// May be asked again at any time.
    #[must_use]
    pub fn decide(&self, available: Available, now: Duration) -> Verdict {
        let Available { trusted, all, more } = available;
        let waited = |since: Duration| now >= since.saturating_add(PATIENCE);
        let Some((used, since)) = self.failed else {
            let suspects_do = !more || waited(self.progressed_at);
            let have = if suspects_do { all } else { trusted };
            return if have < self.required {
                Verdict::Wait
            } else {
                Verdict::Decode(self.required)
            };
        };
        if all >= self.wanted {
            Verdict::Decode(self.wanted)
        } else if all > used.max(self.required) && (waited(since) || !more) {
            Verdict::Decode(all)
        } else if more || all < self.required {
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

    /// Pieces that are all trusted.
    fn have(all: u16, more: bool) -> Available {
        Available { trusted: all, all, more }
    }

    #[test]
    fn required_pieces_do_until_something_is_wrong() {
        let mut correction = Correction::new(4);
        assert_eq!(correction.decide(have(3, true), NOW), Verdict::Wait);
        assert_eq!(correction.decide(have(3, false), NOW), Verdict::Wait);
        assert_eq!(correction.decide(have(9, true), NOW), Verdict::Decode(4));
        assert!(correction.failed(4, NOW));
        assert_eq!(correction.decide(have(4, true), NOW), Verdict::Wait);
        assert_eq!(correction.decide(have(5, true), NOW), Verdict::Decode(5));
        assert!(correction.failed(5, NOW));
        assert_eq!(correction.decide(have(6, true), NOW), Verdict::Wait);
        assert_eq!(correction.decide(have(7, true), NOW), Verdict::Decode(7));
        correction.progressed(NOW);
        assert_eq!(correction.decide(have(4, true), NOW), Verdict::Decode(4));
    }

    #[test]
    fn assumed_number_of_corrupt_pieces_doubles_and_the_last_attempt_takes_all() {
        let mut correction = Correction::new(29);
        let mut wanted = Vec::new();
        while correction.failed(29, NOW) {
            wanted.push(correction.wanted);
        }
        assert_eq!(wanted, [30, 32, 36, 44, 60, u16::MAX]);
        assert_eq!(correction.decide(have(80, true), NOW), Verdict::Wait);
        assert_eq!(correction.decide(have(80, false), NOW), Verdict::Decode(80));
    }

    #[test]
    fn suspects_are_used_when_trusted_pieces_do_not_come() {
        let mut correction = Correction::new(4);
        correction.progressed(NOW);
        let available = Available { trusted: 3, all: 5, more: true };
        let later = NOW + PATIENCE;
        assert_eq!(correction.decide(available, NOW), Verdict::Wait);
        assert_eq!(correction.decide(available, later), Verdict::Decode(4));
        let no_more = Available { more: false, ..available };
        assert_eq!(correction.decide(no_more, NOW), Verdict::Decode(4));
    }

    #[test]
    fn pieces_that_do_not_come_are_not_waited_for() {
        let mut correction = Correction::new(4);
        assert!(correction.failed(4, NOW) && correction.failed(5, NOW));
        let later = NOW + PATIENCE;
        let early = later - Duration::from_nanos(1);
        assert_eq!(correction.decide(have(6, true), early), Verdict::Wait);
        assert_eq!(correction.decide(have(6, true), later), Verdict::Decode(6));
        assert_eq!(correction.decide(have(6, false), NOW), Verdict::Decode(6));
        assert_eq!(correction.decide(have(5, true), later), Verdict::Wait, "five did not do");
        assert_eq!(correction.decide(have(5, false), later), Verdict::GiveUp);
    }

    #[test]
    fn cause_is_unreachable_only_where_other_pieces_could_help() {
        assert_eq!(Cause::of(0, true), Cause::Corrupt);
        assert_eq!(Cause::of(0, false), Cause::Unreachable);
        assert_eq!(Cause::of(1, true), Cause::Unreachable);
    }

    proptest! {
        #![proptest_config(crate::cases(10_000))]

        /// With the pieces of any network: attempts use more and more pieces and come to an end.
        #[test]
        fn every_recovery_ends_within_the_attempts_and_with_all_pieces_used(
            required in 1..100_u16, spare in 0..150_u16,
        ) {
            let (held, mut correction, mut used) = (required + spare, Correction::new(required), 0);
            for attempt in 0.. {
                match correction.decide(have(held, false), NOW) {
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
