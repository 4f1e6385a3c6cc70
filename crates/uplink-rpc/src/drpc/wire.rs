//! A socket that is read and written by one task.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::ProtocolError;
use super::packet::{Packet, Packets};
use super::parts::Parts;

/// Bytes that may wait for the socket before more are made.
pub(super) const AHEAD: usize = 64 << 10;

/// Parts handed to the socket at once.
const SLICES: usize = 16;

/// One connection: received packets, and bytes to send, always whole frames.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    socket: S,
    packets: Packets,
    unsent: Parts,
    flushed: bool,
    ended: bool,
}

/// Why a connection cannot be used any longer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ConnectionError {
    /// The peer closed it within a call.
    #[error("the peer closed the connection")]
    Closed,
    /// The socket failed.
    #[error("connection: {0}")]
    Io(io::Error),
    /// The peer broke the protocol.
    #[error("the peer breaks the protocol: {0}")]
    Protocol(#[from] ProtocolError),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Takes a connection on which nothing was sent or received.
    pub(crate) fn new(socket: S) -> Self {
        let (packets, unsent) = (Packets::default(), Parts::default());
        Self { socket, packets, unsent, flushed: true, ended: false }
    }

    /// Returns the bytes that wait to be sent; whole frames are added at the end.
    pub(super) fn unsent(&mut self) -> &mut Parts {
        &mut self.unsent
    }

    /// Whether more should be made to be sent.
    pub(super) fn has_room(&self) -> bool {
        self.unsent.len() < AHEAD
    }

    /// Receives a packet; `None` when the peer has closed the connection.
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
                // Peers of the network close without taking leave.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.ended = true,
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(ConnectionError::Io(error))),
            }
        }
    }

    /// Sends what waits; ready when the system has taken all of it.
    pub(super) fn poll_send(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ConnectionError>> {
        while !self.unsent.is_empty() {
            self.flushed = false;
            let mut slices = [IoSlice::new(&[]); SLICES];
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

    /// Takes leave of the peer.
    pub(super) fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
