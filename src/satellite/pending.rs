//! Listings of pending uploads: below a prefix, and of one key.

use bytes::Bytes;
use uplink_rpc::r#gen::metainfo;
use uplink_rpc::r#gen::metainfo::object::Status;

use super::Satellite;
use super::call::Call;
use super::convert::object::ListedObject;
use super::object::{Prefix, list_request};
use super::page::{MAX_ITEMS, PAGE, Page};
use crate::error::{Error, Result};

/// Maximum pages of the uploads of one key.
const MAX_KEY_PAGES: usize = 1000;
/// Bytes of an object version.
const VERSION_SIZE: usize = 16;

/// The cursor of a listing of uploads below a prefix; several uploads may have the same key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UploadCursor {
    key: Bytes,
    /// Big-endian number in the first half of an object version; the second half does not affect the
    /// order.
    number: i64,
    version: Bytes,
}

/// The cursor of a listing of the uploads of one key. The order of stream ids is unknown to clients.
#[derive(Clone, Debug, Default)]
pub(crate) struct StreamCursor {
    after: Bytes,
    pages: usize,
}

impl Satellite {
    /// Lists the next page of the uploads below a prefix, in the order of their encrypted keys.
    pub(crate) async fn list_uploads(
        &self,
        bucket: &str,
        prefix: Prefix<'_>,
        cursor: Option<&UploadCursor>,
        recursive: bool,
    ) -> Result<Page<ListedObject, UploadCursor>> {
        let after = cursor.map(|cursor| cursor.key.as_ref()).unwrap_or_default();
        let delimiter = (!recursive).then_some(&b"/"[..]);
        let request = metainfo::ListObjectsRequest {
            version_cursor: cursor.map(|cursor| cursor.version.clone()).unwrap_or_default(),
            status: Status::Uploading.into(),
            object_includes: Some(metainfo::ObjectListItemIncludes::default()),
            ..list_request(bucket, prefix, after, delimiter)
        };
        let reply = self.object_list(request).await?;
        let items = read(reply.items)?;
        check_order(cursor, &items)?;
        let next = if reply.more { Some(UploadCursor::after(cursor, &items)?) } else { None };
        Ok(Page { items, next })
    }

    /// Lists the next page of the uploads of one key.
    pub(crate) async fn list_uploads_of(
        &self,
        bucket: &str,
        encrypted_key: &[u8],
        cursor: &StreamCursor,
    ) -> Result<Page<ListedObject, StreamCursor>> {
        let request = metainfo::ListPendingObjectStreamsRequest {
            bucket: Bytes::copy_from_slice(bucket.as_bytes()),
            encrypted_object_key: Bytes::copy_from_slice(encrypted_key),
            stream_id_cursor: cursor.after.clone(),
            limit: i32::from(PAGE),
            header: self.header(),
        };
        let reply = self
            .call(Call::ListPendingStreams, |mut client| {
                let request = request.clone();
                async move { client.list_pending_object_streams(request).await }
            })
            .await?;
        let items = read(reply.items)?;
        let next = if reply.more { Some(cursor.after(&items)?) } else { None };
        Ok(Page { items, next })
    }
}

fn read(items: Vec<metainfo::ObjectListItem>) -> Result<Vec<ListedObject>> {
    if items.len() > MAX_ITEMS {
        return Err(Error::protocol("page of a listing: more items than requested"));
    }
    Ok(items.into_iter().map(ListedObject::from).collect())
}

/// Checks that the keys of a page ascend from the cursor.
fn check_order(cursor: Option<&UploadCursor>, items: &[ListedObject]) -> Result<()> {
    let mut last = cursor.map_or(&[][..], |cursor| &cursor.key);
    for item in items {
        let key = item.encrypted_key();
        if key < last {
            return Err(Error::protocol("page of a listing: keys do not ascend"));
        }
        last = key;
    }
    Ok(())
}

fn stuck() -> Error {
    Error::protocol("page of a listing: more is announced and the cursor does not advance")
}

