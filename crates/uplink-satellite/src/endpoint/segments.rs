//! Calls for segments of an upload: begin, replace pieces, commit, store inline.
//!
//! Bucket and key always come from the stream id or segment id, never from the request.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use uplink_core::id::{NodeId, PieceId};
use uplink_core::identity::PeerIdentity;
use uplink_core::layout;
use uplink_core::macaroon::Operation;
use uplink_core::order::{PieceAction, PieceHash};
use uplink_rpc::r#gen::metainfo as messages;
use uplink_rpc::r#gen::metainfo::AddressedOrderLimit;
use uplink_rpc::status::{Code, Failure};
use uplink_rpc::time::{describe_skew, seconds_ahead};

use super::{State, check, convert};
use crate::auth::Caller;
use crate::failure::{RpcResult, database, invalid};
use crate::metabase::{
    NewSegment, NodeRow, Piece, Pieces, Remote, Segment, Status, Stored, pending_missing,
};
use crate::order::PieceAt;
use crate::random;
use crate::random::Numbers;
use crate::selection::{self, Rules, TooFewNodes};
use crate::time::Time;
use crate::token::BegunSegment;

/// Maximum size of an encrypted segment.
const MAX_ENCRYPTED_SIZE: i64 = 76_695_936;
/// Maximum size of an encrypted inline segment.
const MAX_INLINE_SIZE: usize = 4_736;
/// Free storage that a project needs for a segment whose size is not yet known, or already uploaded.
const ANY_SEGMENT: Stored = Stored { bytes: 1, segments: 1 };
/// Maximum difference between a piece hash's time and now.
const MAX_HASH_SKEW: Duration = Duration::from_secs(24 * 3600);

impl State {
    pub(super) async fn begin_segment(
        &self,
        caller: &Caller,
        request: messages::BeginSegmentRequest,
    ) -> RpcResult<messages::BeginSegmentResponse> {
        let project = &caller.project.id;
        let stream = self.tokens.open_stream_id(project, &request.stream_id)?;
        caller.require(Operation::Write, &stream.bucket, &stream.key)?;
        caller.require_identity()?;
        let position = check::position(request.position.as_ref())?;
        if request.lite_request {
            return Err(invalid("lite order limits are not supported"));
        }
        let max_size = request.max_order_limit;
        if !(1..=MAX_ENCRYPTED_SIZE).contains(&max_size) {
            return Err(invalid("max order limit is out of bounds"));
        }
        let new_part = stream.multipart && position.index == 0;
        let part = new_part.then_some(position.part);
        let replaces = self.require_pending(caller, &stream.stream(), part).await?;
        self.usage.store(project, (ANY_SEGMENT, Stored::default()), caller.now).await?;

        let (nodes, rules) = self.nodes(caller.now).await?;
        self.log_network_rule(rules.distinct(&nodes, &self.config.scheme));
        let (scheme, chosen) =
            selection::choose(&nodes, &rules, &self.config.scheme, &mut Numbers::default())
                .map_err(|error| too_few_nodes(error, &rules, &nodes))?;

        let piece_key = self.issuer.piece_key()?;
        let stamp = self.stamp(caller.now);
        let segment = BegunSegment {
            position,
            root_piece_id: PieceId::new(random::bytes()),
            nodes: chosen.iter().map(|node| node.id).collect(),
            created: caller.now,
            scheme,
            serial: self.issuer.serial(caller.now),
            piece_key: *piece_key.public().as_bytes(),
            limit: piece_size(max_size, &scheme)?,
            replaces,
            stamp,
            stream,
        };
        Ok(messages::BeginSegmentResponse {
            segment_id: self.tokens.segment_id(project, &segment),
            addressed_limits: self.put_limits(caller, &segment, &chosen)?,
            private_key: piece_key.to_bytes().expose().to_vec().into(),
            redundancy_scheme: Some(convert::redundancy(&scheme)),
            cohort_requirements: None,
        })
    }

