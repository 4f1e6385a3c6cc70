//! Size arithmetic of objects, segments, encryption blocks, stripes and pieces.
//!
//! ```text
//! object     | segment 0         | segment 1         | … last |     plaintext, cut every segment size
//! segment    | in-block | in-block | … | in-block + padding |     block size − 16 bytes each
//! encrypted  | block    | block    | … | block              |     each in-block sealed, + 16 bytes
//! padded     | stripe   | stripe   | …         | stripe     |     k shares each
//! piece      | share    | share    | …         | share      |     one of each stripe
//! ```
//!
//! Both paddings consist of zeros and a 4-byte length, so they have at least 4 bytes. Data whose
//! length is already a multiple of the block size gains a whole block. Sizes may come from a peer, so
//! no function overflows or panics for any input.

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

use std::ops::Range;

use crate::erasure::Scheme;

#[cfg(test)]
mod tests;

/// Plaintext bytes of a segment, except the last of an object.
pub const SEGMENT_SIZE: u64 = 64 << 20;

/// Encrypted bytes of a block: a stripe of 29 shares of 256 bytes.
pub const BLOCK_SIZE: u32 = 29 * 256;

/// A segment of at most this many plaintext bytes is stored inline at the satellite.
pub const INLINE_LIMIT: u64 = 4096;

/// Maximum size of an encrypted block.
pub const MAX_BLOCK_SIZE: u32 = 16 << 20;

/// Maximum plaintext size of a segment.
pub const MAX_SEGMENT_SIZE: u64 = 1 << 30;

/// Maximum encrypted size of an inline segment.
pub const MAX_INLINE_SIZE: u64 = 1 << 20;

/// Bytes that sealing adds to a block: the authentication tag.
pub const TAG: u32 = 16;

/// Size of the counter at the end of every padding.
const PADDING_COUNTER: u64 = 4;

/// The plaintext extent of a segment within its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Extent {
    /// Offset in the object.
    pub offset: u64,
    /// Plaintext size in bytes.
    pub size: u64,
}

impl Extent {
    /// Returns whether a segment of this size is stored inline.
    pub const fn is_inline(&self) -> bool {
        self.size <= INLINE_LIMIT
    }
}

/// Returns the segments of an object of `object_size` bytes, split every `segment_size` bytes.
///
/// An empty object has one empty segment.
///
/// # Errors
///
/// When `segment_size` is zero or the object would have more than 2³² segments.
pub fn segments(
    object_size: u64,
    segment_size: u64,
) -> Result<impl ExactSizeIterator<Item = Extent> + Clone, LayoutError> {
    if segment_size == 0 {
        return Err(LayoutError::SegmentSize);
    }
    let count = object_size.div_ceil(segment_size).max(1);
    let count = u32::try_from(count).map_err(|_| LayoutError::TooManySegments { object_size })?;
    Ok((0..count).map(move |index| {
        let offset = u64::from(index).saturating_mul(segment_size);
        Extent { offset, size: object_size.saturating_sub(offset).min(segment_size) }
    }))
}

/// Splits `range`, a byte range of an object, by the object's segments.
///
/// `extents` may be a subset of the object's segments and of different sizes. Each item is the index
/// of an extent and the non-empty range within it.
pub fn ranges_in_segments(
    extents: impl IntoIterator<Item = Extent>,
    range: Range<u64>,
) -> impl Iterator<Item = (usize, Range<u64>)> {
    extents.into_iter().enumerate().filter_map(move |(index, extent)| {
        let start = range.start.saturating_sub(extent.offset);
        let end = range.end.saturating_sub(extent.offset).min(extent.size);
        (start < end).then_some((index, start..end))
    })
}

/// Returns the padding length of `data_len` bytes in blocks of `block` bytes.
///
/// # Errors
///
/// When `block` is zero or the padding exceeds 2⁶⁴ bytes.
pub fn padding_length(data_len: u64, block: u64) -> Result<u64, LayoutError> {
    let too_large = LayoutError::TooLarge { size: data_len };
    let length = data_len.checked_add(PADDING_COUNTER).ok_or_else(|| too_large.clone())?;
    let over = length.checked_rem(block).ok_or(LayoutError::BlockSize { block_size: block })?;
    let zeros = if over == 0 { 0 } else { block.saturating_sub(over) };
    PADDING_COUNTER.checked_add(zeros).ok_or(too_large)
}