impl UploadCursor {
    /// Returns the cursor after a page that is not the last one.
    ///
    /// # Errors
    /// The page does not advance.
    fn after(before: Option<&Self>, items: &[ListedObject]) -> Result<Self> {
        let last = items.last().ok_or_else(stuck)?;
        let number = last.version().first_chunk::<8>();
        let number = number.filter(|_| last.version().len() == VERSION_SIZE);
        let number = number.ok_or_else(|| Error::protocol("a listed upload has no version"))?;
        let next = Self {
            key: Bytes::copy_from_slice(last.encrypted_key()),
            number: i64::from_be_bytes(*number),
            version: last.version().clone(),
        };
        if before.is_some_and(|before| next <= *before) {
            return Err(stuck());
        }
        Ok(next)
    }
}

impl StreamCursor {
    /// Returns the cursor after a page that is not the last one.
    ///
    /// # Errors
    /// The page does not advance.
    fn after(&self, items: &[ListedObject]) -> Result<Self> {
        let last = items.last().ok_or_else(stuck)?.stream_id();
        let pages = self.pages + 1;
        if last.is_empty() || *last == self.after || pages > MAX_KEY_PAGES {
            return Err(stuck());
        }
        Ok(Self { after: last.clone(), pages })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn item(key: &'static [u8], number: i64, stream: &'static [u8]) -> ListedObject {
        let item = metainfo::ObjectListItem {
            encrypted_object_key: Bytes::from_static(key),
            object_version: [number.to_be_bytes(), [9; 8]].concat().into(),
            stream_id: Bytes::from_static(stream),
            ..Default::default()
        };
        item.into()
    }

    #[test]
    fn pages_advance_by_key_and_by_version() {
        let mut cursor = None;
        for (key, number) in [(&b"a"[..], -2), (b"a", -1), (b"a", 1), (b"b/", 0), (b"c", -9)] {
            let items = [item(key, number, b"s")];
            cursor = Some(UploadCursor::after(cursor.as_ref(), &items).unwrap());
        }
    }

    #[test]
    fn page_that_does_not_advance_is_refused() {
        let before = UploadCursor::after(None, &[item(b"b", 5, b"s")]).unwrap();
        for (key, number) in [(&b"b"[..], 5), (b"b", 4), (b"b", -1), (b"a", 9), (b"", 0)] {
            let items = [item(key, number, b"s")];
            let error = UploadCursor::after(Some(&before), &items).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
        }
        UploadCursor::after(None, &[]).unwrap_err();
        for version in [&b""[..], b"short", &[0; 17]] {
            let object_version = Bytes::copy_from_slice(version);
            let bad = metainfo::ObjectListItem { object_version, ..Default::default() };
            UploadCursor::after(None, &[bad.into()]).unwrap_err();
        }
    }

    #[test]
    fn pages_of_one_key_are_bounded() {
        let start = StreamCursor::default();
        start.after(&[]).unwrap_err();
        start.after(&[item(b"k", 0, b"")]).unwrap_err();
        let one = start.after(&[item(b"k", 0, b"one")]).unwrap();
        one.after(&[item(b"k", 0, b"one")]).unwrap_err();
        let mut cursor = start;
        for page in 0..MAX_KEY_PAGES {
            let stream = if page % 2 == 0 { &b"one"[..] } else { b"two" };
            cursor = cursor.after(&[item(b"k", 0, stream)]).unwrap();
        }
        cursor.after(&[item(b"k", 0, b"one")]).unwrap_err();
    }

    #[test]
    fn page_whose_keys_do_not_ascend_is_refused() {
        let page = |keys: &[&'static [u8]]| -> Vec<ListedObject> {
            keys.iter().map(|key| item(key, 0, b"s")).collect()
        };
        let before = UploadCursor::after(None, &[item(b"b", 5, b"s")]).unwrap();
        check_order(None, &page(&[b"a", b"a", b"b"])).unwrap();
        check_order(Some(&before), &page(&[b"b", b"c"])).unwrap();
        check_order(None, &page(&[b"b", b"a"])).unwrap_err();
        check_order(Some(&before), &page(&[b"a"])).unwrap_err();
    }
}
