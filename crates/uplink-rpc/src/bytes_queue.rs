//! A queue of byte buffers that reads as one buffer.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Buffers in the order in which they were received. Bytes within one buffer are read without a copy.
#[derive(Clone, Debug, Default)]
pub(crate) struct BytesQueue {
    /// Non-empty buffers.
    buffers: VecDeque<Bytes>,
    /// Total length of `buffers`.
    length: usize,
}

impl BytesQueue {
    /// Appends a buffer.
    pub(crate) fn push(&mut self, buffer: Bytes) {
        self.length = self.length.saturating_add(buffer.len());
        if !buffer.is_empty() {
            self.buffers.push_back(buffer);
        }
    }

    /// Removes and returns the first buffer.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let buffer = self.buffers.pop_front()?;
        self.length = self.length.saturating_sub(buffer.len());
        Some(buffer)
    }

    /// Returns the number of bytes.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Returns whether there are no bytes.
    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl Buf for BytesQueue {
    fn remaining(&self) -> usize {
        self.length
    }

    fn chunk(&self) -> &[u8] {
        self.buffers.front().map_or(&[], |buffer| buffer)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled: usize = 0;
        for (slice, buffer) in slices.iter_mut().zip(&self.buffers) {
            *slice = IoSlice::new(buffer);
            filled = filled.saturating_add(1);
        }
        filled
    }

    /// Skips `count` bytes, or all if there are fewer.
    fn advance(&mut self, count: usize) {
        let mut left = count;
        self.length = self.length.saturating_sub(count);
        while let Some(buffer) = self.buffers.front_mut() {
            if left < buffer.len() {
                buffer.advance(left);
                return;
            }
            left = left.saturating_sub(buffer.len());
            self.buffers.pop_front();
        }
    }

    /// Removes `count` bytes, or all if there are fewer. Copies only across buffers.
    fn copy_to_bytes(&mut self, count: usize) -> Bytes {
        let count = count.min(self.length);
        match self.buffers.front_mut() {
            Some(buffer) if count < buffer.len() => {
                self.length = self.length.saturating_sub(count);
                buffer.split_to(count)
            }
            Some(buffer) if count == buffer.len() => self.pop().unwrap_or_default(),
            _ => {
                let mut copy = BytesMut::with_capacity(count);
                copy.put(self.take(count));
                copy.freeze()
            }
        }
    }
}
