//! How much each further order grants.

/// Bytes of the first order.
const FIRST: u64 = 256 << 10;
/// Bytes of the largest step.
const LARGEST: u64 = 550 << 10;

/// The growing step of a transfer's orders: 256 KiB, then half as much again up to 550 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderStep {
    bytes: u64,
}

impl OrderStep {
    /// Starts with the smallest step.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: FIRST }
    }

    /// Returns the step that the next order will take.
    #[must_use]
    pub const fn current(&self) -> u64 {
        self.bytes
    }

    /// Takes the step and lets it grow.
    pub const fn advance(&mut self) -> u64 {
        let taken = self.bytes;
        let grown = taken / 2 * 3;
        self.bytes = if grown < LARGEST { grown } else { LARGEST };
        taken
    }
}

impl Default for OrderStep {
    fn default() -> Self {
        Self::new()
    }
}
