//! The location of an object: bucket, encrypted object key and content key.

use bytes::Bytes;
use uplink_core::encryption::path::{content_key, encrypt_path};
use uplink_core::encryption::{EncryptionStore, Key};

use crate::error::{Error, ErrorKind, Result};

/// The location of an object, and the key that encrypts its content.
#[derive(Clone, Debug)]
pub(crate) struct Location {
    pub(crate) bucket: String,
    pub(crate) key: Vec<u8>,
    pub(crate) encrypted_key: Vec<u8>,
    pub(crate) content_key: Key,
}

impl Location {
    /// Derives the encrypted key and the content key of an object.
    ///
    /// # Errors
    /// [`ErrorKind::BucketNameInvalid`] and [`ErrorKind::ObjectKeyInvalid`] for empty names,
    /// [`ErrorKind::PermissionDenied`] when `store` holds no encryption key for the object key.
    pub(crate) fn new(store: &EncryptionStore, bucket: &str, key: &[u8]) -> Result<Self> {
        check_bucket(bucket)?;
        if key.is_empty() {
            return Err(Error::new(
                ErrorKind::ObjectKeyInvalid,
                "invalid object key: must not be empty",
            ));
        }
        Ok(Self {
            bucket: bucket.to_owned(),
            key: key.to_vec(),
            encrypted_key: encrypt_path(store, bucket.as_bytes(), key)?,
            content_key: content_key(store, bucket.as_bytes(), key)?,
        })
    }

    pub(crate) fn bucket_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(self.bucket.as_bytes())
    }

    pub(crate) fn key_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.encrypted_key)
    }
}

/// Rejects an empty bucket name; the satellite checks the rest.
pub(crate) fn check_bucket(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::new(
            ErrorKind::BucketNameInvalid,
            "invalid bucket name: must not be empty",
        ));
    }
    Ok(())
}
