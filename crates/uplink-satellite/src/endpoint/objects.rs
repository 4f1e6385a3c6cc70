//! Calls about single objects: begin, commit, look at, delete.

use uplink_core::macaroon::Operation;
use uplink_rpc::r#gen::metainfo as messages;
use uplink_rpc::status::{Code, Failure};

use super::features::no_lock;
use super::{Answer, State, check, convert};
use crate::auth::Caller;
use crate::failure::{database, invalid};
use crate::metabase::{Commit, NewObject, Object, Precondition, Snapshot};
use crate::random;
use crate::time::Time;
use crate::token::StreamId;

/// The status with which a client asks for an upload to be given up.
const UPLOADING: i32 = 1;

impl State {
    /// Begins an upload of which parts may come in calls of their own.
    pub(super) async fn begin_object(
        &self,
        caller: &Caller,
        request: messages::BeginObjectRequest,
    ) -> Answer<messages::BeginObjectResponse> {
        self.begin(caller, request, true).await
    }

    pub(super) async fn begin(
        &self,
        caller: &Caller,
        request: messages::BeginObjectRequest,
        multipart: bool,
    ) -> Answer<messages::BeginObjectResponse> {
        let (bucket, key) = (&request.bucket, &request.encrypted_object_key);
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
            drop_pending: caller.now.plus(self.config.pending_lifetime),
            encryption,
            metadata: metadata.unwrap_or_default(),
        };
        self.metabase.begin_object(&new).await.map_err(database)?;
        let facts = StreamId {
            bucket: bucket.to_vec(),
            key: key.to_vec(),
            created: new.created.0,
            expires: expires.map(|time| time.0),
            stream: new.stream_id.to_vec(),
            multipart,
            encryption,
        };
        Ok(messages::BeginObjectResponse {
            stream_id: self.tokens.stream_id(&caller.project.id, &facts),
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
    ) -> Answer<messages::CommitObjectResponse> {
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
    ) -> Answer<messages::GetObjectResponse> {
        let place = (&request.bucket[..], &request.encrypted_object_key[..]);
        let (_, object) = self.visible_object(caller, place, &request.object_version).await?;
        Ok(messages::GetObjectResponse { object: Some(self.object(caller, object)) })
    }

    /// A committed object that the caller may list or read, the newest if `version` is empty, and the
    /// snapshot that shows it.
    pub(super) async fn visible_object(
        &self,
        caller: &Caller,
        (bucket, key): (&[u8], &[u8]),
        version: &[u8],
    ) -> Answer<(Snapshot, Object)> {
        check::bucket(bucket)?;
        let version = check::version(version)?;
        if !caller.may(Operation::List, bucket, key) {
            caller.require(Operation::Read, bucket, key)?;
        }
        check::key(key)?;
        let mut snapshot = self.metabase.snapshot().await.map_err(database)?;
        let place = (&caller.project.id, bucket, key);
        let object = snapshot.object(place, version, caller.now).await.map_err(database)?;
        Ok((snapshot, object))
    }

    pub(super) async fn begin_delete_object(
        &self,
        caller: &Caller,
        request: messages::BeginDeleteObjectRequest,
    ) -> Answer<messages::BeginDeleteObjectResponse> {
        let (bucket, key) = (&request.bucket, &request.encrypted_object_key);
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
            // Whoever may neither read nor list learns nothing of what there was.
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

    /// Gives up an upload. The right to do so was checked for the request's path, so the upload
    /// must be one of that path.
    async fn abort(
        &self,
        caller: &Caller,
        request: &messages::BeginDeleteObjectRequest,
    ) -> Answer<Object> {
        let id = &caller.project.id;
        let place = (&request.bucket[..], &request.encrypted_object_key[..]);
        let stream = self.own_stream(caller, &request.stream_id, place)?;
        self.metabase.abort_object(id, &stream.stream()).await.map_err(database)
    }

    /// An object as this caller may see it.
    pub(super) fn object(&self, caller: &Caller, object: Object) -> messages::Object {
        let stream_id = self.tokens.stream_id(&caller.project.id, &StreamId::of(&object));
        let may_see_hold = caller.may(Operation::GetLegalHold, &object.bucket, &object.key);
        messages::Object {
            legal_hold: may_see_hold.then_some(false),
            ..convert::object(object, stream_id)
        }
    }

    /// Refuses lock settings as a bucket without object lock does, which all buckets here are.
    pub(super) async fn check_lock(
        &self,
        caller: &Caller,
        lock: LockSettings,
        (bucket, key): (&[u8], &[u8]),
        expires: bool,
    ) -> Answer<()> {
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

/// Whether a request asks for an object to be locked, and how.
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

/// When a new object expires: as asked, at the latest as the key allows.
fn expiry(caller: &Caller, request: &messages::BeginObjectRequest) -> Answer<Option<Time>> {
    let asked = Time::from_wire(request.expires_at.as_ref());
    if asked.is_some_and(|time| time <= caller.now) {
        return Err(invalid("invalid expiration time, cannot be in the past"));
    }
    let Some(lifetime) = caller.max_object_lifetime()? else { return Ok(asked) };
    if lifetime <= 0 {
        return Err(invalid("the API key allows objects no lifetime"));
    }
    let latest = Time(caller.now.0.saturating_add(lifetime));
    match asked {
        Some(time) if time > latest => {
            Err(invalid("invalid expiration time, later than the API key allows"))
        }
        asked => Ok(Some(asked.unwrap_or(latest))),
    }
}

/// What a request demands of an object that has the name already.
pub(super) fn precondition(if_none_match: &[String], may_replace: bool) -> Answer<Precondition> {
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

/// A random id in the form of a version 4 UUID.
pub(super) fn stream_id() -> [u8; 16] {
    let random = u128::from_be_bytes(random::bytes());
    let version = random & !(0xf << 76) | 4 << 76;
    (version & !(0b11 << 62) | 0b10 << 62).to_be_bytes()
}
