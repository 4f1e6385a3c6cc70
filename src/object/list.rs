//! Listings of objects.

use uplink_core::encryption::CipherSuite;
use uplink_core::encryption::metadata::OpenedMetadata;
use uplink_core::encryption::path::{PrefixInfo, content_key};

use super::{Object, custom};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::Claimed;
use crate::location::check_bucket;
use crate::project::Project;
use crate::satellite::ListedObject;
use crate::satellite::object::{ListObjects, Prefix};
use crate::session::Session;

impl Project {
    /// Lists objects of a bucket, in the order of their encrypted keys.
    ///
    /// Makes no call; a missing bucket is reported by the first item.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] when the access grant holds no encryption key for the prefix.
    pub fn list_objects(&self, bucket: &str, options: ListOptions) -> Result<ObjectList> {
        check_bucket(bucket)?;
        ObjectList::new(self.session().clone(), bucket, options)
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
    session: Session,
    bucket: String,
    options: ListOptions,
    names: PrefixInfo,
    /// Where the next page begins; `None` after the last one.
    next: Option<Vec<u8>>,
    page: std::vec::IntoIter<ListedObject>,
}

impl ObjectList {
    pub(super) fn new(session: Session, bucket: &str, options: ListOptions) -> Result<Self> {
        let store = session.access().encryption();
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
        Ok(Self { session, bucket, options, names, next: Some(cursor), page })
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
                return Ok(Some(self.open(&item)));
            }
            let Some(cursor) = &self.next else { return Ok(None) };
            let list = ListObjects {
                bucket: &self.bucket,
                prefix: prefix(&self.names),
                cursor,
                recursive: self.options.recursive,
                metadata: self.options.custom,
            };
            let page = self.session.satellite().list_objects(&list).await?;
            self.next = page.next;
            self.page = page.items.into_iter();
        }
    }

    pub(super) fn open(&self, item: &ListedObject) -> ListItem {
        let undecryptable = || ListItem::Undecryptable(item.encrypted_key().to_vec());
        let Ok(name) = self.names.decrypt_relative(item.encrypted_key()) else {
            return undecryptable();
        };
        let key = self.whole_key(&name);
        if item.is_prefix() {
            return ListItem::Prefix(key);
        }
        let opened = self.metadata(item, &key).and_then(|metadata| {
            let rules = self.session.config().into();
            let claimed = Claimed::new(item.said_size()?, metadata.as_ref(), rules)?;
            Ok((metadata, claimed))
        });
        let Ok((metadata, claimed)) = opened else { return undecryptable() };
        ListItem::Object(Object {
            created: item.created(),
            expires: item.expires(),
            size: claimed.size,
            authenticity: claimed.authenticity(),
            version: item.version().to_vec(),
            custom: custom(metadata),
            key,
        })
    }

    fn whole_key(&self, name: &[u8]) -> Vec<u8> {
        if self.names.cipher == CipherSuite::Null || self.options.prefix.is_empty() {
            return [&self.options.prefix, name].concat();
        }
        [&self.names.unencrypted_parent, &b"/"[..], name].concat()
    }

    fn metadata(&self, item: &ListedObject, key: &[u8]) -> Result<Option<OpenedMetadata>> {
        if !self.options.custom {
            return Ok(None);
        }
        let store = self.session.access().encryption();
        item.metadata(&content_key(store, self.bucket.as_bytes(), key)?)
    }
}

/// Returns what the satellite is asked for below a prefix.
pub(crate) fn prefix(names: &PrefixInfo) -> Prefix<'_> {
    match names.cipher {
        CipherSuite::Null => Prefix::Plain(&names.unencrypted_path),
        _ => Prefix::Encrypted(&names.encrypted_parent),
    }
}
