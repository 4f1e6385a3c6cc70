//! Objects and listing items: encryption parameters, metadata envelopes and sizes.

use std::time::SystemTime;

use bytes::Bytes;
use uplink_core::encryption::metadata::{
    EncryptedMetadata, OpenedMetadata, SealedMetadata, StreamMeta,
};
use uplink_core::encryption::{CipherSuite, EncryptionParameters, Key, Nonce, key};
use uplink_rpc::r#gen::metainfo::object::Status;
use uplink_rpc::r#gen::{encryption, metainfo};
use uplink_rpc::time::system_time;

use super::size;
use crate::error::{Error, Result};
use crate::layout::ClaimedSize;

/// An object in a satellite's reply. Each field is checked when it is read.
#[derive(Clone, Debug)]
pub(crate) struct ObjectRecord(metainfo::Object);

impl ObjectRecord {
    pub(crate) fn stream_id(&self) -> Bytes {
        self.0.stream_id.clone()
    }

    pub(crate) fn version(&self) -> Vec<u8> {
        self.0.object_version.to_vec()
    }

    pub(crate) fn created_at(&self) -> Option<SystemTime> {
        system_time(self.0.created_at.as_ref())
    }

    pub(crate) fn expires_at(&self) -> Option<SystemTime> {
        system_time(self.0.expires_at.as_ref())
    }

    /// Returns the encryption parameters of the object.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`](crate::ErrorKind::Protocol): there are none, or the content is not
    /// encrypted.
    pub(crate) fn parameters(&self) -> Result<EncryptionParameters> {
        parameters(self.0.encryption_parameters.as_ref())
    }

    /// Returns the object's size according to the satellite.
    pub(crate) fn claimed_size(&self) -> Result<ClaimedSize> {
        claimed(self.0.plain_size, &self.0.encrypted_metadata)
    }

    /// Decrypts the metadata envelope; `None` when the object has none.
    pub(crate) fn metadata(&self, content_key: &Key) -> Result<Option<OpenedMetadata>> {
        self.metadata_of(self.parameters()?.suite, content_key)
    }

    /// Decrypts the metadata envelope of an object with this suite.
    pub(crate) fn metadata_of(
        &self,
        suite: CipherSuite,
        content_key: &Key,
    ) -> Result<Option<OpenedMetadata>> {
        let sealed = SealedFields::from(&self.0);
        let meta = stream_meta(sealed.metadata)?;
        match sealed.envelope(suite, &meta) {
            Some(envelope) => Ok(envelope.open(content_key)?),
            None => Ok(None),
        }
    }

    /// Decrypts the key of the metadata; `None` when the object has none.
    pub(crate) fn metadata_key(&self, content_key: &Key) -> Result<Option<Key>> {
        let suite = self.parameters()?.suite;
        let meta = stream_meta(&self.0.encrypted_metadata)?;
        let sealed = SealedFields::from(&self.0);
        let (wrapped, nonce) = meta.metadata_key_or(sealed.key, sealed.nonce);
        if wrapped.is_empty() {
            return Ok(None);
        }
        let key = key::unwrap_key(suite, content_key, &super::nonce(nonce)?, wrapped)?;
        Ok(Some(key))
    }

    /// Returns whether the object has the metadata of a commit, copy or update, which the random nonce
    /// of the metadata key identifies.
    pub(crate) fn has_metadata_nonce(&self, nonce: &Nonce) -> bool {
        self.0.encrypted_metadata_nonce == nonce.as_bytes()[..]
    }

    /// Returns whether both records have the same metadata key.
    pub(crate) fn has_metadata_of(&self, other: &Self) -> bool {
        self.0.encrypted_metadata_nonce == other.0.encrypted_metadata_nonce
    }

    /// Returns whether this is the nonce of the metadata key, or the satellite did not return that.
    pub(crate) fn metadata_nonce_is(&self, nonce: &[u8]) -> bool {
        let known = &self.0.encrypted_metadata_nonce;
        known.is_empty() || known == nonce
    }

    /// Replaces the metadata with that of a commit.
    pub(crate) fn with_metadata(self, sealed: &SealedMetadata) -> Self {
        let nonce = sealed.metadata_key_nonce.as_bytes();
        Self(metainfo::Object {
            encrypted_metadata_nonce: Bytes::copy_from_slice(nonce),
            encrypted_metadata: sealed.encrypted_metadata.clone().into(),
            encrypted_metadata_encrypted_key: Bytes::copy_from_slice(
                &sealed.encrypted_metadata_key,
            ),
            ..self.0
        })
    }
}

impl From<metainfo::Object> for ObjectRecord {
    fn from(object: metainfo::Object) -> Self {
        Self(object)
    }
}

/// One item of a listing of objects or pending uploads. Each field is checked when it is read.
#[derive(Clone, Debug)]
pub(crate) struct ListedObject(metainfo::ObjectListItem);

impl ListedObject {
    /// Returns the encrypted key, relative to the prefix of the listing.
    pub(crate) fn encrypted_key(&self) -> &[u8] {
        &self.0.encrypted_object_key
    }

    /// Returns whether this stands for all keys with this prefix.
    pub(crate) fn is_prefix(&self) -> bool {
        self.0.status() == Status::Prefix
    }

    pub(crate) fn stream_id(&self) -> &Bytes {
        &self.0.stream_id
    }

