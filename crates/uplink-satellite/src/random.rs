//! Randomness: the operating system's, behind one function.

/// Fills an array with random bytes.
///
/// The source of the operating system does not fail once a process runs; were it to, going on with
/// predictable keys would be worse than ending.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if let Err(error) = getrandom::fill(&mut bytes) {
        panic!("the operating system's random source failed: {error}");
    }
    bytes
}

/// Numbers for choosing among nodes, drawn in blocks.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    block: Vec<u64>,
}

impl Numbers {
    /// A number below `bound`, each with the same probability; 0 when the bound is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = bound as u64;
        if bound == 0 {
            return 0;
        }
        // Numbers in the last, incomplete run of `bound` would favour the lower results.
        let limit = u64::MAX - u64::MAX % bound;
        loop {
            let number = self.next();
            if number < limit {
                return (number % bound) as usize;
            }
        }
    }

    fn next(&mut self) -> u64 {
        if self.block.is_empty() {
            let random = bytes::<512>();
            let numbers = random.as_chunks::<8>().0.iter();
            self.block = numbers.map(|number| u64::from_le_bytes(*number)).collect();
        }
        self.block.pop().unwrap_or_default()
    }
}
