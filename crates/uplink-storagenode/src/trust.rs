//! Trusted satellites and the keys with which they sign order limits.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use uplink_core::id::NodeId;
use uplink_core::identity::PeerIdentity;
use uplink_core::signature::VerifyingKey;
use uplink_rpc::dial::{DialError, Dialer};

use crate::config::Satellite;

/// Trusted satellites. A key is read from the satellite's TLS identity on first use and cached.
pub(crate) struct Trust {
    dialer: Dialer,
    satellites: HashMap<NodeId, TrustedSatellite>,
}

struct TrustedSatellite {
    address: String,
    /// Locked while dialing, so that concurrent requests share one dial.
    key: Mutex<CachedKey>,
}

#[derive(Default)]
struct CachedKey {
    key: Option<(VerifyingKey, Instant)>,
    last_failure: Option<(DialError, Instant)>,
}

impl Trust {
    pub(crate) fn new(satellites: &[Satellite], dialer: Dialer) -> Self {
        let satellites = satellites.iter().map(|satellite| {
            let address = satellite.address.clone();
            (satellite.id, TrustedSatellite { address, key: Mutex::default() })
        });
        Self { dialer, satellites: satellites.collect() }
    }

    /// Returns whether a satellite is trusted.
    pub(crate) fn contains(&self, id: NodeId) -> bool {
        self.satellites.contains_key(&id)
    }

    /// Returns the key of a satellite, or `None` if it is not trusted.
    pub(crate) async fn key(&self, id: NodeId) -> Option<Result<VerifyingKey, DialError>> {
        let trusted = self.satellites.get(&id)?;
        let mut cached = trusted.key.lock().await;
        if let Some((key, _)) = &cached.key {
            return Some(Ok(key.clone()));
        }
        Some(self.fetch(id, trusted, &mut cached).await)
    }

    /// Returns the key of a satellite if it differs from `stale`.
    ///
    /// The key is fetched at most once per [`REFETCH_INTERVAL`], however many invalid signatures
    /// arrive.
    pub(crate) async fn newer_key(&self, id: NodeId, stale: &VerifyingKey) -> Option<VerifyingKey> {
        let trusted = self.satellites.get(&id)?;
        let mut cached = trusted.key.lock().await;
        match &cached.key {
            Some((key, _)) if key != stale => Some(key.clone()),
            Some((_, fetched)) if fetched.elapsed() < REFETCH_INTERVAL => None,
            _ => self.fetch(id, trusted, &mut cached).await.ok().filter(|key| key != stale),
        }
    }

    /// Caches the key from the identity of an existing connection.
    pub(crate) async fn learn(&self, peer: &PeerIdentity) {
        if let Some(trusted) = self.satellites.get(&peer.node_id()) {
            trusted.key.lock().await.key = Some((peer.leaf_key().clone(), Instant::now()));
        }
    }

    async fn fetch(
        &self,
        id: NodeId,
        trusted: &TrustedSatellite,
        cached: &mut CachedKey,
    ) -> Result<VerifyingKey, DialError> {
        if let Some((error, at)) = &cached.last_failure
            && at.elapsed() < REDIAL_INTERVAL
        {
            return Err(error.clone());
        }
        match self.dialer.dial(Some(id), &trusted.address).await {
            Ok((_, peer)) => {
                let key = peer.leaf_key().clone();
                *cached =
                    CachedKey { key: Some((key.clone(), Instant::now())), last_failure: None };
                Ok(key)
            }
            Err(error) => {
                cached.last_failure = Some((error.clone(), Instant::now()));
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

const REFETCH_INTERVAL: Duration = Duration::from_secs(60);
const REDIAL_INTERVAL: Duration = Duration::from_secs(1);
