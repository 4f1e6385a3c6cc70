//! Calls that copy, move and update objects. Each change is two calls: the satellite offers the keys of
//! the object, and receives them back, encrypted for their new location.
//!
//! The second call of a copy or move is sent once. After a lost or invalid reply the caller queries
//! the object at the new location, which the new nonce of its metadata key identifies.

use bytes::Bytes;
use uplink_core::encryption::metadata::SealedMetadata;
use uplink_core::encryption::{Key, Nonce};
use uplink_core::id::SegmentPosition;
use uplink_rpc::r#gen::metainfo;

use super::Satellite;
use super::batch::WrappedKey;
use super::call::Call;
use super::convert::copy::{OfferedKeys, offered_keys};
use super::convert::object::ObjectRecord;
use super::convert::position;
use super::convert::segment::ObjectKeys;
use crate::error::{Error, Result};
use crate::location::Location;

/// An object, and the satellite's offer to copy or move it. Its keys are checked once the object's
/// encryption parameters are known.
#[derive(Debug)]
pub(crate) struct CopyOffer {
    pub(crate) object: ObjectRecord,
    pub(crate) stream_id: Bytes,
    /// Nonce of the wrapped metadata key; empty without metadata.
    metadata_key_nonce: Bytes,
    segment_keys: Vec<metainfo::EncryptedKeyAndNonce>,
}

/// Completes a copy or move.
#[derive(Debug)]
pub(crate) struct FinishCopy<'a> {
    pub(crate) stream_id: Bytes,
    pub(crate) to: &'a Location,
    pub(crate) segment_keys: Vec<(SegmentPosition, WrappedKey)>,
    /// `None` for an object without metadata.
    pub(crate) metadata: Option<NewMetadata>,
    /// Fails if there is an object under the new key. Copies only.
    pub(crate) if_absent: bool,
}

/// The metadata of a copied object.
#[derive(Debug)]
pub(crate) enum NewMetadata {
    /// That of the source, whose key is wrapped for the new location.
    Kept(WrappedKey),
    Replaced(SealedMetadata),
}

impl NewMetadata {
    /// Returns the nonce that identifies the copy.
    pub(crate) fn nonce(&self) -> &Nonce {
        match self {
            Self::Kept(key) => &key.nonce,
            Self::Replaced(sealed) => &sealed.metadata_key_nonce,
        }
    }

    fn key(&self) -> &[u8; Key::WRAPPED_SIZE] {
        match self {
            Self::Kept(key) => &key.wrapped,
            Self::Replaced(sealed) => &sealed.encrypted_metadata_key,
        }
    }
}

impl CopyOffer {
    /// Returns whether the offer and the object name the same metadata key. Satellites may leave it out.
    pub(crate) fn is_of_one_state(&self) -> bool {
        self.metadata_key_nonce.is_empty()
            || self.object.metadata_nonce_is(&self.metadata_key_nonce)
    }

    /// Decrypts the keys of the segments.
    pub(crate) fn keys(&self, keys: &ObjectKeys<'_>) -> Result<OfferedKeys> {
        offered_keys(&self.segment_keys, keys)
    }
}

impl Satellite {
    /// Requests an object and the keys to copy it with.
    pub(crate) async fn begin_copy(&self, from: &Location, to: &Location) -> Result<CopyOffer> {
        let request = metainfo::BeginCopyObjectRequest {
            header: self.header(),
            bucket: from.bucket_bytes(),
            encrypted_object_key: from.key_bytes(),
            new_bucket: to.bucket_bytes(),
            new_encrypted_object_key: to.key_bytes(),
            ..Default::default()
        };
        let begin = self.call(Call::BeginCopy, |mut client| {
            let request = request.clone();
            async move { client.begin_copy_object(request).await }
        });
        let (object, reply) = self.object_and(from, begin).await?;
        Ok(CopyOffer {
            object,
            stream_id: reply.stream_id,
            metadata_key_nonce: reply.encrypted_metadata_key_nonce,
            segment_keys: reply.segment_keys,
        })
    }

    /// Requests an object and the keys to move it with.
    pub(crate) async fn begin_move(&self, from: &Location, to: &Location) -> Result<CopyOffer> {
        let request = metainfo::BeginMoveObjectRequest {
            header: self.header(),
            bucket: from.bucket_bytes(),
            encrypted_object_key: from.key_bytes(),
            new_bucket: to.bucket_bytes(),
            new_encrypted_object_key: to.key_bytes(),
        };
        let begin = self.call(Call::BeginMove, |mut client| {
            let request = request.clone();
            async move { client.begin_move_object(request).await }
        });
        let (object, reply) = self.object_and(from, begin).await?;
        Ok(CopyOffer {
            object,
            stream_id: reply.stream_id,
            metadata_key_nonce: reply.encrypted_metadata_key_nonce,
            segment_keys: reply.segment_keys,
        })
    }

