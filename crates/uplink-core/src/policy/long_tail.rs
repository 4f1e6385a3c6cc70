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

        #[test]
        fn a_confirmation_never_worsens_and_a_failure_never_betters(
            optimal in 1..256_u16, confirmed in 0..256_u16, pending in 1..256_u16,
        ) {
            let rank = |verdict| match verdict {
                Verdict::Shortage => 0,
                Verdict::OnTheWay => 1,
                Verdict::Enough => 2,
            };
            let rule = LongTail::new(optimal);
            let now = rank(rule.judge(confirmed, pending));
            prop_assert!(rank(rule.judge(confirmed + 1, pending - 1)) >= now);
            prop_assert!(rank(rule.judge(confirmed, pending - 1)) <= now);
        }
    }
}
