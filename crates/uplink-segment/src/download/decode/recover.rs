//! Recovers one encryption block from pieces with corrupt shares.
//!
//! ```text
//! sites of a block   0      1      2      3        each one stripe or a few
//! pieces agree       yes    no     yes    no
//!                           │             │
//!                           └─ corrected, or other subsets of the pieces tried until the block
//!                              authenticates
//! ```
//!
//! `policy::subsets` decides which subsets are tried. An attempt decodes only the sites whose subset has
//! changed.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use uplink_core::erasure::{self, CorrectError, Corrector, Encoder, Scheme};
use uplink_core::policy::subsets::{Tries, left_out};

use super::{Decoded, Decoder, Opened};
use crate::error::SegmentError;

/// Maximum sites of a block: limits the calls for blocks of many small stripes.
const MAX_SITES: usize = 64;

/// The shares of one block.
#[derive(Clone, Copy)]
struct Block<'a> {
    scheme: &'a Scheme,
    /// The most suspect ones first.
    pieces: &'a [u16],
    shares: &'a [Bytes],
    /// Bytes of each piece in a site.
    site_size: usize,
}

/// Sites where the pieces are inconsistent.
#[derive(Default)]
struct Disagreement {
    /// Sites where corrupt shares were found and corrected.
    corrected: Vec<usize>,
    /// Sites where more shares are corrupt than can be corrected.
    unresolved: Vec<usize>,
}

impl Decoder {
    /// Recovers the block at the settled position, and decrypts it.
    ///
    /// `shares` are those of [`block_shares`](Self::block_shares), of the required pieces or more, the
    /// most suspect ones first; the first `suspects` had corrupt shares before. The next window must
    /// begin at the settled position.
    pub(in super::super) fn recover(
        &mut self,
        pieces: &[u16],
        shares: &[Bytes],
        suspects: usize,
    ) -> Result<Decoded, SegmentError> {
        let scheme = self.scheme;
        let block = Block::new(&scheme, pieces, shares);
        self.stripes.resize(block.size() * usize::from(scheme.required()), 0);
        let Disagreement { corrected, unresolved } = self.correct(&block)?;
        let sites = if unresolved.is_empty() {
            let agree = corrected.is_empty();
            if let Some(opened) = self.open_block(&block, !agree)? {
                return Ok(Decoded::Opened(opened));
            }
            let surplus = pieces.len() > usize::from(scheme.required());
            if agree && surplus {
                return Ok(Decoded::Forged);
            }
            corrected
        } else {
            unresolved
        };
        self.try_subsets(&block, &sites, suspects)
    }

