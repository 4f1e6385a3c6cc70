//! Random bytes and numbers of the operating system's generator.

/// Returns an array of random bytes.
///
/// # Panics
/// The random number generator failed, which does not happen after startup. Predictable keys would be
/// worse than a crash.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if let Err(error) = getrandom::fill(&mut bytes) {
        panic!("random number generator failed: {error}");
    }
    bytes
}

/// Random numbers for node selection, drawn in blocks.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    block: Vec<u64>,
    /// In tests: state of a reproducible sequence.
    #[cfg(test)]
    seed: Option<u64>,
}

#[cfg(test)]
impl Numbers {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self { block: Vec::new(), seed: Some(seed) }
    }

    /// Advances the SplitMix64 generator.
    fn next_seeded(&mut self) -> Option<u64> {
        let seed = self.seed.as_mut()?;
        *seed = seed.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut number = *seed;
        number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Some(number ^ (number >> 31))
    }
}

impl Numbers {
    /// Returns a uniformly distributed number below `bound`, or 0 if the bound is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = bound as u64;
        if bound == 0 {
            return 0;
        }
        // Rejection sampling: numbers from the last, incomplete multiple would bias the result.
        let limit = u64::MAX - u64::MAX % bound;
        loop {
            let number = self.next();
            if number < limit {
                return (number % bound) as usize;
            }
        }
    }

    fn next(&mut self) -> u64 {
        #[cfg(test)]
        if let Some(number) = self.next_seeded() {
            return number;
        }
        if self.block.is_empty() {
            let random = bytes::<512>();
            let numbers = random.as_chunks::<8>().0.iter();
            self.block = numbers.map(|number| u64::from_le_bytes(*number)).collect();
        }
        self.block.pop().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_cover_exactly_the_range_below_the_bound() {
        let mut numbers = Numbers::default();
        assert_eq!((numbers.below(0), numbers.below(1)), (0, 0));
        let mut seen = [false; 7];
        for _ in 0..1_000 {
            seen[numbers.below(7)] = true;
        }
        assert_eq!(seen, [true; 7]);
    }
}
