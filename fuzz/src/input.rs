//! Splits a fuzzer's input into parameters, followed by the remaining bytes.

/// Reads values from the front of the input. After its end, values are zero and slices are shorter.
#[derive(Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// Starts at the front of the input.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Reads a number of one byte.
    pub fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    /// Reads a big-endian number of eight bytes.
    pub fn number(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }

    /// Reads `N` bytes, padded with zeros.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.bytes(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    /// Reads up to `length` bytes.
    pub fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Reads bytes prefixed with a length of one byte.
    pub fn sized(&mut self) -> &'a [u8] {
        let length = self.byte();
        self.bytes(length.into())
    }

    /// Returns the remaining bytes.
    pub const fn rest(self) -> &'a [u8] {
        self.0
    }
}
