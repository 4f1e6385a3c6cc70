//! Packets over a socket that one task reads and writes.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::ProtocolError;
use super::packet::{Packet, Packets};
use super::parts::Parts;

/// Number of unsent bytes from which no more are produced.
pub(super) const MAX_UNSENT: usize = 64 << 10;

/// Maximum number of parts per vectored write.
const MAX_SLICES: usize = 16;

/// One connection: a reader of packets, and a queue of whole frames to send.
#[derive(Debug)]
pub(crate) struct PacketIo<S> {
    socket: S,
    packets: Packets,
    unsent: Parts,
    flushed: bool,
    ended: bool,
}

/// Why a connection is no longer usable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ConnectionError {
    /// The peer closed it during a call.
    #[error("connection closed by peer")]
    Closed,
    /// The socket failed.
    #[error("connection failed: {0}")]
    Io(io::Error),
    /// The peer violated the protocol.
    #[error("protocol violation by peer: {0}")]
    Protocol(#[from] ProtocolError),
}

impl<S: AsyncRead + AsyncWrite + Unpin> PacketIo<S> {
    /// Wraps a socket on which no frame was sent or received.
    pub(crate) fn new(socket: S) -> Self {
        Self {
            socket,
            packets: Packets::default(),
            unsent: Parts::default(),
            flushed: true,
            ended: false,
        }
    }

    /// Returns the unsent bytes, to which only whole frames may be appended.
    pub(super) fn unsent(&mut self) -> &mut Parts {
        &mut self.unsent
    }

    /// Returns whether more frames should be produced.
    pub(super) fn has_room(&self) -> bool {
        self.unsent.len() < MAX_UNSENT
    }

    /// Receives a packet; `None` if the peer has closed the connection.
    pub(super) fn poll_packet(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Packet>, ConnectionError>> {
        loop {
            if let Some(packet) = self.packets.take()? {
                return Poll::Ready(Ok(Some(packet)));
            }
            if self.ended {
                return Poll::Ready(Ok(None));
            }
            let read = pin!(self.socket.read_buf(self.packets.buffer())).poll(context);
            match ready!(read) {
                Ok(0) => self.ended = true,
                // Peers of the network close without a TLS `close_notify`.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.ended = true,
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(ConnectionError::Io(error))),
            }
        }
    }

    /// Sends and flushes all unsent bytes.
    pub(super) fn poll_send(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ConnectionError>> {
        while !self.unsent.is_empty() {
            self.flushed = false;
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let filled = self.unsent.chunks_vectored(&mut slices);
            let slices = slices.get(..filled).unwrap_or_default();
            let written = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
            match ready!(written).map_err(ConnectionError::Io)? {
                0 => return Poll::Ready(Err(ConnectionError::Closed)),
                written => self.unsent.advance(written),
            }
        }
        if !self.flushed {
            ready!(Pin::new(&mut self.socket).poll_flush(context)).map_err(ConnectionError::Io)?;
            self.flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Shuts the connection down.
    pub(super) fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
