//! Header of a piece file.
//!
//! A piece file is a header area followed by the piece's bytes. The area holds the length of a
//! protobuf message (2 bytes, big-endian), the message, and zeros. It has 512 bytes, as in version
//! 1 of the public network's format. For a very long order limit it has the next multiple of 512,
//! which the message stores in its own field (64).

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

use bytes::Bytes;
use prost::Message;
use prost_types::Timestamp;

/// The message in the header area.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PieceHeader {
    /// Always [`FORMAT_VERSION`].
    #[prost(int32, tag = "1")]
    pub format_version: i32,
    /// Hash of the piece's bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub hash: Bytes,
    /// The time in the uploader's piece hash, covered by the signature.
    #[prost(message, optional, tag = "3")]
    pub creation_time: Option<Timestamp>,
    /// The uploader's signature of the piece hash.
    #[prost(bytes = "bytes", tag = "4")]
    pub signature: Bytes,
    /// The order limit of the upload, as received.
    #[prost(bytes = "bytes", tag = "5")]
    pub order_limit: Bytes,
    /// Hash algorithm: 0 is SHA-256, 1 is BLAKE3.
    #[prost(int32, tag = "6")]
    pub hash_algorithm: i32,
    /// Size of the header area if larger than [`AREA`].
    #[prost(uint32, tag = "64")]
    pub area: u32,
}

/// Size of the header area in the public format.
pub(crate) const AREA: usize = 512;
/// Maximum size of the header area, for the longest order limit that a node accepts.
pub(crate) const MAX_AREA: usize = 16 * AREA;
/// Version of the format that this module writes.
pub(crate) const FORMAT_VERSION: i32 = 1;

/// Returns the size of the header area for an order limit of `limit_bytes` bytes.
pub(crate) fn area_for(limit_bytes: usize) -> Result<usize, HeaderError> {
    let needed = limit_bytes.saturating_add(MAX_OVERHEAD);
    let area = needed.div_ceil(AREA).saturating_mul(AREA);
    if area > MAX_AREA { Err(HeaderError::TooLong(limit_bytes)) } else { Ok(area) }
}

impl PieceHeader {
    /// Encodes the header into an area of `area` bytes.
    pub(crate) fn encode_area(mut self, area: usize) -> Result<Vec<u8>, HeaderError> {
        self.format_version = FORMAT_VERSION;
        self.area = if area == AREA { 0 } else { u32::try_from(area).unwrap_or(u32::MAX) };
        let message = self.encode_to_vec();
        let length =
            u16::try_from(message.len()).map_err(|_| HeaderError::TooLong(message.len()))?;
        let mut bytes = Vec::with_capacity(area);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&message);
        if bytes.len() > area {
            return Err(HeaderError::TooLong(message.len()));
        }
        bytes.resize(area, 0);
        Ok(bytes)
    }

    /// Decodes the header from `start`, the first bytes of a file (up to [`MAX_AREA`]). Returns the
    /// header and the offset of the piece's bytes.
    pub(crate) fn decode_area(start: &[u8]) -> Result<(Self, usize), HeaderError> {
        let (length, rest) = start.split_first_chunk::<2>().ok_or(HeaderError::Damaged)?;
        let message = rest.get(..usize::from(u16::from_be_bytes(*length)));
        let header =
            Self::decode(message.ok_or(HeaderError::Damaged)?).map_err(|_| HeaderError::Damaged)?;
        if header.format_version != FORMAT_VERSION {
            return Err(HeaderError::Version(header.format_version));
        }
        let area = if header.area == 0 { AREA } else { header.area as usize };
        if area > start.len() || area > MAX_AREA {
            return Err(HeaderError::Damaged);
        }
        Ok((header, area))
    }
}

/// Maximum bytes of the area beside the order limit: length, version, hash, time, signature,
/// algorithm, area, and all tags.
const MAX_OVERHEAD: usize = 2 + 2 + 34 + 20 + 66 + 4 + 2 + 6;

/// Error of encoding or decoding a header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The header is corrupt.
    #[error("corrupt piece header")]
    Damaged,
    /// The order limit is too long for the largest header area.
    #[error("piece header too long: {0} bytes")]
    TooLong(usize),
    /// The format version is not supported.
    #[error("unsupported piece format {0}")]
    Version(i32),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(limit_bytes: usize) -> PieceHeader {
        PieceHeader {
            hash: vec![7; 32].into(),
            creation_time: Some(Timestamp { seconds: i64::from(i32::MAX), nanos: 999_999_999 }),
            signature: vec![8; 64].into(),
            order_limit: vec![9; limit_bytes].into(),
            hash_algorithm: 1,
            ..PieceHeader::default()
        }
    }

    #[test]
    fn area_grows_with_the_order_limit_and_round_trips() {
        for limit_bytes in [0, 1, 200, 376, 377, 500, 1000, 4096, MAX_AREA - MAX_OVERHEAD] {
            let area = area_for(limit_bytes).unwrap();
            let bytes = header(limit_bytes).encode_area(area).unwrap();
            assert_eq!(bytes.len(), area);
            let (read, start) = PieceHeader::decode_area(&bytes).unwrap();
            assert_eq!(start, area);
            assert_eq!(read.order_limit.len(), limit_bytes);
            assert_eq!(read.signature, header(limit_bytes).signature);
        }
        assert_eq!(area_for(512 - MAX_OVERHEAD), Ok(512));
        assert_eq!(area_for(513 - MAX_OVERHEAD), Ok(1024));
        assert!(area_for(MAX_AREA - MAX_OVERHEAD + 1).is_err());
    }

    #[test]
    fn ordinary_header_matches_the_public_format() {
        let bytes = header(200).encode_area(AREA).unwrap();
        let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
        assert_eq!(&bytes[2..4], &[0x08, 1], "format version 1");
        assert_eq!(&bytes[4..6], &[0x12, 32], "hash");
        assert!(bytes[2 + length..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn corrupt_headers_are_rejected() {
        let whole = header(200).encode_area(AREA).unwrap();
        for cut in [0, 1, 2, 100, AREA - 1] {
            assert_eq!(PieceHeader::decode_area(&whole[..cut]), Err(HeaderError::Damaged));
        }
        assert_eq!(PieceHeader::decode_area(&[0; AREA]), Err(HeaderError::Version(0)));
        assert_eq!(PieceHeader::decode_area(&[0xFF; AREA]), Err(HeaderError::Damaged));
    }
}
