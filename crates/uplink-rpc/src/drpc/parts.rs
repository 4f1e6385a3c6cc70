//! Bytes in the parts in which they were received.

use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::bytes_queue::BytesQueue;

/// Parts below this size are cheaper to copy than to keep.
const MIN_PART: usize = 1 << 10;
/// Size from which joined small parts form a part of their own.
const JOINED_SIZE: usize = 16 << 10;

/// Bytes in parts. Large parts are kept without a copy, small ones are joined.
///
/// Memory is bounded by the number of bytes, not by the number of parts.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    sealed: BytesQueue,
    /// Joined small parts, which follow `sealed`.
    tail: BytesMut,
}

impl Parts {
    /// Appends a part.
    pub fn push(&mut self, part: Bytes) {
        if part.len() < MIN_PART {
            self.write(&part);
            return;
        }
        self.seal();
        self.sealed.push(part);
    }

    /// Appends a copy of a few bytes.
    pub fn write(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        if self.tail.len() >= JOINED_SIZE {
            self.seal();
        }
    }

    /// Appends all parts of `other`.
    pub fn append(&mut self, mut other: Self) {
        while let Some(part) = other.pop() {
            self.push(part);
        }
    }

    /// Removes and returns the first part.
    pub fn pop(&mut self) -> Option<Bytes> {
        if self.sealed.is_empty() {
            self.seal();
        }
        self.sealed.pop()
    }

    /// Returns the number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sealed.len().saturating_add(self.tail.len())
    }

    /// Returns whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns all bytes in one buffer. Copies if there is more than one part.
    #[must_use]
    pub fn into_bytes(mut self) -> Bytes {
        let length = self.len();
        self.copy_to_bytes(length)
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.sealed.push(self.tail.split().freeze());
        }
    }
}

impl From<Bytes> for Parts {
    fn from(bytes: Bytes) -> Self {
        let mut parts = Self::default();
        parts.push(bytes);
        parts
    }
}

impl Buf for Parts {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        if self.sealed.is_empty() { &self.tail } else { self.sealed.chunk() }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = self.sealed.chunks_vectored(slices);
        match slices.get_mut(filled) {
            Some(slice) if !self.tail.is_empty() => {
                *slice = IoSlice::new(&self.tail);
                filled.saturating_add(1)
            }
            _ => filled,
        }
    }

    /// Skips `count` bytes, or all if there are fewer.
    fn advance(&mut self, count: usize) {
        let from_sealed = count.min(self.sealed.len());
        let from_tail = count.saturating_sub(from_sealed).min(self.tail.len());
        self.sealed.advance(from_sealed);
        self.tail.advance(from_tail);
    }

    /// Removes `count` bytes, or all if there are fewer. Copies only across parts.
    fn copy_to_bytes(&mut self, count: usize) -> Bytes {
        let count = count.min(self.len());
        if self.sealed.is_empty() {
            return self.tail.split_to(count).freeze();
        }
        if count <= self.sealed.len() {
            return self.sealed.copy_to_bytes(count);
        }
        let mut copy = BytesMut::with_capacity(count);
        copy.put(self.take(count));
        copy.freeze()
    }
}
