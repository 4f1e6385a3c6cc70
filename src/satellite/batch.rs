//! The calls of an upload: begin object, segments, commit, batched; and the exchange of order limits.

use std::time::SystemTime;

use bytes::Bytes;
use uplink_core::encryption::metadata::SealedMetadata;
use uplink_core::encryption::{EncryptionParameters, Key, Nonce};
use uplink_core::id::SegmentPosition;
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::batch_response_item::Response as Reply;
use uplink_rpc::r#gen::{encryption, metainfo};
use uplink_rpc::time::timestamp;
use uplink_segment::{PieceLimit, PlacedPiece, SegmentUpload};

use super::convert::limits::{begun_segment, upload_limits};
use super::convert::object::ObjectRecord;
use super::convert::{position, to_i64};
use super::{Satellite, other_reply};
use crate::error::Result;
use crate::location::Location;

/// Calls queued until the next one whose reply is needed.
///
/// The satellite executes them in order. The first failure ends the batch and hides the earlier
/// replies; the effects of earlier calls remain. An empty stream id stands for that of the object which
/// the same batch begins.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    requests: Vec<Request>,
    begins_object: bool,
}

/// Begins an object.
#[derive(Debug)]
pub(crate) struct BeginObject<'a> {
    pub(crate) location: &'a Location,
    pub(crate) parameters: EncryptionParameters,
    pub(crate) expires_at: Option<SystemTime>,
}

/// A segment key, wrapped under the content key of the object.
#[derive(Debug)]
pub(crate) struct WrappedKey {
    pub(crate) wrapped: [u8; Key::WRAPPED_SIZE],
    pub(crate) nonce: Nonce,
}

/// Stores an inline segment.
#[derive(Debug)]
pub(crate) struct MakeInlineSegment {
    pub(crate) stream_id: Bytes,
    pub(crate) position: SegmentPosition,
    pub(crate) key: WrappedKey,
    pub(crate) sealed: Vec<u8>,
    pub(crate) plain_size: u64,
    /// Of the part of which this is the last segment; may be empty.
    pub(crate) encrypted_etag: Vec<u8>,
}

/// Begins a segment whose encrypted bytes go to storage nodes.
#[derive(Debug)]
pub(crate) struct BeginSegment {
    pub(crate) stream_id: Bytes,
    pub(crate) position: SegmentPosition,
    /// Maximum encrypted bytes.
    pub(crate) max_size: u64,
}

/// Commits a segment whose pieces are stored.
#[derive(Debug)]
pub(crate) struct CommitSegment {
    pub(crate) segment_id: Bytes,
    pub(crate) key: WrappedKey,
    pub(crate) encrypted_size: u64,
    pub(crate) plain_size: u64,
    pub(crate) pieces: Vec<PlacedPiece>,
    /// Of the part of which this is the last segment; may be empty.
    pub(crate) encrypted_etag: Vec<u8>,
}

/// Commits an object whose segments are committed.
#[derive(Debug)]
pub(crate) struct CommitObject<'a> {
    pub(crate) stream_id: Bytes,
    /// `None` leaves the object without metadata.
    pub(crate) metadata: Option<&'a SealedMetadata>,
    /// Fails if there is an object under the key.
    pub(crate) if_absent: bool,
}

impl CommitObject<'_> {
    fn request(self) -> metainfo::CommitObjectRequest {
        let mut request = metainfo::CommitObjectRequest {
            stream_id: self.stream_id,
            if_none_match: if self.if_absent { vec!["*".to_owned()] } else { Vec::new() },
            ..Default::default()
        };
        if let Some(metadata) = self.metadata {
            let nonce = metadata.metadata_key_nonce.as_bytes();
            let key = &metadata.encrypted_metadata_key;
            request.encrypted_metadata_nonce = Bytes::copy_from_slice(nonce);
            request.encrypted_metadata = metadata.encrypted_metadata.clone().into();
            request.encrypted_metadata_encrypted_key = Bytes::copy_from_slice(key);
            request.encrypted_etag = metadata.encrypted_etag.clone().into();
        }
        request
    }
}

/// The reply to beginning a segment.
#[derive(Debug)]
pub(crate) struct BegunSegment {
    /// The stream id of the object that the same batch has begun. The object is pending from then on,
    /// even if the reply about the segment is unusable.
    pub(crate) stream_id: Option<Bytes>,
    pub(crate) segment: Result<SegmentUpload>,
}