    pub(super) async fn retry_begin_segment_pieces(
        &self,
        caller: &Caller,
        request: messages::RetryBeginSegmentPiecesRequest,
    ) -> RpcResult<messages::RetryBeginSegmentPiecesResponse> {
        let mut segment = self.begun_segment(caller, &request.segment_id)?;
        caller.require_identity()?;
        let numbers = piece_numbers(&request.retry_piece_numbers, segment.nodes.len())?;
        let (nodes, rules) = self.nodes(caller.now).await?;
        let used: HashSet<NodeId> = segment.nodes.iter().copied().collect();
        let replacements = selection::draw(
            &nodes,
            &rules,
            &segment.scheme,
            numbers.len(),
            |node| used.contains(&node.id),
            &mut Numbers::default(),
        );
        if replacements.len() < numbers.len() {
            let error = TooFewNodes { have: replacements.len(), need: numbers.len() };
            return Err(too_few_nodes(error, &rules, &nodes));
        }
        for (number, node) in numbers.into_iter().zip(replacements) {
            if let Some(slot) = segment.nodes.get_mut(number) {
                *slot = node.id;
            }
        }

        let known = |id: &NodeId| nodes.iter().find(|node| node.id == *id);
        let chosen: Option<Vec<&NodeRow>> = segment.nodes.iter().map(known).collect();
        let chosen = chosen.ok_or_else(|| Failure::new(Code::INTERNAL, "internal error"))?;
        Ok(messages::RetryBeginSegmentPiecesResponse {
            addressed_limits: self.put_limits(caller, &segment, &chosen)?,
            segment_id: self.tokens.segment_id(&caller.project.id, &segment),
        })
    }

    pub(super) async fn commit_segment(
        &self,
        caller: &Caller,
        request: messages::CommitSegmentRequest,
    ) -> RpcResult<messages::CommitSegmentResponse> {
        let begun = self.begun_segment(caller, &request.segment_id)?;
        check::segment_key(&request.encrypted_key, &request.encrypted_key_nonce)?;
        check::no_checksum(0, &request.encrypted_checksum)?;
        let sizes = Sizes::of(&request, &begun)?;
        let pieces = self.valid_pieces(caller, &request, &begun, sizes.piece).await?;

        let successful = pieces.0.len();
        let segment = Segment {
            position: begun.position,
            encrypted_key_nonce: request.encrypted_key_nonce.to_vec(),
            encrypted_key: request.encrypted_key.to_vec(),
            encrypted_size: sizes.encrypted,
            plain_size: sizes.plain,
            plain_offset: 0,
            encrypted_etag: check::etag(&request.encrypted_e_tag)?,
            created: caller.now,
            expires: begun.stream.expires.map(Time),
            inline_data: None,
            remote: Some(Remote {
                root_piece_id: begun.root_piece_id,
                scheme: begun.scheme,
                pieces,
            }),
        };
        let added = Stored { bytes: sizes.encrypted, segments: 1 };
        self.usage.store(&caller.project.id, (ANY_SEGMENT, added), caller.now).await?;
        self.put_segment(caller, &begun.stream.stream(), &segment, begun.replaces).await?;
        let successful_pieces = i32::try_from(successful).unwrap_or(i32::MAX);
        Ok(messages::CommitSegmentResponse { successful_pieces })
    }

    pub(super) async fn make_inline_segment(
        &self,
        caller: &Caller,
        request: messages::MakeInlineSegmentRequest,
    ) -> RpcResult<messages::MakeInlineSegmentResponse> {
        let stream = self.tokens.open_stream_id(&caller.project.id, &request.stream_id)?;
        caller.require(Operation::Write, &stream.bucket, &stream.key)?;
        let position = check::position(request.position.as_ref())?;
        check::segment_key(&request.encrypted_key, &request.encrypted_key_nonce)?;
        check::no_checksum(0, &request.encrypted_checksum)?;
        let size = request.encrypted_inline_data.len();
        if size > MAX_INLINE_SIZE {
            return Err(invalid(format!(
                "inline segment of {size} bytes is too large, maximum allowed is {MAX_INLINE_SIZE}"
            )));
        }
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        if !(0..=size).contains(&request.plain_size) {
            return Err(invalid("plain size exceeds the size of the inline data"));
        }
        let added = Stored { bytes: size, segments: 1 };
        self.usage.store(&caller.project.id, (added, added), caller.now).await?;
        let segment = Segment {
            position,
            encrypted_key_nonce: request.encrypted_key_nonce.to_vec(),
            encrypted_key: request.encrypted_key.to_vec(),
            encrypted_size: size,
            plain_size: request.plain_size,
            plain_offset: 0,
            encrypted_etag: check::etag(&request.encrypted_e_tag)?,
            created: caller.now,
            expires: stream.expires.map(Time),
            inline_data: Some(request.encrypted_inline_data.to_vec()),
            remote: None,
        };
        // Only the last segment of a part is inline, so as the first one it is the whole part.
        let whole_part = stream.multipart && position.index == 0;
        let replaces = whole_part.then_some(Time(i64::MAX));
        self.put_segment(caller, &stream.stream(), &segment, replaces).await?;
        Ok(messages::MakeInlineSegmentResponse {})
    }

