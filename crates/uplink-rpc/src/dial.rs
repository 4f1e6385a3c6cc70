//! Address → authenticated connection, within a deadline.
//!
//! One dial serves both transports: the eight bytes `DRPC!!!1`, then TLS offering `h2` and `storj`.
//! A peer of this project selects `h2` and the connection speaks gRPC; a peer of the public network
//! selects nothing and speaks DRPC. A dialler that offers nothing gets DRPC from both. The peer's
//! node id is compared before any byte that carries authority leaves.

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

use crate::status::printable;
use crate::tls::{Identity, IdentityError, client_config, offered, peer_of};

/// What every connection to a peer of the network begins with.
pub(crate) const PREAMBLE: &[u8; 8] = b"DRPC!!!1";

/// A socket as TLS reads it: the library asks for 4 KiB at a time, this asks the system for more.
pub type Socket = BufReader<TcpStream>;

/// Bytes asked of the system at once.
const READ_SIZE: usize = 64 << 10;
/// Sealed bytes that may wait for the system, so that a frame with its head leaves in one call.
pub(crate) const WRITE_LIMIT: usize = 128 << 10;

/// Time for name look-up, connecting and the handshake together.
pub const DIAL_DEADLINE: Duration = Duration::from_secs(10);

/// Opens connections in the name of one identity.
#[derive(Clone, Debug)]
pub struct Dialer {
    tls: Arc<ClientConfig>,
    deadline: Duration,
}

/// What a dialler lets its peers speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transport {
    /// gRPC with peers that know it, DRPC with all others.
    #[default]
    Negotiated,
    /// DRPC with everybody.
    Drpc,
}

/// Why a connection could not be opened.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// Nothing answers at the address, or the name has no address.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// `host:port` as given.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// The deadline passed.
    #[error("no connection to {address} within {}", seconds(.deadline))]
    Deadline {
        /// `host:port` as given.
        address: String,
        /// The time that was allowed.
        deadline: Duration,
    },
    /// The TLS handshake failed.
    #[error("handshake with {address}: {reason}")]
    Handshake {
        /// `host:port` as given.
        address: String,
        /// What the TLS library said.
        reason: String,
    },
    /// Somebody else answers at the address.
    #[error("{address} is node {found}, not {wanted}")]
    WrongNode {
        /// `host:port` as given.
        address: String,
        /// The node id that was asked for.
        wanted: NodeId,
        /// The node id of the certificate chain shown.
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
    /// Prepares to dial in the name of `identity`.
    ///
    /// # Errors
    /// The TLS library refuses the identity.
    pub fn new(identity: &Identity) -> Result<Self, IdentityError> {
        Ok(Self { tls: client_config(identity)?, deadline: DIAL_DEADLINE })
    }

    /// Replaces the default deadline of [`DIAL_DEADLINE`].
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Replaces the default of [`Transport::Negotiated`].
    #[must_use]
    pub fn with_transport(mut self, transport: Transport) -> Self {
        Arc::make_mut(&mut self.tls).alpn_protocols = match transport {
            Transport::Negotiated => offered(),
            Transport::Drpc => Vec::new(),
        };
        self
    }

    /// Connects to `address` (`host:port`) and checks that `node`, if given, is who answers.
    ///
    /// # Errors
    /// As [`DialError`] lists. Dropping the future closes the socket.
    pub async fn dial(
        &self,
        node: Option<NodeId>,
        address: &str,
    ) -> Result<(TlsStream<Socket>, Arc<PeerIdentity>), DialError> {
        let connected = timeout(self.deadline, self.connect(address)).await;
        let (stream, peer) = connected.map_err(|_| DialError::Deadline {
            address: address.to_owned(),
            deadline: self.deadline,
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
        // Peers check no names; the library wants one all the same.
        let name = ServerName::try_from("node").map_err(|e| handshake_error(e.to_string()))?;
        let mut stream = TlsConnector::from(Arc::clone(&self.tls))
            .connect(name, buffered(socket))
            .await
            .map_err(|error| handshake_error(error.to_string()))?;
        stream.get_mut().1.set_buffer_limit(Some(WRITE_LIMIT));
        let peer = peer_of(stream.get_ref().1.peer_certificates())
            .ok_or_else(|| handshake_error("the peer shows no certificate chain".to_owned()))?;
        Ok((stream, peer))
    }
}