impl BeginObject<'_> {
    pub(super) fn request(&self) -> metainfo::BeginObjectRequest {
        metainfo::BeginObjectRequest {
            bucket: self.location.bucket_bytes(),
            encrypted_object_key: self.location.key_bytes(),
            expires_at: self.expires_at.map(timestamp),
            encryption_parameters: Some(encryption::EncryptionParameters {
                cipher_suite: i32::from(self.parameters.suite.number()),
                block_size: self.parameters.block_size.into(),
            }),
            ..Default::default()
        }
    }
}

impl Batch {
    /// Begins an object; the reply to [`Satellite::begin_segment`] contains its stream id.
    pub(crate) fn begin_object(&mut self, begin: &BeginObject<'_>) {
        self.begins_object = true;
        self.requests.push(Request::ObjectBegin(begin.request()));
    }

    pub(crate) fn make_inline_segment(&mut self, segment: MakeInlineSegment) -> Result<()> {
        self.requests.push(Request::SegmentMakeInline(metainfo::MakeInlineSegmentRequest {
            stream_id: segment.stream_id,
            position: Some(position(segment.position)?),
            encrypted_key_nonce: Bytes::copy_from_slice(segment.key.nonce.as_bytes()),
            encrypted_key: Bytes::copy_from_slice(&segment.key.wrapped),
            encrypted_inline_data: segment.sealed.into(),
            plain_size: to_i64(segment.plain_size),
            encrypted_e_tag: segment.encrypted_etag.into(),
            ..Default::default()
        }));
        Ok(())
    }

    pub(crate) fn commit_segment(&mut self, segment: CommitSegment) {
        let result = |piece: PlacedPiece| metainfo::SegmentPieceUploadResult {
            piece_num: piece.number.into(),
            node_id: Bytes::copy_from_slice(piece.node.as_bytes()),
            hash: Some(piece.hash),
        };
        self.requests.push(Request::SegmentCommit(metainfo::CommitSegmentRequest {
            segment_id: segment.segment_id,
            encrypted_key_nonce: Bytes::copy_from_slice(segment.key.nonce.as_bytes()),
            encrypted_key: Bytes::copy_from_slice(&segment.key.wrapped),
            size_encrypted_data: to_i64(segment.encrypted_size),
            upload_result: segment.pieces.into_iter().map(result).collect(),
            plain_size: to_i64(segment.plain_size),
            encrypted_e_tag: segment.encrypted_etag.into(),
            ..Default::default()
        }));
    }
}

impl Satellite {
    /// Sends a batch followed by the call that begins a segment.
    pub(crate) async fn begin_segment(
        &self,
        batch: Batch,
        segment: BeginSegment,
    ) -> Result<BegunSegment> {
        let Batch { mut requests, begins_object } = batch;
        requests.push(Request::SegmentBegin(metainfo::BeginSegmentRequest {
            stream_id: segment.stream_id,
            position: Some(position(segment.position)?),
            max_order_limit: to_i64(segment.max_size),
            ..Default::default()
        }));
        let mut replies = self.batch(requests).await?;
        let last = replies.pop();
        let stream_id = if begins_object { Some(begun_object(replies.first())?) } else { None };
        let segment = match last {
            Some(Reply::SegmentBegin(reply)) => {
                self.verifying_key().and_then(|key| begun_segment(reply, &key))
            }
            _ => Err(other_reply()),
        };
        Ok(BegunSegment { stream_id, segment })
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

    /// Sends a batch of a part's last calls, which commit its segments.
    pub(crate) async fn commit_part(&self, batch: Batch) -> Result<()> {
        self.batch(batch.requests).await.map(drop)
    }

    /// Sends a batch followed by the commit of the object.
    ///
    /// # Errors
    /// After a lost or invalid reply the commit may have taken effect: the caller queries the object.
    pub(crate) async fn commit_object(
        &self,
        batch: Batch,
        commit: CommitObject<'_>,
    ) -> Result<ObjectRecord> {
        let Batch { mut requests, .. } = batch;
        requests.push(Request::ObjectCommit(commit.request()));
        match self.batch(requests).await?.pop() {
            Some(Reply::ObjectCommit(metainfo::CommitObjectResponse { object: Some(object) })) => {
                Ok(object.into())
            }
            _ => Err(other_reply()),
        }
    }
}

fn begun_object(reply: Option<&Reply>) -> Result<Bytes> {
    match reply {
        Some(Reply::ObjectBegin(reply)) if !reply.stream_id.is_empty() => {
            Ok(reply.stream_id.clone())
        }
        _ => Err(other_reply()),
    }
}
