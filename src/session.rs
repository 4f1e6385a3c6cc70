//! What an open project shares between its operations and handles.

use std::sync::Arc;

use uplink_segment::Transfers;
use uplink_segment::memory::Budget;

use crate::access::Access;
use crate::config::Config;
use crate::error::Result;
use crate::location::Location;
use crate::satellite::Satellite;

/// An open project: the access grant, the settings, the satellite, and the budgets of all transfers.
/// Clones share them; dropping the last one closes the connections.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    access: Access,
    config: Config,
    satellite: Satellite,
    transfers: Transfers,
}

impl Session {
    /// Opens a session; makes no call.
    ///
    /// # Errors
    /// [`ErrorKind::ConfigInvalid`](crate::ErrorKind::ConfigInvalid); no identity can be generated,
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal).
    pub(crate) fn open(access: &Access, config: &Config) -> Result<Self> {
        config.check()?;
        let satellite =
            Satellite::new(access.satellite(), access.api_key(), config, config.dialer()?)?;
        let budget = Budget::new(config.memory, config.transfers, config.memory_strict);
        let timeout = config.progress_timeout;
        let transfers = Transfers::new(satellite.pool().clone(), budget, timeout);
        let access = access.clone();
        let config = config.clone();
        let shared = Shared { access, config, satellite, transfers };
        Ok(Self { shared: Arc::new(shared) })
    }

    pub(crate) fn access(&self) -> &Access {
        &self.shared.access
    }

    pub(crate) fn config(&self) -> &Config {
        &self.shared.config
    }

    pub(crate) fn satellite(&self) -> &Satellite {
        &self.shared.satellite
    }

    pub(crate) fn transfers(&self) -> &Transfers {
        &self.shared.transfers
    }

    /// Returns where an object is. Errors as [`Location::new`].
    pub(crate) fn locate(&self, bucket: &str, key: &[u8]) -> Result<Location> {
        Location::new(self.access().encryption(), bucket, key)
    }
}
