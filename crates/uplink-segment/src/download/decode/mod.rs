//! Decodes shares to stripes, and decrypts these to plain bytes.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use uplink_core::encryption::EncryptionError;
use uplink_core::erasure::{self, Corrector, Kernel, Scheme};
use uplink_core::layout::{LayoutError, SegmentRead};

use crate::BlockCipher;
use crate::error::SegmentError;

mod recover;
#[cfg(test)]
mod tests;

/// Maximum bytes of a window that is decoded inline.
const QUICK: usize = 1 << 20;

/// Decodes windows of shares and decrypts them; moves to a compute thread and back.
///
/// From exactly the required pieces it only decodes. From more pieces it recovers a block although some
/// shares are corrupt.
pub(super) struct Decoder {
    scheme: Scheme,
    /// For the pieces of the last window.
    shares: Option<erasure::Decoder>,
    /// For the pieces of the last block that was recovered.
    corrector: Option<Corrector>,
    stripes: Vec<u8>,
    decryptor: BlockDecryptor,
}

/// The outcome of decoding shares.
pub(super) enum Decoded {
    /// The complete blocks are authentic.
    Opened(Opened),
    /// Some of the shares are corrupt.
    Corrupt,
    /// More than the required shares are consistent, and the block does not authenticate.
    Forged,
}

/// Authentic bytes.
pub(super) struct Opened {
    /// The newly completed plain bytes, in order.
    pub(super) plain: Bytes,
    /// Shares per piece that differ from the authentic ones; only a recovery finds them.
    pub(super) corrupt: BTreeMap<u16, u32>,
    /// Absolute position in each piece of the next block to decrypt.
    pub(super) next_block_at: u64,
}

impl Decoder {
    pub(super) fn new(scheme: Scheme, decryptor: BlockDecryptor) -> Self {
        Self { scheme, shares: None, corrector: None, stripes: Vec::new(), decryptor }
    }

    /// Returns whether a window is cheap enough to decode inline: vector instructions decode and decrypt a
    /// megabyte in less than a millisecond. A recovery takes longer.
    pub(super) fn is_quick(shares: &[Bytes]) -> bool {
        let size: usize = shares.iter().map(Bytes::len).sum();
        size <= QUICK && !Kernel::fastest().is_portable()
    }

    /// Returns the range of each piece that is still needed.
    pub(super) fn shares(&self) -> Range<u64> {
        self.decryptor.shares()
    }

    /// Returns the range of each piece that contains the first block that has not been decrypted.
    pub(super) fn block_shares(&self) -> Result<Range<u64>, LayoutError> {
        self.decryptor.block_shares()
    }

    /// Decodes the next window: the shares of exactly the required `pieces`.
    ///
    /// Unless it returns [`Decoded::Opened`], the next window must begin at the settled position.
    pub(super) fn decode(
        &mut self,
        pieces: &[u16],
        shares: &[Bytes],
    ) -> Result<Decoded, SegmentError> {
        let decoder = match self.shares.take() {
            Some(decoder) if decoder.pieces() == pieces => decoder,
            _ => erasure::Decoder::new(&self.scheme, pieces)?,
        };
        let decoder = self.shares.insert(decoder);
        let run = shares.first().map_or(0, Bytes::len);
        self.stripes.resize(run * usize::from(self.scheme.required()), 0);
        decoder.decode(shares, &mut self.stripes)?;
        let opened = self.decryptor.decrypt(&self.stripes)?;
        Ok(match opened {
            Some(plain) => {
                let corrupt = BTreeMap::new();
                let next_block_at = self.decryptor.next_block_at();
                Decoded::Opened(Opened { plain, corrupt, next_block_at })
            }
            None => Decoded::Corrupt,
        })
    }
}

/// Decrypts the blocks of a range of a segment as its stripes arrive, in order.
pub(super) struct BlockDecryptor {
    cipher: Box<dyn BlockCipher>,
    block_size: u32,
    scheme: Scheme,
    plain_size: u64,
    /// Plain bytes of the segment not yet returned.
    range: Range<u64>,
    /// Their position.
    plan: SegmentRead,
    /// Bytes of the next stripes before the first block.
    skip: u64,
    /// The beginning of an incomplete block.
    partial: BytesMut,
    prefix: AuthenticPrefix,
}

/// The authentic beginning of the stripe in which a block that was decrypted alone ended.
struct AuthenticPrefix {
    /// Position of the stripe's shares in each piece.
    at: u64,
    bytes: Vec<u8>,
}

impl AuthenticPrefix {
    const NOTHING: Self = Self { at: u64::MAX, bytes: Vec::new() };
}

impl BlockDecryptor {
    pub(super) fn new(
        cipher: impl BlockCipher,
        scheme: Scheme,
        plain_size: u64,
        range: Range<u64>,
    ) -> Result<Self, LayoutError> {
        let block_size = u32::try_from(cipher.block_size()).unwrap_or(u32::MAX);
        let plan = SegmentRead::new(plain_size, block_size, &scheme, range.clone())?;
        let skip = plan.skip_encrypted;
        let partial = BytesMut::new();
        let prefix = AuthenticPrefix::NOTHING;
        let cipher = Box::new(cipher);
        Ok(Self { cipher, block_size, scheme, plain_size, range, plan, skip, partial, prefix })
    }

    /// Returns the range of each piece that is still needed.
    fn shares(&self) -> Range<u64> {
        self.plan.shares.clone()
    }