/// Returns the size of `data_len` bytes with padding: a multiple of `block`.
///
/// # Errors
///
/// When `block` is zero or the result exceeds 2⁶⁴ bytes.
pub fn padded_size(data_len: u64, block: u64) -> Result<u64, LayoutError> {
    let padding = padding_length(data_len, block)?;
    data_len.checked_add(padding).ok_or(LayoutError::TooLarge { size: data_len })
}

/// Returns the encrypted size of a segment of `plain_size` bytes in blocks of `block_size` bytes.
///
/// # Errors
///
/// When `block_size` is out of bounds or the result exceeds 2⁶⁴ bytes.
pub fn encrypted_size(plain_size: u64, block_size: u32) -> Result<u64, LayoutError> {
    let in_block = in_block_size(block_size)?;
    let padded = padded_size(plain_size, in_block)?;
    let blocks = padded.checked_div(in_block);
    blocks
        .and_then(|blocks| blocks.checked_mul(block_size.into()))
        .ok_or(LayoutError::TooLarge { size: plain_size })
}

/// Returns the stored size of an unencrypted segment of `plain_size` bytes.
///
/// # Errors
///
/// When the result exceeds 2⁶⁴ bytes.
pub fn unencrypted_size(plain_size: u64) -> Result<u64, LayoutError> {
    plain_size.checked_add(PADDING_COUNTER).ok_or(LayoutError::TooLarge { size: plain_size })
}

/// Returns the encrypted size of an inline segment, which is sealed as a whole; empty stays empty.
///
/// # Errors
///
/// When the result exceeds 2⁶⁴ bytes.
pub fn inline_encrypted_size(plain_size: u64) -> Result<u64, LayoutError> {
    if plain_size == 0 {
        return Ok(0);
    }
    plain_size.checked_add(TAG.into()).ok_or(LayoutError::TooLarge { size: plain_size })
}

/// Returns the plaintext size of a block of `block_size` encrypted bytes.
///
/// # Errors
///
/// When the block has no room for plaintext, or is larger than [`MAX_BLOCK_SIZE`].
pub fn in_block_size(block_size: u32) -> Result<u64, LayoutError> {
    match block_size.checked_sub(TAG) {
        Some(in_block @ 1..) if block_size <= MAX_BLOCK_SIZE => Ok(in_block.into()),
        _ => Err(LayoutError::BlockSize { block_size: block_size.into() }),
    }
}

/// Returns the first and the number of the blocks that contain `length` bytes from `offset`.
///
/// # Errors
///
/// When `block_size` is zero or the range ends beyond 2⁶⁴.
pub fn encompassing_blocks(
    block_size: u64,
    offset: u64,
    length: u64,
) -> Result<(u64, u64), LayoutError> {
    let zero = LayoutError::BlockSize { block_size };
    let first = offset.checked_div(block_size).ok_or(zero)?;
    if length == 0 {
        return Ok((first, 0));
    }
    let end = offset.checked_add(length).ok_or(LayoutError::TooLarge { size: length })?;
    let last = end.saturating_sub(1).checked_div(block_size).unwrap_or(0);
    Ok((first, last.saturating_sub(first).saturating_add(1)))
}

/// Returns the number of stripes of a segment of `encrypted_size` bytes, including padding.
///
/// # Errors
///
/// When the padded size exceeds 2⁶⁴ bytes.
pub fn stripe_count(encrypted_size: u64, scheme: &Scheme) -> Result<u64, LayoutError> {
    let stripe = u64::from(scheme.stripe_size());
    let padded = padded_size(encrypted_size, stripe)?;
    padded.checked_div(stripe).ok_or(LayoutError::BlockSize { block_size: stripe })
}

/// Returns the piece size of a segment of `encrypted_size` bytes.
///
/// # Errors
///
/// When the padded size exceeds 2⁶⁴ bytes.
pub fn piece_size(encrypted_size: u64, scheme: &Scheme) -> Result<u64, LayoutError> {
    stripe_count(encrypted_size, scheme)?
        .checked_mul(scheme.share_size().into())
        .ok_or(LayoutError::TooLarge { size: encrypted_size })
}

/// Returns the number of stripes to fetch for a whole segment: skips a last stripe of only padding.
pub fn stripes_to_fetch(encrypted_size: u64, scheme: &Scheme) -> u64 {
    encrypted_size.div_ceil(u64::from(scheme.stripe_size()).max(1))
}

