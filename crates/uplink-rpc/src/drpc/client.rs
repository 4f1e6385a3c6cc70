//! One call on one connection, and idle connections kept between calls.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::noop_waker_ref;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;
use tokio::time::{Sleep, sleep};
use tonic::Status;
use tonic::body::Body;

use super::body::{End, MessageSender, Packer, message_channel};
use super::stream::{Call, Ending, Received, Side};
use super::{ConnectionError, Kind, PacketIo, ProtocolError, frame, metadata};
use crate::{runtime, status};

/// Time after which an idle connection is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(2 * 60);
/// Maximum number of idle connections.
const MAX_IDLE: usize = 5;

/// A connection on which no call is in progress.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    io: PacketIo<S>,
    /// Stream of the last call.
    last: u64,
}

/// Idle connections to one peer. Clones share them.
#[derive(Debug)]
pub(crate) struct Idle<S>(Arc<Mutex<Vec<IdleConnection<S>>>>);

/// An idle connection, taken either by the next call or by its watcher.
#[derive(Debug)]
struct IdleConnection<S> {
    connection: Arc<Mutex<Option<Connection<S>>>>,
    watcher: AbortHandle,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Wraps a socket on which no frame was sent or received.
    pub(crate) fn new(socket: S) -> Self {
        Self { io: PacketIo::new(socket), last: 0 }
    }

    /// Discards packets of earlier calls; ready when the connection is no longer usable.
    fn poll_unusable(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            match ready!(self.io.poll_packet(context)) {
                Ok(Some(packet)) if packet.id.stream <= self.last => {}
                _ => return Poll::Ready(()),
            }
        }
    }
}

impl<S> Idle<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Takes the most recently used connection that its peer has not closed.
    pub(crate) fn take(&self) -> Option<Connection<S>> {
        loop {
            let idle = lock(&self.0).pop()?;
            // Its watcher may have closed it.
            let Some(mut connection) = lock(&idle.connection).take() else { continue };
            let context = &mut Context::from_waker(noop_waker_ref());
            if connection.poll_unusable(context).is_pending() {
                return Some(connection);
            }
        }
    }

    /// Closes all idle connections.
    pub(crate) fn clear(&self) {
        let all = std::mem::take(&mut *lock(&self.0));
        for idle in all {
            lock(&idle.connection).take();
        }
    }

    /// Keeps a connection for the next call. Closes it after [`IDLE_TIMEOUT`], or when its peer does.
    pub(crate) fn put(&self, connection: Connection<S>) {
        let connection = Arc::new(Mutex::new(Some(connection)));
        let watcher = runtime::spawn(watch(Arc::clone(&connection))).abort_handle();
        let mut all = lock(&self.0);
        all.retain(|idle| lock(&idle.connection).is_some());
        all.push(IdleConnection { connection, watcher });
        if all.len() > MAX_IDLE {
            all.remove(0);
        }
    }
}

/// Closes an idle connection when it times out or is no longer usable.
async fn watch<S>(idle: Arc<Mutex<Option<Connection<S>>>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let unusable = poll_fn(|context| match &mut *lock(&idle) {
        Some(connection) => connection.poll_unusable(context),
        None => Poll::Ready(()),
    });
    tokio::select! {
        () = unusable => {}
        () = sleep(IDLE_TIMEOUT) => {}
    }
    lock(&idle).take();
}

