//! Order limits, orders and piece hashes, and their signatures.
//!
//! A satellite signs an **order limit**, which allows a client to transfer up to a number of bytes of
//! one piece to or from one node. The client pays the node with **orders**, signed with the piece key
//! of the limit: the cumulative number of bytes. Both ends of an upload sign a **piece hash**.
//!
//! | message | signed by | with |
//! |---|---|---|
//! | order limit | satellite | its identity's key ([`SigningKey`]) |
//! | order | client | the [`PiecePrivateKey`] |
//! | piece hash | client | the [`PiecePrivateKey`] |
//! | piece hash | storage node | its identity's key ([`SigningKey`]) |
//!
//! [`signing_payload`] derives the signed bytes from the message as received, so that unknown fields
//! are signed too. A received message must therefore be stored and forwarded as raw bytes; the types
//! here are for reading messages and for creating new ones.

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

mod payload;
mod piece_key;

#[cfg(test)]
mod tests;

use prost::Message;
use prost_types::Timestamp;

pub use self::payload::{MAX_MESSAGE_SIZE, Signed, signing_payload};
pub use self::piece_key::{PieceKeyError, PiecePrivateKey, PiecePublicKey};
use crate::signature::{SignatureError, SigningKey, VerifyingKey};

/// A satellite's permission to transfer a piece.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
#[allow(clippy::exhaustive_structs)] // a message of the network
pub struct OrderLimit {
    /// Unique 16-byte number; a node accepts it once.
    #[prost(bytes = "vec", tag = "1")]
    pub serial_number: Vec<u8>,
    /// Node id of the signing satellite.
    #[prost(bytes = "vec", tag = "2")]
    pub satellite_id: Vec<u8>,
    /// No longer used.
    #[prost(bytes = "vec", tag = "3")]
    pub deprecated_uplink_id: Vec<u8>,
    /// Node id of the storage node the limit is for.
    #[prost(bytes = "vec", tag = "4")]
    pub storage_node_id: Vec<u8>,
    /// Piece id, derived for this node.
    #[prost(bytes = "vec", tag = "5")]
    pub piece_id: Vec<u8>,
    /// Maximum amount of an order, in bytes.
    #[prost(int64, tag = "6")]
    pub limit: i64,
    /// The permitted action.
    #[prost(enumeration = "PieceAction", tag = "7")]
    pub action: i32,
    /// When the piece expires; `None` or year 1 for never.
    #[prost(message, optional, tag = "8")]
    pub piece_expiration: Option<Timestamp>,
    /// When the limit expires.
    #[prost(message, optional, tag = "9")]
    pub order_expiration: Option<Timestamp>,
    /// Signature of the satellite over all other fields.
    #[prost(bytes = "vec", tag = "10")]
    pub satellite_signature: Vec<u8>,
    /// No longer used: an encoded node address.
    #[prost(bytes = "vec", optional, tag = "11")]
    pub deprecated_satellite_address: Option<Vec<u8>>,
    /// When the satellite created the limit.
    #[prost(message, optional, tag = "12")]
    pub order_creation: Option<Timestamp>,
    /// Public piece key, 32 bytes: orders must be signed with its private half.
    #[prost(bytes = "vec", tag = "13")]
    pub uplink_public_key: Vec<u8>,
    /// Identifies the satellite's key for the next field.
    #[prost(bytes = "vec", tag = "14")]
    pub encrypted_metadata_key_id: Vec<u8>,
    /// Encrypted metadata for the satellite's own use.
    #[prost(bytes = "vec", tag = "15")]
    pub encrypted_metadata: Vec<u8>,
}

impl OrderLimit {
    /// Signs as the satellite, replacing any earlier signature.
    ///
    /// # Errors
    ///
    /// When an id has the wrong length, or signing fails.
    pub fn sign(&mut self, key: &SigningKey) -> Result<(), OrderError> {
        let payload = signing_payload(&self.encode_to_vec(), Signed::OrderLimit)?;
        self.satellite_signature = key.sign(&payload)?;
        Ok(())
    }

    /// Decodes a received order limit after verifying the satellite's signature.
    ///
    /// # Errors
    ///
    /// When the bytes are malformed or the signature is not the satellite's.
    pub fn verify(wire: &[u8], satellite: &VerifyingKey) -> Result<Self, OrderError> {
        let payload = signing_payload(wire, Signed::OrderLimit)?;
        let limit = Self::decode(wire).map_err(|_| OrderError::Malformed)?;
        satellite.verify(&payload, &limit.satellite_signature)?;
        Ok(limit)
    }
}

/// A client's statement of the number of bytes a node has transferred for it so far.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
#[allow(clippy::exhaustive_structs)] // a message of the network
pub struct Order {
    /// Serial number of the limit.
    #[prost(bytes = "vec", tag = "1")]
    pub serial_number: Vec<u8>,
    /// Cumulative number of bytes.
    #[prost(int64, tag = "2")]
    pub amount: i64,
    /// Signature of the client over all other fields.
    #[prost(bytes = "vec", tag = "3")]
    pub uplink_signature: Vec<u8>,
}

impl Order {
    /// Signs as the client, replacing any earlier signature.
    ///
    /// # Errors
    ///
    /// When the serial number has the wrong length.
    pub fn sign(&mut self, key: &PiecePrivateKey) -> Result<(), OrderError> {
        let payload = signing_payload(&self.encode_to_vec(), Signed::Order)?;
        self.uplink_signature = key.sign(&payload);
        Ok(())
    }

