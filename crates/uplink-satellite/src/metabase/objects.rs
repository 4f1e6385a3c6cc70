//! Objects: begin, commit, read and delete.

use sqlx::Row;
use uplink_server::units::readable_size;

use super::rows::{
    self, Metadata, Object, Status, bind_metadata, bind_sizes, by_stream, delete_stream, object_of,
    select_object,
};
use super::{Connection, Metabase, MetabaseError, Result, Snapshot, buckets, segments};
use crate::time::Time;

/// An upload to begin.
#[derive(Debug)]
pub(crate) struct NewObject<'a> {
    pub(crate) project: &'a [u8; 16],
    pub(crate) bucket: &'a [u8],
    pub(crate) key: &'a [u8],
    pub(crate) stream_id: [u8; 16],
    pub(crate) multipart: bool,
    pub(crate) created: Time,
    pub(crate) expires: Option<Time>,
    pub(crate) drop_pending_at: Time,
    pub(crate) encryption: i64,
    pub(crate) metadata: Metadata,
}

/// An upload to commit.
#[derive(Debug)]
pub(crate) struct Commit<'a> {
    pub(crate) project: &'a [u8; 16],
    pub(crate) stream_id: [u8; 16],
    /// Replaces the metadata given at the start of the upload; `None` keeps it.
    pub(crate) metadata: Option<Metadata>,
    pub(crate) precondition: Precondition,
    /// Minimum plain size of every part but the last.
    pub(crate) min_part_size: i64,
    pub(crate) now: Time,
}

/// The bucket and key that an object is about to take.
#[derive(Debug)]
pub(super) struct Replacement<'a> {
    pub(super) project: &'a [u8; 16],
    pub(super) bucket: &'a [u8],
    pub(super) key: &'a [u8],
    /// Stream id of the object that takes the key. It is not deleted if it already has that key.
    pub(super) except: Option<&'a [u8; 16]>,
    pub(super) precondition: Precondition,
    pub(super) now: Time,
}

/// Condition of a commit on a committed object with the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precondition {
    /// The existing object is replaced.
    None,
    /// The commit fails: the caller lacks the permission to replace it.
    MayNotReplace,
    /// The commit fails: the caller demanded that the key is unused.
    MustNotExist,
}

/// Maximum number of parts of one object.
const MAX_PARTS: usize = 10_000;

const LATEST: &str = select_object!(
    "WHERE project = $1 AND bucket = $2 AND object_key = $3 AND status IN (3, 4)
         AND (expires_at IS NULL OR expires_at > $4)
     ORDER BY version DESC LIMIT 1"
);
const EXACT_VERSION: &str = select_object!(
    "WHERE project = $1 AND bucket = $2 AND object_key = $3 AND version = $5
         AND status IN (3, 4) AND (expires_at IS NULL OR expires_at > $4)"
);

impl Metabase {
    /// Inserts a pending object with the next version of its key and returns that version.
    pub(crate) async fn begin_object(&self, new: &NewObject<'_>) -> Result<i64> {
        self.write(|| async {
            let mut tx = self.begin().await?;
            if buckets::find(&mut tx, new.project, new.bucket).await?.is_none() {
                return Err(buckets::missing(new.bucket));
            }
            let version = next_version(&mut tx, (new.project, new.bucket, new.key)).await?;
            insert_pending(&mut tx, new, version).await?;
            tx.commit().await?;
            Ok(version)
        })
        .await
    }

    /// Makes a pending object visible and replaces any committed object with its key. One that has
    /// expired is as good as deleted: it must not replace what is readable.
    pub(crate) async fn commit_object(&self, commit: &Commit<'_>) -> Result<Object> {
        self.write(|| async {
            let mut tx = self.begin().await?;
            let found = rows::pending_by_stream(&mut tx, commit.project, &commit.stream_id).await?;
            let found = found.filter(|object| !object.has_expired(commit.now));
            let mut object = found.ok_or_else(rows::pending_object_missing)?;
            let replacement = Replacement {
                project: commit.project,
                bucket: &object.bucket,
                key: &object.key,
                except: None,
                precondition: commit.precondition,
                now: commit.now,
            };
            delete_replaced(&mut tx, &replacement).await?;
            finalize(&mut tx, commit, &mut object).await?;
            tx.commit().await?;
            Ok(object)
        })
        .await
    }

    /// Returns the object of a stream id, pending or committed.
    pub(crate) async fn object_of_stream(
        &self,
        project: &[u8; 16],
        stream_id: &[u8; 16],
    ) -> Result<Option<Object>> {
        let mut connection = self.readers.acquire().await?;
        by_stream(&mut connection, project, stream_id).await
    }