    /// Decodes each site from all pieces.
    fn correct(&mut self, block: &Block<'_>) -> Result<Disagreement, SegmentError> {
        let corrector = match self.corrector.take() {
            Some(corrector) if corrector.pieces() == block.pieces => corrector,
            _ => Corrector::new(block.scheme, block.pieces)?,
        };
        let corrector = self.corrector.insert(corrector);
        let every: Vec<usize> = (0..block.pieces.len()).collect();
        let mut disagreement = Disagreement::default();
        for (site, stripes) in self.stripes.chunks_mut(block.site_stripes()).enumerate() {
            match corrector.correct(&block.shares_at(site, &every), stripes) {
                Ok(wrong) if wrong.is_empty() => {}
                Ok(_) => disagreement.corrected.push(site),
                Err(error) if is_corrupt(&error) => disagreement.unresolved.push(site),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(disagreement)
    }

    fn try_subsets(
        &mut self,
        block: &Block<'_>,
        sites: &[usize],
        suspects: usize,
    ) -> Result<Decoded, SegmentError> {
        let required = usize::from(block.scheme.required());
        let choices = left_out(block.pieces.len(), required, suspects);
        let mut decoded: Vec<Option<usize>> = vec![None; sites.len()];
        for tried in Tries::new(choices.len(), sites.len()) {
            let mut changed: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            for ((site, before), choice) in sites.iter().zip(&mut decoded).zip(tried) {
                if before.replace(choice) != Some(choice) {
                    changed.entry(choice).or_default().push(*site);
                }
            }
            for (choice, sites) in changed {
                let left_out = choices.get(choice).map(Vec::as_slice).unwrap_or_default();
                self.decode_without(block, left_out, &sites)?;
            }
            if let Some(opened) = self.open_block(block, true)? {
                return Ok(Decoded::Opened(opened));
            }
        }
        Ok(Decoded::Corrupt)
    }

    /// Decodes some sites without some pieces. Sites that cannot be corrected are decoded from the least
    /// suspect pieces: the corrupt bytes may be outside the block.
    fn decode_without(
        &mut self,
        block: &Block<'_>,
        left_out: &[usize],
        sites: &[usize],
    ) -> Result<(), SegmentError> {
        let kept: Vec<usize> =
            (0..block.pieces.len()).filter(|it| !left_out.contains(it)).collect();
        let start = kept.len().saturating_sub(block.scheme.required().into());
        let trusted = kept.get(start..).unwrap_or_default();
        let mut corrector = Corrector::new(block.scheme, &block.numbers(&kept))?;
        let decoder = erasure::Decoder::new(block.scheme, &block.numbers(trusted))?;
        let site_stripes = block.site_stripes();
        for &site in sites {
            let Some(stripes) = self.stripes.chunks_mut(site_stripes).nth(site) else { continue };
            match corrector.correct(&block.shares_at(site, &kept), stripes) {
                Ok(_) => {}
                Err(error) if is_corrupt(&error) => {
                    decoder.decode(&block.shares_at(site, trusted), stripes)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Decrypts the block if the stripes contain it.
    fn open_block(
        &mut self,
        block: &Block<'_>,
        disagree: bool,
    ) -> Result<Option<Opened>, SegmentError> {
        let range = self.decryptor.block();
        let at = self.decryptor.next_block_at();
        let Some(plain) = self.decryptor.decrypt_block(&self.stripes)? else { return Ok(None) };
        let certain = self.decryptor.authentic_stripes(&mut self.stripes, range, at);
        let corrupt = if disagree { self.corrupt_shares(block, certain)? } else { BTreeMap::new() };
        Ok(Some(Opened { plain, corrupt, next_block_at: self.decryptor.next_block_at() }))
    }

    /// Returns the shares per piece that differ from those of the completely authentic stripes.
    fn corrupt_shares(
        &self,
        block: &Block<'_>,
        certain: Range<usize>,
    ) -> Result<BTreeMap<u16, u32>, SegmentError> {
        let share_size = block.scheme.share_size() as usize;
        let stripe_size = block.scheme.stripe_size() as usize;
        let stripes = certain.start * stripe_size..certain.end * stripe_size;
        let stripes = self.stripes.get(stripes).unwrap_or_default();
        let (mut right, mut corrupt) = (vec![0; certain.len() * share_size], BTreeMap::new());
        let encoder = Encoder::new(block.scheme);
        for (&piece, shares) in block.pieces.iter().zip(block.shares) {
            encoder.encode_piece(stripes, piece, &mut right)?;
            let given = shares.chunks_exact(share_size).skip(certain.start);
            let differing = right.chunks_exact(share_size).zip(given).filter(|(a, b)| a != b);
            let count = u32::try_from(differing.count()).unwrap_or(u32::MAX);
            if count > 0 {
                corrupt.insert(piece, count);
            }
        }
        Ok(corrupt)
    }
}

impl<'a> Block<'a> {
    fn new(scheme: &'a Scheme, pieces: &'a [u16], shares: &'a [Bytes]) -> Self {
        let share_size = scheme.share_size() as usize;
        let size = shares.first().map_or(0, Bytes::len);
        // Whole shares, in at most MAX_SITES sites.
        let site_size = size.div_ceil(MAX_SITES).next_multiple_of(share_size).max(share_size);
        Self { scheme, pieces, shares, site_size }
    }

    /// Bytes of each piece.
    fn size(&self) -> usize {
        self.shares.first().map_or(0, Bytes::len)
    }

    /// Bytes of the stripes of a site; the last one may have fewer.
    fn site_stripes(&self) -> usize {
        self.site_size * usize::from(self.scheme.required())
    }

    fn numbers(&self, ranks: &[usize]) -> Vec<u16> {
        ranks.iter().filter_map(|rank| self.pieces.get(*rank)).copied().collect()
    }

    /// The shares of some pieces, by rank, in one site.
    fn shares_at(&self, site: usize, ranks: &[usize]) -> Vec<&'a [u8]> {
        let shares = ranks.iter().filter_map(|rank| self.shares.get(*rank));
        shares.filter_map(|shares| shares.chunks(self.site_size).nth(site)).collect()
    }
}

fn is_corrupt(error: &CorrectError) -> bool {
    matches!(error, CorrectError::NotEnoughShares { .. } | CorrectError::TooManyErrors { .. })
}
