//! Settled bandwidth of storage nodes: sums per node, hour of order creation, and action.

use std::collections::BTreeMap;

use sqlx::Row;
use uplink_core::id::NodeId;

use super::{Metabase, Result};

/// Bytes per action; actions are numbered as in messages.
pub(crate) type Sums = BTreeMap<i32, i64>;

impl Metabase {
    /// Stores the sums of a node's hour once. Returns false if different sums are already stored.
    /// `sums` must not be empty.
    pub(crate) async fn settle(&self, node: &NodeId, hour: i64, sums: &Sums) -> Result<bool> {
        let sums: &BTreeMap<_, _> = &sums.iter().map(|(a, b)| (i64::from(*a), *b)).collect();
        self.write(|| async {
            let mut tx = self.begin().await?;
            let rows = sqlx::query(
                "SELECT action, amount FROM settlements WHERE node = $1 AND window_hour = $2",
            )
            .bind(&node.as_bytes()[..])
            .bind(hour)
            .fetch_all(&mut *tx)
            .await?;
            if !rows.is_empty() {
                let stored = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
                return Ok(stored.collect::<Result<BTreeMap<i64, i64>>>()? == *sums);
            }
            for (action, amount) in sums {
                sqlx::query(
                    "INSERT INTO settlements (node, window_hour, action, amount)
                     VALUES ($1, $2, $3, $4)",
                )
                .bind(&node.as_bytes()[..])
                .bind(hour)
                .bind(*action)
                .bind(*amount)
                .execute(&mut *tx)
                .await?;
            }
            tx.commit().await?;
            Ok(true)
        })
        .await
    }

    /// Returns the settled amounts of a node: hour, action and bytes, oldest first.
    pub(crate) async fn settlements(&self, node: &NodeId) -> Result<Vec<(i64, i64, i64)>> {
        let rows = sqlx::query(
            "SELECT window_hour, action, amount FROM settlements WHERE node = $1
             ORDER BY window_hour, action",
        )
        .bind(&node.as_bytes()[..])
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).collect()
    }
}
