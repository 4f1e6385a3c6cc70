//! Which pieces a storage node is to keep: a Bloom filter over piece ids.
//!
//! A satellite sends each node a filter of all pieces that it knows there. A piece that was added is
//! always found; one that was not is found as well with a small probability, so that some garbage
//! stays until a filter with another seed is sent.
//!
//! ```text
//!   version 1 │ seed │ hash count │ table …
//! ```
//!
//! Piece ids are random, so that parts of the id itself serve as hashes. Each takes nine bytes of
//! the id written twice, the first of them at `seed % 32`, the next ones a step of 9, 13, 19 or 23
//! bytes further each, around the id: eight bytes choose a byte of the table, the ninth a bit in it.
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

use std::{f64::consts::LN_2, fmt};

use crate::id::PieceId;

/// Most bytes of a filter, in its encoding: enough for a hundred million pieces at a rate of a
/// tenth.
pub const MAX_FILTER_BYTES: usize = 64 << 20;

/// A set of piece ids that may hold more than was added, but never less.
#[derive(Clone, PartialEq, Eq)]
pub struct BloomFilter {
    /// Head and table, as on the wire.
    bytes: Vec<u8>,
}

impl BloomFilter {
    /// Makes an empty filter of a given shape. Counts of zero become one; the table is cut to what
    /// [`MAX_FILTER_BYTES`] allow.
    #[must_use]
    pub fn new(seed: u8, hash_count: u8, table_bytes: usize) -> Self {
        let table_bytes = table_bytes.clamp(1, MAX_FILTER_BYTES.saturating_sub(HEAD));
        let mut bytes = vec![0; HEAD.saturating_add(table_bytes)];
        bytes.splice(..HEAD, [VERSION, seed, hash_count.max(1)]);
        Self { bytes }
    }

    /// Makes an empty filter for about `expected` pieces that finds one that was not added with a
    /// probability of about `rate` (between 10⁻⁹ and ½), in at most `most` encoded bytes: with
    /// fewer than needed, the rate is higher.
    ///
    /// The table has `expected · log₂(1/rate) / ln 2` bits, and `ln 2 · bits / expected` hashes are
    /// taken of each id, which is the optimum (Bloom 1970; Mitzenmacher and Upfal, *Probability and
    /// Computing*, 5.5.3). Tables of less than 64 bytes are not worth the trouble.
    #[must_use]
    pub fn for_rate(seed: u8, expected: u64, rate: f64, most: usize) -> Self {
        let expected = expected.max(1) as f64;
        let wanted = expected * bits_per_piece(rate) / 8.0;
        let most = most.min(MAX_FILTER_BYTES).saturating_sub(HEAD).max(1);
        let table_bytes = (wanted.ceil() as usize).max(LEAST_TABLE).min(most);
        let hashes = (LN_2 * 8.0 * table_bytes as f64 / expected).round();
        Self::new(seed, hashes.clamp(1.0, MOST_HASHES) as u8, table_bytes)
    }

    /// Encoded bytes of the filter that [`for_rate`](Self::for_rate) makes.
    #[must_use]
    pub fn bytes_for_rate(expected: u64, rate: f64, most: usize) -> usize {
        let wanted = (expected.max(1) as f64 * bits_per_piece(rate) / 8.0).ceil() as usize;
        let most = most.min(MAX_FILTER_BYTES).max(HEAD.saturating_add(1));
        wanted.max(LEAST_TABLE).saturating_add(HEAD).min(most)
    }

    /// Reads an encoded filter, whose memory it keeps.
    ///
    /// # Errors
    ///
    /// When the bytes are of another version, have no table or are more than [`MAX_FILTER_BYTES`],
    /// or no hashes would be taken.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BloomFilterError> {
        let length = bytes.len();
        if length > MAX_FILTER_BYTES {
            return Err(BloomFilterError::TooLong { length });
        }
        match bytes.first_chunk::<HEAD>() {
            None => Err(BloomFilterError::TooShort { length }),
            Some([version, ..]) if *version != VERSION => Err(BloomFilterError::Version(*version)),
            Some([_, _, 0]) => Err(BloomFilterError::NoHashes),
            Some(_) if length == HEAD => Err(BloomFilterError::TooShort { length }),
            Some(_) => Ok(Self { bytes }),
        }
    }

    /// Adds a piece.
    pub fn add(&mut self, piece: &PieceId) {
        let [_, seed, hash_count, table @ ..] = self.bytes.as_mut_slice() else { return };
        for (place, bit) in places(*seed, *hash_count, table.len(), piece) {
            if let Some(byte) = table.get_mut(place) {
                *byte |= bit;
            }
        }
    }

    /// Tells whether a piece was added. It is always right about those that were.
    #[must_use]
    pub fn contains(&self, piece: &PieceId) -> bool {
        let [_, seed, hash_count, table @ ..] = self.bytes.as_slice() else { return true };
        places(*seed, *hash_count, table.len(), piece)
            .all(|(place, bit)| table.get(place).is_none_or(|byte| byte & bit != 0))
    }

    /// Lends the encoding.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Gives the encoding away.
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

