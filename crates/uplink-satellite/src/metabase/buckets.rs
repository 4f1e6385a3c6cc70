//! Buckets.

use sqlx::Row;

use super::rows::delete_stream;
use super::{Connection, DatabaseRow, Metabase, MetabaseError, Result, Snapshot, is_duplicate};
use crate::time::Time;

/// A bucket of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(crate) name: Vec<u8>,
    pub(crate) created: Time,
    pub(crate) user_agent: Option<Vec<u8>>,
}

/// Versioning of a bucket that keeps one version of each object.
const UNVERSIONED: i64 = 1;
/// Objects deleted per transaction when a bucket is emptied.
const DELETE_BATCH: i64 = 500;
/// Maximum number of rows counted in a bucket that is not empty.
const MAX_COUNTED: usize = 1_000;
/// Status of a pending upload.
const PENDING: i64 = 1;

impl Metabase {
    /// Creates a bucket unless it exists or the project already has `limit` buckets.
    pub(crate) async fn create_bucket(
        &self,
        project: &[u8; 16],
        bucket: &Bucket,
        limit: i64,
    ) -> Result<()> {
        self.write(|| async {
            let mut tx = self.begin().await?;
            if find(&mut tx, project, &bucket.name).await?.is_some() {
                return Err(exists());
            }
            let row = sqlx::query("SELECT COUNT(*) FROM buckets WHERE project = $1")
                .bind(&project[..])
                .fetch_one(&mut *tx)
                .await?;
            if row.try_get::<i64, _>(0)? >= limit {
                let reason = format!("number of allocated buckets ({limit}) exceeded");
                return Err(MetabaseError::LimitReached { reason });
            }
            sqlx::query(
                "INSERT INTO buckets (project, name, user_agent, versioning, created_at)
                 VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(&project[..])
            .bind(&bucket.name)
            .bind(&bucket.user_agent)
            .bind(UNVERSIONED)
            .bind(bucket.created.0)
            .execute(&mut *tx)
            .await
            .map_err(|e| if is_duplicate(&e) { exists() } else { e.into() })?;
            Ok(tx.commit().await?)
        })
        .await
    }

    pub(crate) async fn bucket(&self, project: &[u8; 16], name: &[u8]) -> Result<Bucket> {
        let mut connection = self.readers.acquire().await?;
        find(&mut connection, project, name).await?.ok_or_else(|| missing(name))
    }

    /// Returns at most `limit` buckets after `cursor`, ordered by name; with `inclusive`, also the
    /// cursor's own bucket.
    pub(crate) async fn list_buckets(
        &self,
        project: &[u8; 16],
        cursor: &[u8],
        inclusive: bool,
        limit: i64,
    ) -> Result<Vec<Bucket>> {
        let query = if inclusive {
            "SELECT name, created_at, user_agent FROM buckets
             WHERE project = $1 AND name >= $2 ORDER BY name LIMIT $3"
        } else {
            "SELECT name, created_at, user_agent FROM buckets
             WHERE project = $1 AND name > $2 ORDER BY name LIMIT $3"
        };
        let rows = sqlx::query(query)
            .bind(&project[..])
            .bind(cursor)
            .bind(limit)
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(bucket_of).collect()
    }

    /// Deletes a bucket without objects and pending uploads. Expired and overdue rows do not count and
    /// are deleted with the bucket.
    pub(crate) async fn delete_bucket(
        &self,
        project: &[u8; 16],
        name: &[u8],
        now: Time,
    ) -> Result<Bucket> {
        self.write(|| async {
            let mut tx = self.begin().await?;
            let bucket = find(&mut tx, project, name).await?.ok_or_else(|| missing(name))?;
            if let Some(content) = content(&mut tx, (project, name), now).await? {
                let reason = format!("bucket not empty: contains {content}");
                return Err(MetabaseError::Precondition { reason });
            }
            while delete_rows(&mut tx, (project, name), Some(now)).await? > 0 {}
            sqlx::query("DELETE FROM buckets WHERE project = $1 AND name = $2")
                .bind(&project[..])
                .bind(name)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            Ok(bucket)
        })
        .await
    }

    /// Deletes some objects of a bucket, committed or pending, with their segments. With `overdue`,
    /// only those expired or overdue at that time. Returns the number deleted; 0 when none is left.
    pub(crate) async fn delete_some_objects(
        &self,
        project: &[u8; 16],
        bucket: &[u8],
        overdue: Option<Time>,
    ) -> Result<u64> {
        self.write(|| async {
            let mut tx = self.begin().await?;
            let deleted = delete_rows(&mut tx, (project, bucket), overdue).await?;
            tx.commit().await?;
            Ok(deleted)
        })
        .await
    }
}

/// Describes the content of a bucket; `None` if it is empty. Counts up to [`MAX_COUNTED`] rows.
async fn content(
    tx: &mut Connection,
    (project, bucket): (&[u8; 16], &[u8]),
    now: Time,
) -> Result<Option<String>> {
    let rows = sqlx::query(
        "SELECT status FROM objects
         WHERE project = $1 AND bucket = $2 AND (expires_at IS NULL OR expires_at > $3)
             AND (drop_pending_at IS NULL OR drop_pending_at >= $3)
         LIMIT $4",
    )
    .bind(&project[..])
    .bind(bucket)
    .bind(now.0)
    .bind(i64::try_from(MAX_COUNTED + 1).unwrap_or(i64::MAX))
    .fetch_all(tx)
    .await?;
    let mut pending = 0;
    for row in &rows {
        pending += usize::from(row.try_get::<i64, _>(0)? == PENDING);
    }
    let uploads = match pending {
        1 => "1 pending upload".to_owned(),
        2..=MAX_COUNTED => format!("{pending} pending uploads"),
        _ => format!("more than {MAX_COUNTED} pending uploads"),
    };
    Ok(match (rows.len() - pending, pending) {
        (0, 0) => None,
        (_, 0) => Some("objects".to_owned()),
        (0, _) => Some(uploads),
        _ => Some(format!("objects and {uploads}")),
    })
}

/// Deletes at most [`DELETE_BATCH`] objects of a bucket with their segments.
async fn delete_rows(
    tx: &mut Connection,
    (project, bucket): (&[u8; 16], &[u8]),
    overdue: Option<Time>,
) -> Result<u64> {
    let sql = match overdue {
        None => {
            "SELECT stream_id FROM objects WHERE project = $1 AND bucket = $2
             ORDER BY object_key, version LIMIT $4"
        }
        Some(_) => {
            "SELECT stream_id FROM objects
             WHERE project = $1 AND bucket = $2 AND (expires_at <= $3 OR drop_pending_at < $3)
             ORDER BY object_key, version LIMIT $4"
        }
    };
    let rows = sqlx::query(sql)
        .bind(&project[..])
        .bind(bucket)
        .bind(overdue.map(|time| time.0))
        .bind(DELETE_BATCH)
        .fetch_all(&mut *tx)
        .await?;
    for row in &rows {
        delete_stream(tx, row.try_get(0)?).await?;
    }
    Ok(rows.len() as u64)
}

impl Snapshot {
    /// Returns the bucket of a name, if it exists.
    pub(crate) async fn bucket(
        &mut self,
        project: &[u8; 16],
        name: &[u8],
    ) -> Result<Option<Bucket>> {
        find(&mut self.tx, project, name).await
    }
}

pub(super) async fn find(
    connection: &mut Connection,
    project: &[u8; 16],
    name: &[u8],
) -> Result<Option<Bucket>> {
    let row = sqlx::query(
        "SELECT name, created_at, user_agent FROM buckets WHERE project = $1 AND name = $2",
    )
    .bind(&project[..])
    .bind(name)
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(bucket_of).transpose()
}

/// Clients of the network recognize the start of this text.
pub(super) fn missing(name: &[u8]) -> MetabaseError {
    MetabaseError::NotFound { what: format!("bucket not found: {}", String::from_utf8_lossy(name)) }
}

fn exists() -> MetabaseError {
    MetabaseError::AlreadyExists { what: "bucket".to_owned() }
}

fn bucket_of(row: &DatabaseRow) -> Result<Bucket> {
    Ok(Bucket {
        name: row.try_get(0)?,
        created: Time(row.try_get(1)?),
        user_agent: row.try_get(2)?,
    })
}
