//! DRPC, the public network's transport: one call at a time on a connection, messages in frames.
//!
//! ```text
//!   generated clients, piece client            generated services, piece server
//!        │ http request and answer                     ▲ http request and answer
//!        ▼                                             │
//!   client  one call on one connection         server  one connection, call after call
//!        └──────────── body ─── gRPC messages ↔ packets ────────────┘
//!                       wire ─── a socket, read and written together
//!   without IO:         stream · packet · frame · metadata
//! ```
//!
//! The modules without IO are public, so that they can be fuzzed and held against the vectors.
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
pub mod parts;
pub(crate) mod server;
pub mod stream;
mod wire;

pub(crate) use wire::{ConnectionError, Wire};

/// Number of a packet: its call, and its place among the packets of one side of that call.
///
/// Ordered as they must arrive: by stream, then by message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// Number of the call on its connection, chosen by the client, from 1.
    pub stream: u64,
    /// Number of the packet in its call and direction, from 1.
    pub message: u64,
}

/// What a packet is. An open set: peers may send kinds that are not named here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind(pub u8);

impl Kind {
    /// Begins a call; data is the path.
    pub const INVOKE: Self = Self(1);
    /// One message of the call.
    pub const MESSAGE: Self = Self(2);
    /// Ends the call with a failure; nothing follows.
    pub const ERROR: Self = Self(3);
    /// Takes the call back.
    pub const CANCEL: Self = Self(4);
    /// Ends both directions of the call.
    pub const CLOSE: Self = Self(5);
    /// Ends the sender's direction of the call.
    pub const CLOSE_SEND: Self = Self(6);
    /// Metadata of the call that the next packet begins.
    pub const INVOKE_METADATA: Self = Self(7);
}

/// How a peer broke the protocol. None of these can be answered: the connection is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A packet number is lower than what must come next.
    #[error("packet {found} after {last}")]
    IdGoesBack {
        /// The number received.
        found: Id,
        /// The number of the frame before it.
        last: Id,
    },
    /// A call is begun on a stream that is in use.
    #[error("a second call on stream {stream}")]
    InvokedTwice {
        /// The stream.
        stream: u64,
    },
    /// The frames of one packet disagree about its kind.
    #[error("packet {id} changes from kind {from} to kind {to}")]
    KindChange {
        /// The packet.
        id: Id,
        /// Kind of its first frame.
        from: u8,
        /// Kind of a later frame.
        to: u8,
    },
    /// Metadata is not a sequence of pairs.
    #[error("metadata of a call cannot be read")]
    Metadata,
    /// A message belongs to no call.
    #[error("a message on stream {stream}, which no call uses")]
    NoCall {
        /// The stream.
        stream: u64,
    },
    /// The data of one packet exceeds [`packet::LIMIT`].
    #[error("packet {id} of {length} bytes or more, the limit is {}", packet::LIMIT)]
    TooLong {
        /// The packet.
        id: Id,
        /// Length as far as it is known.
        length: u64,
    },
    /// A packet of this kind must not come from this side, or is not known.
    #[error("a packet of kind {kind}, which means nothing here")]
    UnknownKind {
        /// The kind.
        kind: u8,
    },
    /// A number does not end after ten bytes.
    #[error("a number of more than ten bytes")]
    VarintTooLong,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.stream, self.message)
    }
}

#[cfg(test)]
mod tests;
