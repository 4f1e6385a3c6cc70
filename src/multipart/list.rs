//! Listings of pending uploads.

use std::time::SystemTime;

use uplink_core::encryption::path::{PrefixInfo, encrypt_path};

use super::id::upload_id;
use crate::error::Result;
use crate::object::list::prefix;
use crate::satellite::ListedObject;
use crate::satellite::pending::{StreamCursor, UploadCursor};
use crate::session::Session;

/// An upload that is begun and not committed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingUpload {
    /// The key of the object that the commit would make visible.
    pub key: Vec<u8>,
    /// Identifies the upload among those of the same key.
    pub upload_id: String,
    /// When it began; `None` when the satellite did not say.
    pub begun: Option<SystemTime>,
    /// When the object would disappear; `None` when it would stay.
    pub expires: Option<SystemTime>,
}

/// One item of a listing of pending uploads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UploadItem {
    /// All uploads whose keys begin with this; ends with `/`.
    Prefix(Vec<u8>),
    /// Something whose name the access grant's encryption keys do not open. Holds its encrypted
    /// key, relative to the prefix.
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

/// Pending uploads of a bucket, fetched page by page. Dropping it ends the listing.
#[derive(Debug)]
pub struct UploadList {
    session: Session,
    bucket: String,
    options: ListUploadsOptions,
    query: Query,
    page: std::vec::IntoIter<ListedObject>,
    more: bool,
}

/// What is listed, and where the next page begins.
#[derive(Debug)]
enum Query {
    Below { names: Box<PrefixInfo>, cursor: Option<UploadCursor> },
    Key { encrypted: Vec<u8>, cursor: StreamCursor },
}

impl UploadList {
    pub(super) fn new(session: Session, bucket: &str, options: ListUploadsOptions) -> Result<Self> {
        let store = session.access().encryption();
        let prefix = options.prefix.as_slice();
        let query = if prefix.is_empty() || prefix.ends_with(b"/") {
            let names = PrefixInfo::new(store, bucket.as_bytes(), prefix)?;
            Query::Below { names: Box::new(names), cursor: None }
        } else {
            let encrypted = encrypt_path(store, bucket.as_bytes(), prefix)?;
            Query::Key { encrypted, cursor: StreamCursor::default() }
        };
        let page = Vec::new().into_iter();
        Ok(Self { session, bucket: bucket.to_owned(), options, query, page, more: true })
    }

    /// Returns the next item, or `None` after the last one.
    ///
    /// # Errors
    /// As the satellite's answer tells. An item that cannot be decrypted is no error but an
    /// [`UploadItem::Undecryptable`].
    pub async fn next(&mut self) -> Result<Option<UploadItem>> {
        loop {
            if let Some(item) = self.page.next() {
                return self.open(&item).map(Some);
            }
            if !self.more {
                return Ok(None);
            }
            self.fetch().await?;
        }
    }

    async fn fetch(&mut self) -> Result<()> {
        let satellite = self.session.satellite();
        match &mut self.query {
            Query::Below { names, cursor } => {
                let (prefix, recursive) = (prefix(names), self.options.recursive);
                let page = satellite
                    .list_uploads(&self.bucket, prefix, cursor.as_ref(), recursive)
                    .await?;
                self.more = page.next.is_some();
                *cursor = page.next;
                self.page = page.items.into_iter();
            }
            Query::Key { encrypted, cursor } => {
                let page = satellite.list_uploads_of(&self.bucket, encrypted, cursor).await?;
                self.more = page.next.is_some();
                *cursor = page.next.unwrap_or_default();
                self.page = page.items.into_iter();
            }
        }
        Ok(())
    }

    fn open(&self, item: &ListedObject) -> Result<UploadItem> {
        let key = match &self.query {
            Query::Key { .. } => self.options.prefix.clone(),
            Query::Below { names, .. } => {
                let Ok(name) = names.decrypt_relative(item.encrypted_key()) else {
                    return Ok(UploadItem::Undecryptable(item.encrypted_key().to_vec()));
                };
                let key = [&self.options.prefix[..], &name].concat();
                if item.is_prefix() {
                    return Ok(UploadItem::Prefix(key));
                }
                key
            }
        };
        Ok(UploadItem::Upload(PendingUpload {
            key,
            upload_id: upload_id(item.stream_id())?,
            begun: item.created(),
            expires: item.expires(),
        }))
    }
}
