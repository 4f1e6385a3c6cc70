//! Bytes in the parts they came in.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// A part up to this size costs less to copy than to keep.
const JOINED: usize = 1 << 10;
/// Small parts are joined to parts of about this size.
const JOINT: usize = 16 << 10;

/// Bytes in parts, which are kept where they are; small ones are joined.
///
/// The memory kept is bounded by the bytes and not by the number of parts they came in.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// None of them empty.
    parts: VecDeque<Bytes>,
    /// Small parts after all others.
    tail: BytesMut,
    length: usize,
}

impl Parts {
    /// Adds a part at the end.
    pub fn push(&mut self, part: Bytes) {
        if part.len() < JOINED {
            self.write(&part);
            return;
        }
        self.seal();
        self.length = self.length.saturating_add(part.len());
        self.parts.push_back(part);
    }

    /// Adds a copy of a few bytes at the end.
    pub fn write(&mut self, bytes: &[u8]) {
        self.length = self.length.saturating_add(bytes.len());
        self.tail.extend_from_slice(bytes);
        if self.tail.len() >= JOINT {
            self.seal();
        }
    }

    /// Adds all parts of another at the end.
    pub fn append(&mut self, mut other: Self) {
        while let Some(part) = other.pop() {
            self.push(part);
        }
    }

    /// Takes the first part.
    pub fn pop(&mut self) -> Option<Bytes> {
        if self.parts.is_empty() {
            self.seal();
        }
        let part = self.parts.pop_front()?;
        self.length = self.length.saturating_sub(part.len());
        Some(part)
    }

    /// Returns the number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Returns all bytes in one piece, copied if they are in more than one.
    #[must_use]
    pub fn into_bytes(mut self) -> Bytes {
        let length = self.length;
        self.copy_to_bytes(length)
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.parts.push_back(self.tail.split().freeze());
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
        self.length
    }

    fn chunk(&self) -> &[u8] {
        self.parts.front().map_or(&self.tail, |part| part)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let parts = self.parts.iter().map(|part| &part[..]);
        let tail = Some(&self.tail[..]).filter(|tail| !tail.is_empty());
        let mut filled: usize = 0;
        for (slice, part) in slices.iter_mut().zip(parts.chain(tail)) {
            *slice = IoSlice::new(part);
            filled = filled.saturating_add(1);
        }
        filled
    }

    /// Skips bytes, at most as many as there are.
    fn advance(&mut self, count: usize) {
        let mut count = count.min(self.length);
        self.length = self.length.saturating_sub(count);
        while let Some(part) = self.parts.front_mut() {
            if count < part.len() {
                part.advance(count);
                return;
            }
            count = count.saturating_sub(part.len());
            self.parts.pop_front();
        }
        self.tail.advance(count.min(self.tail.len()));
    }

    fn copy_to_bytes(&mut self, count: usize) -> Bytes {
        let count = count.min(self.length);
        if self.parts.is_empty() {
            self.length = self.length.saturating_sub(count);
            return self.tail.split_to(count).freeze();
        }
        if self.parts.front().is_some_and(|part| part.len() == count) {
            return self.pop().unwrap_or_default();
        }
        let mut copy = BytesMut::with_capacity(count);
        bytes::BufMut::put(&mut copy, self.take(count));
        copy.freeze()
    }
}
