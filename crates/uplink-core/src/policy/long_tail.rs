//! When an upload has stored enough pieces.
//!
//! An upload starts more pieces than it needs. The slowest nodes would make it slow, so it
//! ends with the first `optimal` confirmed pieces, in replacement rounds too.

/// The rule by which the pieces of one segment are enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongTail {
    optimal: u16,
}

/// Where an upload stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums)] // callers must tell all apart
pub enum Verdict {
    /// Enough pieces are confirmed: the others can be cancelled.
    Enough,
    /// The pieces on their way can still suffice.
    OnTheWay,
    /// Even with all pieces on their way there are too few.
    Shortage,
}

impl LongTail {
    /// Requires `optimal` confirmed pieces.
    pub const fn new(optimal: u16) -> Self {
        Self { optimal }
    }

    /// Confirmed pieces that are enough.
    pub const fn needed(&self) -> u16 {
        self.optimal
    }

    /// Judges by the number of confirmed pieces and of those that may still be.
    pub const fn judge(&self, confirmed: u16, pending: u16) -> Verdict {
        if confirmed >= self.optimal {
            Verdict::Enough
        } else if confirmed.saturating_add(pending) >= self.optimal {
            Verdict::OnTheWay
        } else {
            Verdict::Shortage
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn verdict_changes_at_the_optimal_number() {
        let rule = LongTail::new(8);
        assert_eq!(rule.judge(8, 0), Verdict::Enough);
        assert_eq!(rule.judge(7, 1), Verdict::OnTheWay);
        assert_eq!(rule.judge(7, 0), Verdict::Shortage);
    }

    proptest! {
        #![proptest_config(crate::cases(10_000))]

        /// In whatever order pieces are confirmed or fail: the upload is enough with the optimal
        /// confirmation, not before and from then on, and falls short exactly when even all
        /// pending ones could not help.
        #[test]
        fn uploads_never_stop_before_the_optimal_confirmation_and_never_wait_after_it(
            optimal in 1..300_u16, outcomes in proptest::collection::vec(any::<bool>(), 0..300),
        ) {
            let rule = LongTail::new(optimal);
            let (mut confirmed, mut pending) = (0, outcomes.len() as u16);
            let mut outcomes = outcomes.into_iter();
            loop {
                let best = confirmed + pending;
                let expected = match confirmed {
                    enough if enough >= optimal => Verdict::Enough,
                    _ if best < optimal => Verdict::Shortage,
                    _ => Verdict::OnTheWay,
                };
                prop_assert_eq!(rule.judge(confirmed, pending), expected);
                let Some(good) = outcomes.next() else { break };
                pending -= 1;
                confirmed += u16::from(good);
            }
        }

        #[test]
        fn no_numbers_overflow(optimal: u16, confirmed: u16, pending: u16) {
            let best = u32::from(confirmed) + u32::from(pending);
            let short = LongTail::new(optimal).judge(confirmed, pending) == Verdict::Shortage;
            prop_assert_eq!(short, best < u32::from(optimal));
        }
    }
}
