//! Decoding of messages with a bound on memory that is checked before allocating.
//!
//! An empty list item takes two bytes on the wire and hundreds in memory. The decoder therefore walks
//! the wire form first and adds up the memory that decoding would take. It rejects a message that
//! would take more than four times its wire size plus 1 MiB. The walk follows tables that
//! `cargo xtask codegen` generates from `proto/`, and skips payloads by their length. Messages without
//! a repeated field, including piece data, are decoded without a walk.
//!
//! Both transports decode here: generated clients and servers with [`BoundedCodec`], all others with
//! [`decode`].

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
use std::marker::PhantomData;

use bytes::Buf;
use prost::{DecodeError, Message};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::ProstEncoder;

mod walk;

pub use walk::{Field, Item, Shape};

/// Maximum size of one message in bytes, in either direction.
pub const MESSAGE_LIMIT: usize = 4 << 20;
/// Bytes of memory allowed for each byte on the wire.
pub const MEMORY_PER_BYTE: usize = 4;
/// Bytes of memory allowed for every message.
pub const MEMORY_BASE: usize = 1 << 20;

/// A generated message with the memory layout of its fields.
pub trait Bounded: Message + Default {
    /// The fields to walk; `None` if no field is repeated at any depth.
    const SHAPE: Option<&'static Shape>;
}

/// Why a message was rejected.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The bytes are not a valid message.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// Decoding would take too much memory.
    #[error("message of {wire} bytes takes more than {limit} bytes when decoded")]
    TooLarge {
        /// Bytes on the wire.
        wire: usize,
        /// Bytes of memory allowed.
        limit: usize,
    },
}

/// Decodes a message unless it would take more than [`MEMORY_PER_BYTE`] times its wire size plus
/// [`MEMORY_BASE`].
///
/// `bytes` fields are slices of `wire` where its type allows that, and do not count.
///
/// # Errors
/// See [`Refusal`]. A message that repeats a singular message field is malformed.
pub fn decode<M: Bounded>(mut wire: impl Buf) -> Result<M, Refusal> {
    if let Some(shape) = M::SHAPE {
        if wire.chunk().len() < wire.remaining() {
            return decode(wire.copy_to_bytes(wire.remaining()));
        }
        walk::check(shape, wire.chunk())?;
    }
    Ok(M::decode(wire)?)
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Malformed(reason) => Self::internal(reason),
            Refusal::TooLarge { .. } => Self::out_of_range(refusal.to_string()),
        }
    }
}

/// The codec of generated clients and servers.
pub struct BoundedCodec<E, D>(PhantomData<fn(E) -> D>);

/// The decoder of [`BoundedCodec`].
pub struct BoundedDecoder<D>(PhantomData<fn() -> D>);

impl<E, D> Codec for BoundedCodec<E, D>
where
    E: Message + Send + 'static,
    D: Bounded + Send + 'static,
{
    type Encode = E;
    type Decode = D;
    type Encoder = ProstEncoder<E>;
    type Decoder = BoundedDecoder<D>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(PhantomData)
    }
}

impl<D: Bounded> Decoder for BoundedDecoder<D> {
    type Item = D;
    type Error = Status;

    fn decode(&mut self, wire: &mut DecodeBuf<'_>) -> Result<Option<D>, Status> {
        Ok(Some(decode(wire)?))
    }
}

impl<E, D> Default for BoundedCodec<E, D> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<E, D> fmt::Debug for BoundedCodec<E, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoundedCodec")
    }
}

impl<D> fmt::Debug for BoundedDecoder<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoundedDecoder")
    }
}

#[cfg(test)]
mod tests;
