//! Access grants: the key to a project, or to a part of one.
//!
//! ```text
//!   satellite, API key, passphrase ─ request ─► Access ─ share ─► narrower Access ─ …
//!                                                 │
//!                                                 └─ override_encryption_key (a key for each tenant)
//! ```

use std::fmt;

use uplink_core::access_grant::AccessGrant;
use uplink_core::encryption::store::EncryptionStore;
use uplink_core::macaroon::ApiKey;
use uplink_core::node_url::NodeUrl;

use crate::error::{Error, ErrorKind, Result};

mod encryption_key;
mod inspect;
mod permission;
mod request;
mod revoke;
mod share;

pub use self::encryption_key::EncryptionKey;
pub use self::inspect::{AllowedPrefix, Restrictions};
pub use self::permission::Permission;
pub use self::request::AccessOptions;
pub use self::share::SharePrefix;

/// An access grant: satellite address, API key and encryption keys.
///
/// Its text form, which every tool of the public network reads and writes, is a secret: it grants
/// everything that the access allows. Keys are wiped when it is dropped. Two grants are equal if their
/// text forms are.
#[derive(Clone, PartialEq, Eq)]
pub struct Access {
    grant: AccessGrant,
    satellite: NodeUrl,
}

impl Access {
    /// Reads the text form, without white space around it. Works offline.
    ///
    /// # Errors
    /// [`ErrorKind::AccessInvalid`]: the text is not an access grant, or names a satellite without
    /// its node id.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let grant = AccessGrant::parse(text).map_err(|error| match ApiKey::parse(text) {
            Ok(_) => Error::new(
                ErrorKind::AccessInvalid,
                "this is an API key, not an access grant: a grant is requested with the API key and a \
                 passphrase",
            ),
            Err(_) => error.into(),
        })?;
        Self::from_grant(grant)
    }

    fn from_grant(grant: AccessGrant) -> Result<Self> {
        let satellite = node_url(grant.satellite_address())?;
        Ok(Self { grant, satellite })
    }

    /// Writes the text form. Equal grants give equal texts.
    ///
    /// # Errors
    /// [`ErrorKind::AccessInvalid`]: it holds more keys than readers accept.
    pub fn serialize(&self) -> Result<String> {
        Ok(self.grant.serialize()?)
    }

    /// Returns the satellite's address, `nodeid@host:port`.
    #[must_use]
    pub fn satellite_address(&self) -> String {
        self.satellite.to_string()
    }

    pub(crate) fn satellite(&self) -> &NodeUrl {
        &self.satellite
    }

    pub(crate) fn api_key(&self) -> &ApiKey {
        self.grant.api_key()
    }

    pub(crate) fn encryption(&self) -> &EncryptionStore {
        self.grant.encryption()
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("satellite", &self.satellite).finish_non_exhaustive()
    }
}

fn node_url(text: &str) -> Result<NodeUrl> {
    let url = text.parse::<NodeUrl>().and_then(NodeUrl::with_known_id);
    url.map_err(|error| {
        Error::new(ErrorKind::AccessInvalid, format!("invalid satellite address {text:?}"))
            .with_source(error)
    })
}
