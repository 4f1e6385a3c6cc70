//! Storage and bandwidth used by projects.

use sqlx::Row;

use super::{Metabase, Result};
use crate::time::Time;

/// Storage used by a project.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Encrypted bytes; every copy counts.
    pub(crate) bytes: i64,
    pub(crate) segments: i64,
}

impl Metabase {
    /// Returns the storage used by a project, including pending uploads. Expired objects do not count.
    pub(crate) async fn stored(&self, project: &[u8; 16], now: Time) -> Result<Stored> {
        let mut tx = self.snapshot().await?.tx;
        let committed = sqlx::query(
            "SELECT COALESCE(CAST(SUM(encrypted_size) AS BIGINT), 0),
                    COALESCE(CAST(SUM(segment_count) AS BIGINT), 0)
             FROM objects WHERE project = $1 AND status <> 1
                 AND (expires_at IS NULL OR expires_at > $2)",
        )
        .bind(&project[..])
        .bind(now.0)
        .fetch_one(&mut *tx)
        .await?;
        let pending = sqlx::query(
            "SELECT COALESCE(CAST(SUM(segments.encrypted_size) AS BIGINT), 0), COUNT(*)
             FROM objects JOIN segments ON segments.stream_id = objects.stream_id
             WHERE objects.project = $1 AND objects.status = 1
                 AND (objects.expires_at IS NULL OR objects.expires_at > $2)",
        )
        .bind(&project[..])
        .bind(now.0)
        .fetch_one(&mut *tx)
        .await?;
        let sum = |column: usize| -> Result<i64> {
            let committed: i64 = committed.try_get(column)?;
            let pending: i64 = pending.try_get(column)?;
            Ok(committed.saturating_add(pending))
        };
        Ok(Stored { bytes: sum(0)?, segments: sum(1)? })
    }

    /// Returns the bytes that a project was allowed to download in a month.
    pub(crate) async fn bandwidth(&self, project: &[u8; 16], month: i64) -> Result<i64> {
        let row =
            sqlx::query("SELECT amount FROM project_bandwidth WHERE project = $1 AND month = $2")
                .bind(&project[..])
                .bind(month)
                .fetch_optional(&self.readers)
                .await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?.unwrap_or(0))
    }

    /// Adds to the bytes that a project was allowed to download in a month.
    pub(crate) async fn add_bandwidth(
        &self,
        project: &[u8; 16],
        month: i64,
        bytes: i64,
    ) -> Result<()> {
        self.write(|| async {
            let mut tx = self.begin().await?;
            sqlx::query(
                "INSERT INTO project_bandwidth (project, month, amount) VALUES ($1, $2, $3)
                 ON CONFLICT (project, month)
                 DO UPDATE SET amount = project_bandwidth.amount + excluded.amount",
            )
            .bind(&project[..])
            .bind(month)
            .bind(bytes)
            .execute(&mut *tx)
            .await?;
            Ok(tx.commit().await?)
        })
        .await
    }
}
