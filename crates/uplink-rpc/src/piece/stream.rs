//! gRPC streams of the piece store: messages out without copying their payloads, messages in as
//! slices of what the connection received.
//!
//! The general codec gathers every message in a buffer, on both sides. For piece data that is one
//! copy of every byte too many.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_core::Stream;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE};
use http_body::Frame;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::ServiceExt;

use super::wire::{PREFIX, Parts};
use crate::client::MESSAGE_LIMIT;
use crate::codec::{self, Bounded};
use crate::pool::Connection;

/// Media type of gRPC.
pub(super) const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// Starts a streaming call; its messages can be read as soon as the peer answers.
pub(super) async fn call<M>(
    connection: &Connection,
    path: &'static str,
    body: Body,
) -> Result<Messages<M>, Status> {
    let mut request = http::Request::new(body);
    *request.method_mut() = http::Method::POST;
    *request.version_mut() = http::Version::HTTP_2;
    *request.uri_mut() = http::Uri::from_static(path);
    request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    request.headers_mut().insert(CONTENT_TYPE, GRPC);
    let response = connection.channel().oneshot(request).await;
    let response = response.map_err(|error| Status::from_error(error.into()))?;
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() != Code::Ok => Err(status),
        _ => Ok(Messages::of_response(response)),
    }
}

/// The messages of a stream, one after the other.
pub struct Messages<M> {
    body: Body,
    received: Received,
    /// Length of the message whose prefix has been read.
    length: Option<usize>,
    /// The answer whose trailers tell how the call ended; `None` for the messages of a request.
    answer: Option<http::StatusCode>,
    over: bool,
    message: PhantomData<fn() -> M>,
}

impl<M> Messages<M> {
    pub(super) fn of_request(body: Body) -> Self {
        Self::new(body, None)
    }

    fn of_response(response: http::Response<Body>) -> Self {
        let status = response.status();
        Self::new(response.into_body(), Some(status))
    }

    fn new(body: Body, answer: Option<http::StatusCode>) -> Self {
        let received = Received::default();
        Self { body, received, length: None, answer, over: false, message: PhantomData }
    }
}

impl<M: Bounded> Messages<M> {
    /// Returns the next message, or `None` when the sender has closed its side.
    ///
    /// Fields of bytes are slices of received memory, which they keep. Dropping the future loses
    /// nothing.
    ///
    /// # Errors
    /// What the sender says, or the transport. A message that cannot be read, or is longer than
    /// [`MESSAGE_LIMIT`], is [`Code::Internal`] or [`Code::OutOfRange`] without a source. After an
    /// error there is no further message.
    pub async fn next(&mut self) -> Result<Option<M>, Status> {
        while !self.over {
            match self.complete() {
                Ok(None) => {}
                message => {
                    self.over = message.is_err();
                    return message;
                }
            }
            let frame =
                poll_fn(|context| http_body::Body::poll_frame(Pin::new(&mut self.body), context));
            match frame.await {
                Some(Ok(frame)) => self.take(frame)?,
                Some(Err(status)) => {
                    self.over = true;
                    // A client that takes its call back has closed its side.
                    let closed = self.answer.is_none() && status.code() == Code::Cancelled;
                    return if closed { Ok(None) } else { Err(status) };
                }
                None => self.end(None)?,
            }
        }
        Ok(None)
    }

    /// Takes a message out of what was received, if all of it is there.
    fn complete(&mut self) -> Result<Option<M>, Status> {
        if self.length.is_none() && self.received.length >= PREFIX {
            if self.received.get_u8() != 0 {
                return Err(Status::internal("a compressed message, which was not asked for"));
            }
            let length = self.received.get_u32() as usize;
            if length > MESSAGE_LIMIT {
                return Err(Status::out_of_range(format!(
                    "a message of {length} bytes, the limit is {MESSAGE_LIMIT}"
                )));
            }
            self.length = Some(length);
        }
        let Some(length) = self.length.filter(|length| *length <= self.received.length) else {
            return Ok(None);
        };
        self.length = None;
        Ok(Some(codec::decode((&mut self.received).take(length))?))
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Result<(), Status> {
        match frame.into_data() {
            Ok(data) => self.received.push(data),
            Err(frame) => self.end(frame.into_trailers().ok())?,
        }
        Ok(())
    }

    /// Notes the end of the stream, and finds out whether it is a good one.
    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Status> {
        self.over = true;
        let status = trailers.as_ref().and_then(Status::from_header_map);
        if let Some(failure) = status.as_ref().filter(|status| status.code() != Code::Ok) {
            return Err(failure.clone());
        }
        if self.length.is_some() || self.received.length > 0 {
            return Err(Status::internal("the stream ended within a message"));
        }
        match self.answer {
            Some(answer) if status.is_none() => {
                Err(Status::unknown(format!("HTTP status {answer} and no status of the call")))
            }
            _ => Ok(()),
        }
    }
}

impl<M> fmt::Debug for Messages<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").field("over", &self.over).finish_non_exhaustive()
    }
}

