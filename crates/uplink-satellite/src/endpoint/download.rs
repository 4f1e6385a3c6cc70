//! Calls that hand out a segment's data, or order limits for its pieces.

use std::collections::HashMap;
use std::ops::Range;

use uplink_core::id::{NodeId, SegmentPosition};
use uplink_core::layout::{SegmentRead, unpack_encryption_parameters};
use uplink_core::macaroon::Operation;
use uplink_core::order::PieceAction;
use uplink_rpc::r#gen::metainfo as messages;
use uplink_rpc::r#gen::metainfo::AddressedOrderLimit;
use uplink_rpc::r#gen::metainfo::range::Range as WireRange;
use uplink_rpc::status::{Code, Failure};

use super::segment_list::SegmentPage;
use super::segments::piece_size;
use super::{Answer, State, check, convert};
use crate::auth::Caller;
use crate::failure::{database, invalid};
use crate::metabase::{NodeRow, NodeState, Object, Piece, Remote, Segment, Status};
use crate::order::PieceAt;
use crate::random::Numbers;
use crate::selection;

/// Number of the cipher suite that leaves data as it is.
const NULL_CIPHER: u8 = 1;

impl State {
    pub(super) async fn download_object(
        &self,
        caller: &Caller,
        request: messages::DownloadObjectRequest,
    ) -> Answer<messages::DownloadObjectResponse> {
        let (bucket, key) = (&request.bucket, &request.encrypted_object_key);
        check::bucket(bucket)?;
        let version = check::version(&request.object_version)?;
        caller.require(Operation::Read, bucket, key)?;
        caller.require_identity()?;
        check::key(key)?;
        if request.lite_request || request.server_side_copy {
            return Err(invalid("only satellites may ask for that"));
        }
        let id = &caller.project.id;
        self.usage.require_bandwidth(id, caller.now).await?;
        let mut snapshot = self.metabase.snapshot().await.map_err(database)?;
        let object = snapshot.object((id, bucket, key), version, caller.now).await;
        let object = object.map_err(database)?;
        let range = plain_range(request.range.as_ref(), object.plain_size)?;
        let page = SegmentPage { cursor: None, range: range.clone(), limit: request.limit };
        let segment_list = match &range {
            Some(range) if range.start == object.plain_size => {
                messages::ListSegmentsResponse::default()
            }
            _ => page.read(&mut snapshot, &object).await?,
        };
        // The object says it.
        let segment_list =
            messages::ListSegmentsResponse { encryption_parameters: None, ..segment_list };
        let first = match segment_list.items.first() {
            Some(first) => {
                let position = check::position(first.position.as_ref())?;
                let segment = snapshot.segment(&object.stream_id, Some(position)).await;
                Some(segment.map_err(database)?)
            }
            None => None,
        };
        drop(snapshot);
        let mut segment_download = Vec::new();
        if let Some(segment) = first {
            let range = Some(range.unwrap_or(0..object.plain_size));
            let wanted = Wanted { range, desired: request.desired_nodes };
            segment_download.push(self.hand_out(caller, &object, segment, wanted).await?);
        }
        Ok(messages::DownloadObjectResponse {
            object: Some(self.object(caller, object)),
            segment_list: Some(segment_list),
            segment_download,
        })
    }

    pub(super) async fn download_segment(
        &self,
        caller: &Caller,
        request: messages::DownloadSegmentRequest,
    ) -> Answer<messages::DownloadSegmentResponse> {
        let id = &caller.project.id;
        let stream = self.tokens.open_stream_id(id, &request.stream_id)?;
        caller.require(Operation::Read, &stream.bucket, &stream.key)?;
        caller.require_identity()?;
        if request.server_side_copy {
            return Err(invalid("only satellites may ask for that"));
        }
        self.usage.require_bandwidth(id, caller.now).await?;
        let position = segment_position(request.cursor_position.as_ref())?;
        let mut snapshot = self.metabase.snapshot().await.map_err(database)?;
        let object = snapshot.object_of_stream(id, &stream.stream()).await;
        let object = object.map_err(database)?.filter(|object| {
            matches!(object.status, Status::CommittedUnversioned | Status::CommittedVersioned)
                && object.expires.is_none_or(|time| time > caller.now)
        });
        let object = object.ok_or_else(|| {
            Failure::new(Code::NOT_FOUND, "segment not found: its object is gone")
        })?;
        let segment = snapshot.segment(&object.stream_id, position).await.map_err(database)?;
        drop(snapshot);
        let wanted = Wanted { range: None, desired: request.desired_nodes };
        self.hand_out(caller, &object, segment, wanted).await
    }

