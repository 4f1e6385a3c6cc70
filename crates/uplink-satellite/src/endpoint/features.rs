//! Calls for features that this satellite does not support. Buckets keep one version of each object
//! and have no object lock, location, tags or notifications.
//!
//! A missing permission and a missing bucket are reported first.

use uplink_core::macaroon::Operation;
use uplink_rpc::r#gen::metainfo as messages;
use uplink_rpc::status::{Code, Failure};

use super::{State, check};
use crate::auth::Caller;
use crate::failure::{RpcResult, database};

/// Clients match this text.
const NO_LOCK: &str = "Object Lock is not enabled for this bucket";

/// Versioning state of a bucket without versions.
const UNVERSIONED: i32 = 1;

impl State {
    pub(super) async fn get_bucket_location(
        &self,
        caller: &Caller,
        request: messages::GetBucketLocationRequest,
    ) -> RpcResult<messages::GetBucketLocationResponse> {
        self.require_bucket(caller, Operation::Read, (&request.name, b"")).await?;
        Ok(messages::GetBucketLocationResponse::default())
    }

    pub(super) async fn get_bucket_versioning(
        &self,
        caller: &Caller,
        request: messages::GetBucketVersioningRequest,
    ) -> RpcResult<messages::GetBucketVersioningResponse> {
        self.require_bucket(caller, Operation::Read, (&request.name, b"")).await?;
        Ok(messages::GetBucketVersioningResponse { versioning: UNVERSIONED })
    }

    pub(super) async fn set_bucket_versioning(
        &self,
        caller: &Caller,
        request: messages::SetBucketVersioningRequest,
    ) -> RpcResult<messages::SetBucketVersioningResponse> {
        self.require_bucket(caller, Operation::Write, (&request.name, b"")).await?;
        let text = "versioning is not supported";
        Err(Failure::new(Code::FAILED_PRECONDITION, text))
    }

    pub(super) async fn get_bucket_tagging(
        &self,
        caller: &Caller,
        request: messages::GetBucketTaggingRequest,
    ) -> RpcResult<messages::GetBucketTaggingResponse> {
        caller.require(Operation::Read, &request.name, b"")?;
        Err(unimplemented())
    }

    pub(super) async fn set_bucket_tagging(
        &self,
        caller: &Caller,
        request: messages::SetBucketTaggingRequest,
    ) -> RpcResult<messages::SetBucketTaggingResponse> {
        caller.require(Operation::Write, &request.name, b"")?;
        Err(unimplemented())
    }

    pub(super) async fn get_bucket_object_lock_configuration(
        &self,
        caller: &Caller,
        request: messages::GetBucketObjectLockConfigurationRequest,
    ) -> RpcResult<messages::GetBucketObjectLockConfigurationResponse> {
        let operation = Operation::GetBucketObjectLockConfiguration;
        self.require_bucket(caller, operation, (&request.name, b"")).await?;
        Err(no_lock())
    }

    pub(super) async fn set_bucket_object_lock_configuration(
        &self,
        caller: &Caller,
        request: messages::SetBucketObjectLockConfigurationRequest,
    ) -> RpcResult<messages::SetBucketObjectLockConfigurationResponse> {
        let operation = Operation::PutBucketObjectLockConfiguration;
        self.require_bucket(caller, operation, (&request.name, b"")).await?;
        let text = "Object Lock requires a bucket with versioning";
        Err(Failure::new(Code::OBJECT_LOCK_INVALID_BUCKET_STATE, text))
    }

    /// Returns an empty configuration.
    pub(super) async fn get_bucket_notification_configuration(
        &self,
        caller: &Caller,
        request: messages::GetBucketNotificationConfigurationRequest,
    ) -> RpcResult<messages::GetBucketNotificationConfigurationResponse> {
        let operation = Operation::GetBucketNotificationConfiguration;
        self.require_bucket(caller, operation, (&request.name, b"")).await?;
        Ok(messages::GetBucketNotificationConfigurationResponse::default())
    }

