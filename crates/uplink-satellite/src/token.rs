//! Stream ids and segment ids: tokens that clients send back in later calls.
//!
//! Both are serialized fields followed by an HMAC-SHA256 under a key that only this satellite has.
//! The MAC covers the project, so a token is invalid with an API key of another project. The
//! satellite keeps no state for an upload's segments; the segment id is that state.
//!
//! ```text
//! stream id  = bucket, key, stream, times, kind …                           ‖ mac
//! segment id = stream id's fields, position, root piece id, nodes, scheme … ‖ mac
//! ```
//!
//! A stream id depends only on immutable fields: one upload has the same stream id in the reply to
//! its begin, in listings, and after its commit. That of a copy or move also names the metadata whose
//! key the client wraps again.

use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use prost::Message;
use sha2::Sha256;
use uplink_core::erasure::Scheme;
use uplink_core::id::{NodeId, PieceId, SegmentPosition, SerialNumber};
use uplink_core::secret::Secret;
use uplink_rpc::status::{Code, Failure};
use uplink_rpc::tls::Identity;

use crate::failure::RpcResult;
use crate::metabase::Object;
use crate::time::Time;

/// Creates and verifies tokens.
#[derive(Debug)]
pub(crate) struct TokenKey(Secret<[u8; 32]>);

/// Fields of a stream id.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StreamId {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) bucket: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) key: Vec<u8>,
    /// Microseconds since 1970.
    #[prost(sint64, tag = "5")]
    pub(crate) created: i64,
    #[prost(sint64, optional, tag = "6")]
    pub(crate) expires: Option<i64>,
    /// The 16 bytes that identify the stream in the database.
    #[prost(bytes = "vec", tag = "10")]
    pub(crate) stream: Vec<u8>,
    #[prost(bool, tag = "11")]
    pub(crate) multipart: bool,
    /// Cipher suite and block size, packed.
    #[prost(sint64, tag = "12")]
    pub(crate) encryption: i64,
    /// Nonce of the wrapped metadata key when a copy or move began; empty without metadata. Only in
    /// stream ids that complete a copy or move.
    #[prost(bytes = "vec", optional, tag = "16")]
    pub(crate) metadata_nonce: Option<Vec<u8>>,
}

/// Fields of a segment id.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SegmentId {
    #[prost(message, optional, tag = "1")]
    pub(crate) stream: Option<StreamId>,
    /// Part and index, packed.
    #[prost(fixed64, tag = "2")]
    pub(crate) position: u64,
    #[prost(bytes = "vec", tag = "5")]
    pub(crate) root_piece_id: Vec<u8>,
    /// The node ids, 32 bytes each, in order of their piece numbers.
    #[prost(bytes = "vec", tag = "6")]
    pub(crate) nodes: Vec<u8>,
    #[prost(sint64, tag = "7")]
    pub(crate) created: i64,
    /// Text form.
    #[prost(string, tag = "9")]
    pub(crate) scheme: String,
    #[prost(bytes = "vec", tag = "10")]
    pub(crate) serial: Vec<u8>,
    /// Public piece key.
    #[prost(bytes = "vec", tag = "11")]
    pub(crate) piece_key: Vec<u8>,
    /// Maximum bytes of one piece.
    #[prost(int64, tag = "12")]
    pub(crate) limit: i64,
    /// Creation time of the newest segment of an earlier upload of the part.
    #[prost(sint64, optional, tag = "13")]
    pub(crate) replaces: Option<i64>,
    /// The process that created it.
    #[prost(fixed64, tag = "14")]
    pub(crate) process: u64,
    /// Microseconds of that process's monotonic time.
    #[prost(uint64, tag = "15")]
    pub(crate) steady: u64,
}

/// A decoded segment id.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BegunSegment {
    pub(crate) stream: StreamId,
    pub(crate) position: SegmentPosition,
    pub(crate) root_piece_id: PieceId,
    pub(crate) nodes: Vec<NodeId>,
    pub(crate) created: Time,
    pub(crate) scheme: Scheme,
    pub(crate) serial: SerialNumber,
    pub(crate) piece_key: [u8; 32],
    pub(crate) limit: i64,
    /// Set for the first segment of a part that is uploaded again: segments of the part created up
    /// to this time are deleted when the segment is committed.
    pub(crate) replaces: Option<Time>,
    pub(crate) stamp: Stamp,
}

/// Creation time of a token in monotonic time; only the creating process can compute its age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Random number of the process.
    pub(crate) process: u64,
    pub(crate) steady: Duration,
}

/// Bytes of the MAC at the end of a token.
const MAC: usize = 32;
/// Maximum length of a token; the largest key and scheme fit.
const MAX_TOKEN: usize = 32 << 10;

