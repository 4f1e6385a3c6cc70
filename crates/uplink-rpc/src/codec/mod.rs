//! Decoding of messages whose size in memory is bounded before it is allocated.
//!
//! An empty item of a list takes two bytes on the wire and hundreds in memory. So the wire form is
//! walked first, and the memory that decoding would take is added up; a message that would take more
//! than four times its wire size and 1 MiB is refused. The walk follows tables that
//! `cargo xtask codegen` makes from `proto/`; it skips payloads by their length. Messages without a
//! repeated field, piece data among them, are decoded without a walk.
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

/// Memory that a message may take for each byte on the wire.
pub const MEMORY_PER_BYTE: usize = 4;
/// Memory that every message may take.
pub const MEMORY_BASE: usize = 1 << 20;

/// A generated message, with what its fields take in memory.
pub trait Bounded: Message + Default {
    /// The fields to walk; `None` if no field, however deep, is repeated.
    const SHAPE: Option<&'static Shape>;
}

/// Why a message is not decoded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The bytes are not a message.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// It would take too much memory.
    #[error("message of {wire} bytes: it takes more than {limit} bytes when decoded")]
    TooLarge {
        /// Bytes on the wire.
        wire: usize,
        /// Bytes of memory that it may take.
        limit: usize,
    },
}

/// Decodes a message unless it would take more than [`MEMORY_PER_BYTE`] times its wire size and
/// [`MEMORY_BASE`].
///
/// Fields of bytes are slices of `wire` where it allows that, and do not count.
///
/// # Errors
/// As [`Refusal`] lists. A message field that occurs twice is malformed, unless it is repeated.
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
