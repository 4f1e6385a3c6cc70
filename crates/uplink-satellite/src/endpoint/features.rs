//! Calls about features that this satellite does not offer, answered as a satellite without them
//! does: buckets keep one version of each object and lock nothing, have no location, tags or
//! notifications.
//!
//! Whoever lacks the right to ask, or asks about a bucket that does not exist, hears that first.

use uplink_core::macaroon::Operation;
use uplink_rpc::r#gen::metainfo as messages;
use uplink_rpc::status::{Code, Failure};

use super::{Answer, State, check};
use crate::auth::Caller;
use crate::failure::database;

/// Clients look for this text.
const NO_LOCK: &str = "Object Lock is not enabled for this bucket";

/// What a bucket without versions is in.
const UNVERSIONED: i32 = 1;

impl State {
    pub(super) async fn get_bucket_location(
        &self,
        caller: &Caller,
        request: messages::GetBucketLocationRequest,
    ) -> Answer<messages::GetBucketLocationResponse> {
        self.asked(caller, Operation::Read, (&request.name, b"")).await?;
        Ok(messages::GetBucketLocationResponse::default())
    }

    pub(super) async fn get_bucket_versioning(
        &self,
        caller: &Caller,
        request: messages::GetBucketVersioningRequest,
    ) -> Answer<messages::GetBucketVersioningResponse> {
        self.asked(caller, Operation::Read, (&request.name, b"")).await?;
        Ok(messages::GetBucketVersioningResponse { versioning: UNVERSIONED })
    }

    pub(super) async fn set_bucket_versioning(
        &self,
        caller: &Caller,
        request: messages::SetBucketVersioningRequest,
    ) -> Answer<messages::SetBucketVersioningResponse> {
        self.asked(caller, Operation::Write, (&request.name, b"")).await?;
        let text = "buckets of this satellite keep one version of each object";
        Err(Failure::new(Code::FAILED_PRECONDITION, text))
    }

    pub(super) async fn get_bucket_tagging(
        &self,
        caller: &Caller,
        request: messages::GetBucketTaggingRequest,
    ) -> Answer<messages::GetBucketTaggingResponse> {
        caller.require(Operation::Read, &request.name, b"")?;
        Err(unimplemented())
    }

    pub(super) async fn set_bucket_tagging(
        &self,
        caller: &Caller,
        request: messages::SetBucketTaggingRequest,
    ) -> Answer<messages::SetBucketTaggingResponse> {
        caller.require(Operation::Write, &request.name, b"")?;
        Err(unimplemented())
    }

    pub(super) async fn get_bucket_object_lock_configuration(
        &self,
        caller: &Caller,
        request: messages::GetBucketObjectLockConfigurationRequest,
    ) -> Answer<messages::GetBucketObjectLockConfigurationResponse> {
        let operation = Operation::GetBucketObjectLockConfiguration;
        self.asked(caller, operation, (&request.name, b"")).await?;
        Err(no_lock())
    }

    pub(super) async fn set_bucket_object_lock_configuration(
        &self,
        caller: &Caller,
        request: messages::SetBucketObjectLockConfigurationRequest,
    ) -> Answer<messages::SetBucketObjectLockConfigurationResponse> {
        let operation = Operation::PutBucketObjectLockConfiguration;
        self.asked(caller, operation, (&request.name, b"")).await?;
        let text = "Object Lock needs a bucket that keeps versions";
        Err(Failure::new(Code::OBJECT_LOCK_INVALID_BUCKET_STATE, text))
    }

    /// A bucket without notifications: an empty configuration.
    pub(super) async fn get_bucket_notification_configuration(
        &self,
        caller: &Caller,
        request: messages::GetBucketNotificationConfigurationRequest,
    ) -> Answer<messages::GetBucketNotificationConfigurationResponse> {
        let operation = Operation::GetBucketNotificationConfiguration;
        self.asked(caller, operation, (&request.name, b"")).await?;
        Ok(messages::GetBucketNotificationConfigurationResponse::default())
    }

    /// Removing what is not there succeeds.
    pub(super) async fn set_bucket_notification_configuration(
        &self,
        caller: &Caller,
        request: messages::SetBucketNotificationConfigurationRequest,
    ) -> Answer<messages::SetBucketNotificationConfigurationResponse> {
        let operation = Operation::PutBucketNotificationConfiguration;
        self.asked(caller, operation, (&request.name, b"")).await?;
        match request.configuration {
            None => Ok(messages::SetBucketNotificationConfigurationResponse::default()),
            Some(_) => Err(unimplemented()),
        }
    }

    pub(super) async fn get_object_retention(
        &self,
        caller: &Caller,
        request: messages::GetObjectRetentionRequest,
    ) -> Answer<messages::GetObjectRetentionResponse> {
        let place = (&request.bucket[..], &request.encrypted_object_key[..]);
        check::version(&request.object_version)?;
        self.asked(caller, Operation::GetRetention, place).await?;
        Err(no_lock())
    }

    pub(super) async fn set_object_retention(
        &self,
        caller: &Caller,
        request: messages::SetObjectRetentionRequest,
    ) -> Answer<messages::SetObjectRetentionResponse> {
        let place = (&request.bucket[..], &request.encrypted_object_key[..]);
        check::version(&request.object_version)?;
        self.asked(caller, Operation::PutRetention, place).await?;
        Err(no_lock())
    }

    pub(super) async fn get_object_legal_hold(
        &self,
        caller: &Caller,
        request: messages::GetObjectLegalHoldRequest,
    ) -> Answer<messages::GetObjectLegalHoldResponse> {
        let place = (&request.bucket[..], &request.encrypted_object_key[..]);
        check::version(&request.object_version)?;
        self.asked(caller, Operation::GetLegalHold, place).await?;
        Err(no_lock())
    }

    pub(super) async fn set_object_legal_hold(
        &self,
        caller: &Caller,
        request: messages::SetObjectLegalHoldRequest,
    ) -> Answer<messages::SetObjectLegalHoldResponse> {
        let place = (&request.bucket[..], &request.encrypted_object_key[..]);
        check::version(&request.object_version)?;
        self.asked(caller, Operation::PutLegalHold, place).await?;
        Err(no_lock())
    }

    /// Projects have no licences.
    pub(super) async fn account_licenses(
        &self,
        caller: &Caller,
        _: messages::AccountLicensesRequest,
    ) -> Answer<messages::AccountLicensesResponse> {
        caller.require(Operation::ProjectInfo, b"", b"")?;
        Ok(messages::AccountLicensesResponse::default())
    }

    /// The second half of a deletion, which has been whole since its first half.
    pub(super) async fn finish_delete_object(
        &self,
        _: &Caller,
        _: messages::FinishDeleteObjectRequest,
    ) -> Answer<messages::FinishDeleteObjectResponse> {
        Err(unimplemented())
    }

    pub(super) async fn begin_delete_segment(
        &self,
        _: &Caller,
        _: messages::BeginDeleteSegmentRequest,
    ) -> Answer<messages::BeginDeleteSegmentResponse> {
        Err(unimplemented())
    }

    pub(super) async fn finish_delete_segment(
        &self,
        _: &Caller,
        _: messages::FinishDeleteSegmentRequest,
    ) -> Answer<messages::FinishDeleteSegmentResponse> {
        Err(unimplemented())
    }

    /// Insists that the caller may ask and that there is something to ask about.
    async fn asked(
        &self,
        caller: &Caller,
        operation: Operation,
        (bucket, key): (&[u8], &[u8]),
    ) -> Answer<()> {
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
