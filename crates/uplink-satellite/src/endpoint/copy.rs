//! Copying and moving objects, each in two calls: the client fetches the wrapped keys, wraps them
//! for the new name and brings them back.

use uplink_core::macaroon::Operation;
use uplink_rpc::r#gen::metainfo as messages;
use uplink_rpc::r#gen::metainfo::EncryptedKeyAndNonce;

use super::objects::{LockSettings, precondition, stream_id};
use super::{Answer, State, check, convert};
use crate::auth::Caller;
use crate::failure::database;
use crate::metabase::{NewMetadata, Object, Precondition, SegmentKey, Stored, Transfer};
use crate::token::StreamId;

impl State {
    pub(super) async fn begin_copy_object(
        &self,
        caller: &Caller,
        request: messages::BeginCopyObjectRequest,
    ) -> Answer<messages::BeginCopyObjectResponse> {
        let from = Place { bucket: &request.bucket, key: &request.encrypted_object_key };
        let to = Place { bucket: &request.new_bucket, key: &request.new_encrypted_object_key };
        from.check_bucket()?;
        to.check_bucket()?;
        let version = check::version(&request.object_version)?;
        from.require(caller, Operation::Read)?;
        to.require(caller, Operation::Write)?;
        let (object, keys) = self.transferable(caller, (from, version), to).await?;
        Ok(messages::BeginCopyObjectResponse {
            stream_id: self.tokens.stream_id(&caller.project.id, &StreamId::of(&object)),
            encryption_parameters: Some(convert::encryption(object.encryption)),
            encrypted_metadata_key_nonce: object.metadata.nonce.unwrap_or_default().into(),
            encrypted_metadata_key: object.metadata.key.unwrap_or_default().into(),
            segment_keys: keys.into_iter().map(wire_key).collect(),
            ..messages::BeginCopyObjectResponse::default()
        })
    }

    pub(super) async fn finish_copy_object(
        &self,
        caller: &Caller,
        request: messages::FinishCopyObjectRequest,
    ) -> Answer<messages::FinishCopyObjectResponse> {
        let to = Place { bucket: &request.new_bucket, key: &request.new_encrypted_object_key };
        to.check_bucket()?;
        let source = self.tokens.open_stream_id(&caller.project.id, &request.stream_id)?;
        Place::of(&source).require(caller, Operation::Read)?;
        to.require(caller, Operation::Write)?;
        check::key(to.key)?;
        check::no_checksum(request.new_checksum_algorithm, &request.new_encrypted_checksum)?;
        let lock = LockSettings::new(request.retention.as_ref(), request.legal_hold);
        self.check_lock(caller, lock, (to.bucket, to.key), source.expires.is_some()).await?;
        let wrapped = (
            &request.new_encrypted_metadata_key[..],
            &request.new_encrypted_metadata_key_nonce[..],
        );
        let metadata = if request.override_metadata {
            let metadata = check::metadata(
                &request.new_encrypted_metadata,
                wrapped.0,
                wrapped.1,
                &request.new_encrypted_etag,
            )?;
            NewMetadata::Replaced(metadata.unwrap_or_default())
        } else {
            rewrapped(wrapped)?
        };
        self.take_room(caller, &source.stream()).await?;
        let may_replace = caller.may(Operation::Delete, to.bucket, to.key);
        let transfer = Transfer {
            project: &caller.project.id,
            source: source.stream(),
            bucket: to.bucket,
            key: to.key,
            metadata,
            segment_keys: stored_keys(&request.new_segment_keys)?,
            precondition: precondition(&request.if_none_match, may_replace)?,
            now: caller.now,
        };
        let copied = self.metabase.copy_object(&transfer, stream_id()).await;
        let object = self.object(caller, copied.map_err(database)?);
        Ok(messages::FinishCopyObjectResponse { object: Some(object) })
    }

    /// Counts what a copy will store, or refuses it when the project has no room for that. That its source is gone is noticed later.
    async fn take_room(&self, caller: &Caller, source: &[u8; 16]) -> Answer<()> {
        if !self.usage.limits_storage() {
            return Ok(());
        }
        let project = &caller.project.id;
        let found = self.metabase.object_of_stream(project, source).await.map_err(database)?;
        let Some(object) = found else { return Ok(()) };
        let more = Stored { bytes: object.encrypted_size, segments: object.segment_count };
        self.usage.store(project, (more, more), caller.now).await
    }

