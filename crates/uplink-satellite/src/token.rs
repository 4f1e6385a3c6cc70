//! Stream ids and segment ids: what clients carry between their calls.
//!
//! Both are serialized facts followed by an HMAC-SHA256 under a key that only this satellite has,
//! computed over the project as well, so that a token is worth nothing with another project's key.
//! The satellite keeps no state for an upload's segments; the segment id is that state.
//!
//! ```text
//! stream id  = bucket, key, stream, times, kind …                           ‖ mac
//! segment id = stream id's facts, position, root piece id, nodes, scheme …  ‖ mac
//! ```
//!
//! A stream id is a function of facts that never change: the same upload has the same bytes in the
//! reply to its begin, in listings, and once it is committed.

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

use crate::metabase::Object;
use crate::time::Time;

/// Makes and reads tokens.
#[derive(Debug)]
pub(crate) struct TokenKey(Secret<[u8; 32]>);

/// Facts of a stream id.
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
    /// The 16 bytes that name the stream in the store.
    #[prost(bytes = "vec", tag = "10")]
    pub(crate) stream: Vec<u8>,
    #[prost(bool, tag = "11")]
    pub(crate) multipart: bool,
    /// Cipher suite and block size, packed.
    #[prost(sint64, tag = "12")]
    pub(crate) encryption: i64,
}

/// Facts of a segment id.
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
    /// Most bytes of one piece.
    #[prost(int64, tag = "12")]
    pub(crate) limit: i64,
    /// When the newest segment of an earlier upload of the part was made.
    #[prost(sint64, optional, tag = "13")]
    pub(crate) replaces: Option<i64>,
    /// The process that made it.
    #[prost(fixed64, tag = "14")]
    pub(crate) process: u64,
    /// Microseconds of that process's steady time.
    #[prost(uint64, tag = "15")]
    pub(crate) steady: u64,
}

/// A segment id in the terms of the rest of the program.
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
    /// The first segment of a part that is uploaded once more: what the part had until this time
    /// goes when the segment comes.
    pub(crate) replaces: Option<Time>,
    pub(crate) made: Made,
}

/// When a token was made, in time that never steps: only its process can tell how long ago that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    /// Random number of the process.
    pub(crate) process: u64,
    pub(crate) steady: Duration,
}

/// Bytes of the code at the end of a token.
const MAC: usize = 32;
/// Longest token: room for the largest key and scheme, and some.
const MAX_TOKEN: usize = 32 << 10;

impl TokenKey {
    /// The key of the satellite with this identity; all its processes have the same.
    pub(crate) fn of(identity: &Identity) -> Self {
        Self(Secret::new(identity.derive_secret("uplink satellite 2026 tokens v1")))
    }

    pub(crate) fn stream_id(&self, project: &[u8; 16], facts: &StreamId) -> Bytes {
        self.seal(project, Kind::Stream, facts)
    }

    pub(crate) fn open_stream_id(&self, project: &[u8; 16], token: &[u8]) -> Answer<StreamId> {
        let facts: StreamId = self.open(project, Kind::Stream, token)?;
        // Written by this program: a wrong length cannot carry a valid code.
        if facts.stream.len() == 16 { Ok(facts) } else { Err(invalid()) }
    }

    pub(crate) fn segment_id(&self, project: &[u8; 16], segment: &BegunSegment) -> Bytes {
        let facts = SegmentId {
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
            process: segment.made.process,
            steady: u64::try_from(segment.made.steady.as_micros()).unwrap_or(u64::MAX),
        };
        self.seal(project, Kind::Segment, &facts)
    }

    pub(crate) fn open_segment_id(&self, project: &[u8; 16], token: &[u8]) -> Answer<BegunSegment> {
        let facts: SegmentId = self.open(project, Kind::Segment, token)?;
        BegunSegment::of(facts).ok_or_else(invalid)
    }

    fn seal(&self, project: &[u8; 16], kind: Kind, facts: &impl Message) -> Bytes {
        let mut token = facts.encode_to_vec();
        let mac = self.mac(project, kind, &token).finalize().into_bytes();
        token.extend_from_slice(&mac);
        token.into()
    }

    fn open<T: Message + Default>(
        &self,
        project: &[u8; 16],
        kind: Kind,
        token: &[u8],
    ) -> Answer<T> {
        if token.len() > MAX_TOKEN {
            return Err(invalid());
        }
        let (facts, mac) = token.split_last_chunk::<MAC>().ok_or_else(invalid)?;
        self.mac(project, kind, facts).verify_slice(mac).map_err(|_| invalid())?;
        T::decode(facts).map_err(|_| invalid())
    }

