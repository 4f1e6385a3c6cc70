//! Identifiers of nodes, pieces, orders and segments.

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

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;

use crate::base58::{self, Base58Error};
use crate::mac::hmac_sha512;

/// Identifies a satellite, storage node or client by its certificate authority's key.
///
/// 32 bytes: a double SHA-256 of the key, with the last byte replaced by the identity version. The only
/// version in use is 0. The text form is the Base58Check of the id with the last byte zeroed, and with
/// the identity version as the version byte.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; 32]);

impl NodeId {
    /// The zero id, which peers send for "not set".
    pub const ZERO: Self = Self([0; 32]);

    /// Wraps the 32 bytes of an id.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Creates an id from a slice of 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
        exact(bytes, "node id").map(Self)
    }

    /// Returns the bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns whether this is [`ZERO`](Self::ZERO).
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut unversioned = self.0;
        unversioned[31] = IDENTITY_VERSION;
        f.write_str(&base58::encode_check(IDENTITY_VERSION, &unversioned))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for NodeId {
    type Err = IdError;

    /// Parses the text form. An unknown version is treated as version 0, as everywhere in the network.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let (_version, payload) = base58::decode_check(text, MAX_NODE_ID_CHARACTERS)?;
        let mut bytes: [u8; 32] = exact(&payload, "node id")?;
        bytes[31] = IDENTITY_VERSION;
        Ok(Self(bytes))
    }
}

/// Identifies a piece: for the satellite (root) or for one storage node (derived).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PieceId([u8; 32]);

impl PieceId {
    /// Wraps the 32 bytes of an id.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Creates an id from a slice of 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
        exact(bytes, "piece id").map(Self)
    }

    /// Returns the bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Derives the id under which `node` stores piece `piece_number` from this root piece id of a
    /// segment: the first 32 bytes of HMAC-SHA512(root, node id ‖ number big-endian).
    #[must_use]
    pub fn derive(&self, node: &NodeId, piece_number: u32) -> Self {
        let parts = [node.as_bytes().as_slice(), &piece_number.to_be_bytes()];
        Self(*hmac_sha512(&self.0, &parts).expose())
    }
}

impl fmt::Display for PieceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        base32(&self.0, f)
    }
}

impl fmt::Debug for PieceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PieceId {
    type Err = IdError;

    /// Parses the text form: upper-case Base32 without padding.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let bytes = BASE32_NOPAD.decode(text.as_bytes()).map_err(|_| IdError::Base32)?;
        exact(&bytes, "piece id").map(Self)
    }
}

/// Identifies one order limit, so that it cannot be used twice.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SerialNumber([u8; 16]);

impl SerialNumber {
    /// Wraps the 16 bytes of a serial number.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Creates a serial number from a slice of 16 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
        exact(bytes, "serial number").map(Self)
    }

    /// Returns the bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for SerialNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        base32(&self.0, f)
    }
}

impl fmt::Debug for SerialNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Identifies a multipart upload: the satellite's stream id of the pending object.
///
/// The text form, for users and other tools, is its Base58Check with version 1.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UploadId(Vec<u8>);

impl UploadId {
    /// Wraps a stream id; `None` if it is empty, which is invalid.
    #[must_use]
    pub fn new(stream_id: Vec<u8>) -> Option<Self> {
        (!stream_id.is_empty()).then_some(Self(stream_id))
    }

    /// Returns the stream id.
    #[must_use]
    pub fn stream_id(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base58::encode_check(UPLOAD_ID_VERSION, &self.0))
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for UploadId {
    type Err = IdError;

    /// Parses the text form of at most [`MAX_UPLOAD_ID_CHARACTERS`] characters.
    fn from_str(text: &str) -> Result<Self, IdError> {
        match base58::decode_check(text, MAX_UPLOAD_ID_CHARACTERS)? {
            (UPLOAD_ID_VERSION, stream_id) => Self::new(stream_id).ok_or(IdError::Empty),
            (version, _) => Err(IdError::Version(version)),
        }
    }
}

/// The position of a segment in its object, in plaintext order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentPosition {
    /// Part of a multipart upload; 0 in all other objects.
    pub part: u32,
    /// Number of the segment in its part, from 0.
    pub index: u32,
}

impl SegmentPosition {
    /// Packs the position into one number that sorts the same way.
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        ((self.part as u64) << 32) | self.index as u64
    }

    /// Unpacks a position packed by [`to_u64`](Self::to_u64).
    #[must_use]
    pub const fn from_u64(packed: u64) -> Self {
        Self { part: (packed >> 32) as u32, index: packed as u32 }
    }
}

/// Why an identifier is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// The text is not Base32.
    #[error("invalid id: not Base32")]
    Base32,
    /// The length is wrong.
    #[error("invalid {what}: {length} bytes, expected {expected}")]
    Length {
        /// The kind of identifier.
        what: &'static str,
        /// Bytes given.
        length: usize,
        /// Bytes needed.
        expected: usize,
    },
    /// The id is empty.
    #[error("id is empty")]
    Empty,
    /// The text is not Base58Check.
    #[error("invalid id: {0}")]
    Text(#[from] Base58Error),
    /// The text has an unknown version.
    #[error("invalid id: unknown version {0}")]
    Version(u8),
}

/// Maximum length of an upload id's text form; those of satellites have a few hundred characters.
pub const MAX_UPLOAD_ID_CHARACTERS: usize = 16 << 10;
const UPLOAD_ID_VERSION: u8 = 1;

