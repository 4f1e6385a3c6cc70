//! Listing the segments of an object.

use std::ops::Range;

use uplink_core::id::SegmentPosition;
use uplink_core::macaroon::Operation;
use uplink_rpc::r#gen::metainfo as messages;
use uplink_rpc::status::{Code, Failure};

use super::range::plain_range;
use super::{State, check, convert};
use crate::auth::Caller;
use crate::failure::{RpcResult, database};
use crate::metabase::{Object, Snapshot, Status};

impl State {
    /// Lists segments of a committed or pending object.
    pub(super) async fn list_segments(
        &self,
        caller: &Caller,
        request: messages::ListSegmentsRequest,
    ) -> RpcResult<messages::ListSegmentsResponse> {
        let project = &caller.project.id;
        let stream = self.tokens.open_stream_id(project, &request.stream_id)?;
        caller.require(Operation::Read, &stream.bucket, &stream.key)?;
        let cursor = request
            .cursor_position
            .as_ref()
            .map(|cursor| check::position(Some(cursor)))
            .transpose()?;
        let start = SegmentPosition::default();

        let mut snapshot = self.metabase.snapshot().await.map_err(database)?;
        let found = snapshot.object_of_stream(project, &stream.stream()).await.map_err(database)?;
        let is_visible = |object: &Object| {
            object.status != Status::Hidden && object.expires.is_none_or(|time| time > caller.now)
        };
        let object = found.filter(is_visible).ok_or_else(|| {
            Failure::new(Code::NOT_FOUND, "object not found: no object of that stream id")
        })?;
        // Offsets are set by the commit, so a range cannot select segments before it.
        let range = match object.status {
            Status::Pending => None,
            _ => plain_range(request.range.as_ref(), object.plain_size)?,
        };
        let page = SegmentPage {
            cursor: cursor.filter(|cursor| *cursor != start),
            range,
            limit: request.limit,
        };
        page.read(&mut snapshot, &object).await
    }
}

/// Which segments of an object a page lists.
pub(super) struct SegmentPage {
    /// Lists segments after this one.
    pub(super) cursor: Option<SegmentPosition>,
    /// Lists only segments that overlap this range of plain bytes.
    pub(super) range: Option<Range<i64>>,
    /// Maximum number of segments; 0 for [`MAX_PAGE`].
    pub(super) limit: i32,
}

impl SegmentPage {
    /// Reads the page from the snapshot that the object was read from.
    pub(super) async fn read(
        self,
        snapshot: &mut Snapshot,
        object: &Object,
    ) -> RpcResult<messages::ListSegmentsResponse> {
        let limit = check::page_limit(self.limit, MAX_PAGE)?;
        let rows = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let segments =
            snapshot.list_segments(&object.stream_id, self.cursor, self.range, rows).await;
        let segments = segments.map_err(database)?;
        let found = segments.len();

        let mut bytes = 0usize;
        let fitting = segments.into_iter().take(limit).take_while(|segment| {
            let fits = bytes < MAX_PAGE_BYTES;
            bytes += ITEM_BYTES + segment.encrypted_etag.as_ref().map_or(0, Vec::len);
            fits
        });
        let items: Vec<_> = fitting.map(convert::segment_item).collect();
        Ok(messages::ListSegmentsResponse {
            more: items.len() < found,
            items,
            encryption_parameters: Some(convert::encryption(object.encryption)),
        })
    }
}

/// Maximum number of segments per page.
const MAX_PAGE: usize = 1_000;
/// Maximum bytes per page, well below the message limit.
const MAX_PAGE_BYTES: usize = 2 << 20;
/// Upper estimate of the bytes of an item without its ETag.
const ITEM_BYTES: usize = 160;
