//! Signed messages that keep their received bytes.
//!
//! Signatures of the network cover unknown fields, and a storage node must receive an order limit
//! exactly as the satellite encoded it. Generated types drop unknown fields. These messages therefore
//! keep their bytes and are decoded on demand.

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
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::encoding::{DecodeContext, WireType, decode_varint, encode_key, encode_varint};
use prost::{DecodeError, Message};
use uplink_core::order;

/// An encoded order limit.
pub type OrderLimit = Signed<order::OrderLimit>;
/// An encoded order.
pub type Order = Signed<order::Order>;
/// An encoded piece hash.
pub type PieceHash = Signed<order::PieceHash>;

/// The wire form of a message `T`, kept byte for byte.
///
/// Decoding rejects groups, which the network never uses. Equality compares bytes.
pub struct Signed<T> {
    wire: Bytes,
    message: PhantomData<fn() -> T>,
}

impl<T: Message + Default> Signed<T> {
    /// Wraps bytes that hold one encoded `T`. Does not validate them.
    #[must_use]
    pub fn from_wire(wire: Bytes) -> Self {
        Self { wire, message: PhantomData }
    }

    /// Returns the encoded bytes.
    #[must_use]
    pub fn wire(&self) -> &Bytes {
        &self.wire
    }

    /// Decodes the message.
    ///
    /// # Errors
    /// The bytes are not a valid `T`.
    pub fn decode_typed(&self) -> Result<T, DecodeError> {
        T::decode(self.wire.clone())
    }

    fn append(
        &mut self,
        field: impl FnOnce(&mut BytesMut) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        let mut wire = BytesMut::from(std::mem::take(&mut self.wire));
        let outcome = field(&mut wire);
        self.wire = wire.freeze();
        outcome
    }
}

impl<T: Message + Default> From<T> for Signed<T> {
    fn from(message: T) -> Self {
        Self::from_wire(message.encode_to_vec().into())
    }
}

impl<T: Message + Default> Message for Signed<T> {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        buffer.put_slice(&self.wire);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        _: DecodeContext,
    ) -> Result<(), DecodeError> {
        self.append(|wire| {
            encode_key(tag, wire_type, wire);
            match wire_type {
                WireType::Varint => {
                    encode_varint(decode_varint(buffer)?, wire);
                    Ok(())
                }
                WireType::SixtyFourBit => copy(buffer, 8, wire),
                WireType::ThirtyTwoBit => copy(buffer, 4, wire),
                WireType::LengthDelimited => {
                    let length = decode_varint(buffer)?;
                    encode_varint(length, wire);
                    copy(buffer, length, wire)
                }
                WireType::StartGroup | WireType::EndGroup => Err(truncated()),
            }
        })
    }

    fn encoded_len(&self) -> usize {
        self.wire.len()
    }

    fn clear(&mut self) {
        self.wire.clear();
    }
}

fn copy(from: &mut impl Buf, length: u64, to: &mut BytesMut) -> Result<(), DecodeError> {
    match usize::try_from(length) {
        Ok(length) if length <= from.remaining() => {
            to.put(from.take(length));
            Ok(())
        }
        _ => Err(truncated()),
    }
}

/// Returns prost's error for truncated input, which has no public constructor.
fn truncated() -> DecodeError {
    let mut empty: &[u8] = &[];
    decode_varint(&mut empty).err().unwrap_or_else(|| unreachable!("empty input holds no varint"))
}

impl<T> Clone for Signed<T> {
    fn clone(&self) -> Self {
        Self { wire: self.wire.clone(), message: PhantomData }
    }
}

impl<T> Default for Signed<T> {
    fn default() -> Self {
        Self { wire: Bytes::new(), message: PhantomData }
    }
}

impl<T> PartialEq for Signed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.wire == other.wire
    }
}

impl<T> Eq for Signed<T> {}

impl<T> Hash for Signed<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.wire.hash(state);
    }
}

impl<T> fmt::Debug for Signed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signed({} bytes)", self.wire.len())
    }
}
