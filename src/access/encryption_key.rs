//! Encryption keys of tenants.

use std::fmt;

use uplink_core::encryption::{Key, key};
use uplink_rpc::runtime;
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, Result};

/// An encryption key for [`Access::override_encryption_key`](crate::Access::override_encryption_key).
/// Wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct EncryptionKey(Key);

impl EncryptionKey {
    /// Derives a key from a passphrase and a salt, both of any length.
    ///
    /// The same passphrase and salt give the same key in every client of the network
    /// (`DeriveEncryptionKey`). Use a salt of at least 16 random bytes that is kept with the tenant's
    /// account: without it the key cannot be derived again. The derivation takes about 64 MiB and a
    /// tenth of a second on a thread for blocking work.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`]: the runtime is shutting down, or the passphrase has 4 GiB or more.
    pub async fn derive(passphrase: &str, salt: &[u8]) -> Result<Self> {
        let passphrase = Zeroizing::new(passphrase.as_bytes().to_vec());
        let salt = salt.to_vec();
        let derive = move || key::derive_encryption_key(&passphrase, &salt);
        let key = runtime::compute(derive).await?;
        key.map(Self).map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))
    }

    pub(super) fn key(&self) -> &Key {
        &self.0
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptionKey(redacted)")
    }
}
