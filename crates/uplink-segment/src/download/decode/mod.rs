//! Decodes shares to plain bytes.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use uplink_core::erasure::{self, Corrector, Kernel, Scheme};
use uplink_core::layout::LayoutError;

use super::decrypt::BlockDecryptor;
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
    /// Absolute position in each piece of the first block that has not been decrypted.
    pub(super) first_open: u64,
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
                let first_open = self.decryptor.first_open();
                Decoded::Opened(Opened { plain, corrupt, first_open })
            }
            None => Decoded::Corrupt,
        })
    }
}