    /// Returns the position in each piece of the next block to decrypt.
    fn next_block_at(&self) -> u64 {
        if self.range.is_empty() { u64::MAX } else { self.plan.shares.start }
    }

    /// Returns the range of each piece that contains that block.
    fn block_shares(&self) -> Result<Range<u64>, LayoutError> {
        let byte = self.range.start..self.range.end.min(self.range.start.saturating_add(1));
        Ok(SegmentRead::new(self.plain_size, self.block_size, &self.scheme, byte)?.shares)
    }

    /// Returns the range of that block in the stripes of [`block_shares`](Self::block_shares).
    fn block(&self) -> Range<usize> {
        let start = usize::try_from(self.plan.skip_encrypted).unwrap_or(usize::MAX);
        start..start.saturating_add(self.block_size as usize)
    }

    /// Adds the next stripes and decrypts the complete blocks. If one of them does not authenticate, none
    /// is returned, and the next stripes must begin at the settled position.
    ///
    /// # Errors
    /// The cipher or the layout is unusable.
    fn decrypt(&mut self, stripes: &[u8]) -> Result<Option<Bytes>, SegmentError> {
        let plain = self.decrypt_up_to(stripes, u64::MAX)?;
        if plain.is_none() {
            self.restart();
        }
        Ok(plain)
    }

    /// Decrypts one block alone, from the stripes of [`block_shares`](Self::block_shares). The next
    /// stripes must begin at the settled position in either case.
    ///
    /// # Errors
    /// As [`decrypt`](Self::decrypt).
    fn decrypt_block(&mut self, stripes: &[u8]) -> Result<Option<Bytes>, SegmentError> {
        self.restart();
        let plain = self.decrypt_up_to(stripes, 1);
        self.restart();
        plain
    }

    /// Returns which stripes of a block that was just decrypted alone are completely authentic.
    ///
    /// The block was at `block` in `stripes`, whose shares begin `at` in each piece. The part of the first
    /// stripe that earlier blocks authenticated is inserted.
    fn authentic_stripes(
        &mut self,
        stripes: &mut [u8],
        block: Range<usize>,
        at: u64,
    ) -> Range<usize> {
        let prefix = std::mem::replace(&mut self.prefix, AuthenticPrefix::NOTHING);
        let stripe_size = self.scheme.stripe_size() as usize;
        let Some(authentic) = stripes.get_mut(..block.end) else { return 0..0 };
        let follows = prefix.at == at && prefix.bytes.len() == block.start;
        if follows && let Some(beginning) = authentic.get_mut(..block.start) {
            beginning.copy_from_slice(&prefix.bytes);
        }
        let first = usize::from(block.start > 0 && !follows);
        let whole = authentic.chunks_exact(stripe_size);
        let complete = whole.len();
        let rest = whole.remainder();
        if complete >= first {
            let shares = complete as u64 * u64::from(self.scheme.share_size());
            self.prefix = AuthenticPrefix { at: at + shares, bytes: rest.to_vec() };
        }
        first.min(complete)..complete
    }

    /// Restarts at the stripe with the beginning of the first block that has not been decrypted.
    fn restart(&mut self) {
        self.partial.clear();
        self.skip = self.plan.skip_encrypted;
    }

    fn decrypt_up_to(&mut self, stripes: &[u8], limit: u64) -> Result<Option<Bytes>, SegmentError> {
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(stripes.len());
        self.skip -= skipped as u64;
        let sealed = stripes.get(skipped..).unwrap_or_default();
        let block_size = self.block_size as usize;
        let left = self.plan.blocks.end - self.plan.blocks.start;
        let complete = ((self.partial.len() + sealed.len()) / block_size) as u64;
        let blocks = complete.min(left).min(limit) as usize;
        let (sealed, rest) =
            sealed.split_at((blocks * block_size).saturating_sub(self.partial.len()));
        let mut plain = vec![0; blocks * self.cipher.plain_block_size()];
        match self.decrypt_whole(sealed, &mut plain) {
            Ok(()) => {}
            Err(EncryptionError::Decryption) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        if left > blocks as u64 {
            self.partial.extend_from_slice(rest);
        }
        let mut plain = Bytes::from(plain);
        plain.advance(plain.len().min(self.plan.skip_plain as usize));
        plain.truncate(usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX));
        self.range.start += plain.len() as u64;
        self.plan =
            SegmentRead::new(self.plain_size, self.block_size, &self.scheme, self.range.clone())?;
        Ok(Some(plain))
    }

    /// Decrypts whole blocks: the incomplete one, and those after it. Only the incomplete one is copied.
    fn decrypt_whole(&mut self, sealed: &[u8], plain: &mut [u8]) -> Result<(), EncryptionError> {
        let block_size = self.block_size as usize;
        let mut first = self.plan.blocks.start;
        let mut sealed = sealed;
        let mut plain = plain;
        if !self.partial.is_empty() && !plain.is_empty() {
            let (end, after) = sealed.split_at(block_size - self.partial.len());
            self.partial.extend_from_slice(end);
            let (opened, rest) = plain.split_at_mut(self.cipher.plain_block_size());
            self.cipher.open_blocks(first, &self.partial, opened)?;
            self.partial.clear();
            (first, sealed, plain) = (first + 1, after, rest);
        }
        self.cipher.open_blocks(first, sealed, plain)
    }
}