    /// Accepts only the removal of a configuration.
    pub(super) async fn set_bucket_notification_configuration(
        &self,
        caller: &Caller,
        request: messages::SetBucketNotificationConfigurationRequest,
    ) -> RpcResult<messages::SetBucketNotificationConfigurationResponse> {
        let operation = Operation::PutBucketNotificationConfiguration;
        self.require_bucket(caller, operation, (&request.name, b"")).await?;
        match request.configuration {
            None => Ok(messages::SetBucketNotificationConfigurationResponse::default()),
            Some(_) => Err(unimplemented()),
        }
    }

    pub(super) async fn get_object_retention(
        &self,
        caller: &Caller,
        request: messages::GetObjectRetentionRequest,
    ) -> RpcResult<messages::GetObjectRetentionResponse> {
        let location = (&request.bucket[..], &request.encrypted_object_key[..]);
        check::version(&request.object_version)?;
        self.require_bucket(caller, Operation::GetRetention, location).await?;
        Err(no_lock())
    }

    pub(super) async fn set_object_retention(
        &self,
        caller: &Caller,
        request: messages::SetObjectRetentionRequest,
    ) -> RpcResult<messages::SetObjectRetentionResponse> {
        let location = (&request.bucket[..], &request.encrypted_object_key[..]);
        check::version(&request.object_version)?;
        self.require_bucket(caller, Operation::PutRetention, location).await?;
        Err(no_lock())
    }

    pub(super) async fn get_object_legal_hold(
        &self,
        caller: &Caller,
        request: messages::GetObjectLegalHoldRequest,
    ) -> RpcResult<messages::GetObjectLegalHoldResponse> {
        let location = (&request.bucket[..], &request.encrypted_object_key[..]);
        check::version(&request.object_version)?;
        self.require_bucket(caller, Operation::GetLegalHold, location).await?;
        Err(no_lock())
    }

    pub(super) async fn set_object_legal_hold(
        &self,
        caller: &Caller,
        request: messages::SetObjectLegalHoldRequest,
    ) -> RpcResult<messages::SetObjectLegalHoldResponse> {
        let location = (&request.bucket[..], &request.encrypted_object_key[..]);
        check::version(&request.object_version)?;
        self.require_bucket(caller, Operation::PutLegalHold, location).await?;
        Err(no_lock())
    }

    /// Returns no licenses.
    pub(super) async fn account_licenses(
        &self,
        caller: &Caller,
        _: messages::AccountLicensesRequest,
    ) -> RpcResult<messages::AccountLicensesResponse> {
        caller.require(Operation::ProjectInfo, b"", b"")?;
        Ok(messages::AccountLicensesResponse::default())
    }

    /// Unsupported: the begin call already deletes the object.
    pub(super) async fn finish_delete_object(
        &self,
        _: &Caller,
        _: messages::FinishDeleteObjectRequest,
    ) -> RpcResult<messages::FinishDeleteObjectResponse> {
        Err(unimplemented())
    }

    pub(super) async fn begin_delete_segment(
        &self,
        _: &Caller,
        _: messages::BeginDeleteSegmentRequest,
    ) -> RpcResult<messages::BeginDeleteSegmentResponse> {
        Err(unimplemented())
    }

    pub(super) async fn finish_delete_segment(
        &self,
        _: &Caller,
        _: messages::FinishDeleteSegmentRequest,
    ) -> RpcResult<messages::FinishDeleteSegmentResponse> {
        Err(unimplemented())
    }

    /// Rejects the call unless the caller has the permission and the bucket exists.
    async fn require_bucket(
        &self,
        caller: &Caller,
        operation: Operation,
        (bucket, key): (&[u8], &[u8]),
    ) -> RpcResult<()> {
        check::bucket(bucket)?;
        caller.require(operation, bucket, key)?;
        self.metabase.bucket(&caller.project.id, bucket).await.map_err(database)?;
        Ok(())
    }
}

pub(super) fn no_lock() -> Failure {
    Failure::new(Code::OBJECT_LOCK_BUCKET_CONFIGURATION_MISSING, NO_LOCK)
}

fn unimplemented() -> Failure {
    Failure::new(Code::UNIMPLEMENTED, "Unimplemented")
}
