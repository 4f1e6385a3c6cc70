//! Deletion of an object.

use crate::bucket::bucket_missing;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::project::Project;

impl Project {
    /// Deletes an object; deleting one that does not exist succeeds.
    ///
    /// Returns whether an object was deleted; satellites report it only if the access grant permits
    /// reading or listing.
    ///
    /// The deletion is sent once. When its reply is lost, the object is queried: if it is absent, the
    /// deletion succeeded and this returns `true`. If it exists, it was not deleted, or
    /// another client has stored it since; the deletion is not retried, and the error is
    /// [`ErrorKind::OutcomeUnknown`]. A deletion that the satellite received and has not yet executed
    /// may still take effect.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`], [`ErrorKind::BucketNotFound`],
    /// [`ErrorKind::OutcomeUnknown`], or [`ErrorKind::Network`]: the deletion was not sent.
    pub async fn delete_object(&self, bucket: &str, key: impl AsRef<[u8]>) -> Result<bool> {
        let location = self.session().locate(bucket, key.as_ref())?;
        let deleted = self.session().satellite().delete_object(bucket, location.encrypted_key);
        deleted.await.map_err(|error| bucket_missing(error, bucket))
    }
}
