//! Segments: where the pieces are, or the data itself.

use sqlx::Row;
use uplink_core::erasure::Scheme;
use uplink_core::id::{NodeId, PieceId, SegmentPosition};

use super::objects::{self, Status};
use super::{Connection, DatabaseRow, Metabase, MetabaseError, Result, Snapshot, exact, pending};
use crate::time::Time;

/// A segment as stored.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) position: SegmentPosition,
    pub(crate) encrypted_key_nonce: Vec<u8>,
    pub(crate) encrypted_key: Vec<u8>,
    pub(crate) encrypted_size: i64,
    pub(crate) plain_size: i64,
    /// Where it begins in the object; known once the object is committed.
    pub(crate) plain_offset: i64,
    pub(crate) encrypted_etag: Option<Vec<u8>>,
    pub(crate) created: Time,
    pub(crate) expires: Option<Time>,
    /// The data of an inline segment.
    pub(crate) inline_data: Option<Vec<u8>>,
    /// The pieces of a remote one.
    pub(crate) remote: Option<Remote>,
}

/// A segment to store.
#[derive(Debug)]
pub(crate) struct PutSegment<'a> {
    pub(crate) project: &'a [u8; 16],
    /// The pending object.
    pub(crate) stream: &'a [u8; 16],
    pub(crate) segment: &'a Segment,
    pub(crate) drop_pending: Time,
    /// Later segments of the part that were made until this time go: they are of an earlier upload
    /// of the part, which may have been longer.
    pub(crate) replaces: Option<Time>,
}

/// How a segment lies on storage nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) root_piece_id: PieceId,
    pub(crate) scheme: Scheme,
    pub(crate) pieces: Pieces,
}

/// The pieces of a segment in order of their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pieces(pub(crate) Vec<Piece>);

/// One stored piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) number: u16,
    pub(crate) node: NodeId,
}

/// Sizes of a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) position: SegmentPosition,
    pub(super) plain: i64,
    pub(super) encrypted: i64,
}

/// Packed bytes of one piece: number, node id.
const PIECE: usize = 2 + 32;

macro_rules! select_segment {
    ($rest:literal) => {
        concat!(
            "SELECT position, root_piece_id, encrypted_key_nonce, encrypted_key, encrypted_size,
                 plain_size, plain_offset, scheme, pieces, inline_data, encrypted_etag, created_at,
                 expires_at
             FROM segments ",
            $rest
        )
    };
}

const AT_POSITION: &str = select_segment!("WHERE stream_id = $1 AND position = $2");
const LAST: &str = select_segment!("WHERE stream_id = $1 ORDER BY position DESC LIMIT 1");
const AFTER: &str =
    select_segment!("WHERE stream_id = $1 AND position > $2 ORDER BY position LIMIT $3");
/// Everything about a segment except where its bytes are.
const LISTED: &str = "SELECT position, NULL, encrypted_key_nonce, encrypted_key, encrypted_size,
         plain_size, plain_offset, NULL, NULL, NULL, encrypted_etag, created_at, expires_at
     FROM segments
     WHERE stream_id = $1 AND position > $2 AND plain_offset < $4
         AND plain_offset + plain_size > $3
     ORDER BY position LIMIT $5";
const LISTED_ALL: &str = "SELECT position, NULL, encrypted_key_nonce, encrypted_key,
         encrypted_size, plain_size, plain_offset, NULL, NULL, NULL, encrypted_etag, created_at,
         expires_at
     FROM segments WHERE stream_id = $1 AND position > $2 ORDER BY position LIMIT $3";

impl Metabase {
    /// Stores a segment of a pending object, in place of any at its position, and puts off the
    /// day on which the upload is given up.
    pub(crate) async fn put_segment(&self, put: &PutSegment<'_>) -> Result<()> {
        self.write(|| async {
            let mut tx = self.begin().await?;
            objects::by_stream(&mut tx, put.project, put.stream)
                .await?
                .filter(|object| object.status == Status::Pending)
                .ok_or_else(pending_missing)?;
            upsert(&mut tx, put.stream, put.segment).await?;
            if let Some(until) = put.replaces {
                pending::delete_rest_of_part(&mut tx, put.stream, put.segment.position, until)
                    .await?;
            }
            sqlx::query("UPDATE objects SET drop_pending_at = $2 WHERE stream_id = $1")
                .bind(&put.stream[..])
                .bind(put.drop_pending.0)
                .execute(&mut *tx)
                .await?;
            Ok(tx.commit().await?)
        })
        .await
    }
}

impl Snapshot {
    /// The segment at a position, or the last one for `None`.
    pub(crate) async fn segment(
        &mut self,
        stream_id: &[u8; 16],
        position: Option<SegmentPosition>,
    ) -> Result<Segment> {
        let query = match position {
            Some(position) => sqlx::query(AT_POSITION).bind(&stream_id[..]).bind(packed(position)),
            None => sqlx::query(LAST).bind(&stream_id[..]),
        };
        let row = query.fetch_optional(&mut *self.tx).await?;
        row.as_ref().map(segment_of).transpose()?.ok_or_else(|| MetabaseError::NotFound {
            what: "segment not found: no segment at that position".to_owned(),
        })
    }

