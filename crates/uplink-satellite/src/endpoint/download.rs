//! Download calls: return inline data of segments, or order limits for their pieces.

use std::collections::HashMap;
use std::ops::Range;

use uplink_core::id::{NodeId, SegmentPosition};
use uplink_core::layout::{SegmentRead, unpack_encryption_parameters};
use uplink_core::macaroon::Operation;
use uplink_core::order::PieceAction;
use uplink_rpc::r#gen::metainfo as messages;
use uplink_rpc::r#gen::metainfo::AddressedOrderLimit;
use uplink_rpc::status::{Code, Failure};

use super::range::plain_range;
use super::segment_list::SegmentPage;
use super::segments::piece_size;
use super::{State, check, convert};
use crate::auth::Caller;
use crate::failure::{RpcResult, database, invalid};
use crate::metabase::{NodeRow, NodeState, Object, Piece, Remote, Segment};
use crate::order::PieceAt;
use crate::random::Numbers;
use crate::selection;

/// Number of the cipher suite that does not encrypt.
const NULL_CIPHER: u8 = 1;

impl State {
    pub(super) async fn download_object(
        &self,
        caller: &Caller,
        request: messages::DownloadObjectRequest,
    ) -> RpcResult<messages::DownloadObjectResponse> {
        let bucket = &request.bucket;
        let key = &request.encrypted_object_key;
        check::bucket(bucket)?;
        let version = check::version(&request.object_version)?;
        caller.require(Operation::Read, bucket, key)?;
        caller.require_identity()?;
        check::key(key)?;
        if request.lite_request || request.server_side_copy {
            return Err(invalid("request type is reserved for satellites"));
        }
        let id = &caller.project.id;
        self.usage.require_bandwidth(id, caller.now).await?;

        let mut snapshot = self.metabase.snapshot().await.map_err(database)?;
        let object =
            snapshot.object((id, bucket, key), version, caller.now).await.map_err(database)?;
        let range = plain_range(request.range.as_ref(), object.plain_size)?;
        let page = SegmentPage { cursor: None, range: range.clone(), limit: request.limit };
        let segment_list = match &range {
            Some(range) if range.start == object.plain_size => {
                messages::ListSegmentsResponse::default()
            }
            _ => page.read(&mut snapshot, &object).await?,
        };
        // The object in this response already contains them.
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
            let read = ReadRequest { range, desired_nodes: request.desired_nodes };
            segment_download.push(self.segment_response(caller, &object, segment, read).await?);
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
    ) -> RpcResult<messages::DownloadSegmentResponse> {
        let id = &caller.project.id;
        let stream = self.tokens.open_stream_id(id, &request.stream_id)?;
        caller.require(Operation::Read, &stream.bucket, &stream.key)?;
        caller.require_identity()?;
        if request.server_side_copy {
            return Err(invalid("request type is reserved for satellites"));
        }
        self.usage.require_bandwidth(id, caller.now).await?;
        let position = segment_position(request.cursor_position.as_ref())?;
        let mut snapshot = self.metabase.snapshot().await.map_err(database)?;
        let found = snapshot.object_of_stream(id, &stream.stream()).await.map_err(database)?;
        let object = found.filter(|object| object.is_readable(caller.now)).ok_or_else(|| {
            Failure::new(Code::NOT_FOUND, "segment not found: its object does not exist")
        })?;
        let segment = snapshot.segment(&object.stream_id, position).await.map_err(database)?;
        drop(snapshot);
        let read = ReadRequest { range: None, desired_nodes: request.desired_nodes };
        self.segment_response(caller, &object, segment, read).await
    }

    /// Returns inline data of a segment, or order limits for enough of its pieces.
    async fn segment_response(
        &self,
        caller: &Caller,
        object: &Object,
        segment: Segment,
        read: ReadRequest,
    ) -> RpcResult<messages::DownloadSegmentResponse> {
        let mut response = messages::DownloadSegmentResponse {
            segment_size: segment.encrypted_size,
            position: Some(convert::position(segment.position)),
            plain_offset: segment.plain_offset,
            plain_size: segment.plain_size,
            ..messages::DownloadSegmentResponse::default()
        };
        let mut bandwidth = segment.encrypted_size;
        if let Some(remote) = &segment.remote {
            let limit = read.bytes_per_piece(object, &segment, remote)?;
            bandwidth = limit.saturating_mul(remote.scheme.required().into());
            let holders = self.holders(caller, remote, read.desired_nodes).await?;
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
                if let Some(slot) = limits.get_mut(usize::from(holder.piece.number)) {
                    *slot = self.issuer.limit(&terms, &at)?;
                }
            }
            response.addressed_limits = limits;
            response.private_key = piece_key.to_bytes().expose().to_vec().into();
            response.redundancy_scheme = Some(convert::redundancy(&remote.scheme));
        }
        self.usage.add_bandwidth(&caller.project.id, bandwidth, caller.now).await?;
        response.encrypted_inline_data = segment.inline_data.unwrap_or_default().into();
        response.encrypted_key_nonce = segment.encrypted_key_nonce.into();
        response.encrypted_key = segment.encrypted_key.into();
        Ok(response)
    }

    /// Chooses among the online nodes that store pieces of a segment.
    async fn holders(
        &self,
        caller: &Caller,
        remote: &Remote,
        desired: i32,
    ) -> RpcResult<Vec<Holder>> {
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

/// An online node and the piece that it stores.
struct Holder {
    piece: Piece,
    address: String,
}

/// What a client requested of a segment.
struct ReadRequest {
    /// Plain bytes of the object; `None` for whole pieces.
    range: Option<Range<i64>>,
    /// Number of nodes to offer.
    desired_nodes: i32,
}

impl ReadRequest {
    /// Returns the bytes to download per piece.
    fn bytes_per_piece(
        &self,
        object: &Object,
        segment: &Segment,
        remote: &Remote,
    ) -> RpcResult<i64> {
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

/// Returns the position of a segment to download; `None`, encoded as part 0 and index −1, means the
/// last one.
fn segment_position(
    position: Option<&messages::SegmentPosition>,
) -> RpcResult<Option<SegmentPosition>> {
    match position {
        Some(last) if last.part_number == 0 && last.index == -1 => Ok(None),
        position => check::position(position).map(Some),
    }
}
