//! Objects: pending uploads and what became of them.

use sqlx::Row;

use super::{
    Connection, DatabaseRow, Metabase, MetabaseError, Result, Snapshot, buckets, exact, segments,
};
use crate::text::readable_size;
use crate::time::Time;

/// What an object is at the moment; the numbers are those of the network's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// An upload that is not committed yet.
    Pending,
    /// Committed, in a bucket that keeps one version.
    CommittedUnversioned,
    /// Committed, one of several versions.
    CommittedVersioned,
    /// Any other number: delete markers, of which nothing is shown.
    Hidden,
}

/// An object as stored.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) bucket: Vec<u8>,
    pub(crate) key: Vec<u8>,
    pub(crate) version: i64,
    pub(crate) stream_id: [u8; 16],
    pub(crate) status: Status,
    /// Whether parts may be uploaded in calls of their own.
    pub(crate) multipart: bool,
    pub(crate) created: Time,
    pub(crate) expires: Option<Time>,
    /// Cipher suite and block size, packed.
    pub(crate) encryption: i64,
    pub(crate) metadata: Metadata,
    pub(crate) segment_count: i64,
    pub(crate) plain_size: i64,
    pub(crate) encrypted_size: i64,
    /// Plain size of all segments but the last, −1 when they differ.
    pub(crate) fixed_segment_size: i64,
}

/// Encrypted metadata of an object; opaque to the satellite.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) data: Option<Vec<u8>>,
    pub(crate) nonce: Option<Vec<u8>>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) etag: Option<Vec<u8>>,
}

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
    pub(crate) drop_pending: Time,
    pub(crate) encryption: i64,
    pub(crate) metadata: Metadata,
}

/// An upload to commit.
#[derive(Debug)]
pub(crate) struct Commit<'a> {
    pub(crate) project: &'a [u8; 16],
    pub(crate) stream_id: [u8; 16],
    /// Replaces what the upload began with; `None` keeps it.
    pub(crate) metadata: Option<Metadata>,
    pub(crate) precondition: Precondition,
    /// Least plain size of every part but the last.
    pub(crate) min_part_size: i64,
    pub(crate) now: Time,
}

/// A name that an object is about to take.
#[derive(Debug)]
pub(super) struct Replace<'a> {
    pub(super) project: &'a [u8; 16],
    pub(super) bucket: &'a [u8],
    pub(super) key: &'a [u8],
    /// The object that takes the name, if it may have it already.
    pub(super) except: Option<&'a [u8; 16]>,
    pub(super) precondition: Precondition,
    pub(super) now: Time,
}

/// What a commit demands of an object that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precondition {
    /// It is replaced.
    None,
    /// The committer may not replace it.
    MayNotReplace,
    /// There must be none.
    MustNotExist,
}

/// Most parts of one object.
const MAX_PARTS: usize = 10_000;

macro_rules! select_object {
    ($rest:literal) => {
        concat!(
            "SELECT bucket, object_key, version, stream_id, status, multipart, created_at,
                 expires_at, encryption, encrypted_metadata, metadata_nonce, metadata_key,
                 encrypted_etag, segment_count, plain_size, encrypted_size, fixed_segment_size
             FROM objects ",
            $rest
        )
    };
}
pub(super) use select_object;