    /// Whole segments after `cursor`, in order.
    pub(crate) async fn segments_after(
        &mut self,
        stream_id: &[u8; 16],
        cursor: Option<SegmentPosition>,
        limit: i64,
    ) -> Result<Vec<Segment>> {
        let query = sqlx::query(AFTER).bind(&stream_id[..]).bind(cursor.map_or(-1, packed));
        query.bind(limit).fetch_all(&mut *self.tx).await?.iter().map(segment_of).collect()
    }

    /// Segments after `cursor`, in order, without their data and pieces; only those that overlap
    /// the plain bytes of `range`, when given.
    pub(crate) async fn list_segments(
        &mut self,
        stream_id: &[u8; 16],
        cursor: Option<SegmentPosition>,
        range: Option<std::ops::Range<i64>>,
        limit: i64,
    ) -> Result<Vec<Segment>> {
        let after = cursor.map_or(-1, packed);
        let query = match range {
            Some(range) => sqlx::query(LISTED)
                .bind(&stream_id[..])
                .bind(after)
                .bind(range.start)
                .bind(range.end)
                .bind(limit),
            None => sqlx::query(LISTED_ALL).bind(&stream_id[..]).bind(after).bind(limit),
        };
        query.fetch_all(&mut *self.tx).await?.iter().map(segment_of).collect()
    }
}

/// Fixes the offsets of all segments of a stream and returns their sizes, in order.
pub(super) async fn lay_out(tx: &mut Connection, stream_id: &[u8; 16]) -> Result<Vec<Size>> {
    let rows = sqlx::query(
        "SELECT position, plain_size, encrypted_size, plain_offset
         FROM segments WHERE stream_id = $1 ORDER BY position",
    )
    .bind(&stream_id[..])
    .fetch_all(&mut *tx)
    .await?;
    let mut sizes = Vec::with_capacity(rows.len());
    let mut offset = 0i64;
    for row in &rows {
        let number: i64 = row.try_get(0)?;
        let (plain, encrypted) = (row.try_get(1)?, row.try_get(2)?);
        if row.try_get::<i64, _>(3)? != offset {
            sqlx::query(
                "UPDATE segments SET plain_offset = $3 WHERE stream_id = $1 AND position = $2",
            )
            .bind(&stream_id[..])
            .bind(number)
            .bind(offset)
            .execute(&mut *tx)
            .await?;
        }
        offset = offset.saturating_add(plain);
        sizes.push(Size { position: unpacked(number), plain, encrypted });
    }
    Ok(sizes)
}

async fn upsert(tx: &mut Connection, stream_id: &[u8; 16], segment: &Segment) -> Result<()> {
    let remote = segment.remote.as_ref();
    sqlx::query(
        "INSERT INTO segments (
             stream_id, position, root_piece_id, encrypted_key_nonce, encrypted_key,
             encrypted_size, plain_size, plain_offset, scheme, pieces, inline_data,
             encrypted_etag, created_at, expires_at
         ) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9, $10, $11, $12, $13)
         ON CONFLICT (stream_id, position) DO UPDATE SET
             root_piece_id = excluded.root_piece_id,
             encrypted_key_nonce = excluded.encrypted_key_nonce,
             encrypted_key = excluded.encrypted_key,
             encrypted_size = excluded.encrypted_size,
             plain_size = excluded.plain_size,
             plain_offset = 0,
             scheme = excluded.scheme,
             pieces = excluded.pieces,
             inline_data = excluded.inline_data,
             encrypted_etag = excluded.encrypted_etag,
             created_at = excluded.created_at,
             expires_at = excluded.expires_at",
    )
    .bind(&stream_id[..])
    .bind(packed(segment.position))
    .bind(remote.map(|remote| remote.root_piece_id.as_bytes().to_vec()))
    .bind(&segment.encrypted_key_nonce)
    .bind(&segment.encrypted_key)
    .bind(segment.encrypted_size)
    .bind(segment.plain_size)
    .bind(remote.map(|remote| pack_scheme(&remote.scheme)))
    .bind(remote.map(|remote| remote.pieces.pack()))
    .bind(&segment.inline_data)
    .bind(&segment.encrypted_etag)
    .bind(segment.created.0)
    .bind(segment.expires.map(|time| time.0))
    .execute(tx)
    .await?;
    Ok(())
}

/// The text must not begin like that of a missing object or segment, which mean something else.
pub(crate) fn pending_missing() -> MetabaseError {
    MetabaseError::NotFound { what: "pending object missing".to_owned() }
}

fn segment_of(row: &DatabaseRow) -> Result<Segment> {
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

/// Positions pack to numbers that fit the engine's signed ones, because part and index are at most
/// 2³¹ − 1.
pub(super) fn packed(position: SegmentPosition) -> i64 {
    i64::try_from(position.to_u64()).unwrap_or(i64::MAX)
}

pub(super) fn unpacked(number: i64) -> SegmentPosition {
    SegmentPosition::from_u64(u64::try_from(number).unwrap_or_default())
}

/// Bytes from the lowest: required, repair, optimal, total, then the share size.
fn pack_scheme(scheme: &Scheme) -> i64 {
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
    fn pack(&self) -> Vec<u8> {
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
mod pack_tests {
    use super::*;

    #[test]
    fn scheme_and_pieces_survive_packing() {
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
