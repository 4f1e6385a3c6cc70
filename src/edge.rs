//! Edge services: registering access grants for S3 gateways and for links.

use std::fmt;
use std::time::{Duration, SystemTime};

use uplink_core::edge;
use uplink_core::secret::Secret;
use uplink_rpc::edge::{EdgeError, Trust, register_access};

use crate::access::Access;
use crate::error::{Error, ErrorKind, Result};

/// The authentication service of the public network's edge services.
pub const PUBLIC_AUTH_SERVICE: &str = "auth.storjshare.io:7777";

/// Default timeout of connecting and the call together.
const TIMEOUT: Duration = Duration::from_secs(20);

/// How to reach an authentication service.
#[derive(Clone, Debug)]
#[must_use]
pub struct EdgeConfig {
    address: String,
    trust: Trust,
    timeout: Duration,
}

impl EdgeConfig {
    /// Selects the service at an address, `host:port`. It must have a certificate for its host name
    /// from an authority that the system trusts.
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into(), trust: Trust::System, timeout: TIMEOUT }
    }

    /// Trusts only the authorities with these certificates, in PEM.
    pub fn certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.trust = Trust::Authorities(pem.into());
        self
    }

    /// Sends the access grant without encryption. **Everyone on the way can read it.** For tests.
    pub fn danger_plaintext(mut self) -> Self {
        self.trust = Trust::Plaintext;
        self
    }

    /// Sets the timeout of connecting and the call together. Default 20 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// Credentials for edge services.
///
/// `Debug` shows neither the access key id nor the secret key: the id decrypts the registered grant.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EdgeCredentials {
    /// Identifies the grant, in links and as the access key of S3. A secret.
    pub access_key_id: Secret<String>,
    /// The secret key of S3.
    pub secret_key: Secret<String>,
    /// URL of the S3 gateway.
    pub endpoint: String,
    /// When the service forgets the grant because the account is a free one; `None` if it does not.
    pub free_tier_restricted_expiration: Option<SystemTime>,
}

impl fmt::Debug for EdgeCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EdgeCredentials").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Access {
    /// Registers the grant with an authentication service, which gives it to edge services.
    ///
    /// **The service and its edge services can then use and decrypt everything that the grant allows**:
    /// share a narrow one. A `public` grant may be used in links, for which the access key id is enough;
    /// otherwise the secret key is needed too.
    ///
    /// # Errors
    /// [`ErrorKind::AuthDialFailed`] when the service cannot be reached or is not authentic;
    /// [`ErrorKind::RegisterAccessFailed`] when it refuses the grant, or its reply is invalid.
    pub async fn register(&self, config: &EdgeConfig, public: bool) -> Result<EdgeCredentials> {
        if config.address.is_empty() {
            let text = "address of the authentication service is missing";
            return Err(Error::new(ErrorKind::AuthDialFailed, text));
        }
        let EdgeConfig { address, trust, timeout } = config;
        let registered = register_access(address, trust, self.serialize()?, public, *timeout);
        let reply = registered.await.map_err(edge_error)?;
        if reply.access_key_id.is_empty() {
            let text = "authentication service returned no access key id";
            return Err(Error::new(ErrorKind::RegisterAccessFailed, text));
        }
        Ok(EdgeCredentials {
            access_key_id: Secret::new(reply.access_key_id),
            secret_key: Secret::new(reply.secret_key),
            endpoint: reply.endpoint,
            free_tier_restricted_expiration: reply.free_tier_restricted_expiration,
        })
    }
}

fn edge_error(error: EdgeError) -> Error {
    let kind = match &error {
        EdgeError::Authorities(_) => ErrorKind::ConfigInvalid,
        EdgeError::Dial(_) => ErrorKind::AuthDialFailed,
        _ => ErrorKind::RegisterAccessFailed,
    };
    Error::transparent(kind, error)
}

/// Returns the link to an object or prefix of a grant that was [registered](Access::register) as public.
///
/// `base_url` is that of a link sharing service. `raw` links to the bytes of an object, otherwise the
/// link leads to a page about it. An empty key links to the bucket, and an empty bucket to the project.
///
/// # Errors
/// [`ErrorKind::LinkInvalid`]: the base is not a URL, or the access key id, bucket or key is missing.
pub fn join_share_url(
    base_url: &str,
    access_key_id: &str,
    bucket: &str,
    key: impl AsRef<[u8]>,
    raw: bool,
) -> Result<String> {
    let link = edge::join_share_url(base_url, access_key_id, bucket, key.as_ref(), raw);
    link.map_err(|error| Error::new(ErrorKind::LinkInvalid, error.to_string()))
}
