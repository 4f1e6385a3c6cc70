//! gRPC streams of the piece store that do not copy payloads. Received messages are slices of the
//! connection's buffers. Over DRPC, `drpc/body.rs` converts the streams to packets and back.
//!
//! The general codec copies each message to a buffer on both sides, which is too slow for piece data.

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

use super::encode::{MessageParts, PREFIX};
use crate::bytes_queue::BytesQueue;
use crate::codec::{self, Bounded, MESSAGE_LIMIT};
use crate::pool::Connection;

/// Media type of gRPC.
pub(super) const GRPC_MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");

/// Starts a streaming call. Returns when the peer has begun to respond.
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
    request.headers_mut().insert(CONTENT_TYPE, GRPC_MEDIA_TYPE);
    let response = connection
        .channel()
        .oneshot(request)
        .await
        .map_err(|error| Status::from_error(error.into()))?;

    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() != Code::Ok => Err(status),
        _ => Ok(Messages::of_response(response)),
    }
}

/// The messages of a stream in order.
pub struct Messages<M> {
    body: Body,
    received: BytesQueue,
    /// Length of the next message, if its prefix has been read.
    length: Option<usize>,
    /// HTTP status of the response, whose trailers hold the status of the call; `None` for a request.
    http_status: Option<http::StatusCode>,
    ended: bool,
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

    fn new(body: Body, http_status: Option<http::StatusCode>) -> Self {
        Self {
            body,
            received: BytesQueue::default(),
            length: None,
            http_status,
            ended: false,
            message: PhantomData,
        }
    }
}

impl<M: Bounded> Messages<M> {
    /// Returns the next message, or `None` when the sender has closed its side.
    ///
    /// `bytes` fields are slices of the received buffers, which they keep alive. The future is
    /// cancellation safe.
    ///
    /// # Errors
    /// The sender's or the transport's status. A malformed message is [`Code::Internal`], and one longer
    /// than [`MESSAGE_LIMIT`] is [`Code::OutOfRange`], both without a source. No message follows an
    /// error.
    pub async fn next(&mut self) -> Result<Option<M>, Status> {
        while !self.ended {
            match self.take_message() {
                Ok(None) => {}
                message => {
                    self.ended = message.is_err();
                    return message;
                }
            }
            let frame =
                poll_fn(|context| http_body::Body::poll_frame(Pin::new(&mut self.body), context));
            match frame.await {
                Some(Ok(frame)) => self.push(frame)?,
                Some(Err(status)) => {
                    self.ended = true;
                    // A client that cancels its call has closed its side.
                    let closed = self.http_status.is_none() && status.code() == Code::Cancelled;
                    return if closed { Ok(None) } else { Err(status) };
                }
                None => self.end(None)?,
            }
        }
        Ok(None)
    }

    /// Removes and decodes the next message; `None` if it is incomplete.
    fn take_message(&mut self) -> Result<Option<M>, Status> {
        if self.length.is_none() && self.received.len() >= PREFIX {
            if self.received.get_u8() != 0 {
                return Err(Status::internal("unexpected compressed message"));
            }
            let length = self.received.get_u32() as usize;
            if length > MESSAGE_LIMIT {
                return Err(Status::out_of_range(format!(
                    "message too long: {length} bytes, the limit is {MESSAGE_LIMIT}"
                )));
            }
            self.length = Some(length);
        }
        let Some(length) = self.length.filter(|length| *length <= self.received.len()) else {
            return Ok(None);
        };
        self.length = None;
        Ok(Some(codec::decode((&mut self.received).take(length))?))
    }

    fn push(&mut self, frame: Frame<Bytes>) -> Result<(), Status> {
        match frame.into_data() {
            Ok(data) => self.received.push(data),
            Err(frame) => self.end(frame.into_trailers().ok())?,
        }
        Ok(())
    }

    /// Ends the stream and checks that it is complete and successful.
    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Status> {
        self.ended = true;
        let status = trailers.as_ref().and_then(Status::from_header_map);
        if let Some(failure) = status.as_ref().filter(|status| status.code() != Code::Ok) {
            return Err(failure.clone());
        }
        if self.length.is_some() || !self.received.is_empty() {
            return Err(Status::internal("stream ended within a message"));
        }
        match self.http_status {
            Some(code) if status.is_none() => {
                Err(Status::unknown(format!("response without a gRPC status: HTTP status {code}")))
            }
            _ => Ok(()),
        }
    }
}

impl<M> fmt::Debug for Messages<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").field("ended", &self.ended).finish_non_exhaustive()
    }
}

