//! When an upload has stored enough pieces.
//!
//! An upload may start spare pieces. To avoid waiting for stragglers, it ends with the
//! first `optimal` confirmed pieces, in replacement rounds too.

/// Decides when one segment has enough pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongTail {
    optimal: u16,
}

/// Whether the pieces of an upload suffice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums)] // callers must handle all
pub enum UploadStatus {
    /// Enough pieces are confirmed: the others can be cancelled.
    Enough,
    /// The pieces in flight can still suffice.
    Pending,
    /// Too few pieces, even if all pieces in flight are confirmed.
    Shortage,
}

impl LongTail {
    /// Requires `optimal` confirmed pieces.
    pub const fn new(optimal: u16) -> Self {
        Self { optimal }
    }

    /// Returns the number of confirmed pieces needed.
    pub const fn needed(&self) -> u16 {
        self.optimal
    }

    /// Returns the status for the numbers of confirmed and pending pieces.
    pub const fn status(&self, confirmed: u16, pending: u16) -> UploadStatus {
        if confirmed >= self.optimal {
            UploadStatus::Enough
        } else if confirmed.saturating_add(pending) >= self.optimal {
            UploadStatus::Pending
        } else {
            UploadStatus::Shortage
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn status_changes_at_the_optimal_number() {
        let rule = LongTail::new(8);
        assert_eq!(rule.status(8, 0), UploadStatus::Enough);
        assert_eq!(rule.status(7, 1), UploadStatus::Pending);
        assert_eq!(rule.status(7, 0), UploadStatus::Shortage);
    }

    proptest! {
        #![proptest_config(crate::cases(10_000))]

        /// In any order of confirmations and failures, the status is `Enough` from the optimal
        /// confirmation on, and `Shortage` exactly when all pending pieces together would be too few.
        #[test]
        fn upload_ends_exactly_at_the_optimal_confirmation(
            optimal in 1..300_u16, outcomes in proptest::collection::vec(any::<bool>(), 0..300),
        ) {
            let rule = LongTail::new(optimal);
            let mut confirmed = 0;
            let mut pending = outcomes.len() as u16;
            let mut outcomes = outcomes.into_iter();
            loop {
                let best = confirmed + pending;
                let expected = match confirmed {
                    enough if enough >= optimal => UploadStatus::Enough,
                    _ if best < optimal => UploadStatus::Shortage,
                    _ => UploadStatus::Pending,
                };
                prop_assert_eq!(rule.status(confirmed, pending), expected);
                let Some(good) = outcomes.next() else { break };
                pending -= 1;
                confirmed += u16::from(good);
            }
        }

        #[test]
        fn counts_never_overflow(optimal: u16, confirmed: u16, pending: u16) {
            let best = u32::from(confirmed) + u32::from(pending);
            let short = LongTail::new(optimal).status(confirmed, pending) == UploadStatus::Shortage;
            prop_assert_eq!(short, best < u32::from(optimal));
        }
    }
}
