//! Reproducible pseudorandom numbers.

/// A small generator of delays, sizes and choices.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Returns a number below a limit.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    pub(crate) fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// Returns between `min` and `max` distinct numbers below `length`.
    pub(crate) fn several(&mut self, length: usize, min: usize, max: usize) -> Vec<usize> {
        let mut left: Vec<usize> = (0..length).collect();
        let count = min + self.index(max - min + 1);
        (0..count).map(|_| left.swap_remove(self.index(left.len()))).collect()
    }
}
