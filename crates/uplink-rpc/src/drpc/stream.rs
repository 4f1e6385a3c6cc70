//! The life of a call: what each packet means, and what may be sent.
//!
//! A call is over when both sides have sent `CloseSend`, when one side has sent `Error`, `Cancel`
//! or `Close`, or when the client begins the next. Packets of a call that is over are ignored.

use bytes::Bytes;

use super::packet::Packet;
use super::parts::Parts;
use super::{Id, Kind, ProtocolError, metadata};

/// Which side of a connection we are.
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
    /// Whether our direction is open.
    sending: bool,
    /// Whether the peer's direction is open.
    receiving: bool,
}

/// What a received packet means to a call.
#[derive(Debug)]
pub enum Received {
    /// Nothing.
    Ignored,
    /// A message.
    Message(Parts),
    /// No further message will come; ours may go on.
    End,
    /// The call is over.
    Over(Ending),
    /// The call is over, because the client has begun the next with this packet.
    Next(Packet),
}

/// How the peer ended a call at once.
#[derive(Debug)]
pub enum Ending {
    /// It wants no more, and failed at nothing.
    Closed,
    /// It took the call back.
    Canceled,
    /// It failed; the data of its `Error`.
    Failed(Bytes),
}

/// The calls that arrive on one connection.
#[derive(Debug, Default)]
pub struct Calls {
    /// Stream of the last call.
    last: u64,
    /// Metadata that came ahead of a call, and its stream.
    metadata: Option<(u64, Bytes)>,
}

/// A call as it begins.
#[derive(Debug)]
pub struct Start {
    /// Its stream.
    pub stream: u64,
    /// What is called.
    pub path: Bytes,
    /// Metadata as received, found to be readable; empty if there is none.
    pub metadata: Bytes,
}

impl Call {
    /// Begins a call on `stream`. A client sends `Invoke` first; [`Self::send`] numbers that, too.
    #[must_use]
    pub fn new(side: Side, stream: u64) -> Self {
        Self { side, stream, sent: 0, sending: true, receiving: true }
    }

    /// Takes a packet of the peer.
    ///
    /// # Errors
    /// The packet breaks the protocol: the connection is over.
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
                (self.sending, self.receiving) = (false, false);
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

    /// Numbers a packet to send; `None` if our direction is closed, and it must not be sent.
    ///
    /// `CloseSend` closes our direction, `Error`, `Cancel` and `Close` end the call.
    pub fn send(&mut self, kind: Kind) -> Option<Id> {
        let last = matches!(kind, Kind::ERROR | Kind::CANCEL | Kind::CLOSE);
        // Also after our `CloseSend`, the call can be ended at once.
        if !self.sending && (!last || self.is_over()) {
            return None;
        }
        match kind {
            Kind::CLOSE_SEND => self.sending = false,
            _ if last => (self.sending, self.receiving) = (false, false),
            _ => {}
        }
        self.sent = self.sent.saturating_add(1);
        Some(Id { stream: self.stream, message: self.sent })
    }

    /// Whether nothing more can be sent or received.
    #[must_use]
    pub fn is_over(&self) -> bool {
        !self.sending && !self.receiving
    }

    fn over(&mut self, ending: Ending) -> Received {
        (self.sending, self.receiving) = (false, false);
        Received::Over(ending)
    }
}

impl Calls {
    /// Takes a packet while no call is in progress; returns the call that it begins.
    ///
    /// # Errors
    /// The packet breaks the protocol: the connection is over.
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
                let told = self.metadata.take().filter(|(stream, _)| *stream == id.stream);
                let metadata = told.map(|(_, metadata)| metadata).unwrap_or_default();
                Ok(Some(Start { stream: id.stream, path: data.into_bytes(), metadata }))
            }
            _ => between_calls(kind, id.stream).map(|()| None),
        }
    }
}

/// A packet of a stream on which no call has begun: ending nothing does no harm.
fn between_calls(kind: Kind, stream: u64) -> Result<(), ProtocolError> {
    match kind {
        Kind::MESSAGE => Err(ProtocolError::NoCall { stream }),
        _ => Ok(()),
    }
}

fn unknown(kind: Kind) -> ProtocolError {
    ProtocolError::UnknownKind { kind: kind.0 }
}
