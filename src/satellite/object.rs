//! Calls about objects. Deletion is in `outcome.rs`, the commit in `batch.rs`, and the download in
//! `download.rs`.

use bytes::Bytes;
use uplink_rpc::r#gen::metainfo;
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::batch_response_item::Response as Reply;

use super::convert::object::{ListedObject, ObjectRecord};
use super::page::{PAGE, Page, next_cursor};
use super::{RETRIES, Satellite, other_reply};
use crate::error::{Error, Result};

/// Which objects to list.
#[derive(Debug)]
pub(crate) struct ListObjects<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) prefix: Prefix<'a>,
    /// Begins after this encrypted key, relative to the prefix.
    pub(crate) cursor: &'a [u8],
    /// Collapses keys at the next delimiter; `None` lists all objects below the prefix.
    pub(crate) delimiter: Option<&'a [u8]>,
    /// Requests the metadata too.
    pub(crate) metadata: bool,
}

/// The prefix of the keys in a listing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Prefix<'a> {
    /// Encrypted path components.
    Encrypted(&'a [u8]),
    /// Any bytes, when keys are not encrypted.
    Plain(&'a [u8]),
}

impl Satellite {
    pub(crate) async fn object(
        &self,
        bucket: &str,
        encrypted_key: Vec<u8>,
    ) -> Result<ObjectRecord> {
        self.object_within(RETRIES, bucket, encrypted_key).await
    }

    pub(super) async fn object_within(
        &self,
        retries: u32,
        bucket: &str,
        encrypted_key: Vec<u8>,
    ) -> Result<ObjectRecord> {
        let request = metainfo::GetObjectRequest {
            bucket: Bytes::copy_from_slice(bucket.as_bytes()),
            encrypted_object_key: encrypted_key.into(),
            redundancy_scheme_per_segment: true,
            ..Default::default()
        };
        match self.request_with_retries(retries, Request::ObjectGet(request)).await? {
            Reply::ObjectGet(reply) => match reply.object {
                Some(object) => Ok(object.into()),
                None => Err(Error::protocol("the reply contains no object")),
            },
            _ => Err(other_reply()),
        }
    }

    /// Lists the next page of objects in the order of their encrypted keys.
    pub(crate) async fn list_objects(&self, list: &ListObjects<'_>) -> Result<Page<ListedObject>> {
        let request = metainfo::ListObjectsRequest {
            object_includes: Some(metainfo::ObjectListItemIncludes {
                metadata: list.metadata,
                ..Default::default()
            }),
            ..list_request(list.bucket, list.prefix, list.cursor, list.delimiter)
        };
        let reply = self.object_list(request).await?;
        let keys = reply.items.iter().map(|item| item.encrypted_object_key.as_ref());
        let next = next_cursor(list.cursor, keys, reply.more)?;
        Ok(Page { items: reply.items.into_iter().map(ListedObject::from).collect(), next })
    }

    pub(super) async fn object_list(
        &self,
        request: metainfo::ListObjectsRequest,
    ) -> Result<metainfo::ListObjectsResponse> {
        match self.request(Request::ObjectList(request)).await? {
            Reply::ObjectList(reply) => Ok(reply),
            _ => Err(other_reply()),
        }
    }
}

/// Lists keys after `cursor` below a prefix.
pub(super) fn list_request(
    bucket: &str,
    prefix: Prefix<'_>,
    cursor: &[u8],
    delimiter: Option<&[u8]>,
) -> metainfo::ListObjectsRequest {
    let (prefix, arbitrary_prefix) = match prefix {
        Prefix::Encrypted(prefix) => (prefix, false),
        Prefix::Plain(prefix) => (prefix, true),
    };
    metainfo::ListObjectsRequest {
        bucket: Bytes::copy_from_slice(bucket.as_bytes()),
        encrypted_prefix: Bytes::copy_from_slice(prefix),
        encrypted_cursor: Bytes::copy_from_slice(cursor),
        recursive: delimiter.is_none(),
        limit: i32::from(PAGE),
        use_object_includes: true,
        arbitrary_prefix,
        delimiter: delimiter.map(Bytes::copy_from_slice).unwrap_or_default(),
        ..Default::default()
    }
}
