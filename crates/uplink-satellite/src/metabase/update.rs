//! Changing what is kept with committed objects, and deleting many of them.

use super::objects::{self, Metadata, Object, Status, object_missing};
use super::{Metabase, MetabaseError, Result, buckets};
use crate::time::Time;

/// New metadata of a committed object.
#[derive(Debug)]
pub(crate) struct MetadataUpdate<'a> {
    pub(crate) project: &'a [u8; 16],
    pub(crate) stream_id: [u8; 16],
    pub(crate) metadata: Metadata,
    /// Which parts of the metadata the update is about.
    pub(crate) includes: Includes,
    pub(crate) now: Time,
}

/// Parts of an object's metadata. All are sealed with one key, which an update changes, so that it
/// must bring every part that the object has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Includes {
    pub(crate) custom: bool,
    pub(crate) etag: bool,
}

impl Metabase {
    /// Replaces the metadata of a committed object.
    pub(crate) async fn update_metadata(&self, update: &MetadataUpdate<'_>) -> Result<()> {
        self.write(|| async {
            let mut tx = self.begin().await?;
            let found = objects::by_stream(&mut tx, update.project, &update.stream_id).await?;
            let object = found.filter(|object| {
                matches!(object.status, Status::CommittedUnversioned | Status::CommittedVersioned)
                    && object.expires.is_none_or(|time| time > update.now)
            });
            let object = object.ok_or_else(object_missing)?;
            let lacks_custom = object.metadata.data.is_some() && !update.includes.custom;
            let lacks_etag = object.metadata.etag.is_some() && !update.includes.etag;
            if lacks_custom || lacks_etag {
                return Err(MetabaseError::Incomplete);
            }
            sqlx::query(
                "UPDATE objects SET encrypted_metadata = $2, metadata_nonce = $3,
                     metadata_key = $4, encrypted_etag = $5
                 WHERE stream_id = $1",
            )
            .bind(&update.stream_id[..])
            .bind(&update.metadata.data)
            .bind(&update.metadata.nonce)
            .bind(&update.metadata.key)
            .bind(&update.metadata.etag)
            .execute(&mut *tx)
            .await?;
            Ok(tx.commit().await?)
        })
        .await
    }

    /// Deletes committed objects of a bucket, which must exist, in one step; for each key and version
    /// the object that was there.
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
                    objects::delete_stream(&mut tx, &object.stream_id).await?;
                }
                deleted.push(found);
            }
            tx.commit().await?;
            Ok(deleted)
        })
        .await
    }
}
