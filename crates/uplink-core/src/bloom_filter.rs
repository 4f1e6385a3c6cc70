//! Bloom filters over piece ids, which tell a storage node the pieces to retain.
//!
//! A satellite sends each node a filter of all pieces it knows on that node. Added pieces are always
//! found. Other pieces are found with a small probability (false positives), so some garbage remains
//! until a filter with a different seed is sent.
//!
//! ```text
//!   version 1 │ seed │ hash count │ table …
//! ```
//!
//! Piece ids are random, so parts of the id itself serve as hashes. Each hash takes nine bytes of the
//! id, which wraps around: the first hash starts at `seed % 32`, each further one a step of 9, 13, 19
//! or 23 bytes later. Eight bytes select a byte of the table, the ninth a bit in it.
//! [V: `orders.retain_bloom_filter`]

#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

use std::f64::consts::LN_2;
use std::fmt;

use crate::id::PieceId;

/// Maximum encoded size of a filter: enough for a hundred million pieces at a false-positive rate of
/// 10 %.
pub const MAX_FILTER_BYTES: usize = 64 << 20;

/// A probabilistic set of piece ids with false positives but no false negatives.
#[derive(Clone, PartialEq, Eq)]
pub struct BloomFilter {
    /// Header and table, as on the wire.
    bytes: Vec<u8>,
}

impl BloomFilter {
    /// Creates an empty filter of the given dimensions. Counts of zero become one; the table is
    /// limited by [`MAX_FILTER_BYTES`].
    #[must_use]
    pub fn new(seed: u8, hash_count: u8, table_bytes: usize) -> Self {
        let table_bytes = table_bytes.clamp(1, MAX_FILTER_BYTES.saturating_sub(HEADER_SIZE));
        let mut bytes = vec![0; HEADER_SIZE.saturating_add(table_bytes)];
        bytes.splice(..HEADER_SIZE, [VERSION, seed, hash_count.max(1)]);
        Self { bytes }
    }

    /// Creates an empty filter for about `expected` pieces with a false-positive rate of about `rate`
    /// (10⁻⁹ to ½) and at most `max_bytes` encoded bytes, which may raise the rate.
    ///
    /// The table has `expected · log₂(1/rate) / ln 2` bits and uses `ln 2 · bits / expected` hashes of
    /// each id, which is optimal (Bloom 1970; Mitzenmacher and Upfal, *Probability and Computing*,
    /// 5.5.3). Tables have at least 64 bytes.
    #[must_use]
    pub fn for_rate(seed: u8, expected: u64, rate: f64, max_bytes: usize) -> Self {
        let expected = expected.max(1) as f64;
        let wanted = expected * bits_per_piece(rate) / 8.0;
        let max_table = max_bytes.min(MAX_FILTER_BYTES).saturating_sub(HEADER_SIZE).max(1);
        let table_bytes = (wanted.ceil() as usize).max(MIN_TABLE).min(max_table);
        let hashes = (LN_2 * 8.0 * table_bytes as f64 / expected).round();
        Self::new(seed, hashes.clamp(1.0, MAX_HASHES) as u8, table_bytes)
    }

    /// Returns the encoded size of the filter created by [`for_rate`](Self::for_rate).
    #[must_use]
    pub fn bytes_for_rate(expected: u64, rate: f64, max_bytes: usize) -> usize {
        let wanted = (expected.max(1) as f64 * bits_per_piece(rate) / 8.0).ceil() as usize;
        let max_bytes = max_bytes.min(MAX_FILTER_BYTES).max(HEADER_SIZE.saturating_add(1));
        wanted.max(MIN_TABLE).saturating_add(HEADER_SIZE).min(max_bytes)
    }

