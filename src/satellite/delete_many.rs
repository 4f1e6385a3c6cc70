//! The call that deletes many objects.

use std::collections::HashMap;

use bytes::Bytes;
use uplink_rpc::r#gen::metainfo;
use uplink_rpc::r#gen::metainfo::delete_objects_response_item::Status;

use super::Satellite;
use super::call::Call;
use crate::error::{Error, ErrorKind, Result};

/// Maximum keys of one call.
pub(crate) const MAX_KEYS: usize = 1000;

/// The outcomes of one call, by encrypted key.
#[derive(Debug)]
pub(crate) struct Deletions(HashMap<Bytes, Status>);

impl Deletions {
    /// Returns whether the object under a key was deleted.
    pub(crate) fn outcome(&self, encrypted_key: &[u8]) -> Result<bool> {
        let status = self.0.get(encrypted_key);
        let status = status.ok_or_else(|| Error::protocol("the reply names not all objects"))?;
        match status {
            Status::Ok => Ok(true),
            Status::NotFound => Ok(false),
            Status::Unauthorized => {
                let text = "permission denied: the access grant does not permit the deletion";
                Err(Error::new(ErrorKind::PermissionDenied, text))
            }
            Status::Locked => {
                let text = "permission denied: the object is locked";
                Err(Error::new(ErrorKind::PermissionDenied, text))
            }
            Status::InternalError => {
                Err(Error::protocol("the satellite failed to delete the object"))
            }
        }
    }
}

impl Satellite {
    /// Deletes the newest versions of at most [`MAX_KEYS`] objects. After a lost reply the caller queries
    /// them.
    pub(crate) async fn delete_objects(
        &self,
        bucket: &str,
        encrypted_keys: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<Deletions> {
        let item = |key: Vec<u8>| metainfo::DeleteObjectsRequestItem {
            encrypted_object_key: key.into(),
            object_version: Bytes::new(),
        };
        let request = metainfo::DeleteObjectsRequest {
            bucket: Bytes::copy_from_slice(bucket.as_bytes()),
            items: encrypted_keys.into_iter().map(item).collect(),
            header: self.header(),
            ..Default::default()
        };
        let reply = self
            .call(Call::DeleteObjects, |mut client| {
                let request = request.clone();
                async move { client.delete_objects(request).await }
            })
            .await?;
        if reply.items.len() > MAX_KEYS {
            return Err(Error::protocol("the reply names more objects than requested"));
        }
        let outcomes = reply.items.into_iter().map(|item| {
            let status = item.status();
            (item.encrypted_object_key, status)
        });
        Ok(Deletions(outcomes.collect()))
    }

    /// Returns whether an object is absent, after a deletion whose reply was lost.
    pub(crate) async fn is_deleted(&self, bucket: &str, encrypted_key: Vec<u8>) -> Result<bool> {
        match self.object_within(super::outcome::QUERY_RETRIES, bucket, encrypted_key).await {
            Ok(_) => Ok(false),
            Err(error) if error.kind() == ErrorKind::ObjectNotFound => Ok(true),
            Err(error) => Err(error),
        }
    }
}
