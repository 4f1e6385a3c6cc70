//! Calls for single objects: begin, commit, get, delete.

use uplink_core::macaroon::Operation;
use uplink_rpc::r#gen::metainfo as messages;
use uplink_rpc::status::{Code, Failure};

use super::features::no_lock;
use super::{State, check, convert};
use crate::auth::Caller;
use crate::failure::{RpcResult, database, invalid};
use crate::metabase::{Commit, NewObject, Object, Precondition, Snapshot};
use crate::random;
use crate::time::Time;
use crate::token::StreamId;

/// Status in a delete request that aborts an upload.
const UPLOADING: i32 = 1;

impl State {
    /// Begins a multipart upload.
    pub(super) async fn begin_object(
        &self,
        caller: &Caller,
        request: messages::BeginObjectRequest,
    ) -> RpcResult<messages::BeginObjectResponse> {
        self.begin(caller, request, true).await
    }

    pub(super) async fn begin(
        &self,
        caller: &Caller,
        request: messages::BeginObjectRequest,
        multipart: bool,
    ) -> RpcResult<messages::BeginObjectResponse> {
        let bucket = &request.bucket;
        let key = &request.encrypted_object_key;
        check::bucket(bucket)?;
        caller.require(Operation::Write, bucket, key)?;
        let expires = expiry(caller, &request)?;
        check::key(key)?;
        let encryption = check::encryption(request.encryption_parameters.as_ref())?;
        check::no_checksum(request.checksum_algorithm, &request.encrypted_checksum)?;
        let metadata = check::metadata(
            &request.encrypted_metadata,
            &request.encrypted_metadata_encrypted_key,
            &request.encrypted_metadata_nonce,
            &request.encrypted_etag,
        )?;
        let lock = LockSettings::new(request.retention.as_ref(), request.legal_hold);
        self.check_lock(caller, lock, (bucket, key), expires.is_some()).await?;
        self.rates.upload((&caller.project.id, bucket, key), caller.now)?;

        let new = NewObject {
            project: &caller.project.id,
            bucket,
            key,
            stream_id: stream_id(),
            multipart,
            created: caller.now,
            expires,
            drop_pending_at: caller.now.plus(self.config.pending_lifetime),
            encryption,
            metadata: metadata.unwrap_or_default(),
        };
        self.metabase.begin_object(&new).await.map_err(database)?;

        let fields = StreamId {
            bucket: bucket.to_vec(),
            key: key.to_vec(),
            created: new.created.0,
            expires: expires.map(|time| time.0),
            stream: new.stream_id.to_vec(),
            multipart,
            encryption,
            metadata_nonce: None,
        };
        Ok(messages::BeginObjectResponse {
            stream_id: self.tokens.stream_id(&caller.project.id, &fields),
            redundancy_scheme: Some(convert::redundancy(&self.config.scheme)),
            bucket: request.bucket,
            encrypted_object_key: request.encrypted_object_key,
            ..messages::BeginObjectResponse::default()
        })
    }

    pub(super) async fn commit_object(
        &self,
        caller: &Caller,
        request: messages::CommitObjectRequest,
    ) -> RpcResult<messages::CommitObjectResponse> {
        let stream = self.tokens.open_stream_id(&caller.project.id, &request.stream_id)?;
        caller.require(Operation::Write, &stream.bucket, &stream.key)?;
        check::no_checksum(request.checksum_algorithm, &request.encrypted_checksum)?;
        let metadata = check::metadata(
            &request.encrypted_metadata,
            &request.encrypted_metadata_encrypted_key,
            &request.encrypted_metadata_nonce,
            &request.encrypted_etag,
        )?;
        let commit = Commit {
            project: &caller.project.id,
            stream_id: stream.stream(),
            metadata: metadata.filter(|_| !request.skip_override_encrypted_metadata),
            precondition: precondition(
                &request.if_none_match,
                caller.may(Operation::Delete, &stream.bucket, &stream.key),
            )?,
            min_part_size: i64::try_from(self.config.min_part_size).unwrap_or(i64::MAX),
            now: caller.now,
        };
        let object = self.metabase.commit_object(&commit).await.map_err(database)?;
        Ok(messages::CommitObjectResponse { object: Some(self.object(caller, object)) })
    }

    pub(super) async fn get_object(
        &self,
        caller: &Caller,
        request: messages::GetObjectRequest,
    ) -> RpcResult<messages::GetObjectResponse> {
        let location = (&request.bucket[..], &request.encrypted_object_key[..]);
        let (_, object) = self.visible_object(caller, location, &request.object_version).await?;
        Ok(messages::GetObjectResponse { object: Some(self.object(caller, object)) })
    }

    /// Returns a committed object that the caller may list or read, the newest if `version` is empty,
    /// and the snapshot it was read from.
    pub(super) async fn visible_object(
        &self,
        caller: &Caller,
        (bucket, key): (&[u8], &[u8]),
        version: &[u8],
    ) -> RpcResult<(Snapshot, Object)> {
        check::bucket(bucket)?;
        let version = check::version(version)?;
        if !caller.may(Operation::List, bucket, key) {
            caller.require(Operation::Read, bucket, key)?;
        }
        check::key(key)?;
        let mut snapshot = self.metabase.snapshot().await.map_err(database)?;
        let location = (&caller.project.id, bucket, key);
        let object = snapshot.object(location, version, caller.now).await.map_err(database)?;
        Ok((snapshot, object))
    }