/// The byte of the table and the bit in it, for each hash.
fn places(
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
        let place = u64::from_le_bytes(*hash).checked_rem(table_bytes as u64)?;
        Some((usize::try_from(place).ok()?, 1 << (bit % 8)))
    })
}

fn bits_per_piece(rate: f64) -> f64 {
    let rate = if rate.is_nan() { 0.5 } else { rate.clamp(1e-9, 0.5) };
    -rate.log2() / LN_2
}

const VERSION: u8 = 1;
/// Version, seed and hash count.
const HEAD: usize = 3;
const STEPS: [usize; 4] = [9, 13, 19, 23];
const LEAST_TABLE: usize = 64;
/// More hashes would be made of the same bytes of an id again.
const MOST_HASHES: f64 = 10.0;

/// Why bytes are no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BloomFilterError {
    /// The hash count is zero.
    #[error("Bloom filter that takes no hashes")]
    NoHashes,
    /// There are more bytes than [`MAX_FILTER_BYTES`].
    #[error("Bloom filter of {length} bytes, at most {MAX_FILTER_BYTES} are allowed")]
    TooLong {
        /// Bytes given.
        length: usize,
    },
    /// The bytes end before the table.
    #[error("Bloom filter of {length} bytes has no table")]
    TooShort {
        /// Bytes given.
        length: usize,
    },
    /// The version is not known.
    #[error("Bloom filter of version {0}, only {VERSION} is known")]
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
    fn share_of_strangers_found_is_near_the_rate_asked_for() {
        for (rate, least, most) in [(0.5, 0.4, 0.6), (0.1, 0.07, 0.13), (0.01, 0.007, 0.014)] {
            for (number, seed) in [0, 1, 31, 32, 77, 100, 153, 255].into_iter().enumerate() {
                let expected = 5_000 + 1_234 * number as u64;
                let mut filter = BloomFilter::for_rate(seed, expected, rate, MAX_FILTER_BYTES);
                assert_eq!(
                    filter.as_bytes().len(),
                    BloomFilter::bytes_for_rate(expected, rate, MAX_FILTER_BYTES)
                );
                (0..expected).for_each(|number| filter.add(&piece(number)));
                let strangers = expected..expected + 20_000;
                let found = strangers.filter(|&number| filter.contains(&piece(number))).count();
                let share = found as f64 / 20_000.0;
                assert!((least..most).contains(&share), "{rate} asked, {share}, seed {seed}");
            }
        }
    }

    #[test]
    fn size_is_what_pieces_and_rate_need_within_its_bounds() {
        let size = |expected, rate, most| {
            let filter = BloomFilter::for_rate(7, expected, rate, most);
            assert_eq!(BloomFilter::bytes_for_rate(expected, rate, most), filter.bytes.len());
            filter.bytes.len()
        };
        // log₂ 10 / ln 2 = 4.7925 bits.
        assert_eq!(size(8_000_000, 0.1, MAX_FILTER_BYTES), 3 + 4_792_530);
        assert_eq!(size(8_000_000, 0.1, 4_100_050), 4_100_050);
        assert_eq!(size(0, 0.1, MAX_FILTER_BYTES), 3 + 64);
        assert_eq!(size(u64::MAX, 0.1, usize::MAX), MAX_FILTER_BYTES);
        for rate in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1.0] {
            for most in [0, 3, 4, 100] {
                assert!((4..=100).contains(&size(1, rate, most)), "{rate} {most}");
            }
        }
        assert_eq!(BloomFilter::new(1, 0, 0).bytes, [1, 1, 1, 0]);
        assert_eq!(BloomFilter::new(1, 1, usize::MAX).bytes.len(), MAX_FILTER_BYTES);
    }

    #[test]
    fn full_filter_finds_everything_and_empty_one_nothing() {
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
    fn bytes_that_are_no_filter_are_refused() {
        use BloomFilterError::*;
        let refused = |bytes: &[u8]| BloomFilter::parse(bytes.to_vec()).unwrap_err();
        assert_eq!(refused(&[]), TooShort { length: 0 });
        assert_eq!(refused(&[1, 0]), TooShort { length: 2 });
        assert_eq!(refused(&[1, 0, 1]), TooShort { length: 3 });
        assert_eq!(refused(&[0, 0, 1, 0]), Version(0));
        assert_eq!(refused(&[2, 0, 1, 0]), Version(2));
        assert_eq!(refused(&[1, 0, 0, 0]), NoHashes);
        let length = MAX_FILTER_BYTES + 1;
        assert_eq!(BloomFilter::parse(vec![1; length]), Err(TooLong { length }));
    }

    proptest! {
        #![proptest_config(crate::cases(10_000))]

        #[test]
        fn what_was_added_is_always_found(
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
        fn any_bytes_are_a_filter_or_an_error(
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