impl TokenKey {
    /// Derives the key from the satellite's identity, so that all its processes share it.
    pub(crate) fn of(identity: &Identity) -> Self {
        Self(Secret::new(identity.derive_secret("uplink satellite 2026 tokens v1")))
    }

    pub(crate) fn stream_id(&self, project: &[u8; 16], fields: &StreamId) -> Bytes {
        self.seal(project, Kind::Stream, fields)
    }

    pub(crate) fn open_stream_id(&self, project: &[u8; 16], token: &[u8]) -> RpcResult<StreamId> {
        let fields: StreamId = self.open(project, Kind::Stream, token)?;
        // Cannot fail for an authentic token: this program wrote the length.
        if fields.stream.len() == 16 { Ok(fields) } else { Err(invalid()) }
    }

    pub(crate) fn segment_id(&self, project: &[u8; 16], segment: &BegunSegment) -> Bytes {
        let fields = SegmentId {
            stream: Some(segment.stream.clone()),
            position: segment.position.to_u64(),
            root_piece_id: segment.root_piece_id.as_bytes().to_vec(),
            nodes: segment.nodes.iter().flat_map(|node| *node.as_bytes()).collect(),
            created: segment.created.0,
            scheme: segment.scheme.to_string(),
            serial: segment.serial.as_bytes().to_vec(),
            piece_key: segment.piece_key.to_vec(),
            limit: segment.limit,
            replaces: segment.replaces.map(|time| time.0),
            process: segment.stamp.process,
            steady: u64::try_from(segment.stamp.steady.as_micros()).unwrap_or(u64::MAX),
        };
        self.seal(project, Kind::Segment, &fields)
    }

    pub(crate) fn open_segment_id(
        &self,
        project: &[u8; 16],
        token: &[u8],
    ) -> RpcResult<BegunSegment> {
        let fields: SegmentId = self.open(project, Kind::Segment, token)?;
        BegunSegment::of(fields).ok_or_else(invalid)
    }

    fn seal(&self, project: &[u8; 16], kind: Kind, fields: &impl Message) -> Bytes {
        let mut token = fields.encode_to_vec();
        let mac = self.mac(project, kind, &token).finalize().into_bytes();
        token.extend_from_slice(&mac);
        token.into()
    }

    fn open<T: Message + Default>(
        &self,
        project: &[u8; 16],
        kind: Kind,
        token: &[u8],
    ) -> RpcResult<T> {
        if token.len() > MAX_TOKEN {
            return Err(invalid());
        }
        let (fields, mac) = token.split_last_chunk::<MAC>().ok_or_else(invalid)?;
        self.mac(project, kind, fields).verify_slice(mac).map_err(|_| invalid())?;
        T::decode(fields).map_err(|_| invalid())
    }

    fn mac(&self, project: &[u8; 16], kind: Kind, fields: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose())
            .unwrap_or_else(|_| unreachable!("HMAC takes keys of every length"));
        mac.update(&[kind as u8]);
        mac.update(project);
        mac.update(fields);
        mac
    }
}

/// Kind of a token; part of the MAC input.
#[derive(Clone, Copy)]
enum Kind {
    Stream = 1,
    Segment = 2,
}

fn invalid() -> Failure {
    Failure::new(Code::INVALID_ARGUMENT, "signature verification: signature is not valid")
}

impl StreamId {
    pub(crate) fn of(object: &Object) -> Self {
        Self {
            bucket: object.bucket.clone(),
            key: object.key.clone(),
            created: object.created.0,
            expires: object.expires.map(|time| time.0),
            stream: object.stream_id.to_vec(),
            multipart: object.multipart,
            encryption: object.encryption,
            metadata_nonce: None,
        }
    }

    /// Returns the fields of the stream id that completes a copy or move of an object.
    pub(crate) fn of_transfer(object: &Object) -> Self {
        let nonce = object.metadata.nonce.clone();
        Self { metadata_nonce: Some(nonce.unwrap_or_default()), ..Self::of(object) }
    }

    /// Returns the stream id of the database.
    pub(crate) fn stream(&self) -> [u8; 16] {
        self.stream.as_slice().try_into().unwrap_or_default()
    }
}