    /// A segment's inline data, or order limits for enough of its pieces.
    async fn hand_out(
        &self,
        caller: &Caller,
        object: &Object,
        segment: Segment,
        wanted: Wanted,
    ) -> Answer<messages::DownloadSegmentResponse> {
        let mut response = messages::DownloadSegmentResponse {
            segment_size: segment.encrypted_size,
            position: Some(convert::position(segment.position)),
            plain_offset: segment.plain_offset,
            plain_size: segment.plain_size,
            ..messages::DownloadSegmentResponse::default()
        };
        let mut fetched = segment.encrypted_size;
        if let Some(remote) = &segment.remote {
            let limit = wanted.bytes_of_pieces(object, &segment, remote)?;
            fetched = limit.saturating_mul(remote.scheme.required().into());
            let holders = self.holders(caller, remote, wanted.desired).await?;
            let piece_key = self.issuer.piece_key()?;
            let terms = self.issuer.terms(
                (self.issuer.serial(caller.now), *piece_key.public().as_bytes()),
                (PieceAction::Get, limit),
                (caller.now, None),
                (&caller.project.id, &object.bucket),
            )?;
            let total = usize::from(remote.scheme.total());
            let mut limits = vec![AddressedOrderLimit::default(); total];
            for holder in holders {
                let number = u32::from(holder.piece.number);
                let id = remote.root_piece_id.derive(&holder.piece.node, number);
                let at = PieceAt { id, node: holder.piece.node, address: &holder.address };
                if let Some(place) = limits.get_mut(usize::from(holder.piece.number)) {
                    *place = self.issuer.limit(&terms, &at)?;
                }
            }
            response.addressed_limits = limits;
            response.private_key = piece_key.to_bytes().expose().to_vec().into();
            response.redundancy_scheme = Some(convert::redundancy(&remote.scheme));
        }
        self.usage.fetch(&caller.project.id, fetched, caller.now).await?;
        response.encrypted_inline_data = segment.inline_data.unwrap_or_default().into();
        response.encrypted_key_nonce = segment.encrypted_key_nonce.into();
        response.encrypted_key = segment.encrypted_key.into();
        Ok(response)
    }

    /// Chooses among the nodes that hold pieces and are online.
    async fn holders(&self, caller: &Caller, remote: &Remote, desired: i32) -> Answer<Vec<Holder>> {
        let (nodes, rules) = self.nodes(caller.now).await?;
        let known: HashMap<NodeId, &NodeRow> = nodes.iter().map(|node| (node.id, node)).collect();
        let pieces = remote.pieces.0.iter();
        let online: Vec<Holder> = pieces
            .filter_map(|piece| {
                let node = known.get(&piece.node).filter(|node| rules.is_online(node))?;
                let usable = node.state == NodeState::Normal;
                usable.then(|| Holder { piece: *piece, address: node.last_address.clone() })
            })
            .collect();
        let needed = usize::from(remote.scheme.required());
        if online.len() < needed {
            let skew = rules.skew(&nodes).map(|skew| format!(": {skew}")).unwrap_or_default();
            return Err(Failure::new(
                Code::INTERNAL,
                format!("not enough reachable pieces: have {}, need {needed}{skew}", online.len()),
            ));
        }
        let rule = self.config.download_offer;
        let count = selection::offer(&remote.scheme, online.len(), desired, rule);
        Ok(selection::sample(online, count, &mut Numbers::default()))
    }
}

/// A node with a piece.
struct Holder {
    piece: Piece,
    address: String,
}

/// What a client wants of a segment.
struct Wanted {
    /// Plain bytes of the object; `None` for whole pieces.
    range: Option<Range<i64>>,
    /// How many nodes it would like to choose from.
    desired: i32,
}

