//! The satellites a node works for, and the keys they sign order limits with.

use std::{
    collections::HashMap,
    fmt,
    time::{Duration, Instant},
};

use tokio::sync::Mutex;
use uplink_core::{id::NodeId, identity::PeerIdentity, signature::VerifyingKey};
use uplink_rpc::dial::{DialError, Dialer};

use crate::config::Satellite;

/// Trusted satellites. A key is read from the satellite's TLS identity when first needed, and kept.
pub(crate) struct Trust {
    dialer: Dialer,
    satellites: HashMap<NodeId, Trusted>,
}

struct Trusted {
    address: String,
    /// Held while dialling, so that simultaneous requests share one dial.
    key: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    key: Option<(VerifyingKey, Instant)>,
    failed: Option<(DialError, Instant)>,
}

impl Trust {
    pub(crate) fn new(satellites: &[Satellite], dialer: Dialer) -> Self {
        let satellites = satellites.iter().map(|satellite| {
            let trusted = Trusted { address: satellite.address.clone(), key: Mutex::default() };
            (satellite.id, trusted)
        });
        Self { dialer, satellites: satellites.collect() }
    }

    /// Tells whether a satellite is trusted.
    pub(crate) fn knows(&self, id: NodeId) -> bool {
        self.satellites.contains_key(&id)
    }

    /// The key of a satellite, or `None` for one that is not trusted.
    pub(crate) async fn key(&self, id: NodeId) -> Option<Result<VerifyingKey, DialError>> {
        let trusted = self.satellites.get(&id)?;
        let mut known = trusted.key.lock().await;
        if let Some((key, _)) = &known.key {
            return Some(Ok(key.clone()));
        }
        Some(self.read(id, trusted, &mut known).await)
    }

    /// The key of a satellite if it differs from `stale`. It is read again at most once per
    /// [`REREAD_AFTER`], however many bad signatures arrive.
    pub(crate) async fn newer_key(&self, id: NodeId, stale: &VerifyingKey) -> Option<VerifyingKey> {
        let trusted = self.satellites.get(&id)?;
        let mut known = trusted.key.lock().await;
        match &known.key {
            Some((key, _)) if key != stale => Some(key.clone()),
            Some((_, read)) if read.elapsed() < REREAD_AFTER => None,
            _ => self.read(id, trusted, &mut known).await.ok().filter(|key| key != stale),
        }
    }

    /// Takes the key from a connection that was made for another purpose.
    pub(crate) async fn learn(&self, peer: &PeerIdentity) {
        if let Some(trusted) = self.satellites.get(&peer.node_id()) {
            trusted.key.lock().await.key = Some((peer.leaf_key().clone(), Instant::now()));
        }
    }

    async fn read(
        &self,
        id: NodeId,
        trusted: &Trusted,
        known: &mut Known,
    ) -> Result<VerifyingKey, DialError> {
        if let Some((error, at)) = &known.failed
            && at.elapsed() < REDIAL_AFTER
        {
            return Err(error.clone());
        }
        match self.dialer.dial(Some(id), &trusted.address).await {
            Ok((_, peer)) => {
                let key = peer.leaf_key().clone();
                *known = Known { key: Some((key.clone(), Instant::now())), failed: None };
                Ok(key)
            }
            Err(error) => {
                known.failed = Some((error.clone(), Instant::now()));
                Err(error)
            }
        }
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("satellites", &self.satellites.keys()).finish_non_exhaustive()
    }
}

const REREAD_AFTER: Duration = Duration::from_secs(60);
const REDIAL_AFTER: Duration = Duration::from_secs(1);