    /// Deletes a committed object and its segments atomically. Returns `None` if there is none.
    pub(crate) async fn delete_object(
        &self,
        project: &[u8; 16],
        bucket: &[u8],
        key: &[u8],
        version: Option<[u8; 16]>,
        now: Time,
    ) -> Result<Option<Object>> {
        self.write(|| async {
            let mut tx = self.begin().await?;
            let found = committed(&mut tx, project, bucket, key, version, now).await?;
            if let Some(object) = &found {
                delete_stream(&mut tx, &object.stream_id).await?;
            }
            tx.commit().await?;
            Ok(found)
        })
        .await
    }

    /// Deletes a pending object and its segments.
    pub(crate) async fn abort_object(
        &self,
        project: &[u8; 16],
        stream_id: &[u8; 16],
    ) -> Result<Object> {
        self.write(|| async {
            let mut tx = self.begin().await?;
            let found = rows::pending_by_stream(&mut tx, project, stream_id).await?;
            let object = found.ok_or_else(rows::pending_object_missing)?;
            delete_stream(&mut tx, stream_id).await?;
            tx.commit().await?;
            Ok(object)
        })
        .await
    }

    /// Deletes up to `limit` objects that expired, or are pending past their deadline. Returns the
    /// number deleted.
    pub(crate) async fn delete_overdue(&self, now: Time, limit: i64) -> Result<u64> {
        self.write(|| async {
            let mut tx = self.begin().await?;
            let rows = sqlx::query(
                "SELECT stream_id FROM objects
                 WHERE drop_pending_at < $1 OR expires_at < $1 LIMIT $2",
            )
            .bind(now.0)
            .bind(limit)
            .fetch_all(&mut *tx)
            .await?;
            for row in &rows {
                delete_stream(&mut tx, row.try_get(0)?).await?;
            }
            tx.commit().await?;
            Ok(rows.len() as u64)
        })
        .await
    }
}

impl Snapshot {
    /// Returns the newest committed object of a key, or the one with exactly this version.
    pub(crate) async fn object(
        &mut self,
        (project, bucket, key): (&[u8; 16], &[u8], &[u8]),
        version: Option<[u8; 16]>,
        now: Time,
    ) -> Result<Object> {
        let found = committed(&mut self.tx, project, bucket, key, version, now).await?;
        found.ok_or_else(rows::object_missing)
    }

    /// Returns the object of a stream id, pending or committed.
    pub(crate) async fn object_of_stream(
        &mut self,
        project: &[u8; 16],
        stream_id: &[u8; 16],
    ) -> Result<Option<Object>> {
        by_stream(&mut self.tx, project, stream_id).await
    }
}

/// Returns the newest unexpired committed object of a key, or the one with exactly `version`.
pub(super) async fn committed(
    connection: &mut Connection,
    project: &[u8; 16],
    bucket: &[u8],
    key: &[u8],
    version: Option<[u8; 16]>,
    now: Time,
) -> Result<Option<Object>> {
    let sql = if version.is_some() { EXACT_VERSION } else { LATEST };
    let mut query = sqlx::query(sql).bind(&project[..]).bind(bucket).bind(key).bind(now.0);
    if let Some(version) = version {
        query = query.bind(rows::version_number(version));
    }
    let object = query.fetch_optional(connection).await?.as_ref().map(object_of).transpose()?;
    Ok(object.filter(|object| version.is_none_or(|version| object.object_version() == version)))
}

pub(super) async fn next_version(
    tx: &mut Connection,
    (project, bucket, key): (&[u8; 16], &[u8], &[u8]),
) -> Result<i64> {
    let row = sqlx::query(
        "SELECT COALESCE(MAX(version), 0) FROM objects
         WHERE project = $1 AND bucket = $2 AND object_key = $3",
    )
    .bind(&project[..])
    .bind(bucket)
    .bind(key)
    .fetch_one(tx)
    .await?;
    Ok(row.try_get::<i64, _>(0)?.saturating_add(1))
}

async fn insert_pending(tx: &mut Connection, new: &NewObject<'_>, version: i64) -> Result<()> {
    let query = sqlx::query(
        "INSERT INTO objects (
             project, bucket, object_key, version, stream_id, status, multipart, created_at,
             expires_at, drop_pending_at, encryption, encrypted_metadata, metadata_nonce,
             metadata_key, encrypted_etag, segment_count, plain_size, encrypted_size,
             fixed_segment_size
         ) VALUES ($1, $2, $3, $4, $5, 1, $6, $7, $8, $9, $10, $11, $12, $13, $14, 0, 0, 0, 0)",
    )
    .bind(&new.project[..])
    .bind(new.bucket)
    .bind(new.key)
    .bind(version)
    .bind(&new.stream_id[..])
    .bind(i64::from(new.multipart))
    .bind(new.created.0)
    .bind(new.expires.map(|time| time.0))
    .bind(new.drop_pending_at.0)
    .bind(new.encryption);
    bind_metadata(query, &new.metadata).execute(tx).await?;
    Ok(())
}