impl Wanted {
    /// Bytes to fetch of each piece.
    fn bytes_of_pieces(&self, object: &Object, segment: &Segment, remote: &Remote) -> Answer<i64> {
        let whole = piece_size(segment.encrypted_size, &remote.scheme)?;
        let Some(range) = &self.range else { return Ok(whole) };
        let Ok((suite, block_size)) = unpack_encryption_parameters(object.encryption) else {
            return Ok(whole);
        };
        let within = |offset: i64| {
            let offset = offset.saturating_sub(segment.plain_offset);
            u64::try_from(offset.clamp(0, segment.plain_size)).unwrap_or(0)
        };
        let plain_size = u64::try_from(segment.plain_size).unwrap_or(0);
        let range = within(range.start)..within(range.end);
        let read = SegmentRead::new(plain_size, block_size, &remote.scheme, range);
        match read {
            Ok(read) if suite != NULL_CIPHER => {
                let bytes = read.shares.end.saturating_sub(read.shares.start);
                Ok(i64::try_from(bytes).unwrap_or(whole).min(whole))
            }
            _ => Ok(whole),
        }
    }
}

/// The plain bytes that a request means, for an object of this size; `None` for all of them. A range
/// without length still means the segment it lies in.
pub(super) fn plain_range(
    range: Option<&messages::Range>,
    size: i64,
) -> Answer<Option<Range<i64>>> {
    let (start, end) = match range.and_then(|range| range.range.as_ref()) {
        None => return Ok(None),
        Some(WireRange::Start(range)) => (range.plain_start, size),
        Some(WireRange::StartLimit(range)) => (range.plain_start, range.plain_limit.min(size)),
        Some(WireRange::Suffix(range)) => (size.saturating_sub(range.plain_suffix).max(0), size),
    };
    let negative = match range.and_then(|range| range.range.as_ref()) {
        Some(WireRange::StartLimit(range)) => range.plain_limit < range.plain_start,
        Some(WireRange::Suffix(range)) => range.plain_suffix < 0,
        _ => false,
    };
    if start < 0 || start > size || negative {
        return Err(invalid(format!("metabase: invalid request: invalid range: {start}:{end}")));
    }
    if start == 0 && end == size {
        return Ok(None);
    }
    Ok(Some(start..end.max(start.saturating_add(1)).min(size)))
}

/// The position of a segment to download; part 0, index −1 stands for the last one.
fn segment_position(
    position: Option<&messages::SegmentPosition>,
) -> Answer<Option<SegmentPosition>> {
    match position {
        Some(last) if last.part_number == 0 && last.index == -1 => Ok(None),
        position => check::position(position).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(range: WireRange, size: i64) -> Answer<Option<Range<i64>>> {
        plain_range(Some(&messages::Range { range: Some(range) }), size)
    }

    fn start(plain_start: i64) -> WireRange {
        WireRange::Start(messages::RangeStart { plain_start })
    }

    fn start_limit(plain_start: i64, plain_limit: i64) -> WireRange {
        WireRange::StartLimit(messages::RangeStartLimit { plain_start, plain_limit })
    }

    fn suffix(plain_suffix: i64) -> WireRange {
        WireRange::Suffix(messages::RangeSuffix { plain_suffix })
    }

    #[test]
    fn ranges_resolve_against_the_size() {
        assert_eq!(plain_range(None, 100), Ok(None));
        assert_eq!(range(start(0), 100), Ok(None));
        assert_eq!(range(start(7), 100), Ok(Some(7..100)));
        assert_eq!(range(start(100), 100), Ok(Some(100..100)));
        assert_eq!(range(start_limit(7, 9), 100), Ok(Some(7..9)));
        assert_eq!(range(start_limit(7, 900), 100), Ok(Some(7..100)));
        assert_eq!(range(start_limit(7, 7), 100), Ok(Some(7..8)));
        assert_eq!(range(suffix(7), 100), Ok(Some(93..100)));
        assert_eq!(range(suffix(700), 100), Ok(None));
        assert_eq!(range(suffix(0), 100), Ok(Some(100..100)));
        assert_eq!(range(start(0), 0), Ok(None));
    }

    #[test]
    fn ranges_outside_the_object_are_refused() {
        for bad in [
            start(101),
            start(-1),
            start_limit(5, 4),
            start_limit(101, 102),
            start_limit(i64::MIN, i64::MAX),
            suffix(-1),
        ] {
            assert_eq!(range(bad, 100).unwrap_err().code, Code::INVALID_ARGUMENT, "{bad:?}");
        }
    }
}
