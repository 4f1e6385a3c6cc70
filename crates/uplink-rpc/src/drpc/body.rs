//! gRPC messages ↔ packets, without copying payloads.
//!
//! A message in a gRPC stream is a flag byte, a length of four bytes, and its bytes. A packet holds
//! only the message's bytes, split into frames.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::Frame;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::PollSender;
use tonic::Status;

use super::packet::LIMIT;
use super::parts::Parts;
use super::stream::Call;
use super::{Id, Kind, frame};

/// Size of the prefix of each message: flag and length.
const PREFIX: usize = 5;
/// Maximum number of received messages buffered for a reader.
const MAX_BUFFERED: usize = 4;

type BoxError = Box<dyn StdError + Send + Sync>;

/// Converts a gRPC stream, received in arbitrary parts, to frames.
#[derive(Debug, Default)]
pub(super) struct Packer {
    prefix: [u8; PREFIX],
    /// Number of received bytes of the prefix.
    prefix_length: usize,
    message: Option<Message>,
}

/// The message that is being sent.
#[derive(Debug)]
struct Message {
    id: Id,
    /// Number of bytes still to receive.
    missing: usize,
    /// Received bytes of the next frame.
    frame: Parts,
}

impl Packer {
    /// Adds bytes of the stream and writes the frames that they complete.
    ///
    /// Drops the bytes if this side of the call is closed.
    ///
    /// # Errors
    /// A message is compressed or longer than [`LIMIT`].
    pub(super) fn push(
        &mut self,
        mut data: Bytes,
        call: &mut Call,
        to: &mut Parts,
    ) -> Result<(), Status> {
        while !data.is_empty() || self.message.as_ref().is_some_and(Message::is_complete) {
            match &mut self.message {
                Some(message) => {
                    if message.take(&mut data, to) {
                        self.message = None;
                    }
                }
                None => {
                    let Some(length) = self.begin(&mut data)? else { continue };
                    let Some(id) = call.send(Kind::MESSAGE) else { return Ok(()) };
                    self.message = Some(Message { id, missing: length, frame: Parts::default() });
                }
            }
        }
        Ok(())
    }

    /// Checks that the stream may end here.
    ///
    /// # Errors
    /// It ends within a message.
    pub(super) fn finish(&self) -> Result<(), Status> {
        if self.message.is_some() || self.prefix_length > 0 {
            return Err(Status::internal("stream ended within a message"));
        }
        Ok(())
    }

    /// Reads the prefix of a message; returns the message's length once the prefix is complete.
    fn begin(&mut self, data: &mut Bytes) -> Result<Option<usize>, Status> {
        while let Some(byte) = self.prefix.get_mut(self.prefix_length) {
            if data.is_empty() {
                return Ok(None);
            }
            *byte = data.get_u8();
            self.prefix_length = self.prefix_length.saturating_add(1);
        }
        self.prefix_length = 0;
        let [flag, length @ ..] = self.prefix;
        let length = u32::from_be_bytes(length) as usize;
        if flag != 0 {
            return Err(Status::internal("compressed message: not supported by DRPC"));
        }
        if length > LIMIT {
            let text = format!("message too long: {length} bytes, the limit is {LIMIT}");
            return Err(Status::out_of_range(text));
        }
        Ok(Some(length))
    }
}

impl Message {
    fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// Takes bytes up to the end of a frame; returns whether the message is complete.
    fn take(&mut self, data: &mut Bytes, to: &mut Parts) -> bool {
        let room = frame::SIZE.saturating_sub(self.frame.len());
        let part = data.split_to(data.len().min(room).min(self.missing));
        self.missing = self.missing.saturating_sub(part.len());
        self.frame.push(part);
        let done = self.is_complete();
        if done || self.frame.len() >= frame::SIZE {
            frame::write(Kind::MESSAGE, self.id, done, std::mem::take(&mut self.frame), to);
        }
        done
    }
}

/// How a stream of received messages ends: with or without trailers, or with an error.
pub(super) type End = Result<Option<HeaderMap>, BoxError>;

/// Creates a gRPC stream of received messages, with a sender for them.
pub(super) fn message_channel() -> (MessageSender, MessageBody) {
    let (sender, receiver) = mpsc::channel(MAX_BUFFERED);
    let (alive, closed) = oneshot::channel();
    let end = Arc::default();
    let sender = MessageSender { sender: PollSender::new(sender), end: Arc::clone(&end), closed };
    let body =
        MessageBody { receiver, message: Parts::default(), end, ended: false, _alive: alive };
    (sender, body)
}

/// The connection's side. Dropping it before [`Self::finish`] fails the reader with `cancelled`.
#[derive(Debug)]
pub(super) struct MessageSender {
    sender: PollSender<Parts>,
    end: Arc<Mutex<Option<End>>>,
    /// Resolves when the body is dropped.
    closed: oneshot::Receiver<()>,
}

/// The reader's side.
#[derive(Debug)]
pub(super) struct MessageBody {
    receiver: mpsc::Receiver<Parts>,
    /// The rest of the current message.
    message: Parts,
    end: Arc<Mutex<Option<End>>>,
    ended: bool,
    _alive: oneshot::Sender<()>,
}

impl MessageSender {
    /// Waits until the reader has room for a message; false if the reader was dropped.
    pub(super) fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        self.sender.poll_reserve(context).map(|ready| ready.is_ok())
    }

    /// Waits until the reader is dropped.
    pub(super) fn poll_closed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.closed).poll(context).map(|_| ())
    }

    /// Sends a message to the reader. [`Self::poll_ready`] must have returned true before.
    pub(super) fn send(&mut self, message: Parts) {
        // Fails only without a reader.
        let _ = self.sender.send_item(message);
    }

    /// Ends the stream.
    pub(super) fn finish(self, end: End) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
    }
}

impl http_body::Body for MessageBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(part) = self.message.pop() {
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        let Some(message) = ready!(self.receiver.poll_recv(context)) else {
            self.ended = true;
            let end = self.end.lock().unwrap_or_else(PoisonError::into_inner).take();
            let cancelled = || Err(Status::cancelled("call cancelled").into());
            let end = end.unwrap_or_else(cancelled).transpose();
            return Poll::Ready(end.map(|end| end.map(Frame::trailers)));
        };
        // A packet is at most 4 MiB.
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        let mut prefix = [0; PREFIX];
        prefix[1..].copy_from_slice(&length.to_be_bytes());
        self.message = message;
        Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(&prefix)))))
    }
}