    async fn put_segment(
        &self,
        caller: &Caller,
        stream: &[u8; 16],
        segment: &Segment,
        replaces: Option<Time>,
    ) -> RpcResult<()> {
        let drop_pending_at = caller.now.plus(self.config.pending_lifetime);
        let new =
            NewSegment { project: &caller.project.id, stream, segment, drop_pending_at, replaces };
        self.metabase.put_segment(&new).await.map_err(database)
    }

    /// Opens a segment id that has not expired, if the caller may write its object.
    fn begun_segment(&self, caller: &Caller, segment_id: &[u8]) -> RpcResult<BegunSegment> {
        let segment = self.tokens.open_segment_id(&caller.project.id, segment_id)?;
        caller.require(Operation::Write, &segment.stream.bucket, &segment.stream.key)?;
        if segment.age(caller.now, self.stamp(caller.now)) > self.config.segment_lifetime {
            return Err(invalid("segment id expired"));
        }
        Ok(segment)
    }

    /// Rejects a stream that is not pending. Returns the creation time of the newest segment of `part`.
    async fn require_pending(
        &self,
        caller: &Caller,
        stream: &[u8; 16],
        part: Option<u32>,
    ) -> RpcResult<Option<Time>> {
        let mut snapshot = self.metabase.snapshot().await.map_err(database)?;
        let object = snapshot.object_of_stream(&caller.project.id, stream).await;
        if object.map_err(database)?.is_none_or(|object| object.status != Status::Pending) {
            return Err(database(pending_missing()));
        }
        let Some(part) = part else { return Ok(None) };
        snapshot.newest_of_part(stream, part).await.map_err(database)
    }

    /// Signs the order limits of an upload for its nodes, ordered by piece number.
    fn put_limits(
        &self,
        caller: &Caller,
        segment: &BegunSegment,
        nodes: &[&NodeRow],
    ) -> RpcResult<Vec<AddressedOrderLimit>> {
        let terms = self.issuer.terms(
            (segment.serial, segment.piece_key),
            (PieceAction::Put, segment.limit),
            (segment.created, segment.stream.expires.map(Time)),
            (&caller.project.id, &segment.stream.bucket),
        )?;
        let limit = |(number, node): (usize, &&NodeRow)| {
            let id = segment
                .piece_id(number)
                .ok_or_else(|| Failure::new(Code::INTERNAL, "internal error"))?;
            let piece = PieceAt { id, node: node.id, address: &node.last_address };
            self.issuer.limit(&terms, &piece)
        };
        nodes.iter().enumerate().map(limit).collect()
    }

    /// Returns the uploaded pieces that pass every check. Invalid pieces are dropped; fails if too few
    /// remain.
    async fn valid_pieces(
        &self,
        caller: &Caller,
        request: &messages::CommitSegmentRequest,
        begun: &BegunSegment,
        piece_size: i64,
    ) -> RpcResult<Pieces> {
        let needed = usize::from(begun.scheme.optimal());
        let uploaded = request.upload_result.len();
        if uploaded < needed {
            return Err(too_few_pieces(uploaded, needed, &[]));
        }
        if uploaded > begun.nodes.len() {
            return Err(invalid(format!(
                "{uploaded} upload results for {} order limits",
                begun.nodes.len()
            )));
        }

        let mut pieces: Vec<Piece> = Vec::with_capacity(uploaded);
        let mut skewed = Vec::new();
        for result in &request.upload_result {
            let Some(piece) = piece_of_result(result, begun) else { continue };
            let duplicate =
                |known: &Piece| known.number == piece.number || known.node == piece.node;
            if pieces.iter().any(duplicate) {
                continue;
            }
            let Some(node) = self.registry.identity(&piece.node).await.map_err(database)? else {
                continue;
            };
            match verified_hash(result, &node, begun, caller.now) {
                Ok(hash) if hash.piece_size == piece_size => pieces.push(piece),
                Ok(hash) => {
                    return Err(invalid(format!(
                        "piece {} has wrong size: have {} bytes, need {piece_size}",
                        piece.number, hash.piece_size
                    )));
                }
                Err(rejection) => {
                    tracing::debug!(node = %piece.node, ?rejection, "piece hash rejected");
                    skewed.extend(rejection.seconds_ahead());
                }
            }
        }

        if pieces.len() < needed {
            return Err(too_few_pieces(pieces.len(), needed, &skewed));
        }
        pieces.sort_unstable_by_key(|piece| piece.number);
        Ok(Pieces(pieces))
    }
}

/// Consistent sizes of a segment.
struct Sizes {
    plain: i64,
    encrypted: i64,
    piece: i64,
}

