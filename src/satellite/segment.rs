//! Calls about the segments of an object, and about order limits.

use bytes::Bytes;
use uplink_core::id::SegmentPosition;
use uplink_rpc::r#gen::metainfo;
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::batch_response_item::Response as Reply;
use uplink_segment::{PieceLimit, SegmentUpload};

use super::call::Call;
use super::convert::limits::upload_limits;
use super::convert::position;
use super::convert::segment::{self, ObjectKeys, SegmentDownload, SegmentPage};
use super::{Satellite, other_reply};
use crate::error::Result;
use crate::layout::ExpectedSegment;

/// Order limits requested when all holders of a segment are wanted.
const ALL_NODES: i32 = i32::MAX;

impl Satellite {
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

    /// Exchanges the order limits of failed pieces for those of other nodes, with the call
    /// `RetryBeginSegmentPieces`. Returns the new id of the segment, and one order limit per piece
    /// number.
    pub(crate) async fn exchange_limits(
        &self,
        segment: &SegmentUpload,
        pieces: &[u16],
    ) -> Result<(Bytes, Vec<PieceLimit>)> {
        let request = metainfo::RetryBeginSegmentPiecesRequest {
            segment_id: segment.segment_id.clone(),
            retry_piece_numbers: pieces.iter().map(|piece| i32::from(*piece)).collect(),
            header: None,
        };
        match self.request(Request::SegmentBeginRetryPieces(request)).await? {
            Reply::SegmentBeginRetryPieces(reply) => {
                let key = self.verifying_key()?;
                let limits = upload_limits(reply.addressed_limits, &segment.scheme, &key)?;
                Ok((reply.segment_id, limits))
            }
            _ => Err(other_reply()),
        }
    }
}
