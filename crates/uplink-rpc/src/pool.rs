//! Connections kept and reused, one per node id and address.
//!
//! The pool holds one channel per peer. A channel connects at its first call and again after a
//! loss; callers see only the call that failed.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use uplink_core::id::NodeId;
use uplink_core::identity::PeerIdentity;

use crate::channel::Channel;
use crate::dial::{DialError, Dialer};

/// Most connections kept; the longest unused goes first.
pub const CAPACITY: usize = 128;

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
}

#[derive(Default)]
struct Kept {
    connections: HashMap<(NodeId, String), (u64, Connection)>,
    uses: u64,
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
        Self { channel: Channel::new(dialer, node, address) }
    }

    /// Returns the channel for a generated client.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Returns who answered the most recent successful dial.
    #[must_use]
    pub fn identity(&self) -> Option<Arc<PeerIdentity>> {
        self.channel.identity()
    }

    /// Returns why the most recent dial failed; `None` after a successful one.
    #[must_use]
    pub fn dial_error(&self) -> Option<DialError> {
        self.channel.dial_error()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("peer", &self.identity()).finish_non_exhaustive()
    }
}