/// What to fetch and decrypt for a range of a segment's plaintext.
///
/// Each range has its own unit. An empty plaintext range gives empty ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentRead {
    /// Encryption blocks that contain the range.
    pub blocks: Range<u64>,
    /// Bytes of the encrypted segment that contain the blocks.
    pub encrypted: Range<u64>,
    /// Stripes that contain these bytes.
    pub stripes: Range<u64>,
    /// Bytes of each piece: the shares of these stripes.
    pub shares: Range<u64>,
    /// Bytes to skip at the start of the decoded stripes, up to the first block.
    pub skip_encrypted: u64,
    /// Bytes to skip at the start of the first decrypted block, up to the range.
    pub skip_plain: u64,
}

impl SegmentRead {
    /// Plans reading `range` of a segment of `plain_size` plaintext bytes.
    ///
    /// # Errors
    ///
    /// When the range is outside the segment, the block size is out of bounds, or sizes
    /// exceed 2⁶⁴ bytes.
    pub fn new(
        plain_size: u64,
        block_size: u32,
        scheme: &Scheme,
        range: Range<u64>,
    ) -> Result<Self, LayoutError> {
        if range.start > range.end || range.end > plain_size {
            let Range { start, end } = range;
            return Err(LayoutError::Range { start, end, size: plain_size });
        }
        let too_large = || LayoutError::TooLarge { size: plain_size };
        // Ensures that the products below do not overflow.
        encrypted_size(plain_size, block_size)?;
        let length = range.end.saturating_sub(range.start);
        let in_block = in_block_size(block_size)?;
        let (first_block, count) = encompassing_blocks(in_block, range.start, length)?;
        let blocks = span(first_block, count);
        let encrypted = scale(&blocks, block_size).ok_or_else(too_large)?;

        let stripe = scheme.stripe_size();
        let bytes = encrypted.end.saturating_sub(encrypted.start);
        let (first_stripe, count) = encompassing_blocks(stripe.into(), encrypted.start, bytes)?;
        let stripes = span(first_stripe, count);
        let shares = scale(&stripes, scheme.share_size()).ok_or_else(too_large)?;

        Ok(Self {
            skip_plain: range.start.checked_rem(in_block).unwrap_or(0),
            skip_encrypted: encrypted.start.checked_rem(stripe.into()).unwrap_or(0),
            blocks,
            encrypted,
            stripes,
            shares,
        })
    }
}

const fn span(first: u64, count: u64) -> Range<u64> {
    first..first.saturating_add(count)
}

fn scale(range: &Range<u64>, unit: u32) -> Option<Range<u64>> {
    let unit = u64::from(unit);
    Some(range.start.checked_mul(unit)?..range.end.checked_mul(unit)?)
}

/// Packs cipher suite and block size into the number stored in a satellite's database.
///
/// Byte 0 is the suite, bytes 1 to 4 the block size, little-endian.
pub const fn pack_encryption_parameters(suite: u8, block_size: u32) -> i64 {
    let [b0, b1, b2, b3] = block_size.to_le_bytes();
    i64::from_le_bytes([suite, b0, b1, b2, b3, 0, 0, 0])
}

/// Unpacks cipher suite and block size.
///
/// # Errors
///
/// When bytes 5 to 7 are not zero.
pub const fn unpack_encryption_parameters(packed: i64) -> Result<(u8, u32), LayoutError> {
    match packed.to_le_bytes() {
        [suite, b0, b1, b2, b3, 0, 0, 0] => Ok((suite, u32::from_le_bytes([b0, b1, b2, b3]))),
        _ => Err(LayoutError::PackedParameters { packed }),
    }
}

/// Why sizes are invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The block is too small for data, or too large.
    #[error("invalid block size {block_size}: out of bounds")]
    BlockSize {
        /// The block size.
        block_size: u64,
    },
    /// The number contains more than suite and block size.
    #[error("invalid packed encryption parameters {packed}")]
    PackedParameters {
        /// The number.
        packed: i64,
    },
    /// A range ends beyond the segment or before its start.
    #[error("invalid range {start} to {end} of a segment of {size} bytes")]
    Range {
        /// First byte.
        start: u64,
        /// Byte after the last.
        end: u64,
        /// Bytes of the segment.
        size: u64,
    },
    /// The segment size is zero.
    #[error("segment size is zero")]
    SegmentSize,
    /// A padded or encrypted size exceeds 64 bits.
    #[error("size too large: {size} bytes")]
    TooLarge {
        /// The size.
        size: u64,
    },
    /// The object would have more than 2³² segments.
    #[error("too many segments for an object of {object_size} bytes")]
    TooManySegments {
        /// Bytes of the object.
        object_size: u64,
    },
}