    /// Parses an encoded filter without copying it.
    ///
    /// # Errors
    ///
    /// When the version is unknown, the table is empty, the filter is larger than
    /// [`MAX_FILTER_BYTES`], or the hash count is zero.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BloomFilterError> {
        let length = bytes.len();
        if length > MAX_FILTER_BYTES {
            return Err(BloomFilterError::TooLong { length });
        }
        match bytes.first_chunk::<HEADER_SIZE>() {
            None => Err(BloomFilterError::TooShort { length }),
            Some([version, ..]) if *version != VERSION => Err(BloomFilterError::Version(*version)),
            Some([_, _, 0]) => Err(BloomFilterError::NoHashes),
            Some(_) if length == HEADER_SIZE => Err(BloomFilterError::TooShort { length }),
            Some(_) => Ok(Self { bytes }),
        }
    }

    /// Adds a piece.
    pub fn add(&mut self, piece: &PieceId) {
        let [_, seed, hash_count, table @ ..] = self.bytes.as_mut_slice() else { return };
        for (index, bit) in positions(*seed, *hash_count, table.len(), piece) {
            if let Some(byte) = table.get_mut(index) {
                *byte |= bit;
            }
        }
    }

    /// Returns whether a piece may have been added. Always true for added pieces.
    #[must_use]
    pub fn contains(&self, piece: &PieceId) -> bool {
        let [_, seed, hash_count, table @ ..] = self.bytes.as_slice() else { return true };
        positions(*seed, *hash_count, table.len(), piece)
            .all(|(index, bit)| table.get(index).is_none_or(|byte| byte & bit != 0))
    }

    /// Returns the encoding.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Consumes the filter and returns the encoding.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl fmt::Debug for BloomFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BloomFilter").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// Returns the index of the table's byte and the bit in it, for each hash.
fn positions(
    seed: u8,
    hash_count: u8,
    table_bytes: usize,
    piece: &PieceId,
) -> impl Iterator<Item = (usize, u8)> {
    let mut twice = [0; 64];
    let (first, second) = twice.split_at_mut(32);
    first.copy_from_slice(piece.as_bytes());
    second.copy_from_slice(piece.as_bytes());
    let [a, b, c, d] = STEPS;
    let step = [a, b, c, d, a, b, c, d].get(usize::from(seed / 32)).copied().unwrap_or(a);
    let start = usize::from(seed % 32);
    (0..usize::from(hash_count)).filter_map(move |number| {
        let start = start.wrapping_add(number.wrapping_mul(step)) % 32;
        let window = twice.get(start..)?.first_chunk::<9>()?;
        let (hash, [bit]) = window.split_first_chunk::<8>()? else { return None };
        let index = u64::from_le_bytes(*hash).checked_rem(table_bytes as u64)?;
        Some((usize::try_from(index).ok()?, 1 << (bit % 8)))
    })
}

fn bits_per_piece(rate: f64) -> f64 {
    let rate = if rate.is_nan() { 0.5 } else { rate.clamp(1e-9, 0.5) };
    -rate.log2() / LN_2
}

const VERSION: u8 = 1;
/// Version, seed and hash count.
const HEADER_SIZE: usize = 3;
const STEPS: [usize; 4] = [9, 13, 19, 23];
const MIN_TABLE: usize = 64;
/// More hashes would reuse the same bytes of an id.
const MAX_HASHES: f64 = 10.0;

