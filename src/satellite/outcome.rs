//! Calls that may take effect twice: each is sent once, and its outcome is queried after a lost or
//! invalid reply.
//!
//! | call | query | took effect | did not | unknown |
//! |---|---|---|---|---|
//! | create bucket | the bucket | exists and is new | exists and is old, or absent | otherwise |
//! | delete bucket | the bucket | absent | – | exists |
//! | delete object | the object | absent | – | exists |
//! | abort upload | retried, by stream id | absent | – | – |
//!
//! What exists after a deletion may be what was to be deleted, or may have been written since by
//! another client. The deletion is not retried: a lost reply must not destroy what another client
//! stored after it.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use uplink_core::encryption::Nonce;
use uplink_rpc::r#gen::metainfo;
use uplink_rpc::runtime;
use uplink_rpc::status::Code;
use uplink_rpc::time::MAX_SKEW;

use super::call::{Call, Class};
use super::convert::bucket::{self, BucketRecord};
use super::convert::object::ObjectRecord;
use super::{RETRIES, Satellite};
use crate::error::{Error, ErrorKind, Result};
use crate::location::Location;

/// Maximum age of a bucket that counts as new: with clocks that differ by more, transfers fail.
const LATELY: Duration = MAX_SKEW;
/// Retries of a query for an outcome: about ten seconds, enough for a satellite to restart.
pub(super) const QUERY_RETRIES: u32 = 8;

impl Satellite {
    /// Creates a bucket.
    ///
    /// After a lost reply a bucket created within [`LATELY`] counts as created by this call: two clients
    /// that create it at the same time may then both succeed. An absent one is a network error.
    pub(crate) async fn create_bucket(&self, name: &str) -> Result<BucketRecord> {
        let sent = runtime::now();
        let lost = match self.send_create_bucket(name).await {
            Err(error) if error.may_have_taken_effect() => error,
            outcome => return outcome,
        };
        match self.bucket_within(QUERY_RETRIES, name).await {
            Ok(bucket) if is_new(&bucket, sent) => Ok(bucket),
            Ok(_) => Err(bucket_exists(name)),
            Err(error) if is_absent(&error) => Err(lost),
            Err(_) => Err(unknown("creation of a bucket", lost)),
        }
    }

    async fn send_create_bucket(&self, name: &str) -> Result<BucketRecord> {
        let request = metainfo::CreateBucketRequest {
            name: Bytes::copy_from_slice(name.as_bytes()),
            header: self.header(),
            ..Default::default()
        };
        let reply = self
            .call(Call::CreateBucket, |mut client| {
                let request = request.clone();
                async move { client.create_bucket(request).await }
            })
            .await?;
        bucket::named(reply.bucket, name)
    }

    /// Deletes a bucket. After a lost reply a bucket that is absent counts as deleted.
    pub(crate) async fn delete_bucket(&self, name: &str, with_objects: bool) -> Result<()> {
        let request = metainfo::DeleteBucketRequest {
            name: Bytes::copy_from_slice(name.as_bytes()),
            delete_all: with_objects,
            header: self.header(),
            ..Default::default()
        };
        let deleted = self.call(Call::DeleteBucket, |mut client| {
            let request = request.clone();
            async move { client.delete_bucket(request).await }
        });
        let lost = match deleted.await {
            Err(error) if error.may_have_taken_effect() => error,
            outcome => return outcome.map(drop),
        };
        match self.bucket_within(QUERY_RETRIES, name).await {
            Err(error) if is_absent(&error) => Ok(()),
            _ => Err(unknown("deletion of a bucket", lost)),
        }
    }

    /// Deletes the newest version of an object; returns whether the satellite deleted one. After a lost
    /// reply an absent object counts as deleted.
    pub(crate) async fn delete_object(&self, bucket: &str, key: Vec<u8>) -> Result<bool> {
        let request = metainfo::BeginDeleteObjectRequest {
            bucket: Bytes::copy_from_slice(bucket.as_bytes()),
            encrypted_object_key: key.clone().into(),
            header: self.header(),
            ..Default::default()
        };
        let lost = match self.begin_delete(Call::DeleteObject.class(), RETRIES, &request).await {
            Err(error) if error.may_have_taken_effect() => error,
            outcome => return Ok(outcome?.object.is_some()),
        };
        match self.object_within(QUERY_RETRIES, bucket, key).await {
            // A retry would give the same result.
            Err(error) if error.kind() == ErrorKind::BucketNotFound => Err(error),
            Err(error) if is_absent(&error) => Ok(true),
            _ => Err(unknown("deletion of an object", lost)),
        }
    }

