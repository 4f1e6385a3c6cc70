//! Deletion of many objects.

use futures_util::{StreamExt, stream};

use super::key::ObjectKey;
use crate::bucket::bucket_missing;
use crate::error::{Error, ErrorKind, Result};
use crate::location::{Location, check_bucket};
use crate::project::Project;
use crate::satellite::delete_many::MAX_KEYS;
use crate::session::Session;

/// Concurrent calls where objects are deleted or queried one by one.
const CONCURRENT: usize = 16;

/// The outcome of deleting one of many objects.
#[derive(Debug)]
#[non_exhaustive]
pub struct Deletion {
    /// The key of the object.
    pub key: ObjectKey,
    /// Whether an object was deleted, or why not; see [`Project::delete_object`].
    pub outcome: Result<bool>,
}

impl Project {
    /// Deletes objects of one bucket, a thousand per call. Returns the outcome for each key, in the order
    /// of `keys`.
    ///
    /// One failed deletion does not end the others. Where the satellite does not have the call, or the
    /// access grant does not permit reading, which it requires, the objects are deleted one by one.
    /// Dropping the future leaves it open which of them were deleted.
    ///
    /// # Errors
    /// [`ErrorKind::BucketNameInvalid`] for an empty name. Everything else is an outcome of the keys
    /// concerned.
    pub async fn delete_objects<K: AsRef<[u8]>>(
        &self,
        bucket: &str,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Deletion>> {
        check_bucket(bucket)?;
        let session = self.session();
        let keys: Vec<ObjectKey> = keys.into_iter().map(|key| key.as_ref().into()).collect();
        let mut deletions = Vec::with_capacity(keys.len());
        for keys in keys.chunks(MAX_KEYS) {
            let located = keys.iter().map(|key| session.locate(bucket, key)).collect();
            let outcomes = delete(session, bucket, located).await;
            let keys = keys.iter().cloned();
            let pairs = keys.zip(outcomes).map(|(key, outcome)| Deletion { key, outcome });
            deletions.extend(pairs);
        }
        Ok(deletions)
    }
}

/// Deletes what could be located, and returns the outcome for each location.
async fn delete(
    session: &Session,
    bucket: &str,
    located: Vec<Result<Location>>,
) -> Vec<Result<bool>> {
    let encrypted =
        |location: &Result<Location>| Some(location.as_ref().ok()?.encrypted_key.clone());
    let keys: Vec<Vec<u8>> = located.iter().filter_map(encrypted).collect();
    if keys.is_empty() {
        return located.into_iter().map(|location| location.map(|_| false)).collect();
    }
    let deleted = session.satellite().delete_objects(bucket, keys).await;
    let each = stream::iter(located);
    match deleted {
        Ok(deletions) => {
            let outcome = |location: Result<Location>| deletions.outcome(&location?.encrypted_key);
            each.map(outcome).collect().await
        }
        Err(error) if must_be_single(&error) => {
            each.map(|location| async {
                let key = location?.encrypted_key;
                let deleted = session.satellite().delete_object(bucket, key).await;
                deleted.map_err(|error| bucket_missing(error, bucket))
            })
            .buffered(CONCURRENT)
            .collect()
            .await
        }
        Err(error) => {
            let is_unknown = error.may_have_taken_effect();
            let error = bucket_missing(error, bucket);
            each.map(|location| async {
                let key = location?.encrypted_key;
                match is_unknown {
                    true => resolve(session, bucket, key, &error).await,
                    false => Err(again(&error)),
                }
            })
            .buffered(CONCURRENT)
            .collect()
            .await
        }
    }
}

/// Returns whether the satellite deletes only one object per call.
fn must_be_single(error: &Error) -> bool {
    let is_unknown = error.is_unknown_call();
    is_unknown || error.kind() == ErrorKind::PermissionDenied
}

/// Queries an object after a lost reply: an absent one counts as deleted.
async fn resolve(session: &Session, bucket: &str, key: Vec<u8>, lost: &Error) -> Result<bool> {
    match session.satellite().is_deleted(bucket, key).await {
        Ok(true) => Ok(true),
        _ => {
            let text = "deletion of an object may or may not have taken effect";
            Err(Error::new(ErrorKind::OutcomeUnknown, text).with_source(again(lost)))
        }
    }
}

/// The error of one call is that of each of its objects.
fn again(error: &Error) -> Error {
    Error::new(error.kind(), error.to_string())
}
