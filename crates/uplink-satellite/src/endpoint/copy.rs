//! Copying and moving objects, each in two calls: the client fetches the wrapped keys, wraps them
//! for the new bucket and key, and sends them back.

use bytes::Bytes;
use uplink_core::macaroon::Operation;
use uplink_rpc::r#gen::encryption::EncryptionParameters;
use uplink_rpc::r#gen::metainfo as messages;
use uplink_rpc::r#gen::metainfo::EncryptedKeyAndNonce;

use super::objects::{LockSettings, precondition, stream_id};
use super::{State, check, convert};
use crate::auth::Caller;
use crate::failure::{RpcResult, database};
use crate::metabase::{NewMetadata, Precondition, SegmentKey, Stored, Transfer};
use crate::token::StreamId;

impl State {
    pub(super) async fn begin_copy_object(
        &self,
        caller: &Caller,
        request: messages::BeginCopyObjectRequest,
    ) -> RpcResult<messages::BeginCopyObjectResponse> {
        let from = Location { bucket: &request.bucket, key: &request.encrypted_object_key };
        let to = Location { bucket: &request.new_bucket, key: &request.new_encrypted_object_key };
        from.check_bucket()?;
        to.check_bucket()?;
        let version = check::version(&request.object_version)?;
        from.require(caller, Operation::Read)?;
        to.require(caller, Operation::Write)?;
        let keys = self.wrapped_keys(caller, (from, version), to).await?;
        Ok(messages::BeginCopyObjectResponse {
            stream_id: keys.stream_id,
            encryption_parameters: Some(keys.encryption_parameters),
            encrypted_metadata_key_nonce: keys.metadata_key_nonce,
            encrypted_metadata_key: keys.metadata_key,
            segment_keys: keys.segment_keys,
            ..messages::BeginCopyObjectResponse::default()
        })
    }

