//! Pending uploads: several streams of one key, and parts that are uploaded again.

use sqlx::Row;
use uplink_core::id::SegmentPosition;

use super::rows::{self, Object, object_of, packed, select_object};
use super::{Connection, Metabase, Result, Snapshot, buckets};
use crate::time::Time;

const STREAMS_OF_KEY: &str = select_object!(
    "WHERE project = $1 AND bucket = $2 AND object_key = $3 AND stream_id > $4 AND status = 1
         AND (expires_at IS NULL OR expires_at > $5)
     ORDER BY stream_id LIMIT $6"
);

impl Metabase {
    /// Returns pending uploads to exactly this key after `cursor`, ordered by stream id.
    pub(crate) async fn pending_streams(
        &self,
        (project, bucket, key): (&[u8; 16], &[u8], &[u8]),
        cursor: Option<[u8; 16]>,
        limit: i64,
        now: Time,
    ) -> Result<Vec<Object>> {
        let mut tx = self.snapshot().await?.tx;
        if buckets::find(&mut tx, project, bucket).await?.is_none() {
            return Err(buckets::missing(bucket));
        }
        let after = cursor.as_ref().map_or(&[][..], |cursor| &cursor[..]);
        let rows = sqlx::query(STREAMS_OF_KEY)
            .bind(&project[..])
            .bind(bucket)
            .bind(key)
            .bind(after)
            .bind(now.0)
            .bind(limit)
            .fetch_all(&mut *tx)
            .await?;
        rows.iter().map(object_of).collect()
    }

    /// Deletes all segments of a part of a pending object.
    pub(crate) async fn delete_part(
        &self,
        project: &[u8; 16],
        stream_id: &[u8; 16],
        part: u32,
    ) -> Result<()> {
        self.write(|| async {
            let mut tx = self.begin().await?;
            let pending = rows::pending_by_stream(&mut tx, project, stream_id).await?;
            if pending.is_none() {
                return Err(rows::pending_object_missing());
            }
            let (first, last) = bounds(part);
            sqlx::query(
                "DELETE FROM segments WHERE stream_id = $1 AND position >= $2 AND position <= $3",
            )
            .bind(&stream_id[..])
            .bind(first)
            .bind(last)
            .execute(&mut *tx)
            .await?;
            Ok(tx.commit().await?)
        })
        .await
    }
}

impl Snapshot {
    /// Returns the creation time of the newest segment of a part, without the first segment.
    pub(crate) async fn newest_of_part(
        &mut self,
        stream_id: &[u8; 16],
        part: u32,
    ) -> Result<Option<Time>> {
        let (first, last) = bounds(part);
        let row = sqlx::query(
            "SELECT MAX(created_at) FROM segments
             WHERE stream_id = $1 AND position > $2 AND position <= $3",
        )
        .bind(&stream_id[..])
        .bind(first)
        .bind(last)
        .fetch_one(&mut *self.tx)
        .await?;
        Ok(row.try_get::<Option<i64>, _>(0)?.map(Time))
    }
}

/// Deletes the segments after `first` in its part that were created up to `until`.
pub(super) async fn delete_rest_of_part(
    tx: &mut Connection,
    stream_id: &[u8; 16],
    first: SegmentPosition,
    until: Time,
) -> Result<()> {
    let (_, last) = bounds(first.part);
    sqlx::query(
        "DELETE FROM segments
         WHERE stream_id = $1 AND position > $2 AND position <= $3 AND created_at <= $4",
    )
    .bind(&stream_id[..])
    .bind(packed(first))
    .bind(last)
    .bind(until.0)
    .execute(tx)
    .await?;
    Ok(())
}

/// Returns the first and the last possible position of a part.
fn bounds(part: u32) -> (i64, i64) {
    let at = |index| packed(SegmentPosition { part, index });
    (at(0), at(u32::MAX))
}
