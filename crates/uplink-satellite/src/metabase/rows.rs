//! Rows of objects and segments, and the statements that read and write them in several calls.

use sqlx::Row;
use uplink_core::erasure::Scheme;
use uplink_core::id::{NodeId, PieceId, SegmentPosition};

use super::{Connection, DatabaseRow, MetabaseError, Query, Result, exact};
use crate::time::Time;

/// Status of an object; the numbers in the table are those of the network's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// An upload that is not committed yet.
    Pending,
    /// Committed, in a bucket that keeps one version.
    CommittedUnversioned,
    /// Committed, one of several versions.
    CommittedVersioned,
    /// Any other number, such as a delete marker. Never shown to clients.
    Hidden,
}

/// An object as stored.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) bucket: Vec<u8>,
    pub(crate) key: Vec<u8>,
    pub(crate) version: i64,
    pub(crate) stream_id: [u8; 16],
    pub(crate) status: Status,
    /// Whether parts may be uploaded in separate calls.
    pub(crate) multipart: bool,
    pub(crate) created: Time,
    pub(crate) expires: Option<Time>,
    /// Cipher suite and block size, packed.
    pub(crate) encryption: i64,
    pub(crate) metadata: Metadata,
    pub(crate) segment_count: i64,
    pub(crate) plain_size: i64,
    pub(crate) encrypted_size: i64,
    /// Plain size of all segments but the last, −1 when they differ.
    pub(crate) fixed_segment_size: i64,
}

/// Encrypted metadata of an object; opaque to the satellite.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) data: Option<Vec<u8>>,
    pub(crate) nonce: Option<Vec<u8>>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) etag: Option<Vec<u8>>,
}

/// A segment as stored.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) position: SegmentPosition,
    pub(crate) encrypted_key_nonce: Vec<u8>,
    pub(crate) encrypted_key: Vec<u8>,
    pub(crate) encrypted_size: i64,
    pub(crate) plain_size: i64,
    /// Offset in the object; 0 until the object is committed.
    pub(crate) plain_offset: i64,
    pub(crate) encrypted_etag: Option<Vec<u8>>,
    pub(crate) created: Time,
    pub(crate) expires: Option<Time>,
    /// Data of an inline segment.
    pub(crate) inline_data: Option<Vec<u8>>,
    /// Pieces of a remote segment.
    pub(crate) remote: Option<Remote>,
}

/// Erasure coding and pieces of a remote segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) root_piece_id: PieceId,
    pub(crate) scheme: Scheme,
    pub(crate) pieces: Pieces,
}

/// The pieces of a segment, ordered by piece number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pieces(pub(crate) Vec<Piece>);

/// One stored piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) number: u16,
    pub(crate) node: NodeId,
}

/// Upper estimate of the bytes of a listed object without its key and metadata.
pub(super) const ENTRY_BYTES: usize = 128;
/// Packed bytes of one piece: number, node id.
const PIECE: usize = 2 + 32;

macro_rules! select_object {
    ($rest:literal) => {
        concat!(
            "SELECT bucket, object_key, version, stream_id, status, multipart, created_at,
                 expires_at, encryption, encrypted_metadata, metadata_nonce, metadata_key,
                 encrypted_etag, segment_count, plain_size, encrypted_size, fixed_segment_size
             FROM objects ",
            $rest
        )
    };
}
pub(super) use select_object;

const BY_STREAM: &str = select_object!("WHERE project = $1 AND stream_id = $2");

/// Returns the object of a stream id, pending or committed.
pub(super) async fn by_stream(
    connection: &mut Connection,
    project: &[u8; 16],
    stream_id: &[u8; 16],
) -> Result<Option<Object>> {
    let query = sqlx::query(BY_STREAM).bind(&project[..]).bind(&stream_id[..]);
    query.fetch_optional(connection).await?.as_ref().map(object_of).transpose()
}

/// Returns the pending object of a stream id.
pub(super) async fn pending_by_stream(
    connection: &mut Connection,
    project: &[u8; 16],
    stream_id: &[u8; 16],
) -> Result<Option<Object>> {
    let found = by_stream(connection, project, stream_id).await?;
    Ok(found.filter(|object| object.status == Status::Pending))
}

