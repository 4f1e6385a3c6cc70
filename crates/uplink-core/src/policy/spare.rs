//! When an upload sends spare pieces.
//!
//! An upload has order limits for more pieces than it needs. Sending all of them concurrently wastes
//! the bytes of the ones cancelled at the end, up to a quarter of the total. So an upload first sends
//! as many as it needs. When stragglers hold up the other pieces for too long and too large a part of
//! the time, it sends spare pieces as well, a quarter of them at a time.

use std::time::Duration;

/// Accumulated stall time after which more spare pieces are sent.
pub const STALL_TIMEOUT: Duration = Duration::from_millis(150);

/// Time with progress offsets a third as much stalled time, so that an upload stalled for up to a
/// quarter of the time sends no spare pieces.
const PROGRESS_PER_STALL: u32 = 3;

/// How many pieces of one segment may be in flight or stored.
#[derive(Clone, Debug)]
pub struct Spares {
    needed: u16,
    total: u16,
    granted: u16,
    stalled: Duration,
}

impl Spares {
    /// Starts an upload that needs `needed` of `total` pieces.
    pub const fn new(needed: u16, total: u16) -> Self {
        Self { needed, total, granted: 0, stalled: Duration::ZERO }
    }

    /// Returns the maximum number of pieces in flight or stored.
    pub const fn max_active(&self) -> u16 {
        let wanted = self.needed.saturating_add(self.granted);
        if wanted < self.total { wanted } else { self.total }
    }

    /// Returns whether spare pieces are being held back.
    pub const fn has_more(&self) -> bool {
        self.max_active() < self.total
    }

    /// Records that `time` has passed and whether the upload was stalled.
    pub fn passed(&mut self, time: Duration, stalled: bool) {
        if !stalled {
            self.stalled = self.stalled.saturating_sub(time / PROGRESS_PER_STALL);
            return;
        }
        self.stalled += time;
        if self.stalled >= STALL_TIMEOUT {
            self.stalled = Duration::ZERO;
            let spare = self.total.saturating_sub(self.needed);
            self.granted = self.granted.saturating_add(spare.div_ceil(4));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TICK: Duration = Duration::from_millis(25);

    #[test]
    fn stalled_upload_sends_spare_pieces_a_quarter_at_a_time() {
        let mut spares = Spares::new(80, 110);
        let mut seen = vec![spares.max_active()];
        while spares.has_more() {
            (0..6).for_each(|_| spares.passed(TICK, true));
            seen.push(spares.max_active());
        }
        assert_eq!(seen, [80, 88, 96, 104, 110]);
    }

    #[test]
    fn upload_stalled_under_a_quarter_of_the_time_sends_no_spare() {
        let mut spares = Spares::new(8, 10);
        for tick in 0..10_000 {
            spares.passed(TICK, tick % 5 == 0);
        }
        assert_eq!(spares.max_active(), 8);
        for tick in 0..100 {
            spares.passed(TICK, tick % 2 == 0);
        }
        assert_eq!(spares.max_active(), 10);
    }

    proptest! {
        #![proptest_config(crate::cases(10_000))]

        #[test]
        fn active_pieces_never_decrease_and_stay_within_bounds(
            needed in 0..256_u16, spare in 0..256_u16,
            times in proptest::collection::vec((0..1_000_u64, any::<bool>()), 0..50),
        ) {
            let mut spares = Spares::new(needed, needed + spare);
            let mut before = needed;
            for (time, stalled) in times {
                spares.passed(Duration::from_millis(time), stalled);
                prop_assert!((before..=needed + spare).contains(&spares.max_active()));
                prop_assert_eq!(spares.has_more(), spares.max_active() < needed + spare);
                before = spares.max_active();
            }
        }
    }
}
