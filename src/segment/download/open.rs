//! Shares → stripes → blocks → plain bytes.

use std::collections::BTreeSet;
use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use uplink_core::encryption::content::ContentCipher;
use uplink_core::encryption::{EncryptionError, Nonce};
use uplink_core::erasure::{CorrectError, Corrector, Kernel, Scheme};
use uplink_core::layout::{LayoutError, SegmentRead};

use crate::error::{Error, ErrorKind, Result};

#[cfg(test)]
mod tests;

/// Bytes of a window that is decoded without leaving the thread.
const QUICK: usize = 1 << 20;

/// Decodes windows of shares and opens what they hold; moves to another thread and back.
///
/// The required pieces are only decoded; with more than these, wrong ones are found.
pub(super) struct Coder {
    scheme: Scheme,
    /// For the pieces of the last window.
    corrector: Option<Corrector>,
    stripes: Vec<u8>,
    opener: Opener,
}

/// What a window of shares became.
pub(super) struct Opened {
    /// The plain bytes that are complete now, in order.
    pub(super) plain: Bytes,
    /// Pieces whose shares are wrong; certain when the blocks that they are part of have opened.
    pub(super) wrong: BTreeSet<u16>,
    /// Where in each piece the first block begins that has not been opened.
    pub(super) settled: u64,
}

impl Coder {
    pub(super) fn new(scheme: Scheme, opener: Opener) -> Self {
        Self { scheme, corrector: None, stripes: Vec::new(), opener }
    }

    /// Whether a window takes so little time that another thread is not worth the way: vector
    /// instructions decode and open a megabyte in less than a millisecond. Finding wrong pieces
    /// takes longer.
    pub(super) fn is_quick(&self, shares: &[Bytes]) -> bool {
        let size: usize = shares.iter().map(Bytes::len).sum();
        let only_decodes = shares.len() == usize::from(self.scheme.required());
        only_decodes && size <= QUICK && !Kernel::fastest().is_portable()
    }

    /// Takes the next window: the shares of `pieces`.
    ///
    /// # Errors
    /// [`ErrorKind::Decryption`] when the pieces contradict each other or what they hold is not
    /// authentic; the next window must then begin where the last one settled.
    pub(super) fn decode(&mut self, pieces: &[u16], shares: &[Bytes]) -> Result<Opened> {
        let opened = self.correct(pieces, shares).and_then(|wrong| {
            let opened = self.opener.open(&self.stripes);
            let plain = opened.map_err(|error| unauthentic(error, pieces.len()))?;
            Ok(Opened { plain, wrong, settled: self.opener.settled() })
        });
        if opened.is_err() {
            self.opener.restart();
        }
        opened
    }

    /// Restores the stripes and tells which pieces are wrong.
    fn correct(&mut self, pieces: &[u16], shares: &[Bytes]) -> Result<BTreeSet<u16>> {
        let corrector = match self.corrector.take() {
            Some(corrector) if corrector.pieces() == pieces => corrector,
            _ => Corrector::new(&self.scheme, pieces).map_err(|error| broken(error.into()))?,
        };
        let corrector = self.corrector.insert(corrector);
        let run = shares.first().map_or(0, Bytes::len);
        self.stripes.resize(run * usize::from(self.scheme.required()), 0);
        corrector.correct(shares, &mut self.stripes).map_err(broken)
    }
}

fn broken(error: CorrectError) -> Error {
    let kind = match error {
        CorrectError::NotEnoughShares { .. } | CorrectError::TooManyErrors { .. } => {
            ErrorKind::Decryption
        }
        _ => ErrorKind::Internal,
    };
    Error::new(kind, error.to_string()).with_source(error)
}

fn unauthentic(error: Error, pieces: usize) -> Error {
    if error.kind() != ErrorKind::Decryption {
        return error;
    }
    let text = format!("what {pieces} pieces restore is not authentic");
    Error::new(ErrorKind::Decryption, text).with_source(error)
}

/// Opens the blocks of a range of a segment as its stripes come, in order.
pub(super) struct Opener {
    cipher: ContentCipher,
    start: Nonce,
    block_size: u32,
    scheme: Scheme,
    plain_size: u64,
    /// Plain bytes of the segment that are still to come.
    range: Range<u64>,
    /// Where they are.
    plan: SegmentRead,
    /// Bytes of the next stripes that come before the first block.
    skip: u64,
    /// The beginning of a block that the last stripes ended in.
    begun: BytesMut,
}

impl Opener {
    pub(super) fn new(
        cipher: ContentCipher,
        start: Nonce,
        block_size: u32,
        scheme: Scheme,
        plain_size: u64,
        range: Range<u64>,
    ) -> Result<Self, LayoutError> {
        let plan = SegmentRead::new(plain_size, block_size, &scheme, range.clone())?;
        let (skip, begun) = (plan.skip_encrypted, BytesMut::new());
        Ok(Self { cipher, start, block_size, scheme, plain_size, range, plan, skip, begun })
    }

    /// Bytes of each piece that are needed from here on.
    pub(super) fn shares(&self) -> Range<u64> {
        self.plan.shares.clone()
    }

    /// Where in each piece the first block begins that has not been opened.
    fn settled(&self) -> u64 {
        if self.range.is_empty() { u64::MAX } else { self.plan.shares.start }
    }

    /// Begins anew with the stripe in which the first block begins that has not been opened.
    fn restart(&mut self) {
        self.begun.clear();
        self.skip = self.plan.skip_encrypted;
    }

    /// Takes the next stripes and opens the blocks that are complete; after an error none is.
    fn open(&mut self, stripes: &[u8]) -> Result<Bytes> {
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(stripes.len());
        self.skip -= skipped as u64;
        let sealed = stripes.get(skipped..).unwrap_or_default();
        let block_size = self.block_size as usize;
        let left = self.plan.blocks.end - self.plan.blocks.start;
        let complete = ((self.begun.len() + sealed.len()) / block_size) as u64;
        let blocks = complete.min(left) as usize;
        let (sealed, rest) =
            sealed.split_at((blocks * block_size).saturating_sub(self.begun.len()));
        let mut plain = vec![0; blocks * self.cipher.plain_block_size(block_size)?];
        self.open_blocks(sealed, &mut plain)?;
        if left > blocks as u64 {
            self.begun.extend_from_slice(rest);
        }
        let mut plain = Bytes::from(plain);
        plain.advance(plain.len().min(self.plan.skip_plain as usize));
        plain.truncate(usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX));
        self.range.start += plain.len() as u64;
        self.plan =
            SegmentRead::new(self.plain_size, self.block_size, &self.scheme, self.range.clone())?;
        Ok(plain)
    }

    /// Opens whole blocks: that which was begun, and those after it. Only the one that was begun
    /// is copied together.
    fn open_blocks(&mut self, sealed: &[u8], plain: &mut [u8]) -> Result<(), EncryptionError> {
        let block_size = self.block_size as usize;
        let (mut first, mut sealed, mut plain) = (self.plan.blocks.start, sealed, plain);
        if !self.begun.is_empty() && !plain.is_empty() {
            let (end, after) = sealed.split_at(block_size - self.begun.len());
            self.begun.extend_from_slice(end);
            let (opened, rest) = plain.split_at_mut(self.cipher.plain_block_size(block_size)?);
            self.cipher.open_block(&self.start, first, &self.begun, opened)?;
            self.begun.clear();
            (first, sealed, plain) = (first + 1, after, rest);
        }
        self.cipher.open_blocks(&self.start, first, block_size, sealed, plain)
    }
}
