//! Listing the segments of an object.

use std::ops::Range;

use uplink_core::id::SegmentPosition;
use uplink_core::macaroon::Operation;
use uplink_rpc::r#gen::metainfo as messages;
use uplink_rpc::status::{Code, Failure};

use super::download::plain_range;
use super::{Answer, State, check, convert};
use crate::auth::Caller;
use crate::failure::{database, invalid};
use crate::metabase::{Object, Snapshot, Status};

impl State {
    pub(super) async fn list_segments(
        &self,
        caller: &Caller,
        request: messages::ListSegmentsRequest,
    ) -> Answer<messages::ListSegmentsResponse> {
        let project = &caller.project.id;
        let stream = self.tokens.open_stream_id(project, &request.stream_id)?;
        caller.require(Operation::Read, &stream.bucket, &stream.key)?;
        let cursor = request.cursor_position.as_ref();
        let cursor = cursor.map(|cursor| check::position(Some(cursor))).transpose()?;
        let start = SegmentPosition::default();
        let mut snapshot = self.metabase.snapshot().await.map_err(database)?;
        let object = snapshot.object_of_stream(project, &stream.stream()).await;
        let object = object.map_err(database)?.filter(|object| {
            object.status != Status::Hidden && object.expires.is_none_or(|time| time > caller.now)
        });
        let object = object.ok_or_else(|| {
            Failure::new(Code::NOT_FOUND, "object not found: no object of that stream id")
        })?;
        // Offsets are fixed by the commit; before it there is nothing to select by.
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

/// Which segments of an object to list.
pub(super) struct SegmentPage {
    /// After this one.
    pub(super) cursor: Option<SegmentPosition>,
    /// Only those with plain bytes of this range.
    pub(super) range: Option<Range<i64>>,
    /// 0 for as many as there may be.
    pub(super) limit: i32,
}

impl SegmentPage {
    /// Reads the page from the snapshot that the object was read from.
    pub(super) async fn read(
        self,
        snapshot: &mut Snapshot,
        object: &Object,
    ) -> Answer<messages::ListSegmentsResponse> {
        let limit = match usize::try_from(self.limit) {
            Ok(0) => MAX_PAGE,
            Ok(limit) => limit.min(MAX_PAGE),
            Err(_) => return Err(invalid("limit is negative")),
        };
        let rows = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let segments =
            snapshot.list_segments(&object.stream_id, self.cursor, self.range, rows).await;
        let segments = segments.map_err(database)?;
        let (found, mut bytes) = (segments.len(), 0usize);
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

/// Most segments of one page.
const MAX_PAGE: usize = 1_000;
/// Most bytes of one page, well below the largest message.
const MAX_PAGE_BYTES: usize = 2 << 20;
/// Bytes of an item without its ETag, generously.
const ITEM_BYTES: usize = 160;