/// Why a filter is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BloomFilterError {
    /// The hash count is zero.
    #[error("invalid Bloom filter: hash count is zero")]
    NoHashes,
    /// The filter is larger than [`MAX_FILTER_BYTES`].
    #[error("Bloom filter too large: {length} bytes, limit {MAX_FILTER_BYTES}")]
    TooLong {
        /// Bytes given.
        length: usize,
    },
    /// The bytes end before the table.
    #[error("invalid Bloom filter of {length} bytes: missing table")]
    TooShort {
        /// Bytes given.
        length: usize,
    },
    /// The version is unknown.
    #[error("unknown Bloom filter version {0}: expected {VERSION}")]
    Version(u8),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn piece(number: u64) -> PieceId {
        PieceId::new(*blake3::hash(&number.to_le_bytes()).as_bytes())
    }

    #[test]
    fn false_positive_rate_is_near_the_requested_one() {
        for (rate, min, max) in [(0.5, 0.4, 0.6), (0.1, 0.07, 0.13), (0.01, 0.007, 0.014)] {
            for (number, seed) in [0, 1, 31, 32, 77, 100, 153, 255].into_iter().enumerate() {
                let expected = 5_000 + 1_234 * number as u64;
                let mut filter = BloomFilter::for_rate(seed, expected, rate, MAX_FILTER_BYTES);
                assert_eq!(
                    filter.as_bytes().len(),
                    BloomFilter::bytes_for_rate(expected, rate, MAX_FILTER_BYTES)
                );
                (0..expected).for_each(|number| filter.add(&piece(number)));
                let others = expected..expected + 20_000;
                let found = others.filter(|&number| filter.contains(&piece(number))).count();
                let share = found as f64 / 20_000.0;
                assert!((min..max).contains(&share), "requested {rate}, got {share}, seed {seed}");
            }
        }
    }

    #[test]
    fn size_follows_pieces_and_rate_within_bounds() {
        let size = |expected, rate, max| {
            let filter = BloomFilter::for_rate(7, expected, rate, max);
            assert_eq!(BloomFilter::bytes_for_rate(expected, rate, max), filter.bytes.len());
            filter.bytes.len()
        };
        // log₂ 10 / ln 2 = 4.7925 bits.
        assert_eq!(size(8_000_000, 0.1, MAX_FILTER_BYTES), 3 + 4_792_530);
        assert_eq!(size(8_000_000, 0.1, 4_100_050), 4_100_050);
        assert_eq!(size(0, 0.1, MAX_FILTER_BYTES), 3 + 64);
        assert_eq!(size(u64::MAX, 0.1, usize::MAX), MAX_FILTER_BYTES);
        for rate in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1.0] {
            for max in [0, 3, 4, 100] {
                assert!((4..=100).contains(&size(1, rate, max)), "{rate} {max}");
            }
        }
        assert_eq!(BloomFilter::new(1, 0, 0).bytes, [1, 1, 1, 0]);
        assert_eq!(BloomFilter::new(1, 1, usize::MAX).bytes.len(), MAX_FILTER_BYTES);
    }

    #[test]
    fn full_filter_finds_all_pieces_and_empty_one_none() {
        for hash_count in [1, 32, 33, 255] {
            let full = BloomFilter::parse([&[1, 9, hash_count][..], &[0xff; 100]].concat());
            let full = full.unwrap();
            let empty = BloomFilter::new(9, hash_count, 100);
            for number in 0..100 {
                assert!(full.contains(&piece(number)) && !empty.contains(&piece(number)));
            }
        }
    }

    #[test]
    fn malformed_filters_are_rejected() {
        use BloomFilterError::*;
        let rejected = |bytes: &[u8]| BloomFilter::parse(bytes.to_vec()).unwrap_err();
        assert_eq!(rejected(&[]), TooShort { length: 0 });
        assert_eq!(rejected(&[1, 0]), TooShort { length: 2 });
        assert_eq!(rejected(&[1, 0, 1]), TooShort { length: 3 });
        assert_eq!(rejected(&[0, 0, 1, 0]), Version(0));
        assert_eq!(rejected(&[2, 0, 1, 0]), Version(2));
        assert_eq!(rejected(&[1, 0, 0, 0]), NoHashes);
        let length = MAX_FILTER_BYTES + 1;
        assert_eq!(BloomFilter::parse(vec![1; length]), Err(TooLong { length }));
    }

    proptest! {
        #![proptest_config(crate::cases(10_000))]

        #[test]
        fn added_pieces_are_always_found(
            seed: u8,
            hash_count: u8,
            table_bytes in 1usize..2_000,
            pieces in proptest::collection::vec(any::<[u8; 32]>(), 0..50),
        ) {
            let mut filter = BloomFilter::new(seed, hash_count, table_bytes);
            let pieces: Vec<_> = pieces.into_iter().map(PieceId::new).collect();
            for piece in &pieces {
                filter.add(piece);
            }
            let sent = BloomFilter::parse(filter.as_bytes().to_vec()).unwrap();
            prop_assert!(pieces.iter().all(|piece| sent.contains(piece)));
            prop_assert_eq!(sent, filter);
        }

        #[test]
        fn parsing_any_bytes_does_not_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..100),
            piece: [u8; 32],
        ) {
            if let Ok(mut filter) = BloomFilter::parse(bytes.clone()) {
                prop_assert_eq!(filter.as_bytes(), &bytes[..]);
                filter.add(&PieceId::new(piece));
                prop_assert!(filter.contains(&PieceId::new(piece)));
            }
        }
    }
}
