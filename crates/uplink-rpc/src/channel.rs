//! Calls to one peer, over whichever transport it speaks.
//!
//! The first dial decides by the protocol that the peer selects in the handshake, and its socket
//! carries the first call. What was learned is kept until a later dial finds the other.

use std::error::Error as _;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared as SharedFuture, WeakShared};
use http::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio_rustls::client::TlsStream;
use tonic::Status;
use tonic::body::Body;
use tonic::transport::{Endpoint, Uri};
use tower::ServiceExt;
use uplink_core::id::NodeId;
use uplink_core::identity::PeerIdentity;

use crate::dial::{DialError, Dialer, Socket};
use crate::drpc::client::{Connection, Idle, call};
use crate::tls::GRPC;

/// Bytes a stream may be ahead of its reader.
const STREAM_WINDOW: u32 = 4 << 20;
/// Bytes a connection may be ahead of its readers.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Largest frame accepted; bigger frames cost fewer system calls per byte.
const FRAME_SIZE: u32 = 64 << 10;
/// Most bytes of an answer's headers and trailers. The text of a status may be as long as a message,
/// as over DRPC, before it is cut.
const HEADER_LIST_SIZE: u32 = 4 << 20;
/// A silent connection is probed after this time.
const PROBE_AFTER: Duration = Duration::from_secs(20);
/// A probe unanswered for this long ends the connection.
const PROBE_DEADLINE: Duration = Duration::from_secs(10);

/// Calls to one peer, for a generated client. Clones share its connections.
///
/// gRPC carries all calls over one connection. DRPC carries one call at a time: every further one
/// takes another connection, of which a few are kept for later calls. Calls must be made inside a
/// tokio runtime; the answer of a dropped call is taken back.
#[derive(Clone)]
pub struct Channel(Arc<Shared>);

/// Why a call got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// No connection could be opened.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The gRPC connection failed.
    #[error(transparent)]
    Grpc(#[from] tonic::transport::Error),
}

/// Returns why no connection could be opened for a call. The call was never sent then: sending it
/// again cannot repeat its effect.
#[must_use]
pub fn unsent(status: &Status) -> Option<&DialError> {
    let mut error = status.source()?;
    loop {
        // A transparent error hides the dial error behind itself.
        let dial = match error.downcast_ref() {
            Some(ChannelError::Dial(dial)) => Some(dial),
            _ => error.downcast_ref(),
        };
        match (dial, error.source()) {
            (None, Some(cause)) => error = cause,
            (dial, _) => return dial,
        }
    }
}

type Stream = TlsStream<Socket>;
type Dialling = BoxFuture<'static, Result<(), DialError>>;

struct Shared {
    dialer: Dialer,
    node: NodeId,
    address: String,
    state: Mutex<State>,
    idle: Idle<Stream>,
}

#[derive(Default)]
struct State {
    spoken: Spoken,
    /// The dial that is to find out what the peer speaks, while somebody waits for it.
    dialling: Option<WeakShared<Dialling>>,
    /// Outcome of the most recent dial.
    peer: Option<Arc<PeerIdentity>>,
    error: Option<DialError>,
}

/// What the peer speaks, as far as it is known.
#[derive(Clone, Default)]
enum Spoken {
    #[default]
    Unknown,
    Grpc(tonic::transport::Channel),
    Drpc,
}

/// What carries one call.
enum Carrier {
    Grpc(tonic::transport::Channel),
    Drpc(Box<Connection<Stream>>),
}

impl Channel {
    /// Prepares calls to `node` at `address` (`host:port`); the first one connects.
    pub(crate) fn new(dialer: Dialer, node: NodeId, address: &str) -> Self {
        let (address, state, idle) = (address.to_owned(), Mutex::default(), Idle::default());
        Self(Arc::new(Shared { dialer, node, address, state, idle }))
    }

    pub(crate) fn identity(&self) -> Option<Arc<PeerIdentity>> {
        self.0.state().peer.clone()
    }

    pub(crate) fn dial_error(&self) -> Option<DialError> {
        self.0.state().error.clone()
    }

    async fn carry(self, request: Request<Body>) -> Result<Response<Body>, ChannelError> {
        match self.0.carrier().await? {
            Carrier::Grpc(channel) => Ok(channel.oneshot(request).await?),
            Carrier::Drpc(connection) => Ok(call(*connection, request, self.0.idle.clone())),
        }
    }
}

