//! The attributes of an object, decrypted and checked.

use std::collections::BTreeMap;
use std::time::SystemTime;

use uplink_core::encryption::metadata::OpenedMetadata;

use super::key::ObjectKey;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{Authenticity, RecordedObject, Rules};
use crate::location::Location;
use crate::satellite::ObjectRecord;

/// A stored object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Object {
    /// Its key: the name within its bucket.
    pub key: ObjectKey,
    /// When it was committed.
    pub created_at: Option<SystemTime>,
    /// When it expires; `None` if it does not.
    pub expires_at: Option<SystemTime>,
    /// Plain bytes.
    pub size: u64,
    /// What confirms size and custom metadata.
    pub authenticity: Authenticity,
    /// Custom metadata, which is encrypted like the content.
    pub custom_metadata: BTreeMap<String, String>,
    /// The ETag that its writer stored; empty if there is none. Encrypted like the content.
    pub etag: Vec<u8>,
    /// Identifies this version of the object.
    pub version: Vec<u8>,
}

/// Decrypts an object in a satellite's reply. Returns it with what its envelope records of its
/// segments.
pub(crate) fn open(
    location: &Location,
    record: &ObjectRecord,
    rules: Rules,
) -> Result<(Object, RecordedObject)> {
    let metadata = record.metadata(&location.content_key)?;
    let recorded = RecordedObject::new(record.claimed_size()?, metadata.as_ref(), rules)?;
    let object = Object {
        key: location.key.clone().into(),
        created_at: record.created_at(),
        expires_at: record.expires_at(),
        size: recorded.size,
        authenticity: recorded.authenticity(),
        version: record.version(),
        etag: metadata.as_ref().map(|opened| opened.etag.clone()).unwrap_or_default(),
        custom_metadata: custom_metadata(metadata),
    };
    Ok((object, recorded))
}

pub(super) fn custom_metadata(metadata: Option<OpenedMetadata>) -> BTreeMap<String, String> {
    let info = metadata.and_then(|opened| opened.stream_info);
    info.map(|info| info.metadata.into_entries()).unwrap_or_default()
}

/// Accepts custom metadata that every client of the network can read: no empty key, no NUL.
pub(crate) fn check_custom_metadata(custom: &BTreeMap<String, String>) -> Result<()> {
    let bad = |text: &str| text.contains('\0');
    match custom.iter().find(|(key, value)| key.is_empty() || bad(key) || bad(value)) {
        None => Ok(()),
        Some((key, _)) => {
            let text = format!(
                "invalid custom metadata entry {key:?}: keys must not be empty, and keys and values \
                 must not contain NUL"
            );
            Err(Error::new(ErrorKind::CustomMetadataInvalid, text))
        }
    }
}
