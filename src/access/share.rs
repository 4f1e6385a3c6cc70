//! Narrower access grants, and encryption keys of their own for parts of a bucket.

use uplink_core::access_grant::{self, ShareError};
use uplink_rpc::runtime;

use super::{Access, EncryptionKey, Permission};
use crate::error::{Error, ErrorKind, Result};

/// A bucket, or a prefix of object keys in it, to share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharePrefix(access_grant::SharePrefix);

impl SharePrefix {
    /// Selects the keys below a prefix of whole components: `a/b/` and `a/b` both select `a/b` and
    /// everything below `a/b/`, and not `a/bc`. Keys usually begin without `/`: `/a/` selects those whose
    /// first component is empty.
    #[must_use]
    pub fn new(bucket: impl Into<String>, prefix: impl AsRef<[u8]>) -> Self {
        let prefix = prefix.as_ref().to_vec();
        Self(access_grant::SharePrefix { bucket: bucket.into(), prefix })
    }

    /// Selects a whole bucket.
    #[must_use]
    pub fn bucket(bucket: impl Into<String>) -> Self {
        Self::new(bucket, "")
    }
}

impl Access {
    /// Returns a narrower access grant: it permits only `permission`, and only below `prefixes` unless
    /// they are empty. Works offline.
    ///
    /// The result contains the encryption keys of the prefixes and no others. Its text reveals the
    /// names of the prefixes' parents. Encryption keys that were
    /// [overridden](Self::override_encryption_key) below a prefix are not part of it, as in every
    /// client of the network; override them in the result.
    ///
    /// # Errors
    /// In this order: [`ErrorKind::PermissionInvalid`] for a permission without any field set, with an
    /// end before its beginning, or with a maximum lifetime of 0; [`ErrorKind::PrefixInvalid`] for a
    /// prefix that this grant has no encryption key for; [`ErrorKind::AccessInvalid`] when the API key
    /// would become too large.
    pub fn share(&self, permission: &Permission, prefixes: &[SharePrefix]) -> Result<Self> {
        let prefixes: Vec<_> = prefixes.iter().map(|prefix| prefix.0.clone()).collect();
        let nonce = runtime::random()?;
        let shared = self.grant.restrict(&permission.to_core(), &prefixes, nonce);
        Self::from_grant(shared.map_err(share_error)?)
    }

    /// Sets the encryption key of everything below a prefix, which must end with `/`; the prefix `/` is
    /// the whole bucket. Works offline.
    ///
    /// An application uses this to give each of its users a key of their own: names and contents below
    /// the prefix are encrypted with the key, and cannot be read with the grant that this one was
    /// shared from. Names up to the prefix remain encrypted with the keys of this grant. Use the same
    /// prefix as in [`share`](Self::share): only then does the key survive
    /// [`serialize`](Self::serialize).
    ///
    /// # Errors
    /// [`ErrorKind::PrefixInvalid`] for a prefix that does not end with `/`;
    /// [`ErrorKind::PermissionDenied`] for one that this grant has no encryption key for. The grant is
    /// unchanged then.
    pub fn override_encryption_key(
        &mut self,
        bucket: &str,
        prefix: impl AsRef<[u8]>,
        key: &EncryptionKey,
    ) -> Result<()> {
        let key = key.key().clone();
        let overridden = self.grant.override_encryption_key(bucket, prefix.as_ref(), key);
        overridden.map_err(|error| match error {
            missing @ ShareError::MissingBase { .. } => {
                Error::transparent(ErrorKind::PermissionDenied, missing)
            }
            error => share_error(error),
        })
    }
}

fn share_error(error: ShareError) -> Error {
    let kind = match &error {
        ShareError::MissingBase { .. } | ShareError::PrefixSlash => ErrorKind::PrefixInvalid,
        ShareError::Path(_) => ErrorKind::Decryption,
        ShareError::Permission(_) => ErrorKind::PermissionInvalid,
        _ => ErrorKind::AccessInvalid,
    };
    Error::transparent(kind, error)
}
