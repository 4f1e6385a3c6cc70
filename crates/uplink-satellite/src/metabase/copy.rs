//! Copying and moving committed objects: the pieces stay where they are, only wrapped keys change.
//!
//! A client asks for the wrapped keys of all segments, wraps them for the new name, and hands them
//! back. Between the two calls the object may have been replaced; then there is nothing to finish.

use std::collections::HashMap;

use sqlx::Row;
use uplink_core::id::SegmentPosition;

use super::objects::{self, Metadata, Object, Precondition, Replace, Status, object_missing};
use super::segments::{packed, unpacked};
use super::{Connection, Metabase, MetabaseError, Result, buckets};
use crate::time::Time;

/// The wrapped content key of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentKey {
    pub(crate) position: SegmentPosition,
    pub(crate) nonce: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

/// What becomes of an object's metadata under its new name.
#[derive(Debug)]
pub(crate) enum NewMetadata {
    /// It stays; its key is wrapped anew.
    Rewrapped { nonce: Option<Vec<u8>>, key: Option<Vec<u8>> },
    /// Other metadata takes its place.
    Replaced(Metadata),
}

/// A copy or move to finish.
#[derive(Debug)]
pub(crate) struct Transfer<'a> {
    pub(crate) project: &'a [u8; 16],
    /// The object to copy or move.
    pub(crate) source: [u8; 16],
    pub(crate) bucket: &'a [u8],
    pub(crate) key: &'a [u8],
    pub(crate) metadata: NewMetadata,
    /// One for each segment.
    pub(crate) segment_keys: Vec<SegmentKey>,
    pub(crate) precondition: Precondition,
    pub(crate) now: Time,
}

/// Most segments of an object that is copied or moved.
pub(crate) const MAX_SEGMENTS: usize = 10_000;

impl Metabase {
    /// The newest committed object of a key with the wrapped keys of its segments, in order. The
    /// bucket that it is to go to must exist.
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
        let object = found.ok_or_else(object_missing)?;
        let keys = segment_keys(&mut tx, &object.stream_id).await?;
        Ok((object, keys))
    }

    /// Makes a copy that shares the pieces of its source; returns it.
    pub(crate) async fn copy_object(
        &self,
        transfer: &Transfer<'_>,
        stream_id: [u8; 16],
    ) -> Result<Object> {
        self.write(|| async {
            let mut tx = self.begin().await?;
            let mut object = source(&mut tx, transfer).await?;
            let place = (transfer.project, transfer.bucket, transfer.key);
            let version = objects::next_version(&mut tx, place).await?;
            for key in &transfer.segment_keys {
                copy_segment(&mut tx, (&object.stream_id, &stream_id), key).await?;
            }
            objects::make_room(&mut tx, &replace(transfer, None)).await?;
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

    /// Gives an object another name.
    pub(crate) async fn move_object(&self, transfer: &Transfer<'_>) -> Result<()> {
        self.write(|| async {
            let mut tx = self.begin().await?;
            let mut object = source(&mut tx, transfer).await?;
            let place = (transfer.project, transfer.bucket, transfer.key);
            let version = objects::next_version(&mut tx, place).await?;
            objects::make_room(&mut tx, &replace(transfer, Some(&transfer.source))).await?;
            for key in &transfer.segment_keys {
                rewrap_segment(&mut tx, &transfer.source, key).await?;
            }
            object.version = version;
            rename(&mut object, transfer);
            sqlx::query(
                "UPDATE objects SET bucket = $2, object_key = $3, version = $4,
                     encrypted_metadata = $5, metadata_nonce = $6, metadata_key = $7,
                     encrypted_etag = $8
                 WHERE stream_id = $1",
            )
            .bind(&object.stream_id[..])
            .bind(&object.bucket)
            .bind(&object.key)
            .bind(object.version)
            .bind(&object.metadata.data)
            .bind(&object.metadata.nonce)
            .bind(&object.metadata.key)
            .bind(&object.metadata.etag)
            .execute(&mut *tx)
            .await?;
            Ok(tx.commit().await?)
        })
        .await
    }
}

/// The object to copy or move, if it is still there and the given keys are those of its segments.
async fn source(tx: &mut Connection, transfer: &Transfer<'_>) -> Result<Object> {
    let found = objects::by_stream(tx, transfer.project, &transfer.source).await?;
    let object = found.filter(|object| {
        matches!(object.status, Status::CommittedUnversioned | Status::CommittedVersioned)
            && object.expires.is_none_or(|time| time > transfer.now)
    });
    let object = object.ok_or_else(object_missing)?;
    if buckets::find(tx, transfer.project, transfer.bucket).await?.is_none() {
        return Err(buckets::missing(transfer.bucket));
    }
    let held = segment_keys(tx, &transfer.source).await?;
    let (have, need) = (transfer.segment_keys.len(), held.len());
    if have != need {
        let reason = format!("{have} keys were given for {need} segments");
        return Err(MetabaseError::Invalid { reason });
    }
    let given: HashMap<i64, &SegmentKey> =
        transfer.segment_keys.iter().map(|key| (packed(key.position), key)).collect();
    if !held.iter().all(|key| given.contains_key(&packed(key.position))) {
        let reason = "keys were given for other positions than those of the segments".to_owned();
        return Err(MetabaseError::Invalid { reason });
    }
    let wrapped = match &transfer.metadata {
        NewMetadata::Rewrapped { key, .. } => key.is_some(),
        NewMetadata::Replaced(_) => true,
    };
    if object.metadata.key.is_some() && !wrapped {
        let reason = "the object has metadata, but no key for it was given".to_owned();
        return Err(MetabaseError::Invalid { reason });
    }
    Ok(object)
}

/// What a transfer does to an object that has the name already.
fn replace<'a>(transfer: &'a Transfer<'_>, except: Option<&'a [u8; 16]>) -> Replace<'a> {
    Replace {
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
