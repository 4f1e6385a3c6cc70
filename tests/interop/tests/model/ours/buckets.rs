//! Operations on buckets.

use futures_util::TryStreamExt;
use uplink::ListBucketsOptions;

use super::super::operation::Operation;
use super::super::outcome::Outcome;
use super::{Call, Result};

impl Call<'_> {
    pub(super) async fn bucket(&self, operation: &Operation) -> Result {
        match *operation {
            Operation::CreateBucket { bucket } => {
                self.project.create_bucket(bucket).await.map(|_| Outcome::Done)
            }
            Operation::DeleteBucket { bucket, with_objects: false } => {
                self.project.delete_bucket(bucket).await.map(|()| Outcome::Done)
            }
            Operation::DeleteBucket { bucket, with_objects: true } => {
                self.project.delete_bucket_with_objects(bucket).await.map(|()| Outcome::Done)
            }
            Operation::EnsureBucket { bucket } => {
                self.project.ensure_bucket(bucket).await.map(|_| Outcome::Done)
            }
            Operation::ListBuckets { cursor } => self.buckets_after(cursor).await,
            Operation::StatBucket { bucket } => {
                self.project.stat_bucket(bucket).await.map(|_| Outcome::Done)
            }
            ref other => panic!("{other:?} does not concern buckets"),
        }
    }

    async fn buckets_after(&self, cursor: &str) -> Result {
        let options = ListBucketsOptions::new().cursor(cursor);
        let list = self.project.list_buckets_with(&options);
        let names = list.map_ok(|bucket| bucket.name).try_collect().await?;
        Ok(Outcome::Buckets(names))
    }
}