/// Received bytes in the parts they came in. Reading a field of bytes that lies in one part takes
/// a slice of it.
#[derive(Default)]
struct Received {
    /// None of them empty.
    parts: VecDeque<Bytes>,
    length: usize,
}

impl Received {
    fn push(&mut self, part: Bytes) {
        self.length = self.length.saturating_add(part.len());
        if !part.is_empty() {
            self.parts.push_back(part);
        }
    }
}

impl Buf for Received {
    fn remaining(&self) -> usize {
        self.length
    }

    fn chunk(&self) -> &[u8] {
        self.parts.front().map_or(&[], |part| part)
    }

    fn advance(&mut self, mut count: usize) {
        self.length = self.length.saturating_sub(count);
        while let Some(part) = self.parts.front_mut() {
            if count < part.len() {
                part.advance(count);
                return;
            }
            count = count.saturating_sub(part.len());
            self.parts.pop_front();
        }
    }

    fn copy_to_bytes(&mut self, count: usize) -> Bytes {
        if let Some(part) = self.parts.front_mut()
            && count < part.len()
        {
            self.length = self.length.saturating_sub(count);
            return part.split_to(count);
        }
        if self.parts.front().is_some_and(|part| part.len() == count) {
            self.length = self.length.saturating_sub(count);
            return self.parts.pop_front().unwrap_or_default();
        }
        let mut copy = bytes::BytesMut::with_capacity(count.min(self.length));
        bytes::BufMut::put(&mut copy, (&mut *self).take(count));
        copy.freeze()
    }
}

/// A body made of messages: a client's ends with the last, a server's with the status of the call.
pub(super) struct Outgoing<S> {
    messages: S,
    parts: std::array::IntoIter<Bytes, 3>,
    server: bool,
    over: bool,
}

impl<S> Outgoing<S>
where
    S: Stream<Item = Result<Parts, Status>> + Send + Unpin + 'static,
{
    /// Messages of a client. An error resets the stream.
    pub(super) fn request(messages: S) -> Body {
        Body::new(Self::new(messages, false))
    }

    /// Messages of a server.
    pub(super) fn response(messages: S) -> Body {
        Body::new(Self::new(messages, true))
    }

    fn new(messages: S, server: bool) -> Self {
        Self { messages, parts: Parts::default().into_iter(), server, over: false }
    }

    fn trailers(&mut self, status: &Status) -> Option<Result<Frame<Bytes>, Status>> {
        self.over = true;
        let mut trailers = HeaderMap::new();
        Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers)))
    }
}

