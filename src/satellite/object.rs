//! Calls about objects. Deletion is in `outcome.rs`, and the commit in `batch.rs`.

use std::ops::Range;

use bytes::Bytes;
use uplink_core::signature::VerifyingKey;
use uplink_rpc::r#gen::metainfo;
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::batch_response_item::Response as Reply;
use uplink_rpc::status::Code;

use super::convert::object::{ListedObject, ObjectRecord};
use super::convert::segment::{ObjectKeys, SegmentDownload, SegmentPage};
use super::convert::{segment, signed};
use super::page::{PAGE, Page, next_cursor};
use super::{RETRIES, Satellite, other_reply};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::ExpectedSegment;
use crate::location::Location;

/// The part of an object to download, in plain bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ByteRange {
    From(u64),
    Range(Range<u64>),
    /// The last bytes.
    Suffix(u64),
    Whole,
}

/// The reply to a download request. Its segments are checked once the object's keys are known.
#[derive(Debug)]
pub(crate) struct ObjectDownload {
    pub(crate) object: ObjectRecord,
    segments: metainfo::ListSegmentsResponse,
    first: Option<metainfo::DownloadSegmentResponse>,
}

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

    /// Requests an object with its first segments and the order limits of the first one.
    ///
    /// # Errors
    /// [`ErrorKind::RangeInvalid`]: `requested` starts beyond the end of the object.
    pub(crate) async fn download_object(
        &self,
        location: &Location,
        requested: &ByteRange,
    ) -> Result<ObjectDownload> {
        let request = metainfo::DownloadObjectRequest {
            bucket: location.bucket_bytes(),
            encrypted_object_key: location.key_bytes(),
            range: range(requested)?,
            ..Default::default()
        };
        let reply = self.request(Request::ObjectDownload(request)).await.map_err(beyond)?;
        let Reply::ObjectDownload(reply) = reply else { return Err(other_reply()) };
        let object = reply
            .object
            .ok_or_else(|| Error::protocol("the reply to a download contains no object"))?;
        Ok(ObjectDownload {
            object: object.into(),
            segments: reply.segment_list.unwrap_or_default(),
            first: reply.segment_download.into_iter().next(),
        })
    }
}

impl ObjectDownload {
    /// Reads the segments listed with the object.
    pub(crate) fn listed(&self, keys: &ObjectKeys<'_>) -> Result<SegmentPage> {
        segment::page(&self.segments, keys)
    }

    /// Reads the first segment of the requested range if the reply contains its order limits. It must be
    /// the expected one.
    pub(crate) fn first(
        self,
        expected: &ExpectedSegment,
        keys: &ObjectKeys<'_>,
        satellite: &VerifyingKey,
    ) -> Option<Result<SegmentDownload>> {
        self.first.map(|reply| segment::segment_download(reply, expected, keys, satellite))
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

fn range(requested: &ByteRange) -> Result<Option<metainfo::Range>> {
    use metainfo::range::Range as Wire;
    let number = |number: u64| {
        i64::try_from(number).map_err(|_| {
            Error::new(ErrorKind::RangeInvalid, format!("offset {number} is out of range"))
        })
    };
    let range = match *requested {
        ByteRange::Whole => return Ok(None),
        ByteRange::From(offset) => {
            Wire::Start(metainfo::RangeStart { plain_start: number(offset)? })
        }
        ByteRange::Range(Range { start, end }) => Wire::StartLimit(metainfo::RangeStartLimit {
            plain_start: number(start)?,
            plain_limit: signed(end),
        }),
        ByteRange::Suffix(length) => {
            Wire::Suffix(metainfo::RangeSuffix { plain_suffix: number(length)? })
        }
    };
    Ok(Some(metainfo::Range { range: Some(range) }))
}

fn beyond(error: Error) -> Error {
    match error.failure() {
        Some(failure)
            if failure.code == Code::INVALID_ARGUMENT && failure.message.contains("range") =>
        {
            let text = "range starts beyond the end of the object";
            Error::new(ErrorKind::RangeInvalid, text).with_included(error)
        }
        _ => error,
    }
}