const BY_STREAM: &str = select_object!("WHERE project = $1 AND stream_id = $2");
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
    /// Makes a pending object under the next version of its key; returns that version.
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

    /// Makes a pending object visible, in place of any object with its name.
    pub(crate) async fn commit_object(&self, commit: &Commit<'_>) -> Result<Object> {
        self.write(|| async {
            let mut tx = self.begin().await?;
            let found = by_stream(&mut tx, commit.project, &commit.stream_id).await?;
            let mut object = found
                .filter(|object| object.status == Status::Pending)
                .ok_or_else(pending_object_missing)?;
            let replace = Replace {
                project: commit.project,
                bucket: &object.bucket,
                key: &object.key,
                except: None,
                precondition: commit.precondition,
                now: commit.now,
            };
            make_room(&mut tx, &replace).await?;
            settle(&mut tx, commit, &mut object).await?;
            tx.commit().await?;
            Ok(object)
        })
        .await
    }

    /// The object, pending or committed, that a stream id names.
    pub(crate) async fn object_of_stream(
        &self,
        project: &[u8; 16],
        stream_id: &[u8; 16],
    ) -> Result<Option<Object>> {
        let mut connection = self.readers.acquire().await?;
        by_stream(&mut connection, project, stream_id).await
    }

    /// Deletes a committed object with its segments, in one step. `None` when there is none.
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

    /// Deletes a pending object with its segments.
    pub(crate) async fn abort_object(
        &self,
        project: &[u8; 16],
        stream_id: &[u8; 16],
    ) -> Result<Object> {
        self.write(|| async {
            let mut tx = self.begin().await?;
            let object = by_stream(&mut tx, project, stream_id)
                .await?
                .filter(|object| object.status == Status::Pending)
                .ok_or_else(pending_object_missing)?;
            delete_stream(&mut tx, stream_id).await?;
            tx.commit().await?;
            Ok(object)
        })
        .await
    }

    /// Deletes some pending objects whose time is over and some expired ones; returns how many.
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
    /// The newest committed object of a key, or the one with exactly this version.
    pub(crate) async fn object(
        &mut self,
        (project, bucket, key): (&[u8; 16], &[u8], &[u8]),
        version: Option<[u8; 16]>,
        now: Time,
    ) -> Result<Object> {
        let found = committed(&mut self.tx, project, bucket, key, version, now).await?;
        found.ok_or_else(object_missing)
    }

    /// The object, pending or committed, that a stream id names.
    pub(crate) async fn object_of_stream(
        &mut self,
        project: &[u8; 16],
        stream_id: &[u8; 16],
    ) -> Result<Option<Object>> {
        by_stream(&mut self.tx, project, stream_id).await
    }
}

pub(super) async fn by_stream(
    connection: &mut Connection,
    project: &[u8; 16],
    stream_id: &[u8; 16],
) -> Result<Option<Object>> {
    let query = sqlx::query(BY_STREAM).bind(&project[..]).bind(&stream_id[..]);
    query.fetch_optional(connection).await?.as_ref().map(object_of).transpose()
}

/// Deletes the object of a stream and its segments. Pieces stay until garbage collection.
pub(super) async fn delete_stream(tx: &mut Connection, stream_id: &[u8]) -> Result<()> {
    sqlx::query("DELETE FROM segments WHERE stream_id = $1")
        .bind(stream_id)
        .execute(&mut *tx)
        .await?;
    sqlx::query("DELETE FROM objects WHERE stream_id = $1").bind(stream_id).execute(tx).await?;
    Ok(())
}

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
        query = query.bind(version_number(version));
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
    sqlx::query(
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
    .bind(new.drop_pending.0)
    .bind(new.encryption)
    .bind(&new.metadata.data)
    .bind(&new.metadata.nonce)
    .bind(&new.metadata.key)
    .bind(&new.metadata.etag)
    .execute(tx)
    .await?;
    Ok(())
}

