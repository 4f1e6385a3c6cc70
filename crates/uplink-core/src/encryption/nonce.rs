//! Nonces and their arithmetic.

use crate::id::SegmentPosition;

/// A 24-byte nonce. Suites that use 12 bytes take the first 12 **before** anything is added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Nonce([u8; Self::SIZE]);

impl Nonce {
    /// Size of a nonce in bytes.
    pub const SIZE: usize = 24;
    /// The all-zero nonce, for keys that encrypt a single value.
    pub const ZERO: Self = Self([0; Self::SIZE]);
    /// The nonce after zero, `01 00 …`.
    pub const ONE: Self = {
        let mut bytes = [0; Self::SIZE];
        bytes[0] = 1;
        Self(bytes)
    };

    /// Wraps the bytes of a nonce.
    #[must_use]
    pub const fn new(bytes: [u8; Self::SIZE]) -> Self {
        Self(bytes)
    }

    /// Creates a nonce from a slice; `None` unless it has 24 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Returns the bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::SIZE] {
        &self.0
    }

    /// Returns the 12-byte nonce of the block `index` blocks after this start nonce.
    pub(crate) fn short_plus(&self, index: u64) -> [u8; SHORT_SIZE] {
        let mut short = [0; SHORT_SIZE];
        short.copy_from_slice(self.0.split_at(SHORT_SIZE).0);
        add_little_endian(&mut short, index);
        short
    }

    /// Returns the whole nonce of the block `index` blocks after this start nonce.
    pub(crate) fn plus(&self, index: u64) -> Self {
        let mut sum = *self;
        add_little_endian(&mut sum.0, index);
        sum
    }
}

/// Adds to a little-endian number of any length, wrapping. Returns whether it overflowed.
pub fn add_little_endian(bytes: &mut [u8], amount: u64) -> bool {
    let mut carry = amount;
    for byte in bytes {
        if carry == 0 {
            return false;
        }
        // The first sum is of two bytes, the second at most 2⁵⁶: neither wraps.
        let sum = u64::from(*byte).wrapping_add(carry & 0xff);
        *byte = sum as u8;
        carry = (carry >> 8).wrapping_add(sum >> 8);
    }
    carry > 0
}

/// Returns the nonce of a segment's first block: zero + (part ‖ index + 1). Adding one reserves the
/// zero nonce for other uses of the segment's key.
#[must_use]
pub fn segment_start_nonce(position: SegmentPosition) -> Nonce {
    let mut nonce = Nonce::ZERO;
    add_little_endian(&mut nonce.0, position.to_u64().wrapping_add(1));
    nonce
}

pub(crate) const SHORT_SIZE: usize = 12;