/// Returns the committed object of a stream id.
///
/// # Errors
/// There is none, or it has expired.
pub(super) async fn committed_by_stream(
    connection: &mut Connection,
    project: &[u8; 16],
    stream_id: &[u8; 16],
    now: Time,
) -> Result<Object> {
    let found = by_stream(connection, project, stream_id).await?;
    found.filter(|object| object.is_readable(now)).ok_or_else(object_missing)
}

/// Deletes the object of a stream and its segments. Pieces stay until garbage collection.
pub(super) async fn delete_stream(tx: &mut Connection, stream_id: &[u8]) -> Result<()> {
    sqlx::query("DELETE FROM segments WHERE stream_id = $1")
        .bind(stream_id)
        .execute(&mut *tx)
        .await?;
    sqlx::query("DELETE FROM objects WHERE stream_id = $1").bind(stream_id).execute(tx).await?;
    Ok(())
}

/// Binds the columns encrypted_metadata, metadata_nonce, metadata_key and encrypted_etag.
pub(super) fn bind_metadata<'q>(query: Query<'q>, metadata: &Metadata) -> Query<'q> {
    query.bind(&metadata.data).bind(&metadata.nonce).bind(&metadata.key).bind(&metadata.etag)
}

/// Binds the columns segment_count, plain_size, encrypted_size and fixed_segment_size.
pub(super) fn bind_sizes<'q>(query: Query<'q>, object: &Object) -> Query<'q> {
    query
        .bind(object.segment_count)
        .bind(object.plain_size)
        .bind(object.encrypted_size)
        .bind(object.fixed_segment_size)
}

impl Object {
    /// Estimates the bytes that it takes in a listing.
    pub(crate) fn encoded_size(&self) -> usize {
        let metadata = &self.metadata;
        let parts = [&metadata.data, &metadata.nonce, &metadata.key, &metadata.etag];
        let metadata: usize = parts.into_iter().flatten().map(Vec::len).sum();
        // Stream ids of pending objects contain the key a second time.
        self.key.len() * 2 + self.bucket.len() + metadata + ENTRY_BYTES
    }

    /// Whether it is committed and has not expired at `now`.
    pub(crate) fn is_readable(&self, now: Time) -> bool {
        matches!(self.status, Status::CommittedUnversioned | Status::CommittedVersioned)
            && !self.has_expired(now)
    }

    /// Whether its expiry is not after `now`.
    pub(crate) fn has_expired(&self, now: Time) -> bool {
        self.expires.is_some_and(|time| time <= now)
    }

    /// Returns the version as clients see it: the number and the end of the stream id.
    pub(crate) fn object_version(&self) -> [u8; 16] {
        let mut version = self.stream_id;
        let (number, _) = version.split_at_mut(8);
        number.copy_from_slice(&self.version.to_be_bytes());
        version
    }
}

/// Returns the number of a version as clients see it.
pub(super) fn version_number(version: [u8; 16]) -> i64 {
    let number = u128::from_be_bytes(version) >> 64;
    i64::from_be_bytes((number as u64).to_be_bytes())
}

impl Status {
    fn from_number(number: i64) -> Self {
        match number {
            1 => Self::Pending,
            3 => Self::CommittedUnversioned,
            4 => Self::CommittedVersioned,
            _ => Self::Hidden,
        }
    }
}

pub(super) fn object_missing() -> MetabaseError {
    MetabaseError::NotFound { what: "object not found: no object of that name".to_owned() }
}

pub(super) fn pending_object_missing() -> MetabaseError {
    MetabaseError::NotFound {
        what: "object not found: no pending object of that stream id".to_owned(),
    }
}

/// The text must not start like that of a missing object or segment: clients treat those
/// differently.
pub(crate) fn pending_missing() -> MetabaseError {
    MetabaseError::NotFound { what: "pending object missing".to_owned() }
}

pub(super) fn object_of(row: &DatabaseRow) -> Result<Object> {
    Ok(Object {
        bucket: row.try_get(0)?,
        key: row.try_get(1)?,
        version: row.try_get(2)?,
        stream_id: exact(row.try_get(3)?, "stream id")?,
        status: Status::from_number(row.try_get(4)?),
        multipart: row.try_get::<i64, _>(5)? != 0,
        created: Time(row.try_get(6)?),
        expires: row.try_get::<Option<i64>, _>(7)?.map(Time),
        encryption: row.try_get(8)?,
        metadata: Metadata {
            data: row.try_get(9)?,
            nonce: row.try_get(10)?,
            key: row.try_get(11)?,
            etag: row.try_get(12)?,
        },
        segment_count: row.try_get(13)?,
        plain_size: row.try_get(14)?,
        encrypted_size: row.try_get(15)?,
        fixed_segment_size: row.try_get(16)?,
    })
}