/// Inserts an object that is committed from its first moment.
pub(super) async fn insert_committed(
    tx: &mut Connection,
    project: &[u8; 16],
    object: &Object,
) -> Result<()> {
    sqlx::query(
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
    .bind(object.encryption)
    .bind(&object.metadata.data)
    .bind(&object.metadata.nonce)
    .bind(&object.metadata.key)
    .bind(&object.metadata.etag)
    .bind(object.segment_count)
    .bind(object.plain_size)
    .bind(object.encrypted_size)
    .bind(object.fixed_segment_size)
    .execute(tx)
    .await?;
    Ok(())
}

/// Deletes a committed object that has the name already, if that is allowed. An expired one is none.
pub(super) async fn make_room(tx: &mut Connection, replace: &Replace<'_>) -> Result<()> {
    let rows = sqlx::query(
        "SELECT stream_id, COALESCE(expires_at > $4, 1) FROM objects
         WHERE project = $1 AND bucket = $2 AND object_key = $3 AND status IN (3, 4)",
    )
    .bind(&replace.project[..])
    .bind(replace.bucket)
    .bind(replace.key)
    .bind(replace.now.0)
    .fetch_all(&mut *tx)
    .await?;
    for row in &rows {
        let stream_id: &[u8] = row.try_get(0)?;
        if replace.except.is_some_and(|except| except == stream_id) {
            continue;
        }
        match replace.precondition {
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

/// Fixes the layout of the object and makes it visible.
async fn settle(tx: &mut Connection, commit: &Commit<'_>, object: &mut Object) -> Result<()> {
    let sizes = segments::lay_out(tx, &object.stream_id).await?;
    check_parts(&sizes, commit.min_part_size)?;
    object.segment_count = i64::try_from(sizes.len()).unwrap_or(i64::MAX);
    object.plain_size = sizes.iter().fold(0, |sum, size| sum.saturating_add(size.plain));
    object.encrypted_size = sizes.iter().fold(0, |sum, size| sum.saturating_add(size.encrypted));
    object.fixed_segment_size = fixed_size(&sizes);
    object.status = Status::CommittedUnversioned;
    if let Some(metadata) = &commit.metadata {
        object.metadata = metadata.clone();
    }
    sqlx::query(
        "UPDATE objects SET
             status = 3, drop_pending_at = NULL, encrypted_metadata = $2, metadata_nonce = $3,
             metadata_key = $4, encrypted_etag = $5, segment_count = $6, plain_size = $7,
             encrypted_size = $8, fixed_segment_size = $9
         WHERE stream_id = $1",
    )
    .bind(&object.stream_id[..])
    .bind(&object.metadata.data)
    .bind(&object.metadata.nonce)
    .bind(&object.metadata.key)
    .bind(&object.metadata.etag)
    .bind(object.segment_count)
    .bind(object.plain_size)
    .bind(object.encrypted_size)
    .bind(object.fixed_segment_size)
    .execute(tx)
    .await?;
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

fn fixed_size(sizes: &[segments::Size]) -> i64 {
    let Some(first) = sizes.first() else { return 0 };
    let all_but_last = sizes.split_last().map_or(&[][..], |(_, rest)| rest);
    let same = all_but_last.iter().all(|size| size.plain == first.plain);
    if same && sizes.iter().all(|size| size.position.part == 0) { first.plain } else { -1 }
}

/// Bytes of a listed object besides its key and metadata, generously.
pub(super) const ENTRY_BYTES: usize = 128;

impl Object {
    /// About as many bytes as it takes in a listing.
    pub(crate) fn encoded_size(&self) -> usize {
        let metadata = &self.metadata;
        let parts = [&metadata.data, &metadata.nonce, &metadata.key, &metadata.etag];
        let metadata: usize = parts.into_iter().flatten().map(Vec::len).sum();
        // Stream ids of pending objects hold the key again.
        self.key.len() * 2 + self.bucket.len() + metadata + ENTRY_BYTES
    }

    /// The version as clients see it: the number and the end of the stream id.
    pub(crate) fn object_version(&self) -> [u8; 16] {
        let mut version = self.stream_id;
        let (number, _) = version.split_at_mut(8);
        number.copy_from_slice(&self.version.to_be_bytes());
        version
    }
}

/// The number of a version as clients see it.
pub(super) fn version_number(version: [u8; 16]) -> i64 {
    let number = u128::from_be_bytes(version) >> 64;
    i64::from_be_bytes((number as u64).to_be_bytes())
}

impl Status {
    fn from_number(number: i64) -> Self {
        match number {
            1 => Self::Pending,
            3 => Self::CommittedUnversioned,
            4 => Self::CommittedVersioned,
            _ => Self::Hidden,
        }
    }
}

pub(super) fn object_missing() -> MetabaseError {
    MetabaseError::NotFound { what: "object not found: no object of that name".to_owned() }
}

pub(super) fn pending_object_missing() -> MetabaseError {
    MetabaseError::NotFound {
        what: "object not found: no pending object of that stream id".to_owned(),
    }
}

pub(super) fn object_of(row: &DatabaseRow) -> Result<Object> {
    Ok(Object {
        bucket: row.try_get(0)?,
        key: row.try_get(1)?,
        version: row.try_get(2)?,
        stream_id: exact(row.try_get(3)?, "stream id")?,
        status: Status::from_number(row.try_get(4)?),
        multipart: row.try_get::<i64, _>(5)? != 0,
        created: Time(row.try_get(6)?),
        expires: row.try_get::<Option<i64>, _>(7)?.map(Time),
        encryption: row.try_get(8)?,
        metadata: Metadata {
            data: row.try_get(9)?,
            nonce: row.try_get(10)?,
            key: row.try_get(11)?,
            etag: row.try_get(12)?,
        },
        segment_count: row.try_get(13)?,
        plain_size: row.try_get(14)?,
        encrypted_size: row.try_get(15)?,
        fixed_segment_size: row.try_get(16)?,
    })
}