/// Inserts an object that was never pending, such as a copy.
pub(super) async fn insert_committed(
    tx: &mut Connection,
    project: &[u8; 16],
    object: &Object,
) -> Result<()> {
    let query = sqlx::query(
        "INSERT INTO objects (
             project, bucket, object_key, version, stream_id, status, multipart, created_at,
             expires_at, encryption, encrypted_metadata, metadata_nonce, metadata_key,
             encrypted_etag, segment_count, plain_size, encrypted_size, fixed_segment_size
         ) VALUES ($1, $2, $3, $4, $5, 3, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
    )
    .bind(&project[..])
    .bind(&object.bucket)
    .bind(&object.key)
    .bind(object.version)
    .bind(&object.stream_id[..])
    .bind(i64::from(object.multipart))
    .bind(object.created.0)
    .bind(object.expires.map(|time| time.0))
    .bind(object.encryption);
    bind_sizes(bind_metadata(query, &object.metadata), object).execute(tx).await?;
    Ok(())
}

/// Deletes the committed object with the same key if the precondition allows it. An expired object
/// is deleted in any case.
pub(super) async fn delete_replaced(
    tx: &mut Connection,
    replacement: &Replacement<'_>,
) -> Result<()> {
    let rows = sqlx::query(
        "SELECT stream_id, COALESCE(expires_at > $4, 1) FROM objects
         WHERE project = $1 AND bucket = $2 AND object_key = $3 AND status IN (3, 4)",
    )
    .bind(&replacement.project[..])
    .bind(replacement.bucket)
    .bind(replacement.key)
    .bind(replacement.now.0)
    .fetch_all(&mut *tx)
    .await?;
    for row in &rows {
        let stream_id: &[u8] = row.try_get(0)?;
        if replacement.except.is_some_and(|except| except == stream_id) {
            continue;
        }
        match replacement.precondition {
            Precondition::None => {}
            _ if row.try_get::<i64, _>(1)? == 0 => {}
            Precondition::MayNotReplace => return Err(MetabaseError::Overwrite),
            Precondition::MustNotExist => {
                let reason = "object already exists".to_owned();
                return Err(MetabaseError::Precondition { reason });
            }
        }
        delete_stream(tx, stream_id).await?;
    }
    Ok(())
}

/// Sets the sizes and the status of the object.
async fn finalize(tx: &mut Connection, commit: &Commit<'_>, object: &mut Object) -> Result<()> {
    let sizes = segments::set_offsets(tx, &object.stream_id).await?;
    check_parts(&sizes, commit.min_part_size)?;
    object.segment_count = i64::try_from(sizes.len()).unwrap_or(i64::MAX);
    object.plain_size = sizes.iter().fold(0, |sum, size| sum.saturating_add(size.plain));
    object.encrypted_size = sizes.iter().fold(0, |sum, size| sum.saturating_add(size.encrypted));
    object.fixed_segment_size = fixed_size(&sizes);
    object.status = Status::CommittedUnversioned;
    if let Some(metadata) = &commit.metadata {
        object.metadata = metadata.clone();
    }

    let query = sqlx::query(
        "UPDATE objects SET
             status = 3, drop_pending_at = NULL, encrypted_metadata = $2, metadata_nonce = $3,
             metadata_key = $4, encrypted_etag = $5, segment_count = $6, plain_size = $7,
             encrypted_size = $8, fixed_segment_size = $9
         WHERE stream_id = $1",
    )
    .bind(&object.stream_id[..]);
    bind_sizes(bind_metadata(query, &object.metadata), object).execute(tx).await?;
    Ok(())
}

fn check_parts(sizes: &[segments::Size], min_part_size: i64) -> Result<()> {
    let mut parts: Vec<(u32, i64)> = Vec::new();
    for size in sizes {
        match parts.last_mut() {
            Some((part, sum)) if *part == size.position.part => {
                *sum = sum.saturating_add(size.plain);
            }
            _ => parts.push((size.position.part, size.plain)),
        }
    }
    if parts.len() > MAX_PARTS {
        let reason = format!("exceeded maximum number of parts: {MAX_PARTS}");
        return Err(MetabaseError::Precondition { reason });
    }
    let all_but_last = parts.split_last().map_or(&[][..], |(_, rest)| rest);
    match all_but_last.iter().find(|(_, size)| *size < min_part_size) {
        None => Ok(()),
        Some((part, size)) => Err(MetabaseError::Precondition {
            reason: format!(
                "metabase: failed precondition: size of part number {part} is below minimum \
                 threshold, got: {}, min: {}",
                readable_size(*size),
                readable_size(min_part_size)
            ),
        }),
    }
}

/// Returns the common plain size of all segments but the last, −1 if they differ or the object has
/// several parts.
fn fixed_size(sizes: &[segments::Size]) -> i64 {
    let Some(first) = sizes.first() else { return 0 };
    let all_but_last = sizes.split_last().map_or(&[][..], |(_, rest)| rest);
    let same = all_but_last.iter().all(|size| size.plain == first.plain);
    if same && sizes.iter().all(|size| size.position.part == 0) { first.plain } else { -1 }
}
