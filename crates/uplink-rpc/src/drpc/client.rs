//! One call on one connection, and connections kept between calls.

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

use super::body::{End, Feed, Packer, channel};
use super::stream::{Call, Ending, Received, Side};
use super::{ConnectionError, Kind, ProtocolError, Wire, frame, metadata};
use crate::status;

/// A connection without a call is closed after this time.
const IDLE: Duration = Duration::from_secs(2 * 60);
/// Most connections kept without a call.
const KEPT: usize = 5;

/// A connection on which no call is in progress.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    wire: Wire<S>,
    /// Stream of the last call.
    last: u64,
}

/// Connections to one peer without a call. Clones share them.
#[derive(Debug)]
pub(crate) struct Idle<S>(Arc<Mutex<Vec<Kept<S>>>>);

/// A connection that is taken by the next call or by its watcher, whoever comes first.
#[derive(Debug)]
struct Kept<S> {
    connection: Arc<Mutex<Option<Connection<S>>>>,
    watcher: AbortHandle,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Takes a connection on which nothing was sent or received.
    pub(crate) fn new(socket: S) -> Self {
        Self { wire: Wire::new(socket), last: 0 }
    }

    /// Receives what is left of earlier calls; ready when the connection is of no use any longer.
    fn poll_unusable(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            match ready!(self.wire.poll_packet(context)) {
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
    /// Takes the connection used last, if there is one that its peer has not closed.
    pub(crate) fn take(&self) -> Option<Connection<S>> {
        loop {
            let kept = lock(&self.0).pop()?;
            // Its watcher may have closed it.
            let Some(mut connection) = lock(&kept.connection).take() else { continue };
            let context = &mut Context::from_waker(noop_waker_ref());
            if connection.poll_unusable(context).is_pending() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next call, and closes it when it has waited for too long, or when
    /// its peer closes it.
    pub(crate) fn put(&self, connection: Connection<S>) {
        let connection = Arc::new(Mutex::new(Some(connection)));
        let watcher = tokio::spawn(watch(Arc::clone(&connection))).abort_handle();
        let mut all = lock(&self.0);
        all.retain(|kept| lock(&kept.connection).is_some());
        all.push(Kept { connection, watcher });
        if all.len() > KEPT {
            all.remove(0);
        }
    }
}

/// Closes a connection that is of no use any longer.
async fn watch<S>(kept: Arc<Mutex<Option<Connection<S>>>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let unusable = poll_fn(|context| match &mut *lock(&kept) {
        Some(connection) => connection.poll_unusable(context),
        None => Poll::Ready(()),
    });
    tokio::select! {
        () = unusable => {}
        () = sleep(IDLE) => {}
    }
    lock(&kept).take();
}

impl<S> Drop for Kept<S> {
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

/// Begins a call. The connection goes to `idle` when the call has ended well enough for another.
///
/// Must be called inside a tokio runtime. The answer has no headers of its own, and failures are in
/// its trailers; a lost connection is an error of its body. Dropping the answer takes the call back.
pub(crate) fn call<S>(
    mut connection: Connection<S>,
    request: http::Request<Body>,
    idle: Idle<S>,
) -> http::Response<Body>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    connection.last = connection.last.saturating_add(1);
    let (feed, fed) = channel();
    let (head, body) = request.into_parts();
    let mut calling = Calling {
        call: Call::new(Side::Client, connection.last),
        connection,
        body: Some(body),
        packer: Packer::default(),
        answer: feed,
        outcome: None,
        deadline: deadline(&head.headers).map(|time| Box::pin(sleep(time))),
    };
    let metadata = metadata::of_headers(&head.headers);
    if !metadata.is_empty() {
        calling.send(Kind::INVOKE_METADATA, metadata);
    }
    calling.send(Kind::INVOKE, Bytes::copy_from_slice(head.uri.path().as_bytes()));
    tokio::spawn(async move {
        let usable = poll_fn(|context| calling.poll(context)).await;
        // First, so that who waits for the end of this call finds it.
        if usable {
            idle.put(calling.connection);
        }
        if let Some(outcome) = calling.outcome {
            calling.answer.finish(outcome);
        }
    });
    let mut response = http::Response::new(Body::new(fed));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// A call in progress.
struct Calling<S> {
    connection: Connection<S>,
    call: Call,
    /// What is left of the request.
    body: Option<Body>,
    packer: Packer,
    /// Where the answer goes.
    answer: Feed,
    /// How it has ended.
    outcome: Option<End>,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Calling<S> {
    /// Goes on with the call; ready when it has ended, with whether the connection can be used again.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        loop {
            if let Poll::Ready(usable) = self.poll_taken_back(context) {
                return Poll::Ready(usable);
            }
            if let Poll::Ready(status) = self.poll_request(context) {
                self.finish(&status);
                return Poll::Ready(self.end(Kind::CANCEL, context));
            }
            let waits = !self.connection.wire.unsent().is_empty();
            let sent = match self.connection.wire.poll_send(context) {
                Poll::Ready(Err(error)) => {
                    // The peer may have said why it hung up.
                    if self.poll_answer(context).is_pending() {
                        self.fail(error);
                    }
                    return Poll::Ready(false);
                }
                sent => sent.is_ready(),
            };
            if let Poll::Ready(ended) = self.poll_answer(context) {
                let usable = ended && self.end(Kind::CLOSE, context);
                return Poll::Ready(usable);
            }
            // What was sent made room for more of the request.
            if !waits || !sent {
                return Poll::Pending;
            }
        }
    }

    /// Ready when nobody wants the answer any longer, or it took too long.
    fn poll_taken_back(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        let gone = self.answer.poll_gone(context).is_ready();
        let late =
            self.deadline.as_mut().is_some_and(|late| late.as_mut().poll(context).is_ready());
        if late {
            self.finish(&Status::deadline_exceeded("the call took too long"));
        }
        if gone || late {
            return Poll::Ready(self.end(Kind::CANCEL, context));
        }
        Poll::Pending
    }

    /// Makes more of the request while the connection takes it; ready if it fails.
    fn poll_request(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        while self.connection.wire.has_room() {
            let Some(body) = &mut self.body else { break };
            let unsent = self.connection.wire.unsent();
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

    /// Receives while the reader takes what was received; ready when the answer has ended, with
    /// whether the connection is whole.
    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        loop {
            // A reader that has gone is noticed elsewhere.
            if !ready!(self.answer.poll_ready(context)) {
                return Poll::Pending;
            }
            let received = match ready!(self.connection.wire.poll_packet(context)) {
                Ok(Some(packet)) => self.call.receive(packet).map_err(ConnectionError::from),
                Ok(None) => Err(ConnectionError::Closed),
                Err(error) => Err(error),
            };
            let status = match received {
                Ok(Received::Ignored) => continue,
                Ok(Received::Message(message)) => {
                    self.answer.send(message);
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

    /// Ends the answer with a status.
    fn finish(&mut self, status: &Status) {
        let mut trailers = HeaderMap::new();
        let added = status.add_header(&mut trailers);
        self.outcome = Some(added.map(|()| Some(trailers)).map_err(Into::into));
    }

    /// Ends the answer because of the connection.
    fn fail(&mut self, error: ConnectionError) {
        self.outcome = Some(Err(error.into()));
    }

    /// Tells the peer that the call is over, if it does not know; whether the connection can be used
    /// again. What does not leave at once would keep the next call waiting: then it cannot.
    fn end(&mut self, kind: Kind, context: &mut Context<'_>) -> bool {
        let wire = &mut self.connection.wire;
        if !matches!(wire.poll_send(context), Poll::Ready(Ok(()))) {
            return false;
        }
        self.send(kind, Bytes::new());
        matches!(self.connection.wire.poll_send(context), Poll::Ready(Ok(())))
    }

    fn send(&mut self, kind: Kind, data: Bytes) {
        if let Some(id) = self.call.send(kind) {
            frame::write_packet(kind, id, data, self.connection.wire.unsent());
        }
    }
}

/// The time that a request allows itself, which DRPC cannot tell the peer.
fn deadline(headers: &HeaderMap) -> Option<Duration> {
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
