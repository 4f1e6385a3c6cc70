//! Address → authenticated connection, within a timeout.
//!
//! One dial serves both transports: the eight bytes `DRPC!!!1`, then TLS offering `h2` and `storj`.
//! A peer of this project selects `h2`, and the connection uses gRPC. A peer of the public network
//! selects nothing, and the connection uses DRPC. A dialer that offers nothing gets DRPC from both.
//! The peer's node id is checked before any credentials are sent.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use uplink_core::id::NodeId;
use uplink_core::identity::PeerIdentity;

use crate::status::{local_text, printable};
use crate::tls::{Identity, IdentityError, alpn_protocols, client_config, peer_of};

/// First bytes of every connection to a peer of the network.
pub(crate) const PREAMBLE: &[u8; 8] = b"DRPC!!!1";

/// A socket with a read buffer, because the TLS library reads only 4 KiB at a time.
pub type Socket = BufReader<TcpStream>;

/// Size of the read buffer.
const READ_SIZE: usize = 64 << 10;
/// Maximum encrypted bytes buffered for the socket: a frame and its head leave in one system call.
pub(crate) const WRITE_LIMIT: usize = 128 << 10;

/// Default timeout of a dial: name lookup, connecting and the handshake together.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens connections with one identity.
#[derive(Clone, Debug)]
pub struct Dialer {
    tls: Arc<ClientConfig>,
    timeout: Duration,
}

/// Which transports a dialer offers to its peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transport {
    /// gRPC with peers that support it, DRPC with all others.
    #[default]
    Negotiated,
    /// DRPC with every peer.
    Drpc,
}

/// Why a connection could not be opened.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The connection was not accepted, or the name did not resolve.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// `host:port` as given.
        address: String,
        /// The system's error.
        reason: String,
    },
    /// The timeout passed.
    #[error("cannot connect to {address}: timed out after {}", seconds(.timeout))]
    TimedOut {
        /// `host:port` as given.
        address: String,
        /// The timeout that applied.
        timeout: Duration,
    },
    /// The TLS handshake failed.
    #[error("handshake with {address} failed: {reason}")]
    Handshake {
        /// `host:port` as given.
        address: String,
        /// The TLS library's error.
        reason: String,
    },
    /// The peer presented a different node id.
    #[error("wrong node at {address}: expected {wanted}, found {found}")]
    WrongNode {
        /// `host:port` as given.
        address: String,
        /// The expected node id.
        wanted: NodeId,
        /// The node id of the presented certificate chain.
        found: NodeId,
    },
}

fn seconds(time: &Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

pub(crate) fn buffered(socket: TcpStream) -> Socket {
    BufReader::with_capacity(READ_SIZE, socket)
}

impl Dialer {
    /// Creates a dialer with `identity`.
    ///
    /// # Errors
    /// The TLS library rejects the identity.
    pub fn new(identity: &Identity) -> Result<Self, IdentityError> {
        Ok(Self { tls: client_config(identity)?, timeout: DIAL_TIMEOUT })
    }

    /// Replaces the default timeout of [`DIAL_TIMEOUT`].
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Replaces the default of [`Transport::Negotiated`].
    #[must_use]
    pub fn with_transport(mut self, transport: Transport) -> Self {
        Arc::make_mut(&mut self.tls).alpn_protocols = match transport {
            Transport::Negotiated => alpn_protocols(),
            Transport::Drpc => Vec::new(),
        };
        self
    }

    /// Connects to `address` (`host:port`) and checks that the peer is `node`, if given.
    ///
    /// # Errors
    /// See [`DialError`]. Dropping the future closes the socket.
    pub async fn dial(
        &self,
        node: Option<NodeId>,
        address: &str,
    ) -> Result<(TlsStream<Socket>, Arc<PeerIdentity>), DialError> {
        let connected = timeout(self.timeout, self.connect(address)).await;
        let (stream, peer) = connected.map_err(|_| DialError::TimedOut {
            address: address.to_owned(),
            timeout: self.timeout,
        })??;
        match node {
            Some(wanted) if wanted != peer.node_id() => Err(DialError::WrongNode {
                address: address.to_owned(),
                wanted,
                found: peer.node_id(),
            }),
            _ => Ok((stream, peer)),
        }
    }

    async fn connect(
        &self,
        address: &str,
    ) -> Result<(TlsStream<Socket>, Arc<PeerIdentity>), DialError> {
        let connect_error = |error: std::io::Error| DialError::Connect {
            address: address.to_owned(),
            reason: printable(&error.to_string()),
        };
        let mut socket = TcpStream::connect(address).await.map_err(connect_error)?;
        socket.set_nodelay(true).map_err(connect_error)?;
        socket.write_all(PREAMBLE).await.map_err(connect_error)?;
        let handshake_error = |reason: String| DialError::Handshake {
            address: address.to_owned(),
            reason: printable(&reason),
        };
        // Peers ignore the name, but the TLS library requires one.
        let name = ServerName::try_from("node").map_err(|e| handshake_error(e.to_string()))?;
        let mut stream = TlsConnector::from(Arc::clone(&self.tls))
            .connect(name, buffered(socket))
            .await
            .map_err(|error| handshake_error(local_text(&error)))?;
        stream.get_mut().1.set_buffer_limit(Some(WRITE_LIMIT));
        let peer = peer_of(stream.get_ref().1.peer_certificates())
            .ok_or_else(|| handshake_error("the peer sent no certificate chain".to_owned()))?;
        Ok((stream, peer))
    }
}
