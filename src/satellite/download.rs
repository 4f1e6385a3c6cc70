//! Calls of a download: the object with its first segment, and the segments after it.

use std::ops::Range;

use bytes::Bytes;
use uplink_core::id::SegmentPosition;
use uplink_core::signature::VerifyingKey;
use uplink_rpc::r#gen::metainfo;
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::batch_response_item::Response as Reply;
use uplink_rpc::status::Code;

use super::call::Call;
use super::convert::object::ObjectRecord;
use super::convert::segment::{ObjectKeys, SegmentDownload, SegmentPage};
use super::convert::{position, segment, to_i64};
use super::{Satellite, other_reply};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::ExpectedSegment;
use crate::location::Location;

/// Order limits requested when all holders of a segment are wanted.
const ALL_NODES: i32 = i32::MAX;

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

impl Satellite {
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

    /// Lists the next page of an object's segments after `after`.
    pub(crate) async fn list_segments(
        &self,
        stream_id: Bytes,
        after: SegmentPosition,
        keys: &ObjectKeys<'_>,
    ) -> Result<SegmentPage> {
        segment::page(&self.segment_list(stream_id, after).await?, keys)
    }

    pub(super) async fn segment_list(
        &self,
        stream_id: Bytes,
        after: SegmentPosition,
    ) -> Result<metainfo::ListSegmentsResponse> {
        let request = metainfo::ListSegmentsRequest {
            stream_id,
            cursor_position: Some(position(after)?),
            header: self.header(),
            ..Default::default()
        };
        self.call(Call::ListSegments, |mut client| {
            let request = request.clone();
            async move { client.list_segments(request).await }
        })
        .await
    }

    /// Requests the order limits of one segment, which must be the expected one; of all its holders if
    /// `all` is set.
    pub(crate) async fn download_segment(
        &self,
        stream_id: Bytes,
        expected: &ExpectedSegment,
        keys: &ObjectKeys<'_>,
        all: bool,
    ) -> Result<SegmentDownload> {
        let request = metainfo::DownloadSegmentRequest {
            stream_id,
            cursor_position: Some(position(expected.position)?),
            desired_nodes: if all { ALL_NODES } else { 0 },
            ..Default::default()
        };
        match self.request(Request::SegmentDownload(request)).await? {
            Reply::SegmentDownload(reply) => {
                segment::segment_download(reply, expected, keys, &self.verifying_key()?)
            }
            _ => Err(other_reply()),
        }
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
            plain_limit: to_i64(end),
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
