//! What a piece file says about its piece.
//!
//! A piece file is a header area followed by the piece's bytes. The area holds the length of a
//! protobuf message in two bytes, most significant first, that message, and zeros. It has 512 bytes
//! as in the public network's version 1 of the format; when a very long order limit does not fit,
//! it has the next multiple of 512 and the message says so in a field of its own (64).

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
    /// The time in the uploader's piece hash, part of what was signed.
    #[prost(message, optional, tag = "3")]
    pub creation_time: Option<Timestamp>,
    /// The uploader's signature of the piece hash.
    #[prost(bytes = "bytes", tag = "4")]
    pub signature: Bytes,
    /// The order limit of the upload as it was received.
    #[prost(bytes = "bytes", tag = "5")]
    pub order_limit: Bytes,
    /// Number of the hash algorithm: SHA-256 0, BLAKE3 1.
    #[prost(int32, tag = "6")]
    pub hash_algorithm: i32,
    /// Bytes of the header area if it is larger than [`AREA`].
    #[prost(uint32, tag = "64")]
    pub area: u32,
}

/// Header area of the public format.
pub(crate) const AREA: usize = 512;
/// Largest header area: room for the longest order limit a node accepts.
pub(crate) const MAX_AREA: usize = 16 * AREA;
/// Number of the format this module writes.
pub(crate) const FORMAT_VERSION: i32 = 1;

/// The header area needed for a piece uploaded with an order limit of `limit_bytes` bytes.
pub(crate) fn area_for(limit_bytes: usize) -> Result<usize, HeaderError> {
    let needed = limit_bytes.saturating_add(BESIDE_LIMIT);
    let area = needed.div_ceil(AREA).saturating_mul(AREA);
    if area > MAX_AREA { Err(HeaderError::TooLong(limit_bytes)) } else { Ok(area) }
}

impl PieceHeader {
    /// The header area of `area` bytes.
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

    /// Reads a header from the beginning of a file, of which `start` are the first bytes (up to
    /// [`MAX_AREA`]), and tells where the piece's bytes begin.
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

/// Most bytes of the area that are not the order limit: length, version, hash, time, signature,
/// algorithm, area, and the tags of all.
const BESIDE_LIMIT: usize = 2 + 2 + 34 + 20 + 66 + 4 + 2 + 6;

/// Why a header cannot be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The bytes are no header.
    #[error("the header of the piece is damaged")]
    Damaged,
    /// The order limit is too long for the largest header area.
    #[error("{0} bytes do not fit into the header of a piece")]
    TooLong(usize),
    /// The file was written in another format.
    #[error("piece format {0} is not supported")]
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
    fn areas_grow_with_the_order_limit_and_read_back() {
        for limit_bytes in [0, 1, 200, 376, 377, 500, 1000, 4096, MAX_AREA - BESIDE_LIMIT] {
            let area = area_for(limit_bytes).unwrap();
            let bytes = header(limit_bytes).encode_area(area).unwrap();
            assert_eq!(bytes.len(), area);
            let (read, start) = PieceHeader::decode_area(&bytes).unwrap();
            assert_eq!(start, area);
            assert_eq!(read.order_limit.len(), limit_bytes);
            assert_eq!(read.signature, header(limit_bytes).signature);
        }
        assert_eq!(area_for(512 - BESIDE_LIMIT), Ok(512));
        assert_eq!(area_for(513 - BESIDE_LIMIT), Ok(1024));
        assert!(area_for(MAX_AREA - BESIDE_LIMIT + 1).is_err());
    }

    #[test]
    fn an_ordinary_header_is_the_public_format() {
        let bytes = header(200).encode_area(AREA).unwrap();
        let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
        assert_eq!(&bytes[2..4], &[0x08, 1], "format version 1");
        assert_eq!(&bytes[4..6], &[0x12, 32], "hash");
        assert!(bytes[2 + length..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn damaged_headers_are_refused() {
        let whole = header(200).encode_area(AREA).unwrap();
        for cut in [0, 1, 2, 100, AREA - 1] {
            assert_eq!(PieceHeader::decode_area(&whole[..cut]), Err(HeaderError::Damaged));
        }
        assert_eq!(PieceHeader::decode_area(&[0; AREA]), Err(HeaderError::Version(0)));
        assert_eq!(PieceHeader::decode_area(&[0xFF; AREA]), Err(HeaderError::Damaged));
    }
}
