//! A pool of connections, one per node id and address.
//!
//! A channel connects on its first call and reconnects after a connection loss. Callers see only the
//! call that failed.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use uplink_core::id::NodeId;
use uplink_core::identity::PeerIdentity;

use crate::channel::Channel;
use crate::dial::{DialError, Dialer};

/// Maximum peers remembered; the least recently used one is evicted first, and closes once unused.
pub const CAPACITY: usize = 128;

/// A pool of connections by node id and address. Clones share them.
#[derive(Clone)]
pub struct Pool {
    dialer: Dialer,
    entries: Arc<Mutex<Entries>>,
}

/// A connection to one peer. Clones share it. It closes when the pool and all clones have dropped it.
#[derive(Clone)]
pub struct Connection {
    channel: Channel,
}

#[derive(Default)]
struct Entries {
    connections: HashMap<(NodeId, String), (u64, Connection)>,
    uses: u64,
}

impl Pool {
    /// Creates an empty pool that dials with `dialer`.
    #[must_use]
    pub fn new(dialer: Dialer) -> Self {
        Self { dialer, entries: Arc::default() }
    }

    /// Returns the connection to `node` at `address` (`host:port`), which may not be open yet.
    ///
    /// Must be called inside a tokio runtime. Never fails: the first call dials.
    #[must_use]
    pub fn peer(&self, node: NodeId, address: &str) -> Connection {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.uses += 1;
        let now = entries.uses;
        let key = (node, address.to_owned());
        if let Some((used, connection)) = entries.connections.get_mut(&key) {
            *used = now;
            return connection.clone();
        }
        if entries.connections.len() >= CAPACITY {
            let least_recent = entries.connections.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(least_recent) = least_recent.map(|(key, _)| key.clone()) {
                entries.connections.remove(&least_recent);
            }
        }
        let connection = Connection::new(self.dialer.clone(), node, address);
        entries.connections.insert(key, (now, connection.clone()));
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

    /// Returns the peer's identity from the most recent successful dial.
    #[must_use]
    pub fn identity(&self) -> Option<Arc<PeerIdentity>> {
        self.channel.identity()
    }

    /// Makes the next call dial, after a call got no reply in time: a peer that has vanished closes
    /// nothing, and TCP takes many minutes to notice. Calls in flight keep their connections.
    pub fn reset(&self) {
        self.channel.reset();
    }

    /// Returns the error of the most recent dial; `None` if it succeeded.
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