    /// Copies the object of an offer.
    pub(crate) async fn finish_copy(&self, finish: FinishCopy<'_>) -> Result<ObjectRecord> {
        let segment_keys = wire_keys(finish.segment_keys)?;
        let mut request = metainfo::FinishCopyObjectRequest {
            header: self.header(),
            stream_id: finish.stream_id,
            new_bucket: finish.to.bucket_bytes(),
            new_encrypted_object_key: finish.to.key_bytes(),
            new_segment_keys: segment_keys,
            if_none_match: if finish.if_absent { vec!["*".to_owned()] } else { Vec::new() },
            ..Default::default()
        };
        if let Some(metadata) = finish.metadata {
            let nonce = metadata.nonce().as_bytes();
            request.new_encrypted_metadata_key_nonce = Bytes::copy_from_slice(nonce);
            request.new_encrypted_metadata_key = Bytes::copy_from_slice(metadata.key());
            if let NewMetadata::Replaced(sealed) = metadata {
                request.override_metadata = true;
                request.new_encrypted_metadata = sealed.encrypted_metadata.into();
                request.new_encrypted_etag = sealed.encrypted_etag.into();
            }
        }
        let reply = self
            .call(Call::FinishCopy, |mut client| {
                let request = request.clone();
                async move { client.finish_copy_object(request).await }
            })
            .await?;
        let object = reply.object.ok_or_else(|| Error::protocol("the reply contains no object"))?;
        Ok(object.into())
    }

    /// Moves the object of an offer.
    pub(crate) async fn finish_move(&self, finish: FinishCopy<'_>) -> Result<()> {
        let mut request = metainfo::FinishMoveObjectRequest {
            header: self.header(),
            stream_id: finish.stream_id,
            new_bucket: finish.to.bucket_bytes(),
            new_encrypted_object_key: finish.to.key_bytes(),
            new_segment_keys: wire_keys(finish.segment_keys)?,
            ..Default::default()
        };
        if let Some(metadata) = finish.metadata {
            let nonce = metadata.nonce().as_bytes();
            request.new_encrypted_metadata_key_nonce = Bytes::copy_from_slice(nonce);
            request.new_encrypted_metadata_key = Bytes::copy_from_slice(metadata.key());
        }
        self.call(Call::FinishMove, |mut client| {
            let request = request.clone();
            async move { client.finish_move_object(request).await }
        })
        .await?;
        Ok(())
    }

    /// Replaces the metadata of the version of an object with this stream id.
    pub(crate) async fn update_metadata(
        &self,
        location: &Location,
        stream_id: Bytes,
        metadata: &SealedMetadata,
    ) -> Result<()> {
        let nonce = metadata.metadata_key_nonce.as_bytes();
        let request = metainfo::UpdateObjectMetadataRequest {
            header: self.header(),
            bucket: location.bucket_bytes(),
            encrypted_object_key: location.key_bytes(),
            stream_id,
            encrypted_metadata_nonce: Bytes::copy_from_slice(nonce),
            encrypted_metadata: metadata.encrypted_metadata.clone().into(),
            encrypted_metadata_encrypted_key: Bytes::copy_from_slice(
                &metadata.encrypted_metadata_key,
            ),
            // An ETag is encrypted with the metadata key, which changes.
            set_encrypted_etag: true,
            encrypted_etag: metadata.encrypted_etag.clone().into(),
            includes: Some(metainfo::ObjectMetadataIncludes {
                custom: true,
                etag: true,
                checksum: false,
            }),
            ..Default::default()
        };
        self.call(Call::UpdateMetadata, |mut client| {
            let request = request.clone();
            async move { client.update_object_metadata(request).await }
        })
        .await?;
        Ok(())
    }

    /// Requests an object and sends another call about it. Satellites of the public network do not batch
    /// the two. The object comes first: if it is replaced in between, it differs from the one after.
    async fn object_and<T>(
        &self,
        location: &Location,
        call: impl Future<Output = Result<T>>,
    ) -> Result<(ObjectRecord, T)> {
        let object = self.object(&location.bucket, location.encrypted_key.clone()).await?;
        Ok((object, call.await?))
    }
}

fn wire_keys(
    keys: Vec<(SegmentPosition, WrappedKey)>,
) -> Result<Vec<metainfo::EncryptedKeyAndNonce>> {
    let wire = |(at, key): (SegmentPosition, WrappedKey)| {
        Ok(metainfo::EncryptedKeyAndNonce {
            position: Some(position(at)?),
            encrypted_key_nonce: Bytes::copy_from_slice(key.nonce.as_bytes()),
            encrypted_key: Bytes::copy_from_slice(&key.wrapped),
        })
    };
    keys.into_iter().map(wire).collect()
}
