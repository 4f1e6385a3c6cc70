//! Updating metadata of committed objects, and deleting many objects at once.

use super::rows::{self, Metadata, Object, bind_metadata};
use super::{Metabase, MetabaseError, Result, buckets, objects};
use crate::time::Time;

/// New metadata of a committed object.
#[derive(Debug)]
pub(crate) struct MetadataUpdate<'a> {
    pub(crate) project: &'a [u8; 16],
    /// Bucket and key of the object: its metadata is encrypted for them.
    pub(crate) location: (&'a [u8], &'a [u8]),
    pub(crate) stream_id: [u8; 16],
    pub(crate) metadata: Metadata,
    /// The parts of the metadata that the update contains.
    pub(crate) parts: MetadataParts,
    pub(crate) now: Time,
}

/// Parts of an object's metadata. All are encrypted under one key, which an update changes, so an
/// update must contain every part that the object has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MetadataParts {
    pub(crate) custom: bool,
    pub(crate) etag: bool,
}

impl Metabase {
    /// Replaces the metadata of a committed object. One that was moved since counts as missing.
    pub(crate) async fn update_metadata(&self, update: &MetadataUpdate<'_>) -> Result<()> {
        self.write(|| async {
            let mut tx = self.begin().await?;
            let found =
                rows::committed_by_stream(&mut tx, update.project, &update.stream_id, update.now);
            let object = found.await?;
            if (&object.bucket[..], &object.key[..]) != update.location {
                return Err(rows::object_missing());
            }
            let lacks_custom = object.metadata.data.is_some() && !update.parts.custom;
            let lacks_etag = object.metadata.etag.is_some() && !update.parts.etag;
            if lacks_custom || lacks_etag {
                return Err(MetabaseError::Incomplete);
            }
            let query = sqlx::query(
                "UPDATE objects SET encrypted_metadata = $2, metadata_nonce = $3,
                     metadata_key = $4, encrypted_etag = $5
                 WHERE stream_id = $1",
            )
            .bind(&update.stream_id[..]);
            bind_metadata(query, &update.metadata).execute(&mut *tx).await?;
            Ok(tx.commit().await?)
        })
        .await
    }

    /// Deletes committed objects of a bucket atomically. The bucket must exist. Returns the deleted
    /// object for each key and version.
    pub(crate) async fn delete_objects(
        &self,
        (project, bucket): (&[u8; 16], &[u8]),
        names: &[(&[u8], Option<[u8; 16]>)],
        now: Time,
    ) -> Result<Vec<Option<Object>>> {
        self.write(|| async {
            let mut tx = self.begin().await?;
            if buckets::find(&mut tx, project, bucket).await?.is_none() {
                return Err(buckets::missing(bucket));
            }
            let mut deleted = Vec::with_capacity(names.len());
            for (key, version) in names {
                let found =
                    objects::committed(&mut tx, project, bucket, key, *version, now).await?;
                if let Some(object) = &found {
                    rows::delete_stream(&mut tx, &object.stream_id).await?;
                }
                deleted.push(found);
            }
            tx.commit().await?;
            Ok(deleted)
        })
        .await
    }
}