impl<S> http_body::Body for Outgoing<S>
where
    S: Stream<Item = Result<Parts, Status>> + Send + Unpin + 'static,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            if let Some(part) = self.parts.find(|part| !part.is_empty()) {
                return Poll::Ready(Some(Ok(Frame::data(part))));
            }
            if self.over {
                return Poll::Ready(None);
            }
            match (ready!(Pin::new(&mut self.messages).poll_next(context)), self.server) {
                (Some(Ok(parts)), _) => self.parts = parts.into_iter(),
                (Some(Err(status)), true) => return Poll::Ready(self.trailers(&status)),
                (None, true) => return Poll::Ready(self.trailers(&Status::ok(""))),
                (Some(Err(status)), false) => {
                    self.over = true;
                    return Poll::Ready(Some(Err(status)));
                }
                (None, false) => self.over = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use futures_util::stream::iter;

    use super::*;
    use crate::r#gen::piecestore::{
        PieceDownloadResponse, PieceUploadRequest, piece_download_response, piece_upload_request,
    };
    use crate::piece::wire;

    /// A body of given frames.
    struct Frames(VecDeque<Frame<Bytes>>);

    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(self.0.pop_front().map(Ok))
        }
    }

    fn body(parts: impl IntoIterator<Item = Bytes>) -> Body {
        Body::new(Frames(parts.into_iter().map(Frame::data).collect()))
    }

    fn chunk(offset: i64, size: usize) -> PieceUploadRequest {
        let data = (0..size).map(|i| (i * 7) as u8).collect();
        let chunk = Some(piece_upload_request::Chunk { offset, data });
        PieceUploadRequest { chunk, hash_algorithm: 1, ..PieceUploadRequest::default() }
    }

    async fn read<M: Bounded>(mut messages: Messages<M>) -> Result<Vec<M>, Status> {
        let mut read = Vec::new();
        while let Some(message) = messages.next().await? {
            read.push(message);
        }
        Ok(read)
    }

    #[tokio::test]
    async fn messages_cut_anywhere_are_read_whole() {
        let sent = vec![chunk(0, 40), PieceUploadRequest::default(), chunk(40, 1500)];
        let wire: Bytes =
            sent.iter().flat_map(|it| wire::upload_request(it.clone())).flatten().collect();
        for cut in 0..=wire.len() {
            let parts = [wire.slice(..cut), Bytes::new(), wire.slice(cut..)];
            assert!(
                read(Messages::<PieceUploadRequest>::of_request(body(parts))).await.unwrap()
                    == sent,
                "cut at {cut}"
            );
        }
        for size in 1..20 {
            let parts = wire.chunks(size).map(Bytes::copy_from_slice);
            assert!(
                read(Messages::<PieceUploadRequest>::of_request(body(parts))).await.unwrap()
                    == sent,
                "by {size}"
            );
        }
    }

    #[tokio::test]
    async fn payload_that_came_in_one_frame_is_not_copied() {
        let parts = wire::upload_request(chunk(0, 65_280));
        let payload = parts[1].clone();
        let mut messages = Messages::<PieceUploadRequest>::of_request(body(parts));
        let message = messages.next().await.unwrap().unwrap();
        assert_eq!(message.chunk.unwrap().data.as_ptr(), payload.as_ptr());

        let whole: Bytes = wire::upload_request(chunk(0, 65_280)).concat().into();
        let mut messages = Messages::<PieceUploadRequest>::of_request(body([whole.clone()]));
        let data = messages.next().await.unwrap().unwrap().chunk.unwrap().data;
        assert!(whole.as_ptr_range().contains(&data.as_ptr()));
    }

    #[tokio::test]
    async fn unreadable_streams_end_with_an_error_that_has_no_source() {
        let wire = Bytes::from(wire::upload_request(chunk(0, 10)).concat());
        let mut too_long = vec![0];
        too_long.extend_from_slice(&u32::MAX.to_be_bytes());
        let flagged = [&[1], &wire[1..]].concat();
        let malformed = vec![0, 0, 0, 0, 1, 0xff];
        for (bytes, code) in [
            (too_long, Code::OutOfRange),
            (flagged, Code::Internal),
            (malformed, Code::Internal),
            (wire[..3].to_vec(), Code::Internal),
            (wire[..PREFIX].to_vec(), Code::Internal),
            (wire[..wire.len() - 1].to_vec(), Code::Internal),
        ] {
            let mut messages = Messages::<PieceUploadRequest>::of_request(body([bytes.into()]));
            let status = messages.next().await.unwrap_err();
            assert_eq!(status.code(), code, "{status}");
            assert!(std::error::Error::source(&status).is_none());
            assert!(messages.next().await.unwrap().is_none());
        }
    }

    #[tokio::test]
    async fn answer_ends_with_the_status_of_its_trailers() {
        let data = Bytes::from(vec![5; 3000]);
        let chunk = Some(piece_download_response::Chunk { offset: 3, data });
        let reply = PieceDownloadResponse { chunk, ..PieceDownloadResponse::default() };
        let good = || Ok(wire::download_response(reply.clone()));
        let answer = |parts: Vec<Result<Parts, Status>>| {
            let body = Outgoing::response(iter(parts));
            read(Messages::<PieceDownloadResponse>::of_response(http::Response::new(body)))
        };
        assert_eq!(answer(vec![good(), good()]).await.unwrap(), [reply.clone(), reply.clone()]);
        let failure = Status::not_found("gone");
        let status = answer(vec![good(), Err(failure)]).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::NotFound, "gone"));
    }

    #[tokio::test]
    async fn answer_that_is_cut_or_has_no_status_is_an_error() {
        let mut trailers = HeaderMap::new();
        Status::ok("").add_header(&mut trailers).unwrap();
        let whole = Bytes::from(wire::upload_request(chunk(0, 10)).concat());
        for (data, trailers, code) in
            [(whole.slice(..9), Some(trailers), Code::Internal), (whole, None, Code::Unknown)]
        {
            let frames = [Some(Frame::data(data)), trailers.map(Frame::trailers)];
            let body = Body::new(Frames(frames.into_iter().flatten().collect()));
            let answer = Messages::<PieceUploadRequest>::of_response(http::Response::new(body));
            assert_eq!(read(answer).await.unwrap_err().code(), code);
        }
    }
}
