//! Calls to one peer over the transport that it selects.
//!
//! The peer selects the protocol in the handshake of the first dial, whose socket carries the first
//! call. The choice is recorded until a later dial selects the other protocol.

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
use crate::tls::ALPN_GRPC;

/// HTTP/2 flow-control window of a stream in bytes.
const STREAM_WINDOW: u32 = 4 << 20;
/// HTTP/2 flow-control window of a connection in bytes.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Maximum HTTP/2 frame size; larger frames cost fewer system calls per byte.
const FRAME_SIZE: u32 = 64 << 10;
/// Maximum size in bytes of a response's headers and trailers. A status text may be as long as a
/// message, as over DRPC, before it is truncated.
const HEADER_LIST_SIZE: u32 = 4 << 20;
/// Idle time after which a connection is probed.
const PROBE_AFTER: Duration = Duration::from_secs(20);
/// Timeout of a probe, after which the connection is closed.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Calls to one peer, for a generated client. Clones share its connections.
///
/// gRPC carries all calls over one connection. DRPC carries one call at a time: each concurrent call
/// uses its own connection, and a few idle connections are kept for later calls. Calls must be made
/// inside a tokio runtime. Dropping a response cancels its call.
#[derive(Clone)]
pub struct Channel(Arc<Shared>);

/// Why a call got no response.
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

/// Returns the dial error if no connection could be opened for a call. Such a call was never sent, so
/// a retry cannot repeat its effect.
#[must_use]
pub fn dial_failure(status: &Status) -> Option<&DialError> {
    let mut error = status.source()?;
    loop {
        // `source` of a transparent error skips the dial error itself.
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
type FirstDial = BoxFuture<'static, Result<(), DialError>>;

struct Shared {
    dialer: Dialer,
    node: NodeId,
    address: String,
    state: Mutex<State>,
    idle: Idle<Stream>,
}

#[derive(Default)]
struct State {
    protocol: PeerProtocol,
    /// The dial that determines the protocol, while a call waits for it.
    first_dial: Option<WeakShared<FirstDial>>,
    /// Identity from the last successful dial; `error` is that of the last dial if it failed.
    peer: Option<Arc<PeerIdentity>>,
    error: Option<DialError>,
}

/// The protocol that the peer has selected.
#[derive(Clone, Default)]
enum PeerProtocol {
    #[default]
    Unknown,
    Grpc(tonic::transport::Channel),
    Drpc,
}

/// The connection that carries one call.
enum Carrier {
    Grpc(tonic::transport::Channel),
    Drpc(Box<Connection<Stream>>),
}

impl Channel {
    /// Creates a channel to `node` at `address` (`host:port`); the first call connects.
    pub(crate) fn new(dialer: Dialer, node: NodeId, address: &str) -> Self {
        Self(Arc::new(Shared {
            dialer,
            node,
            address: address.to_owned(),
            state: Mutex::default(),
            idle: Idle::default(),
        }))
    }

    pub(crate) fn identity(&self) -> Option<Arc<PeerIdentity>> {
        self.0.state().peer.clone()
    }

    pub(crate) fn dial_error(&self) -> Option<DialError> {
        self.0.state().error.clone()
    }

    /// Makes the next call dial. Calls in flight keep their connections.
    pub(crate) fn reset(&self) {
        self.0.state().protocol = PeerProtocol::Unknown;
        self.0.idle.clear();
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

    /// Returns an idle or a new connection for a call.
    async fn carrier(self: &Arc<Self>) -> Result<Carrier, DialError> {
        if let Some(dial) = self.first_dial() {
            dial.await?;
        }
        let protocol = self.state().protocol.clone();
        if let PeerProtocol::Grpc(channel) = protocol {
            return Ok(Carrier::Grpc(channel));
        }
        match self.idle.take() {
            Some(connection) => Ok(Carrier::Drpc(Box::new(connection))),
            None => {
                let stream = self.dial().await?;
                Ok(self.record_protocol(stream))
            }
        }
    }

    /// Returns the dial that all calls share while the protocol is unknown.
    fn first_dial(self: &Arc<Self>) -> Option<SharedFuture<FirstDial>> {
        let mut state = self.state();
        if !matches!(state.protocol, PeerProtocol::Unknown) {
            return None;
        }
        let running = state.first_dial.as_ref().and_then(WeakShared::upgrade);
        // A completed dial has failed: a new call dials again.
        if let Some(running) = running.filter(|running| running.peek().is_none()) {
            return Some(running);
        }
        let this = Arc::clone(self);
        let dial = async move {
            let stream = this.dial().await?;
            if let Carrier::Drpc(connection) = this.record_protocol(stream) {
                this.idle.put(*connection);
            }
            Ok(())
        };
        let dial = dial.boxed().shared();
        state.first_dial = dial.downgrade();
        Some(dial)
    }

    async fn dial(&self) -> Result<Stream, DialError> {
        let result = self.dialer.dial(Some(self.node), &self.address).await;
        let mut state = self.state();
        match result {
            Ok((stream, peer)) => {
                state.peer = Some(peer);
                state.error = None;
                Ok(stream)
            }
            Err(error) => {
                state.error = Some(error.clone());
                Err(error)
            }
        }
    }

    /// Records the protocol that the peer selected on `stream`.
    fn record_protocol(self: &Arc<Self>, stream: Stream) -> Carrier {
        let mut state = self.state();
        if !is_grpc(&stream) {
            state.protocol = PeerProtocol::Drpc;
            return Carrier::Drpc(Box::new(Connection::new(stream)));
        }
        if let PeerProtocol::Grpc(channel) = &state.protocol {
            return Carrier::Grpc(channel.clone());
        }
        let connector = Connector { shared: Arc::downgrade(self), first: Some(stream) };
        // The URI only sets the authority header; the connector holds the address.
        let channel = Endpoint::from_static("http://node")
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME_SIZE)
            .http2_max_header_list_size(HEADER_LIST_SIZE)
            .http2_keep_alive_interval(PROBE_AFTER)
            .keep_alive_timeout(PROBE_TIMEOUT)
            .connect_with_connector_lazy(connector);
        state.protocol = PeerProtocol::Grpc(channel.clone());
        Carrier::Grpc(channel)
    }
}

fn is_grpc(stream: &Stream) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(ALPN_GRPC)
}

/// Opens the connections of a gRPC channel. The first one is already open.
struct Connector {
    /// Weak, because it owns the gRPC channel. Calls in flight keep it alive.
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
        let first = self.first.take();
        let shared = self.shared.upgrade();
        let redial = async move {
            if let Some(stream) = first {
                return Ok(TokioIo::new(stream));
            }
            let failed = |reason: &str| DialError::Handshake {
                address: shared.as_ref().map(|shared| shared.address.clone()).unwrap_or_default(),
                reason: reason.to_owned(),
            };
            let Some(shared) = &shared else { return Err(failed("the channel was dropped")) };
            let stream = shared.dial().await?;
            if is_grpc(&stream) {
                return Ok(TokioIo::new(stream));
            }
            // The next call uses the connection.
            if let Carrier::Drpc(connection) = shared.record_protocol(stream) {
                shared.idle.put(*connection);
            }
            Err(failed("the peer no longer selects gRPC"))
        };
        redial.boxed()
    }
}

#[cfg(test)]
mod tests;
