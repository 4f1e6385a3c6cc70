//! Items of listings, as JSON for scripts and as text for people.

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

use crate::failure::Outcome;
use crate::output::Output;
use crate::text::printable;

/// A JSON object of `ls` and `stat`. Fields that are unknown or do not apply are omitted.
#[derive(Debug, Serialize)]
pub(crate) struct Record<'a> {
    /// `bucket`, `object`, `prefix`, `undecryptable` or `upload`.
    kind: &'static str,
    /// Bucket name, key or prefix; the encrypted key in URL-safe Base64 if it cannot be decrypted.
    key: Cow<'a, str>,
    /// Bytes of the key in URL-safe Base64, if they are not valid UTF-8 and `key` is lossy.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    /// Plaintext bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// Time of creation or start of the upload, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    /// Expiry, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    /// Version, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// Id of a pending upload.
    #[serde(skip_serializing_if = "Option::is_none")]
    upload_id: Option<&'a str>,
    /// Custom metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a BTreeMap<String, String>>,
    /// Whether a change was only checked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

impl<'a> Record<'a> {
    pub(crate) fn bucket(bucket: &'a Bucket) -> Self {
        let created = bucket.created_at.and_then(rfc3339);
        Self { created, ..Self::new("bucket", bucket.name.as_bytes()) }
    }

    /// Creates the record of an object in a listing.
    pub(crate) fn object(object: &'a Object) -> Self {
        Self {
            size: Some(object.size),
            created: object.created_at.and_then(rfc3339),
            expires: object.expires_at.and_then(rfc3339),
            ..Self::new("object", &object.key)
        }
    }

    /// Creates the record of an object of which only the key is known.
    pub(crate) fn key(key: &'a [u8]) -> Self {
        Self::new("object", key)
    }

    /// Creates the record of an object with its version and metadata.
    pub(crate) fn object_with_metadata(object: &'a Object) -> Self {
        let version = (!object.version.is_empty()).then(|| hexadecimal(&object.version));
        Self { version, metadata: Some(&object.custom_metadata), ..Self::object(object) }
    }

    /// Creates the record of a pending upload.
    pub(crate) fn upload(upload: &'a PendingUpload) -> Self {
        Self {
            created: upload.created_at.and_then(rfc3339),
            expires: upload.expires_at.and_then(rfc3339),
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
            dry_run: false,
        }
    }

    /// Marks the record of a change that was not made if `dry_run` is set.
    pub(crate) fn with_dry_run(self, dry_run: bool) -> Self {
        Self { dry_run, ..self }
    }

    /// Prints the record as a line of a listing.
    pub(crate) fn print(&self, out: Output) -> Outcome {
        out.object(self)?;
        out.line(self.line())
    }

    fn line(&self) -> String {
        let created = self.created.as_deref().map(table_time).unwrap_or_default();
        let size = self.size.map(|size| size.to_string()).unwrap_or_default();
        let key = printable(&self.key);
        match self.kind {
            "bucket" => format!("{created:19}  {key}"),
            _ => format!("{created:19}  {size:>14}  {key}"),
        }
    }

    /// Returns the fields as rows of name and value.
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

/// Formats a time as RFC 3339; `None` if the year does not have four digits.
fn rfc3339(time: SystemTime) -> Option<String> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let nanos = i128::try_from(since.as_nanos()).ok()?;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?.format(&Rfc3339).ok()
}

/// Formats an RFC 3339 time for a table, without fractions of seconds.
fn table_time(rfc3339: &str) -> String {
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
