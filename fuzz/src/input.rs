//! Structure out of a fuzzer's bytes: parameters first, the rest last.

/// Takes values off the front of the input. Where it ends, values are zero and bytes are fewer.
#[derive(Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// Begins at the front.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// A number of one byte.
    pub fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    /// A number of eight bytes.
    pub fn number(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }

    /// So many bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.bytes(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    /// So many bytes, or as many as there are.
    pub fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Bytes after their number.
    pub fn sized(&mut self) -> &'a [u8] {
        let length = self.byte();
        self.bytes(length.into())
    }

    /// Everything that is left.
    pub const fn rest(self) -> &'a [u8] {
        self.0
    }
}
