//! Iteration over all segments with pieces, in one snapshot.

use sqlx::Row;
use uplink_core::id::PieceId;

use super::{Metabase, MetabaseError, Pieces, Result, Snapshot, exact};
use crate::time::Time;

/// The pieces of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentPieces {
    pub(crate) root_piece_id: PieceId,
    pub(crate) pieces: Pieces,
}

/// An iteration over all segments, including those of pending uploads.
///
/// All pages come from one snapshot, taken when the first page is read. A copy shares the pieces of
/// its source, so if an object is copied and deleted meanwhile, pages of different snapshots could
/// miss both. Writers do not wait for the walk; the engine keeps replaced data until it is dropped.
#[derive(Debug)]
pub(crate) struct Walk {
    snapshot: Snapshot,
    after: (Vec<u8>, i64),
}

/// Segments per page; few in tests, to get several pages.
const PAGE: i64 = if cfg!(test) { 3 } else { 256 };
const COLLECTED: &[u8] = b"garbage collected at";

impl Metabase {
    /// Starts a walk.
    pub(crate) async fn walk(&self) -> Result<Walk> {
        Ok(Walk { snapshot: self.snapshot().await?, after: (Vec::new(), -1) })
    }

    /// Returns the time of the last garbage collection.
    pub(crate) async fn garbage_collected(&self) -> Result<Option<Time>> {
        let row = sqlx::query("SELECT value FROM settings WHERE name = $1")
            .bind(COLLECTED)
            .fetch_optional(&self.readers)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let micros = i64::from_be_bytes(exact(row.try_get(0)?, "time of garbage collection")?);
        Ok(Some(Time(micros)))
    }

    /// Stores the time of the last garbage collection.
    pub(crate) async fn set_garbage_collected(&self, at: Time) -> Result<()> {
        self.write(|| async {
            let mut tx = self.begin().await?;
            sqlx::query(
                "INSERT INTO settings (name, value) VALUES ($1, $2)
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            )
            .bind(COLLECTED)
            .bind(&at.0.to_be_bytes()[..])
            .execute(&mut *tx)
            .await?;
            Ok(tx.commit().await?)
        })
        .await
    }
}

impl Walk {
    /// Returns the next page; an empty page ends the walk.
    pub(crate) async fn next(&mut self) -> Result<Vec<SegmentPieces>> {
        let rows = sqlx::query(
            "SELECT stream_id, position, root_piece_id, pieces FROM segments
             WHERE (stream_id, position) > ($1, $2) AND root_piece_id IS NOT NULL
             ORDER BY stream_id, position LIMIT $3",
        )
        .bind(&self.after.0)
        .bind(self.after.1)
        .bind(PAGE)
        .fetch_all(&mut *self.snapshot.tx)
        .await?;
        if let Some(last) = rows.last() {
            self.after = (last.try_get(0)?, last.try_get(1)?);
        }
        let segment = |row: &super::DatabaseRow| {
            let pieces: Option<&[u8]> = row.try_get(3)?;
            let pieces = pieces.ok_or(MetabaseError::Damaged { what: "pieces of a segment" })?;
            Ok(SegmentPieces {
                root_piece_id: PieceId::new(exact(row.try_get(2)?, "root piece id")?),
                pieces: Pieces::unpack(pieces)?,
            })
        };
        rows.iter().map(segment).collect()
    }
}
