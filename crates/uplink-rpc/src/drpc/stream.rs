//! The state machine of a call: what a received packet means, and which packets may be sent.
//!
//! A call ends when both sides have sent `CloseSend`, when one side has sent `Error`, `Cancel` or
//! `Close`, or when the client begins the next call. Packets of an ended call are ignored.

use bytes::Bytes;

use super::packet::Packet;
use super::parts::Parts;
use super::{Id, Kind, ProtocolError, metadata};

/// This side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Begins calls.
    Client,
    /// Answers them.
    Server,
}

/// One call, seen from one side.
#[derive(Debug)]
pub struct Call {
    side: Side,
    stream: u64,
    /// Number of the last packet sent.
    sent: u64,
    /// Whether this side may send.
    sending: bool,
    /// Whether the peer may send.
    receiving: bool,
}

/// What a received packet means to a call.
#[derive(Debug)]
pub enum Received {
    /// It has no effect.
    Ignored,
    /// A message.
    Message(Parts),
    /// The peer sends no further message. This side may still send.
    End,
    /// The peer ended the call.
    Over(Ending),
    /// The client began the next call with this packet, which ends this call.
    Next(Packet),
}

/// How the peer ended a call in both directions.
#[derive(Debug)]
pub enum Ending {
    /// It closed the call without a failure.
    Closed,
    /// It cancelled the call.
    Canceled,
    /// It failed. Holds the data of its `Error`.
    Failed(Bytes),
}

/// Accepts the calls on one connection.
#[derive(Debug, Default)]
pub struct Calls {
    /// Stream of the last call.
    last: u64,
    /// Metadata received before its call, with its stream.
    metadata: Option<(u64, Bytes)>,
}

/// The beginning of a call.
#[derive(Debug)]
pub struct Start {
    /// Its stream.
    pub stream: u64,
    /// Path of the method.
    pub path: Bytes,
    /// Validated metadata as received; empty if there is none.
    pub metadata: Bytes,
}

impl Call {
    /// Begins a call on `stream`. A client sends `Invoke` first, which [`Self::send`] numbers too.
    #[must_use]
    pub fn new(side: Side, stream: u64) -> Self {
        Self { side, stream, sent: 0, sending: true, receiving: true }
    }

    /// Handles a received packet.
    ///
    /// # Errors
    /// The packet violates the protocol. The connection must be closed.
    pub fn receive(&mut self, packet: Packet) -> Result<Received, ProtocolError> {
        let Packet { id, kind, control, .. } = packet;
        let begins = matches!(kind, Kind::INVOKE | Kind::INVOKE_METADATA);
        if !(1..=7).contains(&kind.0) {
            return if control { Ok(Received::Ignored) } else { Err(unknown(kind)) };
        }
        if begins && self.side == Side::Client {
            return Err(unknown(kind));
        }
        if id.stream > self.stream {
            if begins {
                self.close();
                return Ok(Received::Next(packet));
            }
            return between_calls(kind, id.stream).map(|()| Received::Ignored);
        }
        if id.stream < self.stream || self.is_over() {
            return Ok(Received::Ignored);
        }
        Ok(match kind {
            Kind::MESSAGE if self.receiving => Received::Message(packet.data),
            Kind::CLOSE_SEND if self.receiving => {
                self.receiving = false;
                Received::End
            }
            Kind::CLOSE => self.over(Ending::Closed),
            Kind::CANCEL => self.over(Ending::Canceled),
            Kind::ERROR => self.over(Ending::Failed(packet.data.into_bytes())),
            _ if begins => return Err(ProtocolError::InvokedTwice { stream: self.stream }),
            _ => Received::Ignored,
        })
    }

    /// Returns the number of a packet to send; `None` if the packet must not be sent, because this side
    /// is closed.
    ///
    /// `CloseSend` closes this side. `Error`, `Cancel` and `Close` end the call.
    pub fn send(&mut self, kind: Kind) -> Option<Id> {
        let last = matches!(kind, Kind::ERROR | Kind::CANCEL | Kind::CLOSE);
        // The call can be ended after this side's `CloseSend`.
        if !self.sending && (!last || self.is_over()) {
            return None;
        }
        match kind {
            Kind::CLOSE_SEND => self.sending = false,
            _ if last => self.close(),
            _ => {}
        }
        self.sent = self.sent.saturating_add(1);
        Some(Id { stream: self.stream, message: self.sent })
    }

    /// Returns whether both directions are closed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        !self.sending && !self.receiving
    }

    fn over(&mut self, ending: Ending) -> Received {
        self.close();
        Received::Over(ending)
    }

    fn close(&mut self) {
        self.sending = false;
        self.receiving = false;
    }
}

impl Calls {
    /// Handles a packet received between calls; returns the call that it begins.
    ///
    /// # Errors
    /// The packet violates the protocol. The connection must be closed.
    pub fn receive(&mut self, packet: Packet) -> Result<Option<Start>, ProtocolError> {
        let Packet { id, kind, control, data } = packet;
        if !(1..=7).contains(&kind.0) {
            return if control { Ok(None) } else { Err(unknown(kind)) };
        }
        if id.stream <= self.last {
            return Ok(None);
        }
        match kind {
            Kind::INVOKE_METADATA => {
                let data = data.into_bytes();
                metadata::read(&data)?;
                self.metadata = Some((id.stream, data));
                Ok(None)
            }
            Kind::INVOKE => {
                self.last = id.stream;
                let metadata = match self.metadata.take() {
                    Some((stream, metadata)) if stream == id.stream => metadata,
                    _ => Bytes::new(),
                };
                Ok(Some(Start { stream: id.stream, path: data.into_bytes(), metadata }))
            }
            _ => between_calls(kind, id.stream).map(|()| None),
        }
    }
}

/// Checks a packet on a stream without a call. Only a message is an error: ending no call is a no-op.
fn between_calls(kind: Kind, stream: u64) -> Result<(), ProtocolError> {
    match kind {
        Kind::MESSAGE => Err(ProtocolError::NoCall { stream }),
        _ => Ok(()),
    }
}

fn unknown(kind: Kind) -> ProtocolError {
    ProtocolError::UnknownKind { kind: kind.0 }
}
