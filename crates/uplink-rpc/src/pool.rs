//! Connections kept and reused, one per node id and address.
//!
//! gRPC multiplexes calls over one connection, so the pool holds one channel per peer. A channel
//! connects at its first call and again after a loss; callers see only the call that failed.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};
use uplink_core::id::NodeId;
use uplink_core::identity::PeerIdentity;

use crate::dial::{DialError, Dialer, Socket};

/// Most connections kept; the longest unused goes first.
pub const CAPACITY: usize = 128;

/// Bytes a stream may be ahead of its reader.
const STREAM_WINDOW: u32 = 4 << 20;
/// Bytes a connection may be ahead of its readers.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Largest frame accepted; bigger frames cost fewer system calls per byte.
const FRAME_SIZE: u32 = 64 << 10;
/// A silent connection is probed after this time.
const PROBE_AFTER: Duration = Duration::from_secs(20);
/// A probe unanswered for this long ends the connection.
const PROBE_DEADLINE: Duration = Duration::from_secs(10);

/// Connections by node id and address. Clones share them.
#[derive(Clone)]
pub struct Pool {
    dialer: Dialer,
    kept: Arc<Mutex<Kept>>,
}

/// One peer's connection. Clones share it; it closes when the pool and all clones let go.
#[derive(Clone)]
pub struct Connection {
    channel: Channel,
    last: Arc<Mutex<LastDial>>,
}

#[derive(Default)]
struct Kept {
    connections: HashMap<(NodeId, String), (u64, Connection)>,
    uses: u64,
}

/// Outcome of the most recent dial of one connection.
#[derive(Default)]
struct LastDial {
    peer: Option<Arc<PeerIdentity>>,
    error: Option<DialError>,
}

impl Pool {
    /// Makes an empty pool that dials with `dialer`.
    #[must_use]
    pub fn new(dialer: Dialer) -> Self {
        Self { dialer, kept: Arc::default() }
    }

    /// Returns the connection to `node` at `address` (`host:port`), which may not be open yet.
    ///
    /// Must be called inside a tokio runtime. Never fails: dialling happens in the first call.
    #[must_use]
    pub fn peer(&self, node: NodeId, address: &str) -> Connection {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.uses += 1;
        let now = kept.uses;
        let key = (node, address.to_owned());
        if let Some((used, connection)) = kept.connections.get_mut(&key) {
            *used = now;
            return connection.clone();
        }
        if kept.connections.len() >= CAPACITY {
            let oldest = kept.connections.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                kept.connections.remove(&oldest);
            }
        }
        let connection = Connection::new(self.dialer.clone(), node, address);
        kept.connections.insert(key, (now, connection.clone()));
        connection
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl Connection {
    fn new(dialer: Dialer, node: NodeId, address: &str) -> Self {
        let last = Arc::<Mutex<LastDial>>::default();
        let connector =
            Connector { dialer, node, address: address.to_owned(), last: Arc::clone(&last) };
        // The URI only names the authority header; the connector knows where to go.
        let endpoint = Endpoint::from_static("http://node")
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME_SIZE)
            .http2_keep_alive_interval(PROBE_AFTER)
            .keep_alive_timeout(PROBE_DEADLINE);
        Self { channel: endpoint.connect_with_connector_lazy(connector), last }
    }

    /// Returns the channel for a generated client.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Returns who answered the most recent successful dial.
    #[must_use]
    pub fn identity(&self) -> Option<Arc<PeerIdentity>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).peer.clone()
    }

    /// Returns why the most recent dial failed; `None` after a successful one.
    #[must_use]
    pub fn dial_error(&self) -> Option<DialError> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).error.clone()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("peer", &self.identity()).finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Connector {
    dialer: Dialer,
    node: NodeId,
    address: String,
    last: Arc<Mutex<LastDial>>,
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<Socket>>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let dialled = this.dialer.dial(Some(this.node), &this.address).await;
            let spoken = dialled.and_then(|(stream, peer)| {
                if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                    return Ok((stream, peer));
                }
                let reason = "the peer does not speak gRPC".to_owned();
                Err(DialError::Handshake { address: this.address.clone(), reason })
            });
            let mut last = this.last.lock().unwrap_or_else(PoisonError::into_inner);
            match spoken {
                Ok((stream, peer)) => {
                    *last = LastDial { peer: Some(peer), error: None };
                    Ok(TokioIo::new(stream))
                }
                Err(error) => {
                    last.error = Some(error.clone());
                    Err(error)
                }
            }
        })
    }
}
