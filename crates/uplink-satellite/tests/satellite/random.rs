//! Random choices that a seed reproduces.

/// A linear congruential generator (Knuth's MMIX).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Returns a number below a limit.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

/// Returns the seed of `UPLINK_SEED`, or of the clock.
pub(crate) fn seed() -> u64 {
    match std::env::var("UPLINK_SEED") {
        Ok(seed) => seed.parse().expect("a number"),
        Err(_) => {
            let time = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
            u64::from(time.subsec_nanos())
        }
    }
}
