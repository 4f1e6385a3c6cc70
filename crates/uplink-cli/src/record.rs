//! Buckets, objects and what else a listing holds, as scripts and people see them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use uplink::{Bucket, Object, PendingUpload};

use crate::output::printable;

/// One JSON object of `ls` and `stat`. What is unknown or does not apply is left out.
#[derive(Debug, Serialize)]
pub(crate) struct Record<'a> {
    /// `bucket`, `object`, `prefix`, `undecryptable` or `upload`.
    kind: &'static str,
    /// Name of the bucket, key, or prefix. Of something undecryptable: the encrypted key in URL-safe
    /// Base64.
    key: Cow<'a, str>,
    /// The key's bytes in URL-safe Base64, if they are no UTF-8 and `key` had to replace some.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    /// Plain bytes of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// When it was made or begun, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    /// When it disappears, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    /// The version in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// The id of a pending upload.
    #[serde(skip_serializing_if = "Option::is_none")]
    upload_id: Option<&'a str>,
    /// Custom metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a BTreeMap<String, String>>,
}

impl<'a> Record<'a> {
    pub(crate) fn bucket(bucket: &'a Bucket) -> Self {
        let created = bucket.created.and_then(rfc3339);
        Self { created, ..Self::new("bucket", bucket.name.as_bytes()) }
    }

    /// An object of a listing.
    pub(crate) fn object(object: &'a Object) -> Self {
        Self {
            size: Some(object.size),
            created: object.created.and_then(rfc3339),
            expires: object.expires.and_then(rfc3339),
            ..Self::new("object", &object.key)
        }
    }

    /// An object with everything that is known of it.
    pub(crate) fn whole_object(object: &'a Object) -> Self {
        let version = (!object.version.is_empty()).then(|| hexadecimal(&object.version));
        Self { version, metadata: Some(&object.custom), ..Self::object(object) }
    }

    /// An upload that is begun and not committed.
    pub(crate) fn upload(upload: &'a PendingUpload) -> Self {
        Self {
            created: upload.begun.and_then(rfc3339),
            expires: upload.expires.and_then(rfc3339),
            upload_id: Some(&upload.upload_id),
            ..Self::new("upload", &upload.key)
        }
    }

    pub(crate) fn prefix(key: &'a [u8]) -> Self {
        Self::new("prefix", key)
    }

    pub(crate) fn undecryptable(encrypted: &[u8]) -> Self {
        let key = Cow::Owned(URL_SAFE.encode(encrypted));
        Self { key, ..Self::new("undecryptable", b"") }
    }

    fn new(kind: &'static str, key: &'a [u8]) -> Self {
        let text = String::from_utf8_lossy(key);
        let key_base64 = matches!(text, Cow::Owned(_)).then(|| URL_SAFE.encode(key));
        Self {
            kind,
            key: text,
            key_base64,
            size: None,
            created: None,
            expires: None,
            version: None,
            upload_id: None,
            metadata: None,
        }
    }

    /// The record as a line of a table for people.
    pub(crate) fn line(&self) -> String {
        let created = self.created.as_deref().map(short).unwrap_or_default();
        let size = self.size.map(|size| size.to_string()).unwrap_or_default();
        let key = printable(&self.key);
        match self.kind {
            "bucket" => format!("{created:19}  {key}"),
            _ => format!("{created:19}  {size:>14}  {key}"),
        }
    }

    /// The record as rows of a name and a value for people.
    pub(crate) fn rows(&self) -> Vec<(String, String)> {
        let mut rows = vec![(self.kind.to_owned(), self.key.to_string())];
        rows.extend(self.key_base64.clone().map(|key| ("key in Base64".to_owned(), key)));
        rows.extend(self.size.map(|size| ("bytes".to_owned(), size.to_string())));
        rows.extend(self.created.clone().map(|time| ("created".to_owned(), time)));
        rows.extend(self.expires.clone().map(|time| ("expires".to_owned(), time)));
        rows.extend(self.version.clone().map(|version| ("version".to_owned(), version)));
        for (name, value) in self.metadata.into_iter().flatten() {
            rows.push((format!("metadata {name}"), value.clone()));
        }
        rows
    }
}

/// Writes a time as RFC 3339 does; none whose year has not four digits.
fn rfc3339(time: SystemTime) -> Option<String> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let nanos = i128::try_from(since.as_nanos()).ok()?;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?.format(&Rfc3339).ok()
}

/// Shortens a time to what fits a table.
fn short(rfc3339: &str) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let time = OffsetDateTime::parse(rfc3339, &Rfc3339).ok();
    time.and_then(|time| time.format(&format).ok()).unwrap_or_default()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
