//! One accepted connection: its calls, one after the other, into the services of a process.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE};
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use super::body::{Feed, Packer, channel};
use super::packet::Packet;
use super::stream::{Call, Calls, Received, Side, Start};
use super::{ConnectionError, Kind, Wire, frame, metadata};
use crate::peer::Peer;
use crate::status;

/// A connection without a call is closed after this time; clients keep them for two minutes.
const IDLE: Duration = Duration::from_secs(5 * 60);
/// Time to take leave.
const LEAVE: Duration = Duration::from_secs(1);

type Answering = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

/// Serves `routes` on a connection until the client closes it, or between calls after `stop`.
///
/// Every request carries `peer` in its extensions. A service that does not take what the client
/// sends keeps the connection from reading on, and then learns late that the client has gone:
/// services bound their waits. Dropping the future drops the request in
/// progress, its body, and the connection.
///
/// # Errors
/// The connection fails, or the client breaks the protocol.
pub(crate) async fn serve<S, R>(
    socket: S,
    peer: Peer,
    routes: R,
    stop: CancellationToken,
) -> Result<(), ConnectionError>
where
    S: AsyncRead + AsyncWrite + Unpin,
    R: Services,
{
    let mut wire = Wire::new(socket);
    let mut calls = Calls::default();
    while let Some(start) = next_call(&mut wire, &mut calls, &stop).await? {
        let mut next = Some(start);
        while let Some(start) = next.take() {
            let mut served = Served::begin(start, &peer, &routes);
            let end = poll_fn(|context| served.poll(&mut wire, context)).await?;
            drop(served);
            match end {
                End::Over => {}
                End::Next(packet) => next = calls.receive(packet)?,
                End::Gone => return Ok(()),
            }
        }
    }
    poll_fn(|context| wire.poll_send(context)).await?;
    let _ = timeout(LEAVE, poll_fn(|context| wire.poll_close(context))).await;
    Ok(())
}

/// What answers calls.
pub(crate) trait Services:
    Service<
        http::Request<Body>,
        Response = http::Response<Body>,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
{
}

impl<R> Services for R where
    R: Service<
            http::Request<Body>,
            Response = http::Response<Body>,
            Error = Infallible,
            Future: Send + 'static,
        > + Clone
{
}

/// Waits for a client to begin a call; `None` when there will be no other.
async fn next_call<S>(
    wire: &mut Wire<S>,
    calls: &mut Calls,
    stop: &CancellationToken,
) -> Result<Option<Start>, ConnectionError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let receive = poll_fn(|context| {
        // The end of the last answer.
        let _ = wire.poll_send(context)?;
        loop {
            let Some(packet) = ready!(wire.poll_packet(context))? else {
                return Poll::Ready(Ok(None));
            };
            if let Some(start) = calls.receive(packet)? {
                return Poll::Ready(Ok(Some(start)));
            }
        }
    });
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok(None),
        start = receive => start,
        () = sleep(IDLE) => Ok(None),
    }
}

/// How serving a call ended.
enum End {
    Over,
    Next(Packet),
    /// The client has closed the connection.
    Gone,
}

/// A call in progress.
struct Served {
    call: Call,
    /// Where messages of the request go while somebody wants them.
    request: Option<Feed>,
    answer: Answer,
    packer: Packer,
    path: Bytes,
}

enum Answer {
    /// The path is none.
    Refused,
    Awaited(Answering),
    Streaming(Body),
    Given,
}

impl Served {
    fn begin(start: Start, peer: &Peer, routes: &impl Services) -> Self {
        let (feed, fed) = channel();
        let call = Call::new(Side::Server, start.stream);
        let answer = match request(&start, peer, Body::new(fed)) {
            Some(request) => Answer::Awaited(Box::pin(routes.clone().call(request))),
            None => Answer::Refused,
        };
        Self { call, request: Some(feed), answer, packer: Packer::default(), path: start.path }
    }

