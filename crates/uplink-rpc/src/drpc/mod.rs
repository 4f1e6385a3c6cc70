//! DRPC, the public network's transport: one call at a time on a connection, messages in frames.
//!
//! ```text
//!   generated clients, piece client            generated services, piece server
//!        │ HTTP request and response                   ▲ HTTP request and response
//!        ▼                                             │
//!   client  one call on one connection         server  one connection, sequential calls
//!        └──────────── body ─── gRPC messages ↔ packets ────────────┘
//!                  packet_io ─── a socket read and written by one task
//!   without I/O:        stream · packet · frame · metadata · parts
//! ```
//!
//! The modules without I/O are public, so that they can be fuzzed and tested against the vectors.
//! Source of the format: `storj/drpc`, packages `drpcwire`, `drpcmetadata` and `drpcmanager`.

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

pub(crate) mod body;
pub(crate) mod client;
pub mod frame;
pub mod metadata;
pub mod packet;
mod packet_io;
pub mod parts;
pub(crate) mod server;
pub mod stream;

pub(crate) use packet_io::{ConnectionError, PacketIo};

/// Number of a packet: its call, and its index among the packets of one side of that call.
///
/// Ordered as packets must arrive: by stream, then by message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// Number of the call on its connection, chosen by the client, from 1.
    pub stream: u64,
    /// Number of the packet in its call and direction, from 1.
    pub message: u64,
}

/// Kind of a packet. An open set: peers may send other kinds than those named here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind(pub u8);

impl Kind {
    /// Begins a call. The data is the path.
    pub const INVOKE: Self = Self(1);
    /// One message of the call.
    pub const MESSAGE: Self = Self(2);
    /// Ends the call with a failure.
    pub const ERROR: Self = Self(3);
    /// Cancels the call.
    pub const CANCEL: Self = Self(4);
    /// Ends both directions of the call.
    pub const CLOSE: Self = Self(5);
    /// Ends the sender's direction of the call.
    pub const CLOSE_SEND: Self = Self(6);
    /// Metadata of the call that the next `INVOKE` begins.
    pub const INVOKE_METADATA: Self = Self(7);
}

/// How a peer violated the protocol. The connection must be closed without a response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A packet number is lower than expected.
    #[error("packet number went backwards: {found} after {last}")]
    IdGoesBack {
        /// The number received.
        found: Id,
        /// The number of the frame before it.
        last: Id,
    },
    /// A call was begun on a stream that is in use.
    #[error("stream {stream} is already in use by a call")]
    InvokedTwice {
        /// The stream.
        stream: u64,
    },
    /// The frames of one packet have different kinds.
    #[error("packet {id} changes from kind {from} to kind {to}")]
    KindChange {
        /// The packet.
        id: Id,
        /// Kind of its first frame.
        from: u8,
        /// Kind of a later frame.
        to: u8,
    },
    /// Metadata is not a sequence of pairs, or has too many.
    #[error("malformed call metadata")]
    Metadata,
    /// A message was received outside a call.
    #[error("message on stream {stream} outside a call")]
    NoCall {
        /// The stream.
        stream: u64,
    },
    /// The data of one packet exceeds [`packet::LIMIT`].
    #[error("packet {id} too long: at least {length} bytes, the limit is {}", packet::LIMIT)]
    TooLong {
        /// The packet.
        id: Id,
        /// Known minimum length in bytes.
        length: u64,
    },
    /// A packet of this kind is unknown or not allowed from this side.
    #[error("unexpected packet of kind {kind}")]
    UnknownKind {
        /// The kind.
        kind: u8,
    },
    /// A varint is longer than ten bytes.
    #[error("varint longer than ten bytes")]
    VarintTooLong,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.stream, self.message)
    }
}

#[cfg(test)]
mod tests;
