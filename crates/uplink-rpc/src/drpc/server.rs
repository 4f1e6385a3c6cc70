//! Serves the sequential calls of one accepted connection.

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

use super::body::{MessageSender, Packer, message_channel};
use super::packet::Packet;
use super::stream::{Call, Calls, Received, Side, Start};
use super::{ConnectionError, Kind, PacketIo, frame, metadata};
use crate::peer::Peer;
use crate::status;

/// Time after which an idle connection is closed. Clients keep idle connections for two minutes.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// Timeout of the shutdown of a connection.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

type ResponseFuture = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

/// Serves `routes` on a connection until the client closes it, or between calls after `stop`.
///
/// Every request carries `peer` in its extensions. A service that does not read the client's messages
/// blocks reading on the connection, and then a disconnect of the client goes unnoticed: services
/// must bound their waits. Dropping the future drops the request in flight, its body, and the
/// connection.
///
/// # Errors
/// The connection fails, or the client violates the protocol.
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
    let mut io = PacketIo::new(socket);
    let mut calls = Calls::default();
    while let Some(start) = next_call(&mut io, &mut calls, &stop).await? {
        let mut next = Some(start);
        while let Some(start) = next.take() {
            let mut call = IncomingCall::begin(start, &peer, &routes);
            let end = poll_fn(|context| call.poll(&mut io, context)).await?;
            drop(call);
            match end {
                End::Over => {}
                End::Next(packet) => next = calls.receive(packet)?,
                End::Closed => return Ok(()),
            }
        }
    }
    poll_fn(|context| io.poll_send(context)).await?;
    let _ = timeout(SHUTDOWN_TIMEOUT, poll_fn(|context| io.poll_close(context))).await;
    Ok(())
}

/// A service that answers calls.
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

/// Waits for the client to begin a call; `None` when the connection is to be closed.
async fn next_call<S>(
    io: &mut PacketIo<S>,
    calls: &mut Calls,
    stop: &CancellationToken,
) -> Result<Option<Start>, ConnectionError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let receive = poll_fn(|context| {
        // Sends the rest of the last response.
        let _ = io.poll_send(context)?;
        loop {
            let Some(packet) = ready!(io.poll_packet(context))? else {
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
        () = sleep(IDLE_TIMEOUT) => Ok(None),
    }
}

/// How serving a call ended.
enum End {
    /// The connection is ready for the next call.
    Over,
    /// The client began the next call with this packet.
    Next(Packet),
    /// The client closed the connection.
    Closed,
}

/// A call being served.
struct IncomingCall {
    call: Call,
    /// Receives the messages of the request, until it ends or its reader is dropped.
    request: Option<MessageSender>,
    response: Response,
    packer: Packer,
    path: Bytes,
}

enum Response {
    /// The path is invalid.
    Rejected,
    Pending(ResponseFuture),
    Streaming(Body),
    Sent,
}

impl IncomingCall {
    fn begin(start: Start, peer: &Peer, routes: &impl Services) -> Self {
        let (sender, body) = message_channel();
        let call = Call::new(Side::Server, start.stream);
        let response = match request(&start, peer, Body::new(body)) {
            Some(request) => Response::Pending(Box::pin(routes.clone().call(request))),
            None => Response::Rejected,
        };
        Self { call, request: Some(sender), response, packer: Packer::default(), path: start.path }
    }

    fn poll<S>(
        &mut self,
        io: &mut PacketIo<S>,
        context: &mut Context<'_>,
    ) -> Poll<Result<End, ConnectionError>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            if let Poll::Ready(end) = self.poll_request(io, context) {
                return Poll::Ready(end);
            }
            if self.poll_response(io, context).is_ready() {
                return Poll::Ready(Ok(End::Over));
            }
            let had_unsent = !io.unsent().is_empty();
            let sent = io.poll_send(context)?;
            // Sending made room for more of the response.
            if !had_unsent || sent.is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Receives while the service has room for messages.
    fn poll_request<S>(
        &mut self,
        io: &mut PacketIo<S>,
        context: &mut Context<'_>,
    ) -> Poll<Result<End, ConnectionError>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            if let Some(sender) = &mut self.request
                && !ready!(sender.poll_ready(context))
            {
                self.request = None;
            }
            let Some(packet) = ready!(io.poll_packet(context))? else {
                return Poll::Ready(Ok(End::Closed));
            };
            match self.call.receive(packet)? {
                Received::Ignored => {}
                Received::Message(message) => {
                    if let Some(sender) = &mut self.request {
                        sender.send(message);
                    }
                }
                Received::End => {
                    if let Some(sender) = self.request.take() {
                        sender.finish(Ok(None));
                    }
                }
                Received::Over(_) => return Poll::Ready(Ok(End::Over)),
                Received::Next(packet) => return Poll::Ready(Ok(End::Next(packet))),
            }
        }
    }

    /// Produces more of the response while the connection has room; ready after its last packet.
    fn poll_response<S>(&mut self, io: &mut PacketIo<S>, context: &mut Context<'_>) -> Poll<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        while io.has_room() {
            let ended = match &mut self.response {
                Response::Rejected => Some(Status::unimplemented("")),
                Response::Pending(future) => {
                    let Ok(response) = ready!(future.as_mut().poll(context));
                    let (head, body) = response.into_parts();
                    self.response = Response::Streaming(body);
                    Status::from_header_map(&head.headers)
                }
                Response::Streaming(body) => match ready!(Pin::new(body).poll_frame(context)) {
                    Some(Ok(frame)) => self.take(frame, io),
                    Some(Err(status)) => Some(status),
                    None => Some(missing_status()),
                },
                Response::Sent => return Poll::Ready(()),
            };
            if let Some(status) = ended {
                self.response = Response::Sent;
                self.end(&status, io);
            }
        }
        Poll::Pending
    }

    /// Sends a part of the response; returns the status that ends it.
    fn take<S>(&mut self, frame: http_body::Frame<Bytes>, io: &mut PacketIo<S>) -> Option<Status>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match frame.into_data() {
            Ok(data) => self.packer.push(data, &mut self.call, io.unsent()).err(),
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                let status = Status::from_header_map(&trailers).unwrap_or_else(missing_status);
                match self.packer.finish() {
                    Err(incomplete) if status.code() == tonic::Code::Ok => Some(incomplete),
                    _ => Some(status),
                }
            }
        }
    }

    fn end<S>(&mut self, status: &Status, io: &mut PacketIo<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (kind, data) = match status.code() {
            tonic::Code::Ok => (Kind::CLOSE_SEND, Bytes::new()),
            _ if status::is_unknown_path(status) => (Kind::ERROR, status::unknown_path(&self.path)),
            _ => (Kind::ERROR, status::to_drpc(status)),
        };
        if let Some(id) = self.call.send(kind) {
            frame::write_packet(kind, id, data, io.unsent());
        }
    }
}

fn missing_status() -> Status {
    Status::unknown("response has no status")
}

/// Returns the call as an HTTP request; `None` if its path is invalid.
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
