//! How many pieces a download decodes from, and when it aborts.
//!
//! k pieces suffice as long as the decoded data authenticates. If it does not, some pieces are corrupt,
//! and the block is recovered from more pieces: k + 2e − 1 of them correct e corrupt ones, the last
//! one by trial (see [`subsets`](super::subsets)). To wait for as few pieces as possible, e starts at
//! 1 and doubles with every attempt; the last attempt takes all available pieces. Successful
//! authentication resets the attempts.
//!
//! An attempt waits at most [`PIECE_TIMEOUT`] for more pieces, provided that more are available than
//! at the last attempt. The same timeout applies to waiting for k *trusted* pieces while suspect
//! ones, which had corrupt shares recently, are available.

use std::time::Duration;

use super::retry::{Attempts, DOWNLOAD_RETRIES};

/// Maximum time an attempt waits for the pieces it wants.
pub const PIECE_TIMEOUT: Duration = Duration::from_secs(1);

/// The number of pieces to decode each window or block of a segment from.
#[derive(Clone, Debug)]
pub struct Correction {
    required: u16,
    wanted: u16,
    attempts: Attempts,
    /// Time of the last successful authentication.
    progressed_at: Duration,
    /// Pieces used by the last failed attempt, and when it failed.
    failed: Option<(u16, Duration)>,
}

/// Pieces that have delivered the next shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)] // inputs of the machine
pub struct Available {
    /// Pieces without recent corrupt shares.
    pub trusted: u16,
    /// All available pieces.
    pub all: u16,
    /// Whether further pieces may still arrive.
    pub more: bool,
}

/// What to do with the available pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)] // callers must handle all
pub enum Verdict {
    /// Abort: no more pieces will arrive, and the available ones cannot be decoded.
    Abort,
    /// Decode from at least this many pieces.
    Decode(u16),
    /// Wait for more pieces.
    Wait,
}

/// Why a block cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)] // callers must handle all
pub enum Cause {
    /// The existing pieces cannot be decoded. Retrying does not help.
    Corrupt,
    /// Pieces that could not be read now may make the block readable.
    Unreachable,
}

impl Cause {
    /// Returns why a block cannot be read although at least k pieces were read.
    ///
    /// `unreachable` pieces are known to exist and were not read; `all_known` says that there are no
    /// others. A single additional correct piece may make the block readable.
    #[must_use]
    pub const fn of(unreachable: usize, all_known: bool) -> Self {
        if unreachable > 0 || !all_known { Self::Unreachable } else { Self::Corrupt }
    }
}

impl Correction {
    /// Creates the state of a download that needs `required` pieces.
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

    /// Records that data decoded from `used` pieces failed authentication. Returns whether another
    /// attempt is allowed.
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

    /// Records a successful authentication: the required pieces suffice again.
    pub const fn progressed(&mut self, now: Duration) {
        self.attempts.progressed();
        self.wanted = self.required;
        self.progressed_at = now;
        self.failed = None;
    }

    /// Decides what to do with the available pieces. Does not change any state.
    #[must_use]
    pub fn decide(&self, available: Available, now: Duration) -> Verdict {
        let Available { trusted, all, more } = available;
        let timed_out = |since: Duration| now >= since.saturating_add(PIECE_TIMEOUT);
        let Some((used, failed_at)) = self.failed else {
            let accepts_suspects = !more || timed_out(self.progressed_at);
            let usable = if accepts_suspects { all } else { trusted };
            return if usable < self.required {
                Verdict::Wait
            } else {
                Verdict::Decode(self.required)
            };
        };
        if all >= self.wanted {
            Verdict::Decode(self.wanted)
        } else if all > used.max(self.required) && (timed_out(failed_at) || !more) {
            Verdict::Decode(all)
        } else if more || all < self.required {
            // `hedge` decides whether the required number can still arrive.
            Verdict::Wait
        } else {
            Verdict::Abort
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Duration = Duration::from_secs(5);

    /// Trusted pieces only.
    fn have(all: u16, more: bool) -> Available {
        Available { trusted: all, all, more }
    }

    #[test]
    fn required_pieces_suffice_until_decoding_fails() {
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
    fn wanted_pieces_double_and_last_attempt_takes_all() {
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
    fn suspects_are_used_after_the_timeout_for_trusted_pieces() {
        let mut correction = Correction::new(4);
        correction.progressed(NOW);
        let available = Available { trusted: 3, all: 5, more: true };
        let later = NOW + PIECE_TIMEOUT;
        assert_eq!(correction.decide(available, NOW), Verdict::Wait);
        assert_eq!(correction.decide(available, later), Verdict::Decode(4));
        let no_more = Available { more: false, ..available };
        assert_eq!(correction.decide(no_more, NOW), Verdict::Decode(4));
    }

    #[test]
    fn missing_pieces_are_waited_for_until_the_timeout() {
        let mut correction = Correction::new(4);
        assert!(correction.failed(4, NOW) && correction.failed(5, NOW));
        let later = NOW + PIECE_TIMEOUT;
        let early = later - Duration::from_nanos(1);
        assert_eq!(correction.decide(have(6, true), early), Verdict::Wait);
        assert_eq!(correction.decide(have(6, true), later), Verdict::Decode(6));
        assert_eq!(correction.decide(have(6, false), NOW), Verdict::Decode(6));
        assert_eq!(
            correction.decide(have(5, true), later),
            Verdict::Wait,
            "five pieces failed before"
        );
        assert_eq!(correction.decide(have(5, false), later), Verdict::Abort);
    }

    #[test]
    fn cause_is_unreachable_only_if_other_pieces_could_help() {
        assert_eq!(Cause::of(0, true), Cause::Corrupt);
        assert_eq!(Cause::of(0, false), Cause::Unreachable);
        assert_eq!(Cause::of(1, true), Cause::Unreachable);
    }

    proptest! {
        #![proptest_config(crate::cases(10_000))]

        /// For any code, attempts use an increasing number of pieces and terminate.
        #[test]
        fn every_recovery_ends_within_its_attempts_using_all_pieces(
            required in 1..100_u16, spare in 0..150_u16,
        ) {
            let held = required + spare;
            let mut correction = Correction::new(required);
            let mut used = 0;
            for attempt in 0.. {
                match correction.decide(have(held, false), NOW) {
                    Verdict::Decode(pieces) => {
                        prop_assert!(pieces <= held && pieces > used);
                        used = pieces;
                    }
                    verdict => {
                        prop_assert_eq!((verdict, used), (Verdict::Abort, held));
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
