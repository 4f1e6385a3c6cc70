//! Segments: the location of the pieces, or the inline data.

use sqlx::Row;
use uplink_core::id::SegmentPosition;

use super::rows::{self, Segment, packed, segment_of, unpacked};
use super::{Connection, Metabase, MetabaseError, Result, Snapshot, pending};
use crate::time::Time;

/// A segment to store.
#[derive(Debug)]
pub(crate) struct NewSegment<'a> {
    pub(crate) project: &'a [u8; 16],
    /// The pending object.
    pub(crate) stream: &'a [u8; 16],
    pub(crate) segment: &'a Segment,
    pub(crate) drop_pending_at: Time,
    /// Deletes later segments of the part that were created up to this time. They belong to an
    /// earlier upload of the part, which may have been longer.
    pub(crate) replaces: Option<Time>,
}

/// Sizes of a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) position: SegmentPosition,
    pub(super) plain: i64,
    pub(super) encrypted: i64,
}

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
/// All columns except the data and its location.
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
    /// Stores a segment of a pending object, replaces any segment at its position, and extends the
    /// deadline of the upload.
    pub(crate) async fn put_segment(&self, new: &NewSegment<'_>) -> Result<()> {
        self.write(|| async {
            let mut tx = self.begin().await?;
            let pending = rows::pending_by_stream(&mut tx, new.project, new.stream).await?;
            if pending.is_none() {
                return Err(rows::pending_missing());
            }
            upsert(&mut tx, new.stream, new.segment).await?;
            if let Some(until) = new.replaces {
                pending::delete_rest_of_part(&mut tx, new.stream, new.segment.position, until)
                    .await?;
            }
            sqlx::query("UPDATE objects SET drop_pending_at = $2 WHERE stream_id = $1")
                .bind(&new.stream[..])
                .bind(new.drop_pending_at.0)
                .execute(&mut *tx)
                .await?;
            Ok(tx.commit().await?)
        })
        .await
    }
}

impl Snapshot {
    /// Returns the segment at a position, or the last one for `None`.
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

    /// Returns segments with data and pieces after `cursor`, in order.
    pub(crate) async fn segments_after(
        &mut self,
        stream_id: &[u8; 16],
        cursor: Option<SegmentPosition>,
        limit: i64,
    ) -> Result<Vec<Segment>> {
        let query = sqlx::query(AFTER).bind(&stream_id[..]).bind(cursor.map_or(-1, packed));
        query.bind(limit).fetch_all(&mut *self.tx).await?.iter().map(segment_of).collect()
    }

    /// Returns segments without data and pieces after `cursor`, in order. With `range`, only those
    /// that overlap these plain bytes.
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

/// Sets the offsets of all segments of a stream and returns their sizes, in order.
pub(super) async fn set_offsets(tx: &mut Connection, stream_id: &[u8; 16]) -> Result<Vec<Size>> {
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
        let plain = row.try_get(1)?;
        let encrypted = row.try_get(2)?;
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
    .bind(remote.map(|remote| rows::pack_scheme(&remote.scheme)))
    .bind(remote.map(|remote| remote.pieces.pack()))
    .bind(&segment.inline_data)
    .bind(&segment.encrypted_etag)
    .bind(segment.created.0)
    .bind(segment.expires.map(|time| time.0))
    .execute(tx)
    .await?;
    Ok(())
}