    fn mac(&self, project: &[u8; 16], kind: Kind, facts: &[u8]) -> Hmac<Sha256> {
        let mac = Hmac::<Sha256>::new_from_slice(self.0.expose());
        let mut mac = mac.unwrap_or_else(|_| unreachable!("HMAC takes keys of every length"));
        mac.update(&[kind as u8]);
        mac.update(project);
        mac.update(facts);
        mac
    }
}

/// Keeps the two kinds of tokens apart.
#[derive(Clone, Copy)]
enum Kind {
    Stream = 1,
    Segment = 2,
}

type Answer<T> = Result<T, Failure>;

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
        }
    }

    /// The stream's name in the store.
    pub(crate) fn stream(&self) -> [u8; 16] {
        self.stream.as_slice().try_into().unwrap_or_default()
    }
}

impl BegunSegment {
    fn of(facts: SegmentId) -> Option<Self> {
        let (nodes, rest) = facts.nodes.as_chunks::<32>();
        let stream = facts.stream.filter(|stream| stream.stream.len() == 16)?;
        rest.is_empty().then_some(())?;
        Some(Self {
            stream,
            position: SegmentPosition::from_u64(facts.position),
            root_piece_id: PieceId::from_slice(&facts.root_piece_id).ok()?,
            nodes: nodes.iter().map(|id| NodeId::new(*id)).collect(),
            created: Time(facts.created),
            scheme: facts.scheme.parse().ok()?,
            serial: SerialNumber::from_slice(&facts.serial).ok()?,
            piece_key: facts.piece_key.as_slice().try_into().ok()?,
            limit: facts.limit,
            replaces: facts.replaces.map(Time),
            made: Made { process: facts.process, steady: Duration::from_micros(facts.steady) },
        })
    }

    /// How long ago the segment was begun: by steady time if the process of `now` made it, so that a
    /// step of the clock neither ends nor prolongs uploads, else by the clock.
    pub(crate) fn age(&self, wall: Time, now: Made) -> Duration {
        if self.made.process == now.process {
            return now.steady.saturating_sub(self.made.steady);
        }
        wall.to_system().duration_since(self.created.to_system()).unwrap_or_default()
    }

    /// The piece id under which the node of this number stores its piece.
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
            made: Made { process: 13, steady: Duration::from_micros(14) },
        }
    }

    #[test]
    fn tokens_survive_a_round_trip_and_are_stable() {
        let (key, stream, segment) = (key(), stream(), segment());
        let token = key.stream_id(&PROJECT, &stream);
        assert_eq!(token, key.stream_id(&PROJECT, &stream));
        assert_eq!(key.open_stream_id(&PROJECT, &token), Ok(stream));
        let token = key.segment_id(&PROJECT, &segment);
        assert_eq!(key.open_segment_id(&PROJECT, &token), Ok(segment));
    }

    #[test]
    fn age_is_steady_in_one_process_and_by_the_clock_in_others() {
        let segment = segment();
        let now = |process| Made { process, steady: Duration::from_micros(514) };
        let later = Time(8 + 3_600_000_000);
        assert_eq!(segment.age(later, now(13)), Duration::from_micros(500));
        assert_eq!(segment.age(Time(-1), now(13)), Duration::from_micros(500));
        assert_eq!(segment.age(later, now(12)), Duration::from_secs(3600));
        assert_eq!(segment.age(Time(-1), now(12)), Duration::ZERO);
    }

    #[test]
    fn every_changed_or_missing_byte_is_refused() {
        let key = key();
        let streams = key.stream_id(&PROJECT, &stream());
        let segments = key.segment_id(&PROJECT, &segment());
        for token in [&streams, &segments] {
            for place in 0..token.len() {
                let mut flipped = token.to_vec();
                flipped[place] ^= 1;
                for bad in [&flipped[..], &token[..place]] {
                    assert_eq!(key.open_stream_id(&PROJECT, bad), Err(invalid()));
                    assert_eq!(key.open_segment_id(&PROJECT, bad), Err(invalid()));
                }
            }
        }
    }

    #[test]
    fn tokens_of_other_projects_satellites_and_kinds_are_refused() {
        let token = key().stream_id(&PROJECT, &stream());
        assert!(key().open_stream_id(&[2; 16], &token).is_err());
        assert!(TokenKey(Secret::new([8; 32])).open_stream_id(&PROJECT, &token).is_err());
        assert!(key().open_segment_id(&PROJECT, &token).is_err());
        assert!(key().open_stream_id(&PROJECT, &[0; MAX_TOKEN + 1]).is_err());
    }
}
