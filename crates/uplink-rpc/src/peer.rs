//! The other end of a connection, as a server sees it.

use std::net::SocketAddr;
use std::sync::Arc;

use uplink_core::identity::PeerIdentity;

/// Who is at the other end of a connection; found in the extensions of every request.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where the connection comes from.
    pub remote: SocketAddr,
    /// The identity shown in the handshake, verified; `None` when the client showed none.
    pub identity: Option<Arc<PeerIdentity>>,
}