    /// Decodes a received order after verifying the client's signature.
    ///
    /// # Errors
    ///
    /// When the bytes are malformed or hold unknown fields, or the signature is not the client's.
    pub fn verify(wire: &[u8], uplink: &PiecePublicKey) -> Result<Self, OrderError> {
        let payload = payload::without_unknown_fields(wire, Signed::Order)?;
        let order = Self::decode(wire).map_err(|_| OrderError::Malformed)?;
        uplink.verify(&payload, &order.uplink_signature)?;
        Ok(order)
    }
}

/// A signed statement of the size and hash of a stored piece.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
#[allow(clippy::exhaustive_structs)] // a message of the network
pub struct PieceHash {
    /// Piece id, derived for the node.
    #[prost(bytes = "vec", tag = "1")]
    pub piece_id: Vec<u8>,
    /// Hash of the piece's bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub hash: Vec<u8>,
    /// Signature of client or node over all other fields.
    #[prost(bytes = "vec", tag = "3")]
    pub signature: Vec<u8>,
    /// Bytes of the piece.
    #[prost(int64, tag = "4")]
    pub piece_size: i64,
    /// Client: creation time of the limit. Node: when it stored the piece.
    #[prost(message, optional, tag = "5")]
    pub timestamp: Option<Timestamp>,
    /// The hash algorithm.
    #[prost(enumeration = "PieceHashAlgorithm", tag = "6")]
    pub hash_algorithm: i32,
}

impl PieceHash {
    /// Signs as the client, replacing any earlier signature.
    ///
    /// # Errors
    ///
    /// When the piece id has the wrong length.
    pub fn sign_as_uplink(&mut self, key: &PiecePrivateKey) -> Result<(), OrderError> {
        let payload = signing_payload(&self.encode_to_vec(), Signed::PieceHash)?;
        self.signature = key.sign(&payload);
        Ok(())
    }

    /// Signs as the storage node, replacing any earlier signature.
    ///
    /// # Errors
    ///
    /// When the piece id has the wrong length, or signing fails.
    pub fn sign_as_node(&mut self, key: &SigningKey) -> Result<(), OrderError> {
        let payload = signing_payload(&self.encode_to_vec(), Signed::PieceHash)?;
        self.signature = key.sign(&payload)?;
        Ok(())
    }

    /// Decodes a received piece hash after verifying the client's signature.
    ///
    /// # Errors
    ///
    /// When the bytes are malformed or hold unknown fields, or the signature is not the client's.
    pub fn verify_from_uplink(wire: &[u8], uplink: &PiecePublicKey) -> Result<Self, OrderError> {
        let payload = payload::without_unknown_fields(wire, Signed::PieceHash)?;
        let hash = Self::decode(wire).map_err(|_| OrderError::Malformed)?;
        uplink.verify(&payload, &hash.signature)?;
        Ok(hash)
    }

    /// Decodes a received piece hash after verifying the storage node's signature.
    ///
    /// # Errors
    ///
    /// When the bytes are malformed or hold unknown fields, or the signature is not the node's.
    pub fn verify_from_node(wire: &[u8], node: &VerifyingKey) -> Result<Self, OrderError> {
        let payload = payload::without_unknown_fields(wire, Signed::PieceHash)?;
        let hash = Self::decode(wire).map_err(|_| OrderError::Malformed)?;
        node.verify(&payload, &hash.signature)?;
        Ok(hash)
    }
}

/// The action that an order limit permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
#[allow(clippy::exhaustive_enums)] // unknown values stay numbers in the message
pub enum PieceAction {
    /// Nothing.
    Invalid = 0,
    /// Upload by a client.
    Put = 1,
    /// Download by a client.
    Get = 2,
    /// Download by an audit.
    GetAudit = 3,
    /// Download by repair.
    GetRepair = 4,
    /// Upload by repair.
    PutRepair = 5,
    /// Deletion.
    Delete = 6,
    /// Upload by a node that exits the network.
    PutGracefulExit = 7,
}

/// How a piece hash is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
#[allow(clippy::exhaustive_enums)] // unknown values stay numbers in the message
pub enum PieceHashAlgorithm {
    /// SHA-256.
    Sha256 = 0,
    /// BLAKE3 with 32 bytes of output.
    Blake3 = 1,
}

/// Why a signed message is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// The message is larger than [`MAX_MESSAGE_SIZE`].
    #[error("signed message too large: {size} bytes, limit {MAX_MESSAGE_SIZE}")]
    MessageTooLarge {
        /// Bytes of the message.
        size: usize,
    },
    /// The bytes are not a message of the expected type.
    #[error("malformed message")]
    Malformed,
    /// A singular field occurs twice.
    #[error("field {field} occurs twice")]
    RepeatedField {
        /// The field number.
        field: u32,
    },
    /// A piece key is invalid, or its signature does not verify.
    #[error("piece key: {0}")]
    PieceKey(#[from] PieceKeyError),
    /// An identity's signature does not verify, or signing failed.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// A field has the wrong type or length.
    #[error("field {field} has the wrong type or length")]
    UnexpectedField {
        /// The field number.
        field: u32,
    },
    /// The message has unknown fields, which are not allowed.
    #[error("message has unknown fields")]
    UnknownField,
}