    fn poll<S>(
        &mut self,
        wire: &mut Wire<S>,
        context: &mut Context<'_>,
    ) -> Poll<Result<End, ConnectionError>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            if let Poll::Ready(end) = self.poll_request(wire, context) {
                return Poll::Ready(end);
            }
            if self.poll_answer(wire, context).is_ready() {
                return Poll::Ready(Ok(End::Over));
            }
            let waits = !wire.unsent().is_empty();
            let sent = wire.poll_send(context)?;
            // What was sent made room for more of the answer.
            if !waits || sent.is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Receives while the service takes what was received.
    fn poll_request<S>(
        &mut self,
        wire: &mut Wire<S>,
        context: &mut Context<'_>,
    ) -> Poll<Result<End, ConnectionError>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            if let Some(feed) = &mut self.request
                && !ready!(feed.poll_ready(context))
            {
                self.request = None;
            }
            let Some(packet) = ready!(wire.poll_packet(context))? else {
                return Poll::Ready(Ok(End::Gone));
            };
            match self.call.receive(packet)? {
                Received::Ignored => {}
                Received::Message(message) => {
                    if let Some(feed) = &mut self.request {
                        feed.send(message);
                    }
                }
                Received::End => {
                    if let Some(feed) = self.request.take() {
                        feed.finish(Ok(None));
                    }
                }
                Received::Over(_) => return Poll::Ready(Ok(End::Over)),
                Received::Next(packet) => return Poll::Ready(Ok(End::Next(packet))),
            }
        }
    }

    /// Makes more of the answer while the connection takes it; ready after its last packet.
    fn poll_answer<S>(&mut self, wire: &mut Wire<S>, context: &mut Context<'_>) -> Poll<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        while wire.has_room() {
            let ended = match &mut self.answer {
                Answer::Refused => Some(Status::unimplemented("")),
                Answer::Awaited(answering) => {
                    let Ok(response) = ready!(answering.as_mut().poll(context));
                    let (head, body) = response.into_parts();
                    self.answer = Answer::Streaming(body);
                    Status::from_header_map(&head.headers)
                }
                Answer::Streaming(body) => match ready!(Pin::new(body).poll_frame(context)) {
                    Some(Ok(frame)) => self.take(frame, wire),
                    Some(Err(status)) => Some(status),
                    None => Some(Status::unknown("the answer has no status")),
                },
                Answer::Given => return Poll::Ready(()),
            };
            if let Some(status) = ended {
                self.answer = Answer::Given;
                self.end(&status, wire);
            }
        }
        Poll::Pending
    }

    /// Sends a part of the answer; returns the status that ends it.
    fn take<S>(&mut self, frame: http_body::Frame<Bytes>, wire: &mut Wire<S>) -> Option<Status>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match frame.into_data() {
            Ok(data) => self.packer.push(data, &mut self.call, wire.unsent()).err(),
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                let status = Status::from_header_map(&trailers);
                let status = status.unwrap_or_else(|| Status::unknown("the answer has no status"));
                let whole = self.packer.finish();
                Some(whole.err().filter(|_| status.code() == tonic::Code::Ok).unwrap_or(status))
            }
        }
    }

    fn end<S>(&mut self, status: &Status, wire: &mut Wire<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (kind, data) = match status.code() {
            tonic::Code::Ok => (Kind::CLOSE_SEND, Bytes::new()),
            _ if status::is_unknown_path(status) => (Kind::ERROR, status::unknown_path(&self.path)),
            _ => (Kind::ERROR, status::to_drpc(status)),
        };
        if let Some(id) = self.call.send(kind) {
            frame::write_packet(kind, id, data, wire.unsent());
        }
    }
}

/// The call as the services see it; `None` if its path cannot be one of theirs.
fn request(start: &Start, peer: &Peer, body: Body) -> Option<http::Request<Body>> {
    let path = http::uri::PathAndQuery::try_from(&start.path[..]).ok()?;
    if path.query().is_some() || !path.path().starts_with('/') {
        return None;
    }
    let mut request = http::Request::new(body);
    *request.method_mut() = http::Method::POST;
    *request.version_mut() = http::Version::HTTP_2;
    *request.uri_mut() = http::Uri::from(path);
    let pairs = metadata::read(&start.metadata).unwrap_or_default();
    let mut headers: HeaderMap = metadata::to_headers(&pairs);
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    *request.headers_mut() = headers;
    request.extensions_mut().insert(peer.clone());
    Some(request)
}