    pub(super) async fn finish_copy_object(
        &self,
        caller: &Caller,
        request: messages::FinishCopyObjectRequest,
    ) -> RpcResult<messages::FinishCopyObjectResponse> {
        let to = Location { bucket: &request.new_bucket, key: &request.new_encrypted_object_key };
        to.check_bucket()?;
        let source = self.tokens.open_stream_id(&caller.project.id, &request.stream_id)?;
        Location::of(&source).require(caller, Operation::Read)?;
        to.require(caller, Operation::Write)?;
        check::key(to.key)?;
        check::no_checksum(request.new_checksum_algorithm, &request.new_encrypted_checksum)?;
        let lock = LockSettings::new(request.retention.as_ref(), request.legal_hold);
        self.check_lock(caller, lock, (to.bucket, to.key), source.expires.is_some()).await?;

        let metadata_key = &request.new_encrypted_metadata_key;
        let nonce = &request.new_encrypted_metadata_key_nonce;
        let metadata = if request.override_metadata {
            let metadata = check::metadata(
                &request.new_encrypted_metadata,
                metadata_key,
                nonce,
                &request.new_encrypted_etag,
            )?;
            NewMetadata::Replaced(metadata.unwrap_or_default())
        } else {
            rewrapped(metadata_key, nonce)?
        };

        self.reserve_storage(caller, &source.stream()).await?;
        let may_replace = caller.may(Operation::Delete, to.bucket, to.key);
        let transfer = Transfer {
            project: &caller.project.id,
            source: source.stream(),
            metadata_nonce: source.metadata_nonce.as_deref(),
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

    /// Counts the storage of a copy, or rejects it if that exceeds the project's limits. A missing
    /// source is detected later.
    async fn reserve_storage(&self, caller: &Caller, source: &[u8; 16]) -> RpcResult<()> {
        if !self.usage.limits_storage() {
            return Ok(());
        }
        let project = &caller.project.id;
        let found = self.metabase.object_of_stream(project, source).await.map_err(database)?;
        let Some(object) = found else { return Ok(()) };
        let added = Stored { bytes: object.encrypted_size, segments: object.segment_count };
        self.usage.store(project, (added, added), caller.now).await
    }

    pub(super) async fn begin_move_object(
        &self,
        caller: &Caller,
        request: messages::BeginMoveObjectRequest,
    ) -> RpcResult<messages::BeginMoveObjectResponse> {
        let from = Location { bucket: &request.bucket, key: &request.encrypted_object_key };
        let to = Location { bucket: &request.new_bucket, key: &request.new_encrypted_object_key };
        from.check_bucket()?;
        to.check_bucket()?;
        from.require(caller, Operation::Read)?;
        from.require(caller, Operation::Delete)?;
        to.require(caller, Operation::Write)?;
        let keys = self.wrapped_keys(caller, (from, None), to).await?;
        Ok(messages::BeginMoveObjectResponse {
            stream_id: keys.stream_id,
            encryption_parameters: Some(keys.encryption_parameters),
            encrypted_metadata_key_nonce: keys.metadata_key_nonce,
            encrypted_metadata_key: keys.metadata_key,
            segment_keys: keys.segment_keys,
        })
    }

    pub(super) async fn finish_move_object(
        &self,
        caller: &Caller,
        request: messages::FinishMoveObjectRequest,
    ) -> RpcResult<messages::FinishMoveObjectResponse> {
        let to = Location { bucket: &request.new_bucket, key: &request.new_encrypted_object_key };
        to.check_bucket()?;
        let source = self.tokens.open_stream_id(&caller.project.id, &request.stream_id)?;
        let from = Location::of(&source);
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
            metadata_nonce: source.metadata_nonce.as_deref(),
            bucket: to.bucket,
            key: to.key,
            metadata: rewrapped(
                &request.new_encrypted_metadata_key,
                &request.new_encrypted_metadata_key_nonce,
            )?,
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

    /// Returns the stream id and the wrapped keys of an object to copy or move.
    async fn wrapped_keys(
        &self,
        caller: &Caller,
        (from, version): (Location<'_>, Option<[u8; 16]>),
        to: Location<'_>,
    ) -> RpcResult<WrappedKeys> {
        check::key(from.key)?;
        check::key(to.key)?;
        let location = (&caller.project.id, from.bucket, from.key);
        let found = self.metabase.transferable(location, version, to.bucket, caller.now).await;
        let (object, keys) = found.map_err(database)?;

        Ok(WrappedKeys {
            stream_id: self.tokens.stream_id(&caller.project.id, &StreamId::of_transfer(&object)),
            encryption_parameters: convert::encryption(object.encryption),
            metadata_key_nonce: object.metadata.nonce.unwrap_or_default().into(),
            metadata_key: object.metadata.key.unwrap_or_default().into(),
            segment_keys: keys.into_iter().map(wire_key).collect(),
        })
    }
}

/// Fields shared by the responses that begin a copy and a move.
struct WrappedKeys {
    stream_id: Bytes,
    encryption_parameters: EncryptionParameters,
    metadata_key_nonce: Bytes,
    metadata_key: Bytes,
    segment_keys: Vec<EncryptedKeyAndNonce>,
}

/// A bucket and an object key in it.
#[derive(Clone, Copy)]
struct Location<'a> {
    bucket: &'a [u8],
    key: &'a [u8],
}

impl<'a> Location<'a> {
    fn of(stream: &'a StreamId) -> Self {
        Self { bucket: &stream.bucket, key: &stream.key }
    }

    fn check_bucket(self) -> RpcResult<()> {
        check::bucket(self.bucket)
    }

    fn require(self, caller: &Caller, operation: Operation) -> RpcResult<()> {
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

fn stored_keys(keys: &[EncryptedKeyAndNonce]) -> RpcResult<Vec<SegmentKey>> {
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

/// Returns the new wrapped key of unchanged metadata.
fn rewrapped(key: &[u8], nonce: &[u8]) -> RpcResult<NewMetadata> {
    let wrapped = check::metadata_key(key, nonce)?;
    let (key, nonce) = wrapped.map_or((None, None), |(key, nonce)| (Some(key), Some(nonce)));
    Ok(NewMetadata::Rewrapped { nonce, key })
}
