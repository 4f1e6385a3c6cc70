//! Objects and listings of them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::SystemTime;

use bytes::Bytes;
use uplink_core::encryption::CipherSuite;
use uplink_core::encryption::metadata::OpenedMetadata;
use uplink_core::encryption::path::{PrefixInfo, content_key};
use uplink_rpc::r#gen::metainfo::{self, object::Status};
use uplink_rpc::time::system_time;

use crate::error::{Error, ErrorKind, Result};
use crate::layout::{Authenticity, Claimed};
use crate::project::Project;
use crate::satellite::convert;
use crate::satellite::page::{PAGE, next_cursor};

#[cfg(test)]
mod tests;

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

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListItem {
    /// An object. Its `key` is the whole key, not relative to the prefix.
    Object(Object),
    /// All objects whose keys begin with this; ends with `/`.
    Prefix(Vec<u8>),
    /// Something whose name or metadata the access grant's encryption keys do not open, or whose
    /// metadata contradicts the satellite's word. Holds its encrypted key, relative to the prefix.
    Undecryptable(Vec<u8>),
}

/// What to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct ListOptions {
    prefix: Vec<u8>,
    cursor: Vec<u8>,
    recursive: bool,
    custom: bool,
}

impl ListOptions {
    /// Lists the top of a bucket: objects without a `/` in their key, and prefixes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lists what begins with `prefix`, which must be empty or end with `/`.
    pub fn prefix(mut self, prefix: impl AsRef<[u8]>) -> Self {
        self.prefix = prefix.as_ref().to_vec();
        self
    }

    /// Begins after this key, given relative to the prefix.
    ///
    /// Listings come in the order of encrypted keys, which is not that of the keys themselves.
    pub fn cursor(mut self, cursor: impl AsRef<[u8]>) -> Self {
        self.cursor = cursor.as_ref().to_vec();
        self
    }

    /// Lists all objects below the prefix instead of collapsing them at the next `/`.
    pub fn recursive(mut self, recursive: bool) -> Self {
        self.recursive = recursive;
        self
    }

    /// Fetches custom metadata too.
    pub fn custom(mut self, custom: bool) -> Self {
        self.custom = custom;
        self
    }
}

/// Objects of a bucket, fetched page by page.
///
/// Holds one page. Dropping it ends the listing.
#[derive(Debug)]
pub struct ObjectList {
    project: Project,
    bucket: String,
    options: ListOptions,
    names: PrefixInfo,
    cursor: Vec<u8>,
    page: std::vec::IntoIter<metainfo::ObjectListItem>,
    more: bool,
}

impl ObjectList {
    pub(crate) fn new(project: Project, bucket: &str, options: ListOptions) -> Result<Self> {
        let store = project.access().encryption();
        let names = PrefixInfo::new(store, bucket.as_bytes(), &options.prefix)?;
        let slashed = options.prefix.is_empty() || options.prefix.ends_with(b"/");
        if !slashed && names.cipher != CipherSuite::Null {
            return Err(Error::new(
                ErrorKind::ObjectKeyInvalid,
                "a prefix should end with a slash",
            ));
        }
        let cursor = match options.cursor.as_slice() {
            [] => Vec::new(),
            cursor => names.encrypt_relative(cursor)?,
        };
        let bucket = bucket.to_owned();
        let page = Vec::new().into_iter();
        Ok(Self { project, bucket, options, names, cursor, page, more: true })
    }

    /// Returns the next item, or `None` after the last one.
    ///
    /// # Errors
    /// As the satellite's answer tells. [`ErrorKind::Protocol`] when a page does not advance, is out
    /// of order or too large; calling again fetches the same page again. An item that cannot be
    /// decrypted is no error but a [`ListItem::Undecryptable`].
    pub async fn next(&mut self) -> Result<Option<ListItem>> {
        loop {
            if let Some(item) = self.page.next() {
                return self.open(item).map(Some);
            }
            if !self.more {
                return Ok(None);
            }
            self.fetch().await?;
        }
    }

    async fn fetch(&mut self) -> Result<()> {
        let page = self.project.satellite().list_objects(self.request()).await?;
        let keys = page.items.iter().map(|item| item.encrypted_object_key.as_ref());
        let next = next_cursor(&self.cursor, keys, page.more)?;
        self.more = next.is_some();
        self.cursor = next.unwrap_or_default();
        self.page = page.items.into_iter();
        Ok(())
    }

    fn request(&self) -> metainfo::ListObjectsRequest {
        let arbitrary = self.names.cipher == CipherSuite::Null;
        let prefix =
            if arbitrary { &self.names.unencrypted_path } else { &self.names.encrypted_parent };
        metainfo::ListObjectsRequest {
            bucket: Bytes::copy_from_slice(self.bucket.as_bytes()),
            encrypted_prefix: Bytes::copy_from_slice(prefix),
            encrypted_cursor: Bytes::copy_from_slice(&self.cursor),
            recursive: self.options.recursive,
            limit: i32::from(PAGE),
            object_includes: Some(metainfo::ObjectListItemIncludes {
                metadata: self.options.custom,
                ..Default::default()
            }),
            use_object_includes: true,
            arbitrary_prefix: arbitrary,
            delimiter: if self.options.recursive { Bytes::new() } else { Bytes::from_static(b"/") },
            ..Default::default()
        }
    }

    fn open(&self, item: metainfo::ObjectListItem) -> Result<ListItem> {
        let Ok(name) = self.names.decrypt_relative(&item.encrypted_object_key) else {
            return Ok(ListItem::Undecryptable(item.encrypted_object_key.to_vec()));
        };
        let key = self.whole_key(&name);
        if item.status() == Status::Prefix {
            return Ok(ListItem::Prefix(key));
        }
        let opened = self.metadata(&item, &key).and_then(|metadata| {
            let said = convert::listed_size(&item)?;
            let claimed = Claimed::new(said, metadata.as_ref(), self.project.config().into())?;
            Ok((metadata, claimed))
        });
        let Ok((metadata, claimed)) = opened else {
            return Ok(ListItem::Undecryptable(item.encrypted_object_key.to_vec()));
        };
        Ok(ListItem::Object(Object {
            created: system_time(item.created_at.as_ref()),
            expires: system_time(item.expires_at.as_ref()),
            size: claimed.size,
            authenticity: claimed.authenticity(),
            version: item.object_version.to_vec(),
            custom: custom(metadata),
            key,
        }))
    }

    fn whole_key(&self, name: &[u8]) -> Vec<u8> {
        if self.names.cipher == CipherSuite::Null || self.options.prefix.is_empty() {
            return [&self.options.prefix, name].concat();
        }
        [&self.names.unencrypted_parent, &b"/"[..], name].concat()
    }

    fn metadata(
        &self,
        item: &metainfo::ObjectListItem,
        key: &[u8],
    ) -> Result<Option<OpenedMetadata>> {
        if !self.options.custom {
            return Ok(None);
        }
        let store = self.project.access().encryption();
        let content_key = content_key(store, self.bucket.as_bytes(), key)?;
        convert::listed_metadata(&content_key, &item.into())
    }
}

pub(crate) fn custom(metadata: Option<OpenedMetadata>) -> BTreeMap<String, String> {
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
