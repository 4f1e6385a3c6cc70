//! Listings of pending uploads.

use std::time::SystemTime;

use bytes::Bytes;
use uplink_core::encryption::CipherSuite;
use uplink_core::encryption::path::{PrefixInfo, encrypt_path};
use uplink_rpc::r#gen::metainfo::{self, object::Status};
use uplink_rpc::time::system_time;

use super::upload_id;
use crate::error::{Error, Result};
use crate::project::Project;

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
    project: Project,
    bucket: String,
    options: ListUploadsOptions,
    query: Query,
    page: std::vec::IntoIter<metainfo::ObjectListItem>,
    more: bool,
}

/// What is asked, and where the next page begins.
#[derive(Debug)]
enum Query {
    Below { names: Box<PrefixInfo>, cursor: Option<Cursor> },
    Key { encrypted: Vec<u8>, after: Bytes, pages: usize },
}

/// The encrypted key and version of the last item of a page.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cursor {
    key: Bytes,
    /// Big-endian number in the first half of an object version; the second half plays no part in the
    /// order.
    number: i64,
    version: Bytes,
}

impl UploadList {
    pub(super) fn new(project: Project, bucket: &str, options: ListUploadsOptions) -> Result<Self> {
        let store = project.access().encryption();
        let prefix = options.prefix.as_slice();
        let query = if prefix.is_empty() || prefix.ends_with(b"/") {
            let names = PrefixInfo::new(store, bucket.as_bytes(), prefix)?;
            Query::Below { names: Box::new(names), cursor: None }
        } else {
            let encrypted = encrypt_path(store, bucket.as_bytes(), prefix)?;
            Query::Key { encrypted, after: Bytes::new(), pages: 0 }
        };
        let page = Vec::new().into_iter();
        Ok(Self { project, bucket: bucket.to_owned(), options, query, page, more: true })
    }

    /// Returns the next item, or `None` after the last one.
    ///
    /// # Errors
    /// As the satellite's answer tells. An item that cannot be decrypted is no error but an
    /// [`UploadItem::Undecryptable`].
    pub async fn next(&mut self) -> Result<Option<UploadItem>> {
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
        let satellite = self.project.satellite();
        let bucket = Bytes::copy_from_slice(self.bucket.as_bytes());
        let (items, more) = match &self.query {
            Query::Below { names, cursor } => {
                let request = below(bucket, names, cursor.as_ref(), self.options.recursive);
                let page = satellite.list_objects(request).await?;
                (page.items, page.more)
            }
            Query::Key { encrypted, after, .. } => {
                let request = metainfo::ListPendingObjectStreamsRequest {
                    bucket,
                    encrypted_object_key: Bytes::copy_from_slice(encrypted),
                    stream_id_cursor: after.clone(),
                    limit: PAGE,
                    header: None,
                };
                let page = satellite.list_pending_streams(request).await?;
                (page.items, page.more)
            }
        };
        if items.len() > 2 * PAGE as usize {
            return Err(Error::protocol("a page of a listing is larger than asked for"));
        }
        self.query.check_order(&items)?;
        if more {
            self.query.advance(items.last())?;
        }
        self.more = more;
        self.page = items.into_iter();
        Ok(())
    }

    fn open(&self, item: metainfo::ObjectListItem) -> Result<UploadItem> {
        let key = match &self.query {
            Query::Key { .. } => self.options.prefix.clone(),
            Query::Below { names, .. } => {
                let Ok(name) = names.decrypt_relative(&item.encrypted_object_key) else {
                    return Ok(UploadItem::Undecryptable(item.encrypted_object_key.to_vec()));
                };
                let key = [&self.options.prefix[..], &name].concat();
                if item.status() == Status::Prefix {
                    return Ok(UploadItem::Prefix(key));
                }
                key
            }
        };
        Ok(UploadItem::Upload(PendingUpload {
            key,
            upload_id: upload_id(&item.stream_id)?,
            begun: system_time(item.created_at.as_ref()),
            expires: system_time(item.expires_at.as_ref()),
        }))
    }
}

impl Query {
    /// Checks that the keys of a page ascend from the cursor; several uploads may have one key.
    fn check_order(&self, items: &[metainfo::ObjectListItem]) -> Result<()> {
        let Self::Below { cursor, .. } = self else { return Ok(()) };
        let mut last = cursor.as_ref().map_or(&[][..], |cursor| &cursor.key);
        for item in items {
            let key = &item.encrypted_object_key[..];
            if key < last {
                return Err(Error::protocol("page of a listing: keys do not ascend"));
            }
            last = key;
        }
        Ok(())
    }

