//! Listings of pending uploads.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use futures_core::Stream;
use uplink_core::encryption::path::{PrefixInfo, encrypt_path};

use super::id::upload_id;
use crate::error::Result;
use crate::object::ObjectKey;
use crate::object::list::prefix;
use crate::pages::Pages;
use crate::satellite::pending::{StreamCursor, UploadCursor};
use crate::satellite::{ListedObject, Page};
use crate::session::Session;

/// An upload that has begun and is not committed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingUpload {
    /// The key of the object that the commit would create.
    pub key: ObjectKey,
    /// Identifies the upload among those of the same key.
    pub upload_id: String,
    /// When it was begun; `None` when the satellite did not say.
    pub created_at: Option<SystemTime>,
    /// When the object would expire; `None` if it would not.
    pub expires_at: Option<SystemTime>,
}

/// One item of a listing of pending uploads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UploadItem {
    /// All uploads whose keys begin with this; ends with `/`.
    Prefix(ObjectKey),
    /// An upload or prefix whose key the access grant cannot decrypt. Holds its encrypted key,
    /// relative to the prefix.
    Undecryptable(Vec<u8>),
    /// An upload. Its `key` is the whole key, not relative to the prefix.
    Upload(PendingUpload),
}

/// Which pending uploads to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct ListUploadsOptions {
    prefix: Vec<u8>,
    recursive: bool,
}

impl ListUploadsOptions {
    /// Lists the top of a bucket: uploads without a `/` in their key, and prefixes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lists what begins with `prefix`. One that does not end with `/` is a key: then the uploads of
    /// exactly this key are listed.
    pub fn prefix(mut self, prefix: impl AsRef<[u8]>) -> Self {
        self.prefix = prefix.as_ref().to_vec();
        self
    }

    /// Lists all uploads below the prefix instead of collapsing them at the next `/`.
    pub fn recursive(mut self, recursive: bool) -> Self {
        self.recursive = recursive;
        self
    }
}

/// A stream of the pending uploads of a bucket, fetched page by page.
///
/// Holds one page. Dropping it cancels the call in flight.
///
/// # Errors
/// An item is an error when the satellite's reply is one; polling again fetches the same page again.
/// An item that cannot be decrypted is not an error but an [`UploadItem::Undecryptable`].
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct UploadList {
    query: Arc<Query>,
    pages: Pages<ListedObject, Cursor>,
}

/// What is listed.
#[derive(Debug)]
struct Query {
    session: Session,
    bucket: String,
    options: ListUploadsOptions,
    keys: Keys,
}

#[derive(Debug)]
enum Keys {
    /// All keys below a prefix.
    Below(Box<PrefixInfo>),
    /// One encrypted key.
    One(Vec<u8>),
}

/// Where the next page begins, for each kind of [`Keys`].
#[derive(Clone, Debug, Default)]
struct Cursor {
    below: Option<UploadCursor>,
    one: StreamCursor,
}

impl UploadList {
    pub(super) fn new(
        session: Session,
        bucket: &str,
        options: &ListUploadsOptions,
    ) -> Result<Self> {
        let query = Arc::new(Query::new(session, bucket, options)?);
        let fetched = Arc::clone(&query);
        let pages = Pages::new(Cursor::default(), move |cursor| {
            let query = Arc::clone(&fetched);
            async move { query.fetch(cursor).await }
        });
        Ok(Self { query, pages })
    }
}

impl Stream for UploadList {
    type Item = Result<UploadItem>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.pages.poll_next(context));
        Poll::Ready(item.map(|item| self.query.open(&item?)))
    }
}

impl Query {
    fn new(session: Session, bucket: &str, options: &ListUploadsOptions) -> Result<Self> {
        let store = session.access().encryption();
        let prefix = options.prefix.as_slice();
        let keys = if prefix.is_empty() || prefix.ends_with(b"/") {
            Keys::Below(Box::new(PrefixInfo::new(store, bucket.as_bytes(), prefix)?))
        } else {
            Keys::One(encrypt_path(store, bucket.as_bytes(), prefix)?)
        };
        Ok(Self { session, bucket: bucket.to_owned(), options: options.clone(), keys })
    }

    async fn fetch(&self, cursor: Cursor) -> Result<Page<ListedObject, Cursor>> {
        let satellite = self.session.satellite();
        match &self.keys {
            Keys::Below(names) => {
                let recursive = self.options.recursive;
                let page = satellite
                    .list_uploads(&self.bucket, prefix(names), cursor.below.as_ref(), recursive)
                    .await?;
                let next = page.next.map(|below| Cursor { below: Some(below), ..cursor });
                Ok(Page { items: page.items, next })
            }
            Keys::One(encrypted) => {
                let page = satellite.list_uploads_of(&self.bucket, encrypted, &cursor.one).await?;
                let next = page.next.map(|one| Cursor { one, ..cursor });
                Ok(Page { items: page.items, next })
            }
        }
    }

    fn open(&self, item: &ListedObject) -> Result<UploadItem> {
        let key = match &self.keys {
            Keys::One(_) => self.options.prefix.clone(),
            Keys::Below(names) => {
                let Ok(name) = names.decrypt_relative(item.encrypted_key()) else {
                    return Ok(UploadItem::Undecryptable(item.encrypted_key().to_vec()));
                };
                let key = [&self.options.prefix[..], &name].concat();
                if item.is_prefix() {
                    return Ok(UploadItem::Prefix(key.into()));
                }
                key
            }
        };
        Ok(UploadItem::Upload(PendingUpload {
            key: key.into(),
            upload_id: upload_id(item.stream_id())?,
            created_at: item.created_at(),
            expires_at: item.expires_at(),
        }))
    }
}
