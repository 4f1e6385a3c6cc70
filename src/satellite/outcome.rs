//! Calls that may take effect twice: sent once, and after a reply that is lost or makes no sense
//! their outcome is queried.
//!
//! | call | queried | took effect | did not | cannot be learned |
//! |---|---|---|---|---|
//! | create bucket | the bucket | it is there and new | it is there and old, or absent | otherwise |
//! | delete bucket | the bucket | it is absent | – | it is there |
//! | delete object | the object | it is absent | – | it is there |
//! | abort upload | sent again, by stream id | it is gone | – | – |
//!
//! Something that is still there after a deletion may be what was to be deleted, or have been
//! written since by another client. It is not deleted again: a lost reply must not cost what another
//! client stored after the deletion.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use uplink_rpc::r#gen::metainfo;
use uplink_rpc::status::Code;
use uplink_rpc::time::MAX_SKEW;

use super::call::{Call, Class};
use super::convert::bucket::{self, BucketRecord};
use super::{RETRIES, Satellite};
use crate::error::{Error, ErrorKind, Result};

/// Largest age of a bucket that counts as new: clocks that differ by more let no transfer work.
const LATELY: Duration = MAX_SKEW;
/// Attempts of a query for an outcome: about ten seconds, in which a satellite restarts.
const QUERY_RETRIES: u32 = 8;

impl Satellite {
    /// Creates a bucket.
    ///
    /// After a lost reply a bucket that was created lately counts as created by this call: of two
    /// clients that create it within [`LATELY`], both may be told so then. One that is absent is a
    /// network error.
    pub(crate) async fn create_bucket(&self, name: &str) -> Result<BucketRecord> {
        let sent = SystemTime::now();
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

    /// Deletes the newest version of an object; returns whether the satellite deleted something.
    /// After a lost reply an object that is absent counts as deleted.
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
            // Sent again, the call would say the same.
            Err(error) if error.kind() == ErrorKind::BucketNotFound => Err(error),
            Err(error) if is_absent(&error) => Ok(true),
            _ => Err(unknown("deletion of an object", lost)),
        }
    }

    /// Aborts an upload whose object was begun. One that is gone after a lost reply is aborted.
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
        // Once first: an upload that is unknown to the satellite now was not aborted by this call.
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
        self.send(class, retries, |mut client| {
            let request = request.clone();
            async move { client.begin_delete_object(request).await }
        })
        .await
    }
}

/// Whether a bucket may have been created by a call that was sent at `sent`.
fn is_new(bucket: &BucketRecord, sent: SystemTime) -> bool {
    bucket
        .created
        .is_none_or(|created| created.checked_add(LATELY).is_none_or(|until| until >= sent))
}

fn is_absent(error: &Error) -> bool {
    error.failure().is_some_and(|failure| failure.code == Code::NOT_FOUND)
}

pub(crate) fn bucket_exists(name: &str) -> Error {
    Error::new(ErrorKind::BucketAlreadyExists, format!("bucket {name:?} exists already"))
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
        let created = |at| BucketRecord { name: "bucket".to_owned(), created: Some(at) };
        assert!(is_new(&created(sent), sent));
        assert!(is_new(&created(sent - LATELY), sent));
        assert!(is_new(&created(sent + 2 * LATELY), sent));
        assert!(!is_new(&created(sent - LATELY - Duration::from_secs(1)), sent));
        let unknown = BucketRecord { created: None, ..created(sent) };
        assert!(is_new(&unknown, sent), "the satellite does not say");
    }
}
