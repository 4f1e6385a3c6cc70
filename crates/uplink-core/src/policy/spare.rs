//! When an upload sends spare pieces.
//!
//! An upload has order limits for more pieces than it needs. Sending all of them at once wastes what
//! the last ones have sent when the others are done, up to a quarter of everything. So it sends as
//! many as it needs at first. When those that could go on, or are done, wait for the slowest ones
//! for too long and too large a part of the time, spare pieces are sent as well, a quarter of them
//! at a time.

use std::time::Duration;

/// How long an upload must have been held up.
pub const PATIENCE: Duration = Duration::from_millis(150);

/// Time in which it moves makes up for a third as much time in which it is held up: being held up
/// for a quarter of the time is no reason for spare pieces.
const FORGIVEN: u32 = 3;

/// How many pieces of one segment may be on their way or stored.
#[derive(Clone, Debug)]
pub struct Spares {
    needed: u16,
    total: u16,
    granted: u16,
    held_up: Duration,
}

impl Spares {
    /// Starts an upload that needs `needed` of `total` pieces.
    pub const fn new(needed: u16, total: u16) -> Self {
        Self { needed, total, granted: 0, held_up: Duration::ZERO }
    }

    /// Pieces that may be on their way or stored now.
    pub const fn at_once(&self) -> u16 {
        let wanted = self.needed.saturating_add(self.granted);
        if wanted < self.total { wanted } else { self.total }
    }

    /// Whether there are spare pieces that may not be sent yet.
    pub const fn more(&self) -> bool {
        self.at_once() < self.total
    }

    /// Notes that time has `passed`, in which the upload was held up or not.
    pub fn passed(&mut self, time: Duration, held_up: bool) {
        if !held_up {
            self.held_up = self.held_up.saturating_sub(time / FORGIVEN);
            return;
        }
        self.held_up += time;
        if self.held_up >= PATIENCE {
            self.held_up = Duration::ZERO;
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
    fn spare_pieces_are_sent_by_the_quarter_while_the_upload_is_held_up() {
        let mut spares = Spares::new(80, 110);
        let mut seen = vec![spares.at_once()];
        while spares.more() {
            (0..6).for_each(|_| spares.passed(TICK, true));
            seen.push(spares.at_once());
        }
        assert_eq!(seen, [80, 88, 96, 104, 110]);
    }

    #[test]
    fn upload_that_is_held_up_for_less_than_a_quarter_of_the_time_sends_no_spare_piece() {
        let mut spares = Spares::new(8, 10);
        for tick in 0..10_000 {
            spares.passed(TICK, tick % 5 == 0);
        }
        assert_eq!(spares.at_once(), 8);
        for tick in 0..100 {
            spares.passed(TICK, tick % 2 == 0);
        }
        assert_eq!(spares.at_once(), 10);
    }

    proptest! {
        #![proptest_config(crate::cases(10_000))]

        #[test]
        fn never_fewer_than_needed_nor_more_than_there_are_and_never_fewer_than_before(
            needed in 0..256_u16, spare in 0..256_u16,
            times in proptest::collection::vec((0..1_000_u64, any::<bool>()), 0..50),
        ) {
            let mut spares = Spares::new(needed, needed + spare);
            let mut before = needed;
            for (time, held_up) in times {
                spares.passed(Duration::from_millis(time), held_up);
                prop_assert!((before..=needed + spare).contains(&spares.at_once()));
                prop_assert_eq!(spares.more(), spares.at_once() < needed + spare);
                before = spares.at_once();
            }
        }
    }
}