/// Reads the columns that the SELECT statements of `segments.rs` list.
pub(super) fn segment_of(row: &DatabaseRow) -> Result<Segment> {
    let scheme: Option<i64> = row.try_get(7)?;
    let remote = scheme.map(|scheme| remote_of(row, scheme)).transpose()?;

    Ok(Segment {
        position: unpacked(row.try_get(0)?),
        encrypted_key_nonce: row.try_get(2)?,
        encrypted_key: row.try_get(3)?,
        encrypted_size: row.try_get(4)?,
        plain_size: row.try_get(5)?,
        plain_offset: row.try_get(6)?,
        encrypted_etag: row.try_get(10)?,
        created: Time(row.try_get(11)?),
        expires: row.try_get::<Option<i64>, _>(12)?.map(Time),
        inline_data: row.try_get(9)?,
        remote,
    })
}

fn remote_of(row: &DatabaseRow, scheme: i64) -> Result<Remote> {
    Ok(Remote {
        root_piece_id: PieceId::new(exact(row.try_get(1)?, "root piece id")?),
        scheme: unpack_scheme(scheme)?,
        pieces: Pieces::unpack(row.try_get(8)?)?,
    })
}

/// Packs a position. Part and index are at most 2³¹ − 1, so the result fits the engine's signed
/// numbers.
pub(super) fn packed(position: SegmentPosition) -> i64 {
    i64::try_from(position.to_u64()).unwrap_or(i64::MAX)
}

pub(super) fn unpacked(number: i64) -> SegmentPosition {
    SegmentPosition::from_u64(u64::try_from(number).unwrap_or_default())
}

/// Packs a scheme, lowest byte first: required, repair, optimal, total, then the share size.
pub(super) fn pack_scheme(scheme: &Scheme) -> i64 {
    let low = |count: u16| u8::try_from(count).unwrap_or(u8::MAX);
    let counts = [scheme.required(), scheme.repair(), scheme.optimal(), scheme.total()].map(low);
    i64::from(scheme.share_size()) << 32 | i64::from(u32::from_le_bytes(counts))
}

fn unpack_scheme(packed: i64) -> Result<Scheme> {
    let [required, repair, optimal, total, a, b, c, d] = packed.to_le_bytes();
    let share_size = u32::from_le_bytes([a, b, c, d]);
    let counts = [required, repair, optimal, total].map(u16::from);
    let [required, repair, optimal, total] = counts;
    Scheme::new(required, repair, optimal, total, share_size)
        .map_err(|_| MetabaseError::Damaged { what: "redundancy scheme" })
}

impl Pieces {
    pub(super) fn pack(&self) -> Vec<u8> {
        let mut packed = Vec::with_capacity(self.0.len() * PIECE);
        for piece in &self.0 {
            packed.extend_from_slice(&piece.number.to_be_bytes());
            packed.extend_from_slice(piece.node.as_bytes());
        }
        packed
    }

    pub(super) fn unpack(packed: &[u8]) -> Result<Self> {
        let damaged = MetabaseError::Damaged { what: "pieces of a segment" };
        let (pieces, rest) = packed.as_chunks::<PIECE>();
        if !rest.is_empty() {
            return Err(damaged);
        }
        let piece = |bytes: &[u8; PIECE]| {
            let (number, node) = bytes.split_first_chunk::<2>()?;
            let node = NodeId::from_slice(node).ok()?;
            Some(Piece { number: u16::from_be_bytes(*number), node })
        };
        pieces.iter().map(piece).collect::<Option<_>>().map(Self).ok_or(damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_scheme_and_pieces_round_trip() {
        for text in ["4/6/8/10-256", "29/35/80/110-256", "1/1/1/255-1048576"] {
            let scheme: Scheme = text.parse().unwrap();
            assert_eq!(unpack_scheme(pack_scheme(&scheme)).unwrap(), scheme);
        }
        let piece = |number, byte| Piece { number, node: NodeId::new([byte; 32]) };
        let pieces = Pieces(vec![piece(0, 1), piece(300, 2)]);
        assert_eq!(Pieces::unpack(&pieces.pack()).unwrap(), pieces);
        assert!(Pieces::unpack(&[0; 35]).is_err());
        assert!(unpack_scheme(0).is_err());
    }
}
