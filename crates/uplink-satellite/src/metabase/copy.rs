//! Copying and moving committed objects: pieces stay on their nodes, only wrapped keys change.
//!
//! A client fetches the wrapped keys of all segments, wraps them for the new name, and sends them
//! back. If the object or its metadata was replaced between the two calls, the second one fails.

use std::collections::HashSet;

use sqlx::Row;
use uplink_core::id::SegmentPosition;

use super::objects::{self, Precondition, Replacement};
use super::rows::{self, Metadata, Object, bind_metadata, packed, unpacked};
use super::{Connection, Metabase, MetabaseError, Result, buckets};
use crate::time::Time;

/// The wrapped content key of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentKey {
    pub(crate) position: SegmentPosition,
    pub(crate) nonce: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

/// Metadata of an object under its new name.
#[derive(Debug)]
pub(crate) enum NewMetadata {
    /// The metadata is unchanged; its key is wrapped again.
    Rewrapped { nonce: Option<Vec<u8>>, key: Option<Vec<u8>> },
    /// The metadata is replaced.
    Replaced(Metadata),
}

/// A copy or move to finish.
#[derive(Debug)]
pub(crate) struct Transfer<'a> {
    pub(crate) project: &'a [u8; 16],
    /// Stream id of the object to copy or move.
    pub(crate) source: [u8; 16],
    /// Nonce of the wrapped metadata key when the copy or move began, empty without metadata; `None` if
    /// unknown. The keys that the client sends are those of that metadata.
    pub(crate) metadata_nonce: Option<&'a [u8]>,
    pub(crate) bucket: &'a [u8],
    pub(crate) key: &'a [u8],
    pub(crate) metadata: NewMetadata,
    /// One key per segment.
    pub(crate) segment_keys: Vec<SegmentKey>,
    pub(crate) precondition: Precondition,
    pub(crate) now: Time,
}

/// Maximum number of segments of an object that is copied or moved.
pub(crate) const MAX_SEGMENTS: usize = 10_000;

impl Metabase {
    /// Returns the newest committed object of a key and the wrapped keys of its segments, in order.
    /// The destination bucket must exist.
    pub(crate) async fn transferable(
        &self,
        (project, bucket, key): (&[u8; 16], &[u8], &[u8]),
        version: Option<[u8; 16]>,
        new_bucket: &[u8],
        now: Time,
    ) -> Result<(Object, Vec<SegmentKey>)> {
        let mut tx = self.snapshot().await?.tx;
        if buckets::find(&mut tx, project, new_bucket).await?.is_none() {
            return Err(buckets::missing(new_bucket));
        }
        let found = objects::committed(&mut tx, project, bucket, key, version, now).await?;
        let object = found.ok_or_else(rows::object_missing)?;
        let keys = segment_keys(&mut tx, &object.stream_id).await?;
        Ok((object, keys))
    }

    /// Creates a copy that shares the pieces of its source and returns it.
    pub(crate) async fn copy_object(
        &self,
        transfer: &Transfer<'_>,
        stream_id: [u8; 16],
    ) -> Result<Object> {
        self.write(|| async {
            let mut tx = self.begin().await?;
            let mut object = source(&mut tx, transfer).await?;
            let location = (transfer.project, transfer.bucket, transfer.key);
            let version = objects::next_version(&mut tx, location).await?;
            for key in &transfer.segment_keys {
                copy_segment(&mut tx, (&object.stream_id, &stream_id), key).await?;
            }
            objects::delete_replaced(&mut tx, &replacement(transfer, None)).await?;
            object.stream_id = stream_id;
            object.version = version;
            object.created = transfer.now;
            rename(&mut object, transfer);
            objects::insert_committed(&mut tx, transfer.project, &object).await?;
            tx.commit().await?;
            Ok(object)
        })
        .await
    }

    /// Moves an object to another bucket and key.
    pub(crate) async fn move_object(&self, transfer: &Transfer<'_>) -> Result<()> {
        self.write(|| async {
            let mut tx = self.begin().await?;
            let mut object = source(&mut tx, transfer).await?;
            let location = (transfer.project, transfer.bucket, transfer.key);
            let version = objects::next_version(&mut tx, location).await?;
            objects::delete_replaced(&mut tx, &replacement(transfer, Some(&transfer.source)))
                .await?;
            for key in &transfer.segment_keys {
                rewrap_segment(&mut tx, &transfer.source, key).await?;
            }
            object.version = version;
            rename(&mut object, transfer);
            let query = sqlx::query(
                "UPDATE objects SET bucket = $2, object_key = $3, version = $4,
                     encrypted_metadata = $5, metadata_nonce = $6, metadata_key = $7,
                     encrypted_etag = $8
                 WHERE stream_id = $1",
            )
            .bind(&object.stream_id[..])
            .bind(&object.bucket)
            .bind(&object.key)
            .bind(object.version);
            bind_metadata(query, &object.metadata).execute(&mut *tx).await?;
            Ok(tx.commit().await?)
        })
        .await
    }
}