    pub(super) async fn begin_delete_object(
        &self,
        caller: &Caller,
        request: messages::BeginDeleteObjectRequest,
    ) -> RpcResult<messages::BeginDeleteObjectResponse> {
        let bucket = &request.bucket;
        let key = &request.encrypted_object_key;
        check::bucket(bucket)?;
        let version = check::version(&request.object_version)?;
        caller.require(Operation::Delete, bucket, key)?;
        if request.bypass_governance_retention {
            caller.require(Operation::BypassGovernanceRetention, bucket, key)?;
        }
        check::key(key)?;
        let may_see =
            caller.may(Operation::Read, bucket, key) || caller.may(Operation::List, bucket, key);
        let id = &caller.project.id;
        let deleted = if request.status == UPLOADING {
            self.abort(caller, &request).await.map(Some)
        } else {
            self.metabase
                .delete_object(id, bucket, key, version, caller.now)
                .await
                .map_err(database)
        };
        match deleted {
            // A caller who may neither read nor list must not learn what existed.
            Ok(_) if !may_see => Ok(messages::BeginDeleteObjectResponse::default()),
            Err(failure) if !may_see && failure.code == Code::NOT_FOUND => {
                Ok(messages::BeginDeleteObjectResponse::default())
            }
            Ok(object) => Ok(messages::BeginDeleteObjectResponse {
                object: object.map(|object| self.object(caller, object)),
                ..messages::BeginDeleteObjectResponse::default()
            }),
            Err(failure) => Err(failure),
        }
    }

    /// Aborts an upload. Permission was checked for the request's bucket and key, so the upload must
    /// belong to them.
    async fn abort(
        &self,
        caller: &Caller,
        request: &messages::BeginDeleteObjectRequest,
    ) -> RpcResult<Object> {
        let id = &caller.project.id;
        let location = (&request.bucket[..], &request.encrypted_object_key[..]);
        let stream = self.own_stream(caller, &request.stream_id, location)?;
        self.metabase.abort_object(id, &stream.stream()).await.map_err(database)
    }

    /// Converts an object to the fields that this caller may see.
    pub(super) fn object(&self, caller: &Caller, object: Object) -> messages::Object {
        let stream_id = self.tokens.stream_id(&caller.project.id, &StreamId::of(&object));
        let may_see_hold = caller.may(Operation::GetLegalHold, &object.bucket, &object.key);
        messages::Object {
            legal_hold: may_see_hold.then_some(false),
            ..convert::object(object, stream_id)
        }
    }

    /// Rejects lock settings: no bucket has object lock enabled.
    pub(super) async fn check_lock(
        &self,
        caller: &Caller,
        lock: LockSettings,
        (bucket, key): (&[u8], &[u8]),
        expires: bool,
    ) -> RpcResult<()> {
        if lock.retention {
            caller.require(Operation::PutRetention, bucket, key)?;
        }
        if lock.legal_hold {
            caller.require(Operation::PutLegalHold, bucket, key)?;
        }
        if !lock.retention && !lock.legal_hold {
            return Ok(());
        }
        if expires {
            return Err(invalid("Object Lock settings must not be used with an expiration time"));
        }
        self.metabase.bucket(&caller.project.id, bucket).await.map_err(database)?;
        Err(no_lock())
    }
}

/// Object lock settings of a request.
#[derive(Clone, Copy)]
pub(super) struct LockSettings {
    retention: bool,
    legal_hold: bool,
}

impl LockSettings {
    pub(super) fn new(retention: Option<&messages::Retention>, legal_hold: bool) -> Self {
        Self { retention: retention.is_some_and(|retention| retention.mode != 0), legal_hold }
    }
}

/// Returns the requested expiration of a new object, limited by the API key.
fn expiry(caller: &Caller, request: &messages::BeginObjectRequest) -> RpcResult<Option<Time>> {
    let requested = Time::from_wire(request.expires_at.as_ref());
    if requested.is_some_and(|time| time <= caller.now) {
        return Err(invalid("invalid expiration time, cannot be in the past"));
    }
    let Some(lifetime) = caller.max_object_lifetime()? else { return Ok(requested) };
    if lifetime <= 0 {
        return Err(invalid("the API key does not allow new objects"));
    }
    let latest = Time(caller.now.0.saturating_add(lifetime));
    match requested {
        Some(time) if time > latest => {
            Err(invalid("invalid expiration time, later than the API key allows"))
        }
        requested => Ok(Some(requested.unwrap_or(latest))),
    }
}

/// Returns the precondition of a request on an existing object with the same key.
pub(super) fn precondition(if_none_match: &[String], may_replace: bool) -> RpcResult<Precondition> {
    match if_none_match {
        [] if may_replace => Ok(Precondition::None),
        [] => Ok(Precondition::MayNotReplace),
        [any] if any == "*" => Ok(Precondition::MustNotExist),
        _ => Err(Failure::new(
            Code::UNIMPLEMENTED,
            "IfNoneMatch only supports a single value of '*'",
        )),
    }
}

/// Returns a random id in the form of a version 4 UUID.
pub(super) fn stream_id() -> [u8; 16] {
    let random = u128::from_be_bytes(random::bytes());
    let version = random & !(0xf << 76) | 4 << 76;
    (version & !(0b11 << 62) | 0b10 << 62).to_be_bytes()
}