impl<S> Drop for IdleConnection<S> {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

impl<S> Clone for Idle<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> Default for Idle<S> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins a call. The connection goes to `idle` after the call if it is still usable.
///
/// Must be called inside a tokio runtime. The response has no headers of its own. Failures are in its
/// trailers, and a lost connection is an error of its body. Dropping the response cancels the call.
pub(crate) fn call<S>(
    mut connection: Connection<S>,
    request: http::Request<Body>,
    idle: Idle<S>,
) -> http::Response<Body>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    connection.last = connection.last.saturating_add(1);
    let (response, response_body) = message_channel();
    let (head, body) = request.into_parts();
    let mut call = OutgoingCall {
        call: Call::new(Side::Client, connection.last),
        connection,
        body: Some(body),
        packer: Packer::default(),
        response,
        outcome: None,
        timeout: timeout(&head.headers).map(|time| Box::pin(sleep(time))),
    };
    let metadata = metadata::of_headers(&head.headers);
    if !metadata.is_empty() {
        call.send(Kind::INVOKE_METADATA, metadata);
    }
    call.send(Kind::INVOKE, Bytes::copy_from_slice(head.uri.path().as_bytes()));
    runtime::spawn(async move {
        let usable = poll_fn(|context| call.poll(context)).await;
        // Before the response ends, so that a call made after it finds the connection.
        if usable {
            idle.put(call.connection);
        }
        if let Some(outcome) = call.outcome {
            call.response.finish(outcome);
        }
    });
    let mut response = http::Response::new(Body::new(response_body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// A call in flight.
struct OutgoingCall<S> {
    connection: Connection<S>,
    call: Call,
    /// The rest of the request.
    body: Option<Body>,
    packer: Packer,
    /// Receives the response.
    response: MessageSender,
    /// How the call has ended.
    outcome: Option<End>,
    timeout: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> OutgoingCall<S> {
    /// Drives the call; ready when it has ended, with whether the connection is reusable.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        loop {
            if let Poll::Ready(usable) = self.poll_cancelled(context) {
                return Poll::Ready(usable);
            }
            if let Poll::Ready(status) = self.poll_request(context) {
                self.finish(&status);
                return Poll::Ready(self.end(Kind::CANCEL, context));
            }
            let had_unsent = !self.connection.io.unsent().is_empty();
            let sent = match self.connection.io.poll_send(context) {
                Poll::Ready(Err(error)) => {
                    // The peer may have sent a status before it closed the connection.
                    if self.poll_response(context).is_pending() {
                        self.fail(error);
                    }
                    return Poll::Ready(false);
                }
                sent => sent.is_ready(),
            };
            if let Poll::Ready(ended) = self.poll_response(context) {
                let usable = ended && self.end(Kind::CLOSE, context);
                return Poll::Ready(usable);
            }
            // Sending made room for more of the request.
            if !had_unsent || !sent {
                return Poll::Pending;
            }
        }
    }

    /// Ready when the response was dropped or the call timed out.
    fn poll_cancelled(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        let dropped = self.response.poll_closed(context).is_ready();
        let timeout = self.timeout.as_mut();
        let timed_out = timeout.is_some_and(|timeout| timeout.as_mut().poll(context).is_ready());
        if timed_out {
            self.finish(&Status::deadline_exceeded("call timed out"));
        }
        if dropped || timed_out {
            return Poll::Ready(self.end(Kind::CANCEL, context));
        }
        Poll::Pending
    }

    /// Produces more of the request while the connection has room; ready if it fails.
    fn poll_request(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        while self.connection.io.has_room() {
            let Some(body) = &mut self.body else { break };
            let unsent = self.connection.io.unsent();
            let frame = match ready!(Pin::new(body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                Some(Err(status)) => return Poll::Ready(status),
                None => {
                    self.body = None;
                    if let Err(status) = self.packer.finish() {
                        return Poll::Ready(status);
                    }
                    self.send(Kind::CLOSE_SEND, Bytes::new());
                    break;
                }
            };
            // A request has no trailers.
            if let Ok(data) = frame.into_data()
                && let Err(status) = self.packer.push(data, &mut self.call, unsent)
            {
                return Poll::Ready(status);
            }
        }
        Poll::Pending
    }

    /// Receives while the reader has room; ready when the response has ended, with whether the
    /// connection is intact.
    fn poll_response(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        loop {
            // `poll_cancelled` detects a dropped reader.
            if !ready!(self.response.poll_ready(context)) {
                return Poll::Pending;
            }
            let received = match ready!(self.connection.io.poll_packet(context)) {
                Ok(Some(packet)) => self.call.receive(packet).map_err(ConnectionError::from),
                Ok(None) => Err(ConnectionError::Closed),
                Err(error) => Err(error),
            };
            let status = match received {
                Ok(Received::Ignored) => continue,
                Ok(Received::Message(message)) => {
                    self.response.send(message);
                    continue;
                }
                Ok(Received::End | Received::Over(Ending::Closed)) => Status::ok(""),
                Ok(Received::Over(Ending::Canceled)) => Status::cancelled("canceled by the peer"),
                Ok(Received::Over(Ending::Failed(data))) => status::from_drpc(&data).into(),
                Ok(Received::Next(packet)) => {
                    self.fail(ProtocolError::UnknownKind { kind: packet.kind.0 }.into());
                    return Poll::Ready(false);
                }
                Err(error) => {
                    self.fail(error);
                    return Poll::Ready(false);
                }
            };
            self.finish(&status);
            return Poll::Ready(true);
        }
    }

    /// Ends the response with a status.
    fn finish(&mut self, status: &Status) {
        let mut trailers = HeaderMap::new();
        let added = status.add_header(&mut trailers);
        self.outcome = Some(added.map(|()| Some(trailers)).map_err(Into::into));
    }

    /// Ends the response with a connection error.
    fn fail(&mut self, error: ConnectionError) {
        self.outcome = Some(Err(error.into()));
    }

    /// Notifies the peer of the end of the call, and returns whether the connection is reusable. It is
    /// not if data remains unsent, because that would block the next call.
    fn end(&mut self, kind: Kind, context: &mut Context<'_>) -> bool {
        let io = &mut self.connection.io;
        if !matches!(io.poll_send(context), Poll::Ready(Ok(()))) {
            return false;
        }
        self.send(kind, Bytes::new());
        matches!(self.connection.io.poll_send(context), Poll::Ready(Ok(())))
    }

    fn send(&mut self, kind: Kind, data: Bytes) {
        if let Some(id) = self.call.send(kind) {
            frame::write_packet(kind, id, data, self.connection.io.unsent());
        }
    }
}

/// Returns the timeout of a request. It is enforced locally, because DRPC does not transmit it.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok().filter(|_| number.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(number.saturating_mul(3600)),
        "M" => Duration::from_secs(number.saturating_mul(60)),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}
