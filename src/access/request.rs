//! Access grants from an API key and a passphrase.

use uplink_core::access_grant::AccessGrant;
use uplink_core::encryption::store::EncryptionStore;
use uplink_core::encryption::{CipherSuite, key};
use uplink_core::macaroon::ApiKey;
use uplink_rpc::runtime;
use zeroize::Zeroizing;

use super::{Access, node_url};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::satellite::Satellite;

/// How to create an access grant; see [`Access::request_with`].
#[derive(Clone, Debug)]
#[must_use]
pub struct AccessOptions {
    config: Config,
    concurrency: u32,
}

impl AccessOptions {
    /// Starts from the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how the satellite is reached.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Sets the lanes of the key derivation. Default 8, as in every client of the network.
    ///
    /// The number is part of the derivation: another one gives another key, which cannot decrypt what
    /// was written with the default.
    pub fn concurrency(mut self, lanes: u32) -> Self {
        self.concurrency = lanes;
        self
    }
}

impl Default for AccessOptions {
    fn default() -> Self {
        Self { config: Config::default(), concurrency: key::ACCESS_LANES }
    }
}

impl Access {
    /// Creates an access grant for a whole project from an API key and a passphrase, with default
    /// options.
    ///
    /// Derives the encryption key from the passphrase and the project's salt, which it requests from
    /// the satellite. The passphrase never leaves this process. Without it the data cannot be recovered.
    /// Any passphrase is accepted, also an empty one; a wrong one is noticed when objects of the right
    /// one are read.
    /// The derivation takes about 64 MiB and a tenth of a second on a thread for blocking work.
    ///
    /// # Errors
    /// [`ErrorKind::AccessInvalid`] for an unreadable API key, or an address without node id or port,
    /// [`ErrorKind::PermissionDenied`] when the satellite does not know the API key,
    /// [`ErrorKind::Network`] and [`ErrorKind::WrongNode`] when it cannot be reached.
    #[doc(alias = "request_access_with_passphrase")]
    pub async fn request(satellite: &str, api_key: &str, passphrase: &str) -> Result<Self> {
        Self::request_with(satellite, api_key, passphrase, &AccessOptions::default()).await
    }

    /// Creates an access grant for a whole project from an API key and a passphrase.
    ///
    /// # Errors
    /// As [`request`](Self::request), and [`ErrorKind::ConfigInvalid`] for a concurrency of 0 or more
    /// than 8,192.
    pub async fn request_with(
        satellite: &str,
        api_key: &str,
        passphrase: &str,
        options: &AccessOptions,
    ) -> Result<Self> {
        let api_key = parse_api_key(api_key)?;
        let url = node_url(satellite)?;
        let config = &options.config;
        let lanes = options.concurrency;
        key::check_lanes(lanes)
            .map_err(|error| Error::new(ErrorKind::ConfigInvalid, error.to_string()))?;

        let dialer = config.dialer()?;
        let salt = Satellite::new(&url, &api_key, config, dialer)?.project_salt().await?;
        let passphrase = Zeroizing::new(passphrase.as_bytes().to_vec());
        let root = runtime::compute(move || key::root_key(&passphrase, &salt, b"", lanes)).await?;
        let root = root.map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
        let store = EncryptionStore::with_default_key(root, CipherSuite::AesGcm);
        Self::from_grant(AccessGrant::new(url.to_string(), api_key, &store)?)
    }
}

fn parse_api_key(text: &str) -> Result<ApiKey> {
    ApiKey::parse(text).map_err(|error| match AccessGrant::parse(text) {
        Ok(_) => Error::new(
            ErrorKind::AccessInvalid,
            "this is an access grant, not an API key: it can be used as it is",
        ),
        Err(_) => error.into(),
    })
}