    /// Queries whether a commit, copy, move or update whose reply was lost or invalid took effect: the
    /// object then has the random nonce of its metadata key.
    ///
    /// # Errors
    /// `cause` if it did not take effect, and `unknown(cause)` if that cannot be determined.
    pub(crate) async fn resolve_write(
        &self,
        location: &Location,
        nonce: &Nonce,
        cause: Error,
        unknown: fn(Error) -> Error,
    ) -> Result<ObjectRecord> {
        let is_lost = cause.is_unanswered();
        match self.object(&location.bucket, location.encrypted_key.clone()).await {
            Ok(record) if record.has_metadata_nonce(nonce) => Ok(record),
            Ok(_) if is_lost => Err(cause),
            Err(error) if error.kind() == ErrorKind::ObjectNotFound && is_lost => Err(cause),
            _ => Err(unknown(cause)),
        }
    }

    /// Aborts an upload whose object was begun. After a lost reply an absent one counts as aborted.
    pub(crate) async fn abort_object(
        &self,
        bucket: &str,
        key: Vec<u8>,
        stream_id: Bytes,
    ) -> Result<()> {
        let request = metainfo::BeginDeleteObjectRequest {
            bucket: Bytes::copy_from_slice(bucket.as_bytes()),
            encrypted_object_key: key.into(),
            status: metainfo::object::Status::Uploading.into(),
            stream_id,
            header: self.header(),
            ..Default::default()
        };
        // Without retries first: an upload that is unknown now was not aborted by this call.
        match self.begin_delete(Class::OnceOnly, RETRIES, &request).await {
            Err(error) if error.may_have_taken_effect() => {}
            outcome => return outcome.map(drop),
        }
        match self.begin_delete(Call::AbortObject.class(), QUERY_RETRIES, &request).await {
            Err(error) if is_absent(&error) => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    async fn begin_delete(
        &self,
        class: Class,
        retries: u32,
        request: &metainfo::BeginDeleteObjectRequest,
    ) -> Result<metainfo::BeginDeleteObjectResponse> {
        self.send_with_retries(class, retries, |mut client| {
            let request = request.clone();
            async move { client.begin_delete_object(request).await }
        })
        .await
        .map_err(|error| self.restrictions.explain_call(error, Call::DeleteObject))
    }
}

/// Returns whether a bucket may have been created by a call sent at `sent`.
fn is_new(bucket: &BucketRecord, sent: SystemTime) -> bool {
    bucket
        .created_at
        .is_none_or(|created| created.checked_add(LATELY).is_none_or(|until| until >= sent))
}

fn is_absent(error: &Error) -> bool {
    error.failure().is_some_and(|failure| failure.code == Code::NOT_FOUND)
}

pub(crate) fn bucket_exists(name: &str) -> Error {
    Error::new(ErrorKind::BucketAlreadyExists, format!("bucket {name:?} already exists"))
}

fn unknown(what: &str, lost: Error) -> Error {
    let text = format!("{what} may or may not have taken effect");
    Error::new(ErrorKind::OutcomeUnknown, text).with_source(lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_is_new_as_far_as_clocks_that_work_together_can_tell() {
        let sent = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let created = |at| BucketRecord { name: "bucket".to_owned(), created_at: Some(at) };
        assert!(is_new(&created(sent), sent));
        assert!(is_new(&created(sent - LATELY), sent));
        assert!(is_new(&created(sent + 2 * LATELY), sent));
        assert!(!is_new(&created(sent - LATELY - Duration::from_secs(1)), sent));
        let unknown = BucketRecord { created_at: None, ..created(sent) };
        assert!(is_new(&unknown, sent), "the satellite does not say");
    }
}