impl tower::Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = ChannelError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, ChannelError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ChannelError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().carry(request))
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("address", &self.0.address).finish_non_exhaustive()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds or opens what carries a call.
    async fn carrier(self: &Arc<Self>) -> Result<Carrier, DialError> {
        if let Some(dialling) = self.first_dial() {
            dialling.await?;
        }
        let spoken = self.state().spoken.clone();
        if let Spoken::Grpc(channel) = spoken {
            return Ok(Carrier::Grpc(channel));
        }
        match self.idle.take() {
            Some(connection) => Ok(Carrier::Drpc(Box::new(connection))),
            None => {
                let stream = self.dial().await?;
                Ok(self.learn(stream))
            }
        }
    }

    /// The one dial that all calls share until it is known what the peer speaks.
    fn first_dial(self: &Arc<Self>) -> Option<SharedFuture<Dialling>> {
        let mut state = self.state();
        if !matches!(state.spoken, Spoken::Unknown) {
            return None;
        }
        let running = state.dialling.as_ref().and_then(WeakShared::upgrade);
        // One that has failed already is of the past.
        if let Some(running) = running.filter(|running| running.peek().is_none()) {
            return Some(running);
        }
        let this = Arc::clone(self);
        let dialling = async move {
            let stream = this.dial().await?;
            if let Carrier::Drpc(connection) = this.learn(stream) {
                this.idle.put(*connection);
            }
            Ok(())
        };
        let dialling = dialling.boxed().shared();
        state.dialling = dialling.downgrade();
        Some(dialling)
    }

    async fn dial(&self) -> Result<Stream, DialError> {
        let dialled = self.dialer.dial(Some(self.node), &self.address).await;
        let mut state = self.state();
        match dialled {
            Ok((stream, peer)) => {
                (state.peer, state.error) = (Some(peer), None);
                Ok(stream)
            }
            Err(error) => {
                state.error = Some(error.clone());
                Err(error)
            }
        }
    }

    /// Takes note of what the peer has selected.
    fn learn(self: &Arc<Self>, stream: Stream) -> Carrier {
        let mut state = self.state();
        if !speaks_grpc(&stream) {
            state.spoken = Spoken::Drpc;
            return Carrier::Drpc(Box::new(Connection::new(stream)));
        }
        if let Spoken::Grpc(channel) = &state.spoken {
            return Carrier::Grpc(channel.clone());
        }
        let connector = Connector { shared: Arc::downgrade(self), first: Some(stream) };
        // The URI only names the authority header; the connector knows where to go.
        let channel = Endpoint::from_static("http://node")
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME_SIZE)
            .http2_max_header_list_size(HEADER_LIST_SIZE)
            .http2_keep_alive_interval(PROBE_AFTER)
            .keep_alive_timeout(PROBE_DEADLINE)
            .connect_with_connector_lazy(connector);
        state.spoken = Spoken::Grpc(channel.clone());
        Carrier::Grpc(channel)
    }
}

fn speaks_grpc(stream: &Stream) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(GRPC)
}

/// Opens the connections of a gRPC channel; the first one is open already.
struct Connector {
    /// The channel is part of it, and calls in progress keep it.
    shared: Weak<Shared>,
    first: Option<Stream>,
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = DialError;
    type Future = BoxFuture<'static, Result<Self::Response, DialError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (first, shared) = (self.first.take(), self.shared.upgrade());
        let redial = async move {
            if let Some(stream) = first {
                return Ok(TokioIo::new(stream));
            }
            let gone = |reason: &str| DialError::Handshake {
                address: shared.as_ref().map(|shared| shared.address.clone()).unwrap_or_default(),
                reason: reason.to_owned(),
            };
            let Some(shared) = &shared else { return Err(gone("nobody needs the connection")) };
            let stream = shared.dial().await?;
            if speaks_grpc(&stream) {
                return Ok(TokioIo::new(stream));
            }
            // The next call finds it.
            if let Carrier::Drpc(connection) = shared.learn(stream) {
                shared.idle.put(*connection);
            }
            Err(gone("the peer has ceased to speak gRPC"))
        };
        redial.boxed()
    }
}

#[cfg(test)]
mod tests;
