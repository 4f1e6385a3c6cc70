//! Listings of objects.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use uplink_core::encryption::CipherSuite;
use uplink_core::encryption::metadata::OpenedMetadata;
use uplink_core::encryption::path::{PrefixInfo, content_key, encrypt_component};

use super::attributes::{Object, custom_metadata};
use super::key::ObjectKey;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::RecordedObject;
use crate::location::check_bucket;
use crate::pages::Pages;
use crate::project::Project;
use crate::satellite::object::{ListObjects, Prefix};
use crate::satellite::{ListedObject, Page};
use crate::session::Session;

impl Project {
    /// Lists the top of a bucket: objects without a `/` in their key, and prefixes, in the order of
    /// their encrypted keys.
    ///
    /// Makes no call; a missing bucket is reported by the first item.
    ///
    /// # Errors
    /// [`ErrorKind::BucketNameInvalid`] for an empty name, [`ErrorKind::PermissionDenied`] when the
    /// access grant holds no encryption key for the bucket.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(project: uplink::Project) -> uplink::Result<()> {
    /// use futures_util::TryStreamExt;
    /// use uplink::{ListItem, ListOptions};
    ///
    /// let options = ListOptions::new().prefix("trips/").recursive(true);
    /// let mut objects = project.list_objects_with("photos", &options)?;
    /// while let Some(item) = objects.try_next().await? {
    ///     if let ListItem::Object(object) = item {
    ///         println!("{} {}", object.size, object.key);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn list_objects(&self, bucket: &str) -> Result<ObjectList> {
        self.list_objects_with(bucket, &ListOptions::new())
    }

    /// Lists objects of a bucket with options.
    ///
    /// A prefix without objects is an empty listing. So is any prefix under a wrong passphrase, which
    /// encrypts it to another name; at the top of the bucket all items are
    /// [`ListItem::Undecryptable`] then.
    ///
    /// # Errors
    /// As [`list_objects`](Self::list_objects), and when object keys are encrypted,
    /// [`ErrorKind::PrefixInvalid`] if the prefix does not end with `/`, and
    /// [`ErrorKind::DelimiterInvalid`] for another delimiter than `/`.
    pub fn list_objects_with(&self, bucket: &str, options: &ListOptions) -> Result<ObjectList> {
        check_bucket(bucket)?;
        ObjectList::new(self.session().clone(), bucket, options)
    }
}

/// One item of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListItem {
    /// An object. Its `key` is the whole key, not relative to the prefix.
    Object(Object),
    /// All objects whose keys begin with this; ends with the delimiter.
    Prefix(ObjectKey),
    /// An object or prefix whose key or metadata the access grant cannot decrypt, or whose metadata
    /// contradicts the satellite. Holds its encrypted key, relative to the prefix.
    Undecryptable(Vec<u8>),
}

/// Which objects to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct ListOptions {
    prefix: Vec<u8>,
    cursor: Vec<u8>,
    delimiter: Vec<u8>,
    recursive: bool,
    custom_metadata: bool,
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

    /// Begins after the object with this key, the whole key as in [`Object::key`]. Empty means at the
    /// start.
    ///
    /// A key relative to the prefix would not do: that of an object named like the prefix is empty.
    /// Listings come in the order of encrypted keys, which is not that of the keys themselves.
    pub fn cursor(mut self, cursor: impl AsRef<[u8]>) -> Self {
        self.cursor = cursor.as_ref().to_vec();
        self
    }

    /// Collapses keys at the next `delimiter` instead of `/`. Only where object keys are not
    /// encrypted; empty means `/`.
    pub fn delimiter(mut self, delimiter: impl AsRef<[u8]>) -> Self {
        self.delimiter = delimiter.as_ref().to_vec();
        self
    }

    /// Lists all objects below the prefix instead of collapsing them at the next delimiter.
    pub fn recursive(mut self, recursive: bool) -> Self {
        self.recursive = recursive;
        self
    }

    /// Fetches custom metadata too.
    pub fn custom_metadata(mut self, fetch: bool) -> Self {
        self.custom_metadata = fetch;
        self
    }
}

impl ListOptions {
    /// Returns where keys are collapsed; `None` if they are not.
    fn collapsed_at(&self) -> Option<&[u8]> {
        match self.delimiter.as_slice() {
            _ if self.recursive => None,
            [] => Some(b"/"),
            delimiter => Some(delimiter),
        }
    }
}

/// Rejects options that need the bytes of keys: encryption preserves only the components between `/`.
fn check_components(options: &ListOptions) -> Result<()> {
    if !options.prefix.is_empty() && !options.prefix.ends_with(b"/") {
        let prefix = String::from_utf8_lossy(&options.prefix);
        let text = format!("invalid prefix {prefix:?}: must be empty or end with '/'");
        return Err(Error::new(ErrorKind::PrefixInvalid, text));
    }
    if options.collapsed_at().is_some_and(|delimiter| delimiter != b"/") {
        let delimiter = String::from_utf8_lossy(&options.delimiter);
        let text = format!("invalid delimiter {delimiter:?}: must be '/' for encrypted keys");
        return Err(Error::new(ErrorKind::DelimiterInvalid, text));
    }
    Ok(())
}

