//! gRPC messages ↔ packets. Payloads stay where they are in both directions.
//!
//! A message in a gRPC stream is a flag byte, its length in four bytes, and its bytes. As a packet
//! it is its bytes alone, in frames.

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

/// Flag and length before each message.
const PREFIX: usize = 5;
/// Messages that a reader may be behind its connection.
const BEHIND: usize = 4;

type BoxError = Box<dyn StdError + Send + Sync>;

/// A gRPC stream, cut anywhere → frames of messages.
#[derive(Debug, Default)]
pub(super) struct Packer {
    prefix: [u8; PREFIX],
    /// Bytes of the prefix that have come.
    known: usize,
    message: Option<Message>,
}

/// The message that is being sent.
#[derive(Debug)]
struct Message {
    id: Id,
    /// Bytes that have not come.
    missing: usize,
    /// What has come of the next frame.
    frame: Parts,
}

impl Packer {
    /// Adds bytes of the stream, and writes the frames they complete.
    ///
    /// What comes after our direction of the call was closed is dropped.
    ///
    /// # Errors
    /// A message is compressed, or longer than [`LIMIT`]: it cannot be sent.
    pub(super) fn push(
        &mut self,
        mut data: Bytes,
        call: &mut Call,
        to: &mut Parts,
    ) -> Result<(), Status> {
        while !data.is_empty() || self.message.as_ref().is_some_and(Message::is_whole) {
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

    /// Notes the end of the stream.
    ///
    /// # Errors
    /// It ends within a message.
    pub(super) fn finish(&self) -> Result<(), Status> {
        if self.message.is_some() || self.known > 0 {
            return Err(Status::internal("the stream ended within a message"));
        }
        Ok(())
    }

    /// Reads the prefix of a message; returns the message's length when it is there.
    fn begin(&mut self, data: &mut Bytes) -> Result<Option<usize>, Status> {
        while let Some(place) = self.prefix.get_mut(self.known) {
            if data.is_empty() {
                return Ok(None);
            }
            *place = data.get_u8();
            self.known = self.known.saturating_add(1);
        }
        self.known = 0;
        let [flag, length @ ..] = self.prefix;
        let length = u32::from_be_bytes(length) as usize;
        if flag != 0 {
            return Err(Status::internal("a compressed message, which DRPC cannot carry"));
        }
        if length > LIMIT {
            let text = format!("a message of {length} bytes, the limit is {LIMIT}");
            return Err(Status::out_of_range(text));
        }
        Ok(Some(length))
    }
}

impl Message {
    fn is_whole(&self) -> bool {
        self.missing == 0
    }

    /// Takes bytes up to the end of a frame; whether the message has been written.
    fn take(&mut self, data: &mut Bytes, to: &mut Parts) -> bool {
        let room = frame::SIZE.saturating_sub(self.frame.len());
        let part = data.split_to(data.len().min(room).min(self.missing));
        self.missing = self.missing.saturating_sub(part.len());
        self.frame.push(part);
        let done = self.is_whole();
        if done || self.frame.len() >= frame::SIZE {
            frame::write(Kind::MESSAGE, self.id, done, std::mem::take(&mut self.frame), to);
        }
        done
    }
}

/// How a stream of received messages ends: with the trailers of an answer, or without any.
pub(super) type End = Result<Option<HeaderMap>, BoxError>;

/// Makes a gRPC stream out of received messages.
pub(super) fn channel() -> (Feed, Fed) {
    let (sender, receiver) = mpsc::channel(BEHIND);
    let (kept, gone) = oneshot::channel();
    let end = Arc::default();
    let feed = Feed { sender: PollSender::new(sender), end: Arc::clone(&end), gone };
    (feed, Fed { receiver, message: Parts::default(), end, over: false, _kept: kept })
}

/// The side of the connection. Dropping it unfinished tells the reader that the call was broken off.
#[derive(Debug)]
pub(super) struct Feed {
    sender: PollSender<Parts>,
    end: Arc<Mutex<Option<End>>>,
    gone: oneshot::Receiver<()>,
}

/// The side of the reader.
#[derive(Debug)]
pub(super) struct Fed {
    receiver: mpsc::Receiver<Parts>,
    /// What is left of the current message.
    message: Parts,
    end: Arc<Mutex<Option<End>>>,
    over: bool,
    _kept: oneshot::Sender<()>,
}

impl Feed {
    /// Waits until the reader can take a message; false if there is no reader any longer.
    pub(super) fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        self.sender.poll_reserve(context).map(|ready| ready.is_ok())
    }

    /// Waits until there is no reader any longer.
    pub(super) fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.gone).poll(context).map(|_| ())
    }

    /// Gives a message to the reader; [`Self::poll_ready`] has said that there is room.
    pub(super) fn send(&mut self, message: Parts) {
        // Without a reader nobody misses it.
        let _ = self.sender.send_item(message);
    }

    /// Ends the stream.
    pub(super) fn finish(self, end: End) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
    }
}

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(part) = self.message.pop() {
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        if self.over {
            return Poll::Ready(None);
        }
        let Some(message) = ready!(self.receiver.poll_recv(context)) else {
            self.over = true;
            let end = self.end.lock().unwrap_or_else(PoisonError::into_inner).take();
            let broken = || Err(Status::cancelled("the call was broken off").into());
            let end = end.unwrap_or_else(broken).transpose();
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
