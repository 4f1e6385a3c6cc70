//! Encrypts plain bytes in blocks into the windows of a [`SealedSegment`].

use std::sync::Arc;

use uplink_core::encryption::content::append_padding;
use uplink_core::erasure::Scheme;

use super::sealed::{SealedSegment, WindowWriter};
use crate::BlockCipher;
use crate::error::SegmentError;
use crate::memory::Budget;

/// Seals the plain bytes of one segment, block by block as they arrive.
#[derive(Debug)]
pub struct Sealer {
    cipher: Box<dyn BlockCipher>,
    stripe_size: u64,
    /// Plain bytes of an incomplete block.
    partial: Vec<u8>,
    /// Buffer for a sealed block that extends beyond the window.
    block: Vec<u8>,
    window: WindowWriter,
    blocks: u64,
    plain_size: u64,
}

/// Sizes of a sealed segment, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SealedSize {
    /// Plain bytes, without padding.
    pub plain: u64,
    /// All sealed blocks, without the padding to whole stripes.
    pub encrypted: u64,
}

impl Sealer {
    /// Seals into `segment`, whose pieces are coded with `scheme`. Must be called inside a tokio
    /// runtime.
    #[must_use]
    pub fn new(
        cipher: impl BlockCipher,
        scheme: &Scheme,
        budget: &Budget,
        segment: &Arc<SealedSegment>,
    ) -> Self {
        Self {
            stripe_size: u64::from(scheme.stripe_size()),
            partial: Vec::with_capacity(cipher.plain_block_size()),
            block: vec![0; cipher.block_size()],
            window: WindowWriter::new(budget.windows(scheme), Arc::clone(segment)),
            blocks: 0,
            plain_size: 0,
            cipher: Box::new(cipher),
        }
    }

    /// Writes the next plain bytes of the segment.
    ///
    /// # Errors
    /// [`SegmentError::Encryption`]. The segment cannot be completed afterwards.
    pub fn write(&mut self, mut plain: &[u8]) -> Result<(), SegmentError> {
        self.window.record_write();
        let plain_block = self.cipher.plain_block_size();
        self.plain_size += plain.len() as u64;
        if !self.partial.is_empty() {
            let missing = plain_block - self.partial.len();
            let (head, rest) = plain.split_at(missing.min(plain.len()));
            self.partial.extend_from_slice(head);
            plain = rest;
            if self.partial.len() < plain_block {
                return Ok(());
            }
            let full = std::mem::take(&mut self.partial);
            self.seal(&full)?;
            self.partial = full;
            self.partial.clear();
        }
        let whole = plain.len() / plain_block * plain_block;
        let (blocks, rest) = plain.split_at(whole);
        self.seal(blocks)?;
        self.partial.extend_from_slice(rest);
        Ok(())
    }

    /// Pads and completes the segment.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn finish(mut self) -> Result<SealedSize, SegmentError> {
        let mut last = std::mem::take(&mut self.partial);
        append_padding(&mut last, self.plain_size, self.cipher.plain_block_size() as u64)?;
        self.seal(&last)?;
        let encrypted = self.blocks * self.block.len() as u64;
        let mut padding = Vec::new();
        append_padding(&mut padding, encrypted, self.stripe_size)?;
        self.window.append(&padding);
        self.window.finish(encrypted);
        Ok(SealedSize { plain: self.plain_size, encrypted })
    }

    /// Seals whole blocks to the end of the window.
    fn seal(&mut self, plain: &[u8]) -> Result<(), SegmentError> {
        let size = self.block.len();
        for plain in plain.chunks_exact(self.cipher.plain_block_size()) {
            if let Some(space) = self.window.space(size) {
                self.cipher.seal_block(self.blocks, plain, space)?;
                self.window.advance(size);
            } else {
                self.cipher.seal_block(self.blocks, plain, &mut self.block)?;
                self.window.append(&self.block);
            }
            self.blocks += 1;
        }
        Ok(())
    }
}