impl Sizes {
    fn of(request: &messages::CommitSegmentRequest, begun: &BegunSegment) -> RpcResult<Self> {
        let plain = request.plain_size;
        let encrypted = request.size_encrypted_data;
        if !(0..=MAX_ENCRYPTED_SIZE).contains(&encrypted) {
            return Err(invalid(format!("encrypted size {encrypted} is out of bounds")));
        }
        if !(0..=encrypted).contains(&plain) {
            return Err(invalid(format!(
                "plain size {plain} exceeds the encrypted size {encrypted}"
            )));
        }
        let piece = piece_size(encrypted, &begun.scheme)?;
        if piece > begun.limit {
            return Err(invalid(format!(
                "pieces of {piece} bytes exceed their order limits of {}",
                begun.limit
            )));
        }
        Ok(Self { plain, encrypted, piece })
    }
}

/// Returns the piece of a result if its number and node match the segment.
fn piece_of_result(
    result: &messages::SegmentPieceUploadResult,
    begun: &BegunSegment,
) -> Option<Piece> {
    let number = u16::try_from(result.piece_num).ok()?;
    let node = NodeId::from_slice(&result.node_id).ok()?;
    (*begun.nodes.get(usize::from(number))? == node).then_some(Piece { number, node })
}

/// Why a piece hash is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HashRejection {
    /// It is missing, not signed by the node, or belongs to another piece.
    Invalid,
    /// It was signed by a clock this many seconds ahead of the satellite's.
    Time(i64),
}

impl HashRejection {
    fn seconds_ahead(self) -> Option<i64> {
        match self {
            Self::Invalid => None,
            Self::Time(seconds) => Some(seconds),
        }
    }
}

/// Verifies the hash of a result: signature of the node, piece id and time.
fn verified_hash(
    result: &messages::SegmentPieceUploadResult,
    node: &Arc<PeerIdentity>,
    begun: &BegunSegment,
    now: Time,
) -> Result<PieceHash, HashRejection> {
    let wire = result.hash.as_ref().ok_or(HashRejection::Invalid)?.wire();
    let hash =
        PieceHash::verify_from_node(wire, node.leaf_key()).map_err(|_| HashRejection::Invalid)?;
    let number = usize::try_from(result.piece_num).map_err(|_| HashRejection::Invalid)?;
    let piece_id = begun.piece_id(number).ok_or(HashRejection::Invalid)?;
    if hash.piece_id != piece_id.as_bytes() {
        return Err(HashRejection::Invalid);
    }
    let at = Time::from_wire(hash.timestamp.as_ref()).ok_or(HashRejection::Invalid)?;
    if at < now.minus(MAX_HASH_SKEW) || at > now.plus(MAX_HASH_SKEW) {
        return Err(HashRejection::Time(seconds_ahead(at.to_system(), now.to_system())));
    }
    Ok(hash)
}

/// Validates piece numbers: distinct and in bounds.
fn piece_numbers(numbers: &[i32], count: usize) -> RpcResult<Vec<usize>> {
    if numbers.is_empty() {
        return Err(invalid("no pieces to replace"));
    }
    let mut seen = HashSet::new();
    let number = |number: &i32| {
        let number = usize::try_from(*number)
            .ok()
            .filter(|number| *number < count)
            .ok_or_else(|| invalid("piece number is out of bounds"))?;
        if !seen.insert(number) {
            return Err(invalid("duplicate piece number"));
        }
        Ok(number)
    };
    numbers.iter().map(number).collect()
}

pub(super) fn piece_size(
    encrypted_size: i64,
    scheme: &uplink_core::erasure::Scheme,
) -> RpcResult<i64> {
    let size =
        u64::try_from(encrypted_size).ok().and_then(|size| layout::piece_size(size, scheme).ok());
    size.and_then(|size| i64::try_from(size).ok()).ok_or_else(|| invalid("size is out of bounds"))
}

fn too_few_nodes(error: TooFewNodes, rules: &Rules, nodes: &[NodeRow]) -> Failure {
    let skew = rules.skew(nodes).map(|skew| format!(": {skew}")).unwrap_or_default();
    Failure::new(Code::FAILED_PRECONDITION, format!("{error}{skew}"))
}

/// `skewed` contains the seconds by which clocks of nodes were too far ahead at signing.
fn too_few_pieces(have: usize, need: usize, skewed: &[i64]) -> Failure {
    let reason = skewed.iter().max_by_key(|seconds| seconds.unsigned_abs()).map(|seconds| {
        let count = skewed.len();
        let skew = describe_skew(*seconds);
        format!(": {count} signed by clocks up to {skew} the satellite's")
    });
    let reason = reason.unwrap_or_default();
    invalid(format!("not enough valid pieces: have {have}, need {need}{reason}"))
}
