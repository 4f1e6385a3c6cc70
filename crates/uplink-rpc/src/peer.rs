//! The other end of a connection, as a server sees it.

use std::net::SocketAddr;
use std::sync::Arc;

use uplink_core::identity::PeerIdentity;

/// The other end of a connection, stored in the extensions of every request.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The remote socket address.
    pub remote: SocketAddr,
    /// The verified identity from the handshake; `None` if the client sent no certificates.
    pub identity: Option<Arc<PeerIdentity>>,
}
