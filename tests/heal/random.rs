//! Numbers that a seed repeats.

/// A small generator of moments, sizes and choices.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below a limit.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    pub(crate) fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// From `least` to `most` of the numbers below `length`, each once.
    pub(crate) fn several(&mut self, length: usize, least: usize, most: usize) -> Vec<usize> {
        let mut left: Vec<usize> = (0..length).collect();
        let count = least + self.index(most - least + 1);
        (0..count).map(|_| left.swap_remove(self.index(left.len()))).collect()
    }
}
