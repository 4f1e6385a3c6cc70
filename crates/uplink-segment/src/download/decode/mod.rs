//! Shares → stripes → plain bytes.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use uplink_core::erasure::{self, Corrector, Kernel, Scheme};
use uplink_core::layout::LayoutError;

use super::opener::Opener;
use crate::error::SegmentError;

mod recover;
#[cfg(test)]
mod tests;

/// Bytes of a window that is decoded without leaving the thread.
const QUICK: usize = 1 << 20;

/// Decodes windows of shares and opens what they hold; moves to another thread and back.
///
/// The required pieces are only decoded. From more of them, a block is recovered although some of
/// their shares are corrupt.
pub(super) struct Decoder {
    scheme: Scheme,
    /// For the pieces of the last window.
    shares: Option<erasure::Decoder>,
    /// For the pieces of the last block that was recovered.
    corrector: Option<Corrector>,
    stripes: Vec<u8>,
    opener: Opener,
}

/// What shares became.
pub(super) enum Decoded {
    /// They are authentic, as far as complete.
    Opened(Opened),
    /// Some of the shares are corrupt.
    Corrupt,
    /// More than the required shares agree on something that is not authentic.
    Forged,
}

/// Authentic bytes.
pub(super) struct Opened {
    /// The plain bytes that are complete now, in order.
    pub(super) plain: Bytes,
    /// By piece, shares that differ from the authentic ones; only a recovery finds them.
    pub(super) corrupt: BTreeMap<u16, u32>,
    /// Where in each piece the first block begins that has not been opened.
    pub(super) settled: u64,
}

impl Decoder {
    pub(super) fn new(scheme: Scheme, opener: Opener) -> Self {
        Self { scheme, shares: None, corrector: None, stripes: Vec::new(), opener }
    }

    /// Whether a window takes so little time that it is decoded inline: vector instructions decode
    /// and open a megabyte in less than a millisecond. A recovery takes longer.
    pub(super) fn is_quick(shares: &[Bytes]) -> bool {
        let size: usize = shares.iter().map(Bytes::len).sum();
        size <= QUICK && !Kernel::fastest().is_portable()
    }

    /// Bytes of each piece that are needed from here on.
    pub(super) fn shares(&self) -> Range<u64> {
        self.opener.shares()
    }

    /// Bytes of each piece that hold the first block that has not been opened.
    pub(super) fn block_shares(&self) -> Result<Range<u64>, LayoutError> {
        self.opener.block_shares()
    }

    /// Takes the next window: the shares of exactly the required `pieces`.
    ///
    /// Unless it returns [`Decoded::Opened`], the next window must begin where the last one settled.
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
        let opened = self.opener.open(&self.stripes)?;
        Ok(match opened {
            Some(plain) => {
                let (corrupt, settled) = (BTreeMap::new(), self.opener.settled());
                Decoded::Opened(Opened { plain, corrupt, settled })
            }
            None => Decoded::Corrupt,
        })
    }
}