/// A body of messages. A server's body ends with the status of the call.
pub(super) struct OutgoingBody<S> {
    messages: S,
    parts: std::array::IntoIter<Bytes, 3>,
    is_server: bool,
    ended: bool,
}

impl<S> OutgoingBody<S>
where
    S: Stream<Item = Result<MessageParts, Status>> + Send + Unpin + 'static,
{
    /// Creates the body of a request. An error resets the stream.
    pub(super) fn request(messages: S) -> Body {
        Body::new(Self::new(messages, false))
    }

    /// Creates the body of a response.
    pub(super) fn response(messages: S) -> Body {
        Body::new(Self::new(messages, true))
    }

    fn new(messages: S, is_server: bool) -> Self {
        let parts = MessageParts::default().into_iter();
        Self { messages, parts, is_server, ended: false }
    }

    fn trailers(&mut self, status: &Status) -> Option<Result<Frame<Bytes>, Status>> {
        self.ended = true;
        let mut trailers = HeaderMap::new();
        Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers)))
    }
}

impl<S> http_body::Body for OutgoingBody<S>
where
    S: Stream<Item = Result<MessageParts, Status>> + Send + Unpin + 'static,
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
            if self.ended {
                return Poll::Ready(None);
            }
            match (ready!(Pin::new(&mut self.messages).poll_next(context)), self.is_server) {
                (Some(Ok(parts)), _) => self.parts = parts.into_iter(),
                (Some(Err(status)), true) => return Poll::Ready(self.trailers(&status)),
                (None, true) => return Poll::Ready(self.trailers(&Status::ok(""))),
                (Some(Err(status)), false) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(status)));
                }
                (None, false) => self.ended = true,
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
    use crate::piece::encode;

    /// A body of the given frames.
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
    async fn messages_split_anywhere_are_read_whole() {
        let sent = vec![chunk(0, 40), PieceUploadRequest::default(), chunk(40, 1500)];
        let wire: Bytes =
            sent.iter().flat_map(|it| encode::upload_request(it.clone())).flatten().collect();
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
    async fn payload_received_in_one_frame_is_not_copied() {
        let parts = encode::upload_request(chunk(0, 65_280));
        let payload = parts[1].clone();
        let mut messages = Messages::<PieceUploadRequest>::of_request(body(parts));
        let message = messages.next().await.unwrap().unwrap();
        assert_eq!(message.chunk.unwrap().data.as_ptr(), payload.as_ptr());

        let whole: Bytes = encode::upload_request(chunk(0, 65_280)).concat().into();
        let mut messages = Messages::<PieceUploadRequest>::of_request(body([whole.clone()]));
        let data = messages.next().await.unwrap().unwrap().chunk.unwrap().data;
        assert!(whole.as_ptr_range().contains(&data.as_ptr()));
    }

    #[tokio::test]
    async fn malformed_stream_ends_with_an_error_without_source() {
        let wire = Bytes::from(encode::upload_request(chunk(0, 10)).concat());
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
    async fn response_ends_with_the_status_of_its_trailers() {
        let data = Bytes::from(vec![5; 3000]);
        let chunk = Some(piece_download_response::Chunk { offset: 3, data });
        let reply = PieceDownloadResponse { chunk, ..PieceDownloadResponse::default() };
        let good = || Ok(encode::download_response(reply.clone()));
        let read_response = |parts: Vec<Result<MessageParts, Status>>| {
            let body = OutgoingBody::response(iter(parts));
            read(Messages::<PieceDownloadResponse>::of_response(http::Response::new(body)))
        };
        assert_eq!(
            read_response(vec![good(), good()]).await.unwrap(),
            [reply.clone(), reply.clone()]
        );
        let failure = Status::not_found("gone");
        let status = read_response(vec![good(), Err(failure)]).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::NotFound, "gone"));
    }

    #[tokio::test]
    async fn truncated_response_or_missing_status_is_an_error() {
        let mut trailers = HeaderMap::new();
        Status::ok("").add_header(&mut trailers).unwrap();
        let whole = Bytes::from(encode::upload_request(chunk(0, 10)).concat());
        for (data, trailers, code) in
            [(whole.slice(..9), Some(trailers), Code::Internal), (whole, None, Code::Unknown)]
        {
            let frames = [Some(Frame::data(data)), trailers.map(Frame::trailers)];
            let body = Body::new(Frames(frames.into_iter().flatten().collect()));
            let response = Messages::<PieceUploadRequest>::of_response(http::Response::new(body));
            assert_eq!(read(response).await.unwrap_err().code(), code);
        }
    }
}
