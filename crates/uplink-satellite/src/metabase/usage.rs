//! What projects store and fetch.

use sqlx::Row;

use super::{Metabase, Result};

/// What a project stores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Encrypted bytes, each copy by itself.
    pub(crate) bytes: i64,
    pub(crate) segments: i64,
}

impl Metabase {
    /// Counts all segments of a project, those of uploads in progress included.
    pub(crate) async fn stored(&self, project: &[u8; 16]) -> Result<Stored> {
        let row = sqlx::query(
            "SELECT COALESCE(CAST(SUM(segments.encrypted_size) AS BIGINT), 0), COUNT(*)
             FROM objects JOIN segments ON segments.stream_id = objects.stream_id
             WHERE objects.project = $1",
        )
        .bind(&project[..])
        .fetch_one(&self.readers)
        .await?;
        Ok(Stored { bytes: row.try_get(0)?, segments: row.try_get(1)? })
    }

    /// Bytes that a project was allowed to fetch in a month.
    pub(crate) async fn fetched(&self, project: &[u8; 16], month: i64) -> Result<i64> {
        let row =
            sqlx::query("SELECT amount FROM project_bandwidth WHERE project = $1 AND month = $2")
                .bind(&project[..])
                .bind(month)
                .fetch_optional(&self.readers)
                .await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?.unwrap_or(0))
    }

    /// Adds to what a project was allowed to fetch in a month.
    pub(crate) async fn add_fetched(
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