    pub(crate) fn version(&self) -> &Bytes {
        &self.0.object_version
    }

    pub(crate) fn created_at(&self) -> Option<SystemTime> {
        system_time(self.0.created_at.as_ref())
    }

    pub(crate) fn expires_at(&self) -> Option<SystemTime> {
        system_time(self.0.expires_at.as_ref())
    }

    /// Returns the object's size according to the satellite.
    pub(crate) fn claimed_size(&self) -> Result<ClaimedSize> {
        claimed(self.0.plain_size, &self.0.encrypted_metadata)
    }

    /// Decrypts the metadata envelope, in which the satellite names its cipher suite. `None` when the
    /// item has none, or one of an unknown suite.
    pub(crate) fn metadata(&self, content_key: &Key) -> Result<Option<OpenedMetadata>> {
        let sealed = SealedFields::from(&self.0);
        let meta = stream_meta(sealed.metadata)?;
        let number = u64::try_from(meta.encryption_type).unwrap_or(u64::MAX);
        match sealed.envelope(CipherSuite::from_number(number), &meta) {
            Some(envelope) => Ok(envelope.open_listed(content_key)?),
            None => Ok(None),
        }
    }
}

impl From<metainfo::ObjectListItem> for ListedObject {
    fn from(item: metainfo::ObjectListItem) -> Self {
        Self(item)
    }
}

/// Reads the parameters of an object's encryption; unencrypted content is rejected.
fn parameters(wire: Option<&encryption::EncryptionParameters>) -> Result<EncryptionParameters> {
    let wire = wire.ok_or_else(|| Error::protocol("an object has no encryption parameters"))?;
    let suite = CipherSuite::from_number(u64::try_from(wire.cipher_suite).unwrap_or(u64::MAX));
    if matches!(suite, CipherSuite::Null | CipherSuite::NullBase64Url) {
        return Err(Error::protocol("unencrypted content is not accepted"));
    }
    Ok(EncryptionParameters::new(suite, wire.block_size)?)
}

fn stream_meta(message: &[u8]) -> Result<StreamMeta> {
    StreamMeta::decode(message)
        .map_err(|error| Error::protocol(format!("object metadata: {error}")))
}

/// The encrypted fields that objects and listing items have in common.
#[derive(Debug)]
struct SealedFields<'a> {
    metadata: &'a [u8],
    key: &'a [u8],
    nonce: &'a [u8],
    etag: &'a [u8],
}

impl SealedFields<'_> {
    /// Returns the envelope, if there is one: some satellites keep a key without an envelope.
    fn envelope<'b>(
        &'b self,
        suite: CipherSuite,
        meta: &'b StreamMeta,
    ) -> Option<EncryptedMetadata<'b>> {
        let (key, nonce) = meta.metadata_key_or(self.key, self.nonce);
        let envelope = EncryptedMetadata {
            suite,
            encrypted_stream_info: &meta.encrypted_stream_info,
            encrypted_metadata_key: key,
            metadata_key_nonce: nonce,
            encrypted_etag: self.etag,
        };
        let is_empty =
            envelope.encrypted_stream_info.is_empty() && envelope.encrypted_etag.is_empty();
        (!is_empty).then_some(envelope)
    }
}

impl<'a> From<&'a metainfo::Object> for SealedFields<'a> {
    fn from(object: &'a metainfo::Object) -> Self {
        Self {
            metadata: &object.encrypted_metadata,
            key: &object.encrypted_metadata_encrypted_key,
            nonce: &object.encrypted_metadata_nonce,
            etag: &object.encrypted_etag,
        }
    }
}

impl<'a> From<&'a metainfo::ObjectListItem> for SealedFields<'a> {
    fn from(item: &'a metainfo::ObjectListItem) -> Self {
        Self {
            metadata: &item.encrypted_metadata,
            key: &item.encrypted_metadata_encrypted_key,
            nonce: &item.encrypted_metadata_nonce,
            etag: &item.encrypted_etag,
        }
    }
}

fn claimed(plain: i64, metadata: &[u8]) -> Result<ClaimedSize> {
    let segments = stream_meta(metadata)?.number_of_segments;
    let plain = size(plain, "an object")?;
    let segments = u64::try_from(segments).unwrap_or(0);
    Ok(ClaimedSize { plain, segments })
}

/// The fields of a listing item that tests set.
#[cfg(test)]
#[derive(Clone, Debug, Default)]
pub(crate) struct ListedFields {
    pub(crate) encrypted_key: Vec<u8>,
    pub(crate) metadata: Vec<u8>,
    pub(crate) metadata_key: Vec<u8>,
    pub(crate) metadata_nonce: Vec<u8>,
    pub(crate) etag: Vec<u8>,
    pub(crate) plain_size: i64,
}

#[cfg(test)]
impl From<ListedFields> for ListedObject {
    fn from(fields: ListedFields) -> Self {
        Self(metainfo::ObjectListItem {
            encrypted_object_key: fields.encrypted_key.into(),
            encrypted_metadata: fields.metadata.into(),
            encrypted_metadata_encrypted_key: fields.metadata_key.into(),
            encrypted_metadata_nonce: fields.metadata_nonce.into(),
            encrypted_etag: fields.etag.into(),
            plain_size: fields.plain_size,
            ..Default::default()
        })
    }
}