impl BegunSegment {
    fn of(fields: SegmentId) -> Option<Self> {
        let (nodes, rest) = fields.nodes.as_chunks::<32>();
        let stream = fields.stream.filter(|stream| stream.stream.len() == 16)?;
        rest.is_empty().then_some(())?;
        Some(Self {
            stream,
            position: SegmentPosition::from_u64(fields.position),
            root_piece_id: PieceId::from_slice(&fields.root_piece_id).ok()?,
            nodes: nodes.iter().map(|id| NodeId::new(*id)).collect(),
            created: Time(fields.created),
            scheme: fields.scheme.parse().ok()?,
            serial: SerialNumber::from_slice(&fields.serial).ok()?,
            piece_key: fields.piece_key.as_slice().try_into().ok()?,
            limit: fields.limit,
            replaces: fields.replaces.map(Time),
            stamp: Stamp { process: fields.process, steady: Duration::from_micros(fields.steady) },
        })
    }

    /// Returns the time since the segment was begun. If the process of `now` created the segment id,
    /// this is monotonic time, so that a clock step does not affect uploads; otherwise wall time.
    pub(crate) fn age(&self, wall: Time, now: Stamp) -> Duration {
        if self.stamp.process == now.process {
            return now.steady.saturating_sub(self.stamp.steady);
        }
        wall.to_system().duration_since(self.created.to_system()).unwrap_or_default()
    }

    /// Returns the piece id under which the node of this piece number stores its piece.
    pub(crate) fn piece_id(&self, number: usize) -> Option<PieceId> {
        let node = self.nodes.get(number)?;
        Some(self.root_piece_id.derive(node, u32::try_from(number).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROJECT: [u8; 16] = [1; 16];

    fn key() -> TokenKey {
        TokenKey(Secret::new([7; 32]))
    }

    fn stream() -> StreamId {
        StreamId {
            bucket: b"bucket".to_vec(),
            key: b"key".to_vec(),
            created: 1,
            expires: Some(-2),
            stream: vec![3; 16],
            multipart: true,
            encryption: 4,
            metadata_nonce: Some(vec![5; 24]),
        }
    }

    fn segment() -> BegunSegment {
        BegunSegment {
            stream: stream(),
            position: SegmentPosition { part: 1, index: 2 },
            root_piece_id: PieceId::new([5; 32]),
            nodes: vec![NodeId::new([6; 32]), NodeId::new([7; 32])],
            created: Time(8),
            scheme: "1/1/1/2-256".parse().unwrap(),
            serial: SerialNumber::new([9; 16]),
            piece_key: [10; 32],
            limit: 11,
            replaces: Some(Time(-12)),
            stamp: Stamp { process: 13, steady: Duration::from_micros(14) },
        }
    }

    #[test]
    fn tokens_round_trip_and_are_stable() {
        let key = key();
        let stream = stream();
        let segment = segment();
        let token = key.stream_id(&PROJECT, &stream);
        assert_eq!(token, key.stream_id(&PROJECT, &stream));
        assert_eq!(key.open_stream_id(&PROJECT, &token), Ok(stream));
        let token = key.segment_id(&PROJECT, &segment);
        assert_eq!(key.open_segment_id(&PROJECT, &token), Ok(segment));
    }

    #[test]
    fn age_is_monotonic_in_own_process_and_wall_time_in_others() {
        let segment = segment();
        let now = |process| Stamp { process, steady: Duration::from_micros(514) };
        let later = Time(8 + 3_600_000_000);
        assert_eq!(segment.age(later, now(13)), Duration::from_micros(500));
        assert_eq!(segment.age(Time(-1), now(13)), Duration::from_micros(500));
        assert_eq!(segment.age(later, now(12)), Duration::from_secs(3600));
        assert_eq!(segment.age(Time(-1), now(12)), Duration::ZERO);
    }

    #[test]
    fn token_with_changed_or_missing_byte_is_rejected() {
        let key = key();
        let streams = key.stream_id(&PROJECT, &stream());
        let segments = key.segment_id(&PROJECT, &segment());
        for token in [&streams, &segments] {
            for index in 0..token.len() {
                let mut flipped = token.to_vec();
                flipped[index] ^= 1;
                for bad in [&flipped[..], &token[..index]] {
                    assert_eq!(key.open_stream_id(&PROJECT, bad), Err(invalid()));
                    assert_eq!(key.open_segment_id(&PROJECT, bad), Err(invalid()));
                }
            }
        }
    }

    #[test]
    fn token_of_other_project_satellite_or_kind_is_rejected() {
        let token = key().stream_id(&PROJECT, &stream());
        assert!(key().open_stream_id(&[2; 16], &token).is_err());
        assert!(TokenKey(Secret::new([8; 32])).open_stream_id(&PROJECT, &token).is_err());
        assert!(key().open_segment_id(&PROJECT, &token).is_err());
        assert!(key().open_stream_id(&PROJECT, &[0; MAX_TOKEN + 1]).is_err());
    }
}
