//! Access: the key to a project, or to a part of one.

use std::fmt;

use uplink_core::access_grant::AccessGrant;
use uplink_core::encryption::store::EncryptionStore;
use uplink_core::encryption::{CipherSuite, key};
use uplink_core::macaroon::ApiKey;
use uplink_core::node_url::NodeUrl;
use uplink_rpc::runtime;

use crate::config::Config;
use crate::dialer::dialer;
use crate::error::{Error, ErrorKind, Result};
use crate::satellite::Satellite;

/// An access grant: satellite address, API key and encryption keys.
///
/// Its text form, which every tool of the public network reads and writes, is a secret: it grants
/// everything that the access allows. Keys are wiped when it is dropped.
#[derive(Clone)]
pub struct Access {
    grant: AccessGrant,
    satellite: NodeUrl,
}

impl Access {
    /// Reads the text form.
    ///
    /// # Errors
    /// [`ErrorKind::AccessInvalid`]: the text is not an access grant, or names a satellite without
    /// its node id.
    pub fn parse(text: &str) -> Result<Self> {
        Self::from_grant(AccessGrant::parse(text)?)
    }

    /// Creates an access grant for a whole project from an API key and a passphrase.
    ///
    /// Derives the encryption key from the passphrase and the project's salt, which it requests from
    /// the satellite. The passphrase never leaves this process. Without it the data cannot be recovered.
    /// The derivation takes about 64 MiB and a tenth of a second.
    ///
    /// # Errors
    /// [`ErrorKind::AccessInvalid`] for an unreadable address or API key,
    /// [`ErrorKind::PermissionDenied`] when the satellite does not know the API key,
    /// [`ErrorKind::Network`] and [`ErrorKind::WrongNode`] when it cannot be reached.
    pub async fn request_with_passphrase(
        satellite: &str,
        api_key: &str,
        passphrase: &str,
        config: &Config,
    ) -> Result<Self> {
        let api_key = ApiKey::parse(api_key)?;
        let url = node_url(satellite)?;
        let dialer = dialer(config)?;
        let salt = Satellite::new(&url, &api_key, config, dialer)?.project_salt().await?;
        let passphrase = zeroize::Zeroizing::new(passphrase.as_bytes().to_vec());
        let root = runtime::compute(move || key::root_key(&passphrase, &salt, b"", LANES)).await?;
        let root = root.map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
        let store = EncryptionStore::with_default_key(root, CipherSuite::AesGcm);
        Self::from_grant(AccessGrant::new(url.to_string(), api_key, &store)?)
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

/// Lanes of Argon2id with which every client of the network stretches a passphrase for a grant.
const LANES: u32 = 8;

fn node_url(text: &str) -> Result<NodeUrl> {
    let url = text.parse::<NodeUrl>().and_then(NodeUrl::with_known_id);
    url.map_err(|error| {
        Error::new(ErrorKind::AccessInvalid, format!("invalid satellite address {text:?}"))
            .with_source(error)
    })
}
