//! Objects.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::SystemTime;

use uplink_core::encryption::metadata::OpenedMetadata;

use crate::error::{Error, ErrorKind, Result};
use crate::layout::{Authenticity, Claimed, Rules};
use crate::location::Location;
use crate::satellite::ObjectRecord;

mod delete;
pub(crate) mod list;
pub(crate) mod missing;
mod stat;
#[cfg(test)]
mod tests;

pub use self::list::{ListItem, ListOptions, ObjectList};

/// A stored object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Object {
    /// Its key: the name within its bucket, any bytes but none at all.
    pub key: Vec<u8>,
    /// When it was committed.
    pub created: Option<SystemTime>,
    /// When it disappears; `None` when it stays.
    pub expires: Option<SystemTime>,
    /// Plaintext bytes.
    pub size: u64,
    /// Who vouches for size and custom metadata.
    pub authenticity: Authenticity,
    /// Custom metadata, which is encrypted like the content.
    pub custom: BTreeMap<String, String>,
    /// Identifies this version of the object.
    pub version: Vec<u8>,
}

impl Object {
    /// Returns the key as text; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn key_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.key)
    }
}

/// Opens what the satellite says of the object at a location. Returns it with what its envelope
/// claims of its segments.
pub(crate) fn open(
    location: &Location,
    record: &ObjectRecord,
    rules: Rules,
) -> Result<(Object, Claimed)> {
    let metadata = record.metadata(&location.content_key)?;
    let claimed = Claimed::new(record.said_size()?, metadata.as_ref(), rules)?;
    let object = Object {
        key: location.key.clone(),
        created: record.created(),
        expires: record.expires(),
        size: claimed.size,
        authenticity: claimed.authenticity(),
        version: record.version(),
        custom: custom(metadata),
    };
    Ok((object, claimed))
}

fn custom(metadata: Option<OpenedMetadata>) -> BTreeMap<String, String> {
    let info = metadata.and_then(|opened| opened.stream_info);
    info.map(|info| info.metadata.into_entries()).unwrap_or_default()
}

/// Accepts custom metadata that every client of the network can read: no empty key, no NUL.
pub(crate) fn check_custom(custom: &BTreeMap<String, String>) -> Result<()> {
    let bad = |text: &str| text.contains('\0');
    match custom.iter().find(|(key, value)| key.is_empty() || bad(key) || bad(value)) {
        None => Ok(()),
        Some((key, _)) => {
            let text =
                format!("custom metadata: key {key:?} is empty, or it or its value holds NUL");
            Err(Error::new(ErrorKind::ObjectKeyInvalid, text))
        }
    }
}