/// A stream of the objects of a bucket, fetched page by page.
///
/// Holds two pages: from the second page on, the next one is fetched while items are read. Dropping it
/// cancels the call in flight.
///
/// # Errors
/// An item is an error when the satellite's reply is one. [`ErrorKind::Protocol`] when a page does
/// not advance, is out of order or too large. Polling again after an error fetches the same page
/// again. An item that cannot be decrypted is not an error but a [`ListItem::Undecryptable`].
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct ObjectList {
    listing: Arc<Listing>,
    pages: Pages<ListedObject, Vec<u8>>,
}

/// What is listed.
#[derive(Debug)]
pub(super) struct Listing {
    session: Session,
    bucket: String,
    options: ListOptions,
    names: PrefixInfo,
}

impl ObjectList {
    pub(super) fn new(session: Session, bucket: &str, options: &ListOptions) -> Result<Self> {
        let listing = Arc::new(Listing::new(session, bucket, options)?);
        let first = listing.cursor()?;
        let fetched = Arc::clone(&listing);
        let pages = Pages::new(first, move |cursor| {
            let listing = Arc::clone(&fetched);
            async move { listing.fetch(&cursor).await }
        });
        Ok(Self { listing, pages })
    }
}

impl Stream for ObjectList {
    type Item = Result<ListItem>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = self.pages.poll_next(context);
        item.map_ok(|item| self.listing.open(&item))
    }
}

impl Listing {
    pub(super) fn new(session: Session, bucket: &str, options: &ListOptions) -> Result<Self> {
        let store = session.access().encryption();
        let names = match PrefixInfo::new(store, bucket.as_bytes(), &options.prefix) {
            Ok(names) => names,
            // A prefix without its `/` may be the reason why there is no key for it.
            Err(error) => {
                return Err(check_components(options).err().unwrap_or_else(|| error.into()));
            }
        };
        if names.cipher != CipherSuite::Null {
            check_components(options)?;
        }
        Ok(Self { session, bucket: bucket.to_owned(), options: options.clone(), names })
    }

    /// Returns the encrypted key after which the first page begins.
    fn cursor(&self) -> Result<Vec<u8>> {
        match self.options.cursor.as_slice() {
            [] => Ok(Vec::new()),
            cursor => match cursor.strip_prefix(self.options.prefix.as_slice()) {
                // The object named like the prefix: one empty component.
                Some([]) => Ok(encrypt_component(self.names.cipher, b"", &self.names.parent_key)?),
                Some(relative) => Ok(self.names.encrypt_relative(relative)?),
                None => Err(self.foreign_cursor()),
            },
        }
    }

    fn foreign_cursor(&self) -> Error {
        let ListOptions { cursor, prefix, .. } = &self.options;
        let cursor = String::from_utf8_lossy(cursor);
        let prefix = String::from_utf8_lossy(prefix);
        let text = format!("invalid cursor {cursor:?}: must begin with the prefix {prefix:?}");
        Error::new(ErrorKind::ObjectKeyInvalid, text)
    }

    async fn fetch(&self, cursor: &[u8]) -> Result<Page<ListedObject>> {
        let list = ListObjects {
            bucket: &self.bucket,
            prefix: prefix(&self.names),
            cursor,
            delimiter: self.options.collapsed_at(),
            metadata: self.options.custom_metadata,
        };
        let mut page = self.session.satellite().list_objects(&list).await?;
        // Where keys are not encrypted, an empty cursor means the start.
        if cursor.is_empty() && !self.options.cursor.is_empty() {
            page.items.retain(|item| !item.encrypted_key().is_empty());
        }
        Ok(page)
    }

    pub(super) fn open(&self, item: &ListedObject) -> ListItem {
        let undecryptable = || ListItem::Undecryptable(item.encrypted_key().to_vec());
        let Ok(name) = self.names.decrypt_relative(item.encrypted_key()) else {
            return undecryptable();
        };
        let key = self.whole_key(&name);
        if item.is_prefix() {
            return ListItem::Prefix(key.into());
        }
        let opened = self.metadata(item, &key).and_then(|metadata| {
            let rules = self.session.config().into();
            let recorded = RecordedObject::new(item.claimed_size()?, metadata.as_ref(), rules)?;
            Ok((metadata, recorded))
        });
        let Ok((metadata, recorded)) = opened else { return undecryptable() };
        ListItem::Object(Object {
            key: key.into(),
            created_at: item.created_at(),
            expires_at: item.expires_at(),
            size: recorded.size,
            authenticity: recorded.authenticity(),
            version: item.version().to_vec(),
            etag: metadata.as_ref().map(|opened| opened.etag.clone()).unwrap_or_default(),
            custom_metadata: custom_metadata(metadata),
        })
    }

    fn whole_key(&self, name: &[u8]) -> Vec<u8> {
        if self.names.cipher == CipherSuite::Null || self.options.prefix.is_empty() {
            return [&self.options.prefix, name].concat();
        }
        [&self.names.unencrypted_parent, &b"/"[..], name].concat()
    }

    fn metadata(&self, item: &ListedObject, key: &[u8]) -> Result<Option<OpenedMetadata>> {
        if !self.options.custom_metadata {
            return Ok(None);
        }
        let store = self.session.access().encryption();
        item.metadata(&content_key(store, self.bucket.as_bytes(), key)?)
    }
}

/// Returns the prefix of a request for a listing.
pub(crate) fn prefix(names: &PrefixInfo) -> Prefix<'_> {
    match names.cipher {
        CipherSuite::Null => Prefix::Plain(&names.unencrypted_path),
        _ => Prefix::Encrypted(&names.encrypted_parent),
    }
}
