//! Schema migrations: numbered steps, forward only, all in one transaction.

use sqlx::Row;

use super::{Connection, Metabase, MetabaseError, Result};
use crate::time::Time;

/// All steps in order; the number of a step is its index + 1.
pub(super) const STEPS: &[&str] = &[
    include_str!("migrations/0001_initial.sql"),
    include_str!("migrations/0002_disqualified_at.sql"),
    include_str!("migrations/0003_project_bandwidth.sql"),
];

/// The schema number this program reads and writes.
pub(super) const NEWEST: i64 = STEPS.len() as i64;

impl Metabase {
    /// Applies missing steps. The immediate transaction locks out other processes.
    pub(super) async fn migrate(&self, now: Time) -> Result<()> {
        self.write(|| async {
            let mut tx = self.begin().await?;
            upgrade(&mut tx, STEPS, now).await?;
            Ok(tx.commit().await?)
        })
        .await
    }
}

pub(super) async fn upgrade(tx: &mut Connection, steps: &[&'static str], now: Time) -> Result<()> {
    sqlx::query(
        "CREATE TABLE IF NOT EXISTS schema_version (
             number     BIGINT NOT NULL PRIMARY KEY,
             applied_at BIGINT NOT NULL
         )",
    )
    .execute(&mut *tx)
    .await?;
    let row = sqlx::query("SELECT COALESCE(MAX(number), 0) FROM schema_version")
        .fetch_one(&mut *tx)
        .await?;
    let found: i64 = row.try_get(0)?;
    if found > NEWEST {
        return Err(MetabaseError::NewerSchema { found, known: NEWEST });
    }
    for (number, step) in (1..).zip(steps).filter(|(number, _)| *number > found) {
        sqlx::raw_sql(*step).execute(&mut *tx).await?;
        sqlx::query("INSERT INTO schema_version (number, applied_at) VALUES ($1, $2)")
            .bind::<i64>(number)
            .bind(now.0)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}