    /// Moves on behind the last item of a page that is not the last one. A satellite that would make
    /// the listing endless is refused.
    fn advance(&mut self, last: Option<&metainfo::ObjectListItem>) -> Result<()> {
        let stuck = || Error::protocol("a listing does not advance");
        let last = last.ok_or_else(stuck)?;
        match self {
            Self::Below { cursor, .. } => {
                let next = Some(Cursor::of(last)?);
                if next <= *cursor {
                    return Err(stuck());
                }
                *cursor = next;
            }
            // Stream ids are in no order that a client knows.
            Self::Key { after, pages, .. } => {
                *pages += 1;
                if last.stream_id.is_empty() || last.stream_id == *after || *pages > MAX_KEY_PAGES {
                    return Err(stuck());
                }
                *after = last.stream_id.clone();
            }
        }
        Ok(())
    }
}

impl Cursor {
    fn of(item: &metainfo::ObjectListItem) -> Result<Self> {
        let number = item.object_version.first_chunk::<8>();
        let number = number.filter(|_| item.object_version.len() == VERSION_SIZE);
        let number =
            number.ok_or_else(|| Error::protocol("an upload is listed without version"))?;
        Ok(Self {
            key: item.encrypted_object_key.clone(),
            number: i64::from_be_bytes(*number),
            version: item.object_version.clone(),
        })
    }
}

fn below(
    bucket: Bytes,
    names: &PrefixInfo,
    cursor: Option<&Cursor>,
    recursive: bool,
) -> metainfo::ListObjectsRequest {
    let arbitrary = names.cipher == CipherSuite::Null;
    let prefix = if arbitrary { &names.unencrypted_path } else { &names.encrypted_parent };
    metainfo::ListObjectsRequest {
        bucket,
        encrypted_prefix: Bytes::copy_from_slice(prefix),
        encrypted_cursor: cursor.map(|cursor| cursor.key.clone()).unwrap_or_default(),
        version_cursor: cursor.map(|cursor| cursor.version.clone()).unwrap_or_default(),
        recursive,
        limit: PAGE,
        status: Status::Uploading.into(),
        object_includes: Some(metainfo::ObjectListItemIncludes::default()),
        use_object_includes: true,
        arbitrary_prefix: arbitrary,
        delimiter: if recursive { Bytes::new() } else { Bytes::from_static(b"/") },
        ..Default::default()
    }
}

/// Items asked for at once.
const PAGE: i32 = 1000;
/// Pages of uploads of one key.
const MAX_KEY_PAGES: usize = 1000;
/// Bytes of an object version.
const VERSION_SIZE: usize = 16;

#[cfg(test)]
mod tests {
    use uplink_core::encryption::{EncryptionStore, Key};

    use super::*;
    use crate::error::ErrorKind;

    fn item(key: &'static [u8], number: i64, stream: &'static [u8]) -> metainfo::ObjectListItem {
        metainfo::ObjectListItem {
            encrypted_object_key: Bytes::from_static(key),
            object_version: [number.to_be_bytes(), [9; 8]].concat().into(),
            stream_id: Bytes::from_static(stream),
            ..Default::default()
        }
    }

    fn below() -> Query {
        let key = Key::from_raw(&[7; 32]);
        let store = EncryptionStore::with_default_key(key, CipherSuite::AesGcm);
        let names = PrefixInfo::new(&store, b"bucket", b"").unwrap();
        Query::Below { names: Box::new(names), cursor: None }
    }

    #[test]
    fn pages_advance_by_key_and_by_version() {
        let mut query = below();
        for (key, number) in [(&b"a"[..], -2), (b"a", -1), (b"a", 1), (b"b/", 0), (b"c", -9)] {
            query.advance(Some(&item(key, number, b"s"))).unwrap();
        }
    }

    #[test]
    fn page_that_does_not_advance_is_refused() {
        for (key, number) in [(&b"b"[..], 5), (b"b", 4), (b"b", -1), (b"a", 9), (b"", 0)] {
            let mut query = below();
            query.advance(Some(&item(b"b", 5, b"s"))).unwrap();
            let error = query.advance(Some(&item(key, number, b"s"))).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
        }
        let mut query = below();
        query.advance(None).unwrap_err();
        for version in [&b""[..], b"short", &[0; 17]] {
            let object_version = Bytes::copy_from_slice(version);
            let bad = metainfo::ObjectListItem { object_version, ..item(b"z", 0, b"s") };
            query.advance(Some(&bad)).unwrap_err();
        }
    }

    #[test]
    fn pages_of_one_key_are_bounded() {
        let mut query = Query::Key { encrypted: Vec::new(), after: Bytes::new(), pages: 0 };
        query.advance(Some(&item(b"k", 0, b""))).unwrap_err();
        query.advance(Some(&item(b"k", 0, b"one"))).unwrap();
        query.advance(Some(&item(b"k", 0, b"one"))).unwrap_err();
        let mut query = Query::Key { encrypted: Vec::new(), after: Bytes::new(), pages: 0 };
        for page in 0..MAX_KEY_PAGES {
            let stream = if page % 2 == 0 { &b"one"[..] } else { b"two" };
            query.advance(Some(&item(b"k", 0, stream))).unwrap();
        }
        query.advance(Some(&item(b"k", 0, b"one"))).unwrap_err();
    }
}