/// Returns the object to copy or move.
///
/// # Errors
/// It no longer exists, its metadata was replaced, or the given keys do not match its segments.
async fn source(tx: &mut Connection, transfer: &Transfer<'_>) -> Result<Object> {
    let object =
        rows::committed_by_stream(tx, transfer.project, &transfer.source, transfer.now).await?;
    if buckets::find(tx, transfer.project, transfer.bucket).await?.is_none() {
        return Err(buckets::missing(transfer.bucket));
    }
    let nonce = object.metadata.nonce.as_deref().unwrap_or_default();
    if transfer.metadata_nonce.is_some_and(|begun| begun != nonce) {
        return Err(rows::object_missing());
    }
    require_matching_keys(tx, transfer).await?;

    let has_metadata_key = match &transfer.metadata {
        NewMetadata::Rewrapped { key, .. } => key.is_some(),
        NewMetadata::Replaced(_) => true,
    };
    if object.metadata.key.is_some() && !has_metadata_key {
        let reason = "metadata key is missing: the object has metadata".to_owned();
        return Err(MetabaseError::Invalid { reason });
    }
    Ok(object)
}

/// Rejects a transfer unless it has exactly one key for each segment of its source.
async fn require_matching_keys(tx: &mut Connection, transfer: &Transfer<'_>) -> Result<()> {
    let stored = segment_keys(tx, &transfer.source).await?;
    let have = transfer.segment_keys.len();
    let need = stored.len();
    if have != need {
        let reason = format!("wrong number of segment keys: have {have}, need {need}");
        return Err(MetabaseError::Invalid { reason });
    }

    let given: HashSet<i64> =
        transfer.segment_keys.iter().map(|key| packed(key.position)).collect();
    if !stored.iter().all(|key| given.contains(&packed(key.position))) {
        let reason = "positions of segment keys do not match the segments".to_owned();
        return Err(MetabaseError::Invalid { reason });
    }
    Ok(())
}

/// Describes the key that a transfer takes and the object it may replace.
fn replacement<'a>(transfer: &'a Transfer<'_>, except: Option<&'a [u8; 16]>) -> Replacement<'a> {
    Replacement {
        project: transfer.project,
        bucket: transfer.bucket,
        key: transfer.key,
        except,
        precondition: transfer.precondition,
        now: transfer.now,
    }
}

fn rename(object: &mut Object, transfer: &Transfer<'_>) {
    object.bucket = transfer.bucket.to_vec();
    object.key = transfer.key.to_vec();
    match &transfer.metadata {
        NewMetadata::Rewrapped { nonce, key } if object.metadata.key.is_some() => {
            object.metadata.nonce.clone_from(nonce);
            object.metadata.key.clone_from(key);
        }
        NewMetadata::Rewrapped { .. } => {}
        NewMetadata::Replaced(metadata) => object.metadata = metadata.clone(),
    }
}

async fn segment_keys(tx: &mut Connection, stream_id: &[u8; 16]) -> Result<Vec<SegmentKey>> {
    let rows = sqlx::query(
        "SELECT position, encrypted_key_nonce, encrypted_key FROM segments
         WHERE stream_id = $1 ORDER BY position LIMIT $2",
    )
    .bind(&stream_id[..])
    .bind(i64::try_from(MAX_SEGMENTS + 1).unwrap_or(i64::MAX))
    .fetch_all(tx)
    .await?;
    if rows.len() > MAX_SEGMENTS {
        let reason = format!("object has more than {MAX_SEGMENTS} segments");
        return Err(MetabaseError::Invalid { reason });
    }
    let key = |row: &super::DatabaseRow| {
        Ok(SegmentKey {
            position: unpacked(row.try_get(0)?),
            nonce: row.try_get(1)?,
            key: row.try_get(2)?,
        })
    };
    rows.iter().map(key).collect()
}

async fn copy_segment(
    tx: &mut Connection,
    (from, to): (&[u8; 16], &[u8; 16]),
    key: &SegmentKey,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO segments (
             stream_id, position, root_piece_id, encrypted_key_nonce, encrypted_key,
             encrypted_size, plain_size, plain_offset, scheme, pieces, inline_data,
             encrypted_etag, created_at, expires_at
         )
         SELECT $3, position, root_piece_id, $4, $5, encrypted_size, plain_size, plain_offset,
             scheme, pieces, inline_data, encrypted_etag, created_at, expires_at
         FROM segments WHERE stream_id = $1 AND position = $2",
    )
    .bind(&from[..])
    .bind(packed(key.position))
    .bind(&to[..])
    .bind(&key.nonce)
    .bind(&key.key)
    .execute(tx)
    .await?;
    Ok(())
}

async fn rewrap_segment(tx: &mut Connection, stream: &[u8; 16], key: &SegmentKey) -> Result<()> {
    sqlx::query(
        "UPDATE segments SET encrypted_key_nonce = $3, encrypted_key = $4
         WHERE stream_id = $1 AND position = $2",
    )
    .bind(&stream[..])
    .bind(packed(key.position))
    .bind(&key.nonce)
    .bind(&key.key)
    .execute(tx)
    .await?;
    Ok(())
}