    pub(super) async fn begin_move_object(
        &self,
        caller: &Caller,
        request: messages::BeginMoveObjectRequest,
    ) -> Answer<messages::BeginMoveObjectResponse> {
        let from = Place { bucket: &request.bucket, key: &request.encrypted_object_key };
        let to = Place { bucket: &request.new_bucket, key: &request.new_encrypted_object_key };
        from.check_bucket()?;
        to.check_bucket()?;
        from.require(caller, Operation::Read)?;
        from.require(caller, Operation::Delete)?;
        to.require(caller, Operation::Write)?;
        let (object, keys) = self.transferable(caller, (from, None), to).await?;
        Ok(messages::BeginMoveObjectResponse {
            stream_id: self.tokens.stream_id(&caller.project.id, &StreamId::of(&object)),
            encryption_parameters: Some(convert::encryption(object.encryption)),
            encrypted_metadata_key_nonce: object.metadata.nonce.unwrap_or_default().into(),
            encrypted_metadata_key: object.metadata.key.unwrap_or_default().into(),
            segment_keys: keys.into_iter().map(wire_key).collect(),
        })
    }

    pub(super) async fn finish_move_object(
        &self,
        caller: &Caller,
        request: messages::FinishMoveObjectRequest,
    ) -> Answer<messages::FinishMoveObjectResponse> {
        let to = Place { bucket: &request.new_bucket, key: &request.new_encrypted_object_key };
        to.check_bucket()?;
        let source = self.tokens.open_stream_id(&caller.project.id, &request.stream_id)?;
        let from = Place::of(&source);
        from.require(caller, Operation::Read)?;
        from.require(caller, Operation::Delete)?;
        to.require(caller, Operation::Write)?;
        check::key(to.key)?;
        let lock = LockSettings::new(request.retention.as_ref(), request.legal_hold);
        self.check_lock(caller, lock, (to.bucket, to.key), source.expires.is_some()).await?;
        let may_replace = caller.may(Operation::Delete, to.bucket, to.key);
        let transfer = Transfer {
            project: &caller.project.id,
            source: source.stream(),
            bucket: to.bucket,
            key: to.key,
            metadata: rewrapped((
                &request.new_encrypted_metadata_key,
                &request.new_encrypted_metadata_key_nonce,
            ))?,
            segment_keys: stored_keys(&request.new_segment_keys)?,
            precondition: if may_replace {
                Precondition::None
            } else {
                Precondition::MayNotReplace
            },
            now: caller.now,
        };
        self.metabase.move_object(&transfer).await.map_err(database)?;
        Ok(messages::FinishMoveObjectResponse {})
    }

    async fn transferable(
        &self,
        caller: &Caller,
        (from, version): (Place<'_>, Option<[u8; 16]>),
        to: Place<'_>,
    ) -> Answer<(Object, Vec<SegmentKey>)> {
        check::key(from.key)?;
        check::key(to.key)?;
        let place = (&caller.project.id, from.bucket, from.key);
        let found = self.metabase.transferable(place, version, to.bucket, caller.now).await;
        found.map_err(database)
    }
}

/// A bucket and an object key in it.
#[derive(Clone, Copy)]
struct Place<'a> {
    bucket: &'a [u8],
    key: &'a [u8],
}

impl<'a> Place<'a> {
    fn of(stream: &'a StreamId) -> Self {
        Self { bucket: &stream.bucket, key: &stream.key }
    }

    fn check_bucket(self) -> Answer<()> {
        check::bucket(self.bucket)
    }

    fn require(self, caller: &Caller, operation: Operation) -> Answer<()> {
        caller.require(operation, self.bucket, self.key)
    }
}

fn wire_key(key: SegmentKey) -> EncryptedKeyAndNonce {
    EncryptedKeyAndNonce {
        position: Some(convert::position(key.position)),
        encrypted_key_nonce: key.nonce.into(),
        encrypted_key: key.key.into(),
    }
}

fn stored_keys(keys: &[EncryptedKeyAndNonce]) -> Answer<Vec<SegmentKey>> {
    let stored = |key: &EncryptedKeyAndNonce| {
        check::segment_key(&key.encrypted_key, &key.encrypted_key_nonce)?;
        Ok(SegmentKey {
            position: check::position(key.position.as_ref())?,
            nonce: key.encrypted_key_nonce.to_vec(),
            key: key.encrypted_key.to_vec(),
        })
    };
    keys.iter().map(stored).collect()
}

/// The wrapped key of metadata that stays as it is.
fn rewrapped((key, nonce): (&[u8], &[u8])) -> Answer<NewMetadata> {
    let wrapped = check::metadata_key(key, nonce)?;
    let (key, nonce) = wrapped.map_or((None, None), |(key, nonce)| (Some(key), Some(nonce)));
    Ok(NewMetadata::Rewrapped { nonce, key })
}