const IDENTITY_VERSION: u8 = 0;
/// 37 bytes take at most 51 characters. The slack makes slightly longer texts fail with a length
/// error.
const MAX_NODE_ID_CHARACTERS: usize = 128;

fn exact<const N: usize>(bytes: &[u8], what: &'static str) -> Result<[u8; N], IdError> {
    bytes.try_into().map_err(|_| IdError::Length { what, length: bytes.len(), expected: N })
}

fn base32(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(&BASE32_NOPAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn node_id_text_and_bytes_convert_both_ways() {
        let text = "12EayRS2V1kEsWESU9QMRseFhdxYxKicsiFmxrsLZHeLUtdps3S";
        let id: NodeId = text.parse().unwrap();
        assert_eq!(
            hex::encode(id.as_bytes()),
            "a28b4f04e10bae85d67f4c6cb82bf8d4c0f0f47a8ea72627524deb6ec0000000"
        );
        assert_eq!(id.to_string(), text);
        assert_eq!(format!("{id:?}"), text);
        assert_eq!(NodeId::ZERO.to_string(), "1111111111111111111111111111111112m1s9K");
        assert_eq!("1111111111111111111111111111111112m1s9K".parse(), Ok(NodeId::ZERO));
    }

    #[test]
    fn node_id_of_unknown_version_reads_as_version_zero() {
        let mut bytes = [9; 32];
        let id: NodeId = base58::encode_check(7, &bytes).parse().unwrap();
        bytes[31] = 0;
        assert_eq!(id, NodeId::new(bytes));
    }

    #[test]
    fn malformed_node_ids_are_rejected() {
        assert!("12vha9oTFnerxgeQ2BZqoFrLrnmmf5UWTCY2jA77dF3YvWew7".parse::<NodeId>().is_err());
        assert!("".parse::<NodeId>().is_err());
        assert!("1112vha9oTFnerxYRgeQ2BZqoFrLrnmmf5UWTCY2jA77dF3YvWew7".parse::<NodeId>().is_err());
        assert!(base58::encode_check(0, &[1; 31]).parse::<NodeId>().is_err());
        assert!("1".repeat(129).parse::<NodeId>().is_err());
        assert!(NodeId::from_slice(&[1; 33]).is_err());
    }

    #[test]
    fn piece_id_is_derived_per_node_and_number() {
        let root = PieceId::new([0x22; 32]);
        let node = hex::decode("53b36b0e2a9875d884566ba5df20bf0a88d7e40b283234ae77df25396e0c8000")
            .unwrap();
        let node = NodeId::from_slice(&node).unwrap();
        assert_eq!(
            root.derive(&node, 0).to_string(),
            "BBC2UGRHCEAIBLBIGJBVKT2XIB2N6UWVGAYALB7IX6VIMVWSBVCA"
        );
        assert_eq!(
            root.derive(&node, 1).to_string(),
            "I7KVS4RHIHVTETP6G5DK63B5KDCQWFUHK726KCNMGVCJBOEARKUA"
        );
    }

    #[test]
    fn segment_position_packs_in_order() {
        let position = SegmentPosition { part: 3, index: 7 };
        assert_eq!(position.to_u64(), 0x3_0000_0007);
        assert_eq!(SegmentPosition::from_u64(position.to_u64()), position);
        assert!(
            SegmentPosition { part: 0, index: u32::MAX } < SegmentPosition { part: 1, index: 0 }
        );
    }

    #[test]
    fn upload_id_has_version_one_and_is_not_empty() {
        assert_eq!(base58::encode_check(0, b"x").parse::<UploadId>(), Err(IdError::Version(0)));
        assert_eq!(base58::encode_check(1, b"").parse::<UploadId>(), Err(IdError::Empty));
        assert_eq!(UploadId::new(Vec::new()), None);
        assert!("".parse::<UploadId>().is_err());
        let long = "1".repeat(MAX_UPLOAD_ID_CHARACTERS + 1).parse::<UploadId>();
        assert!(matches!(long, Err(IdError::Text(Base58Error::TooLong { .. }))));
    }

    proptest! {
        #![proptest_config(crate::cases(10_000))]

        #[test]
        fn ids_round_trip(
            mut bytes: [u8; 32],
            stream_id in proptest::collection::vec(any::<u8>(), 1..300),
            packed: u64,
        ) {
            prop_assert_eq!(NodeId::from_slice(&bytes), Ok(NodeId::new(bytes)));
            bytes[31] = 0;
            let node = NodeId::new(bytes);
            prop_assert_eq!(node.to_string().parse(), Ok(node));
            let piece = PieceId::new(bytes);
            prop_assert_eq!(piece.to_string().parse(), Ok(piece));
            let upload = UploadId::new(stream_id).unwrap();
            prop_assert_eq!(upload.to_string().parse(), Ok(upload));
            let position = SegmentPosition::from_u64(packed);
            prop_assert_eq!(position.to_u64(), packed);
        }

        #[test]
        fn parsing_any_text_does_not_panic(text in "[1-9A-HJ-NP-Za-km-z]{0,60}|.{0,60}") {
            if let Ok(id) = text.parse::<NodeId>() {
                prop_assert_eq!(id.to_string().parse(), Ok(id));
            }
            if let Ok(id) = text.parse::<PieceId>() {
                prop_assert_eq!(id.to_string(), text.as_str());
            }
            let _ = text.parse::<UploadId>();
        }
    }
}
