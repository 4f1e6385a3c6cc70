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
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::batch_response_item::Response as Reply;

use super::batch::WrappedKey;
use super::convert::copy::{OfferedKeys, offered_keys};
use super::convert::object::ObjectRecord;
use super::convert::position;
use super::convert::segment::ObjectKeys;
use super::{Satellite, other_reply};
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
        let request = Request::ObjectBeginCopy(metainfo::BeginCopyObjectRequest {
            bucket: from.bucket_bytes(),
            encrypted_object_key: from.key_bytes(),
            new_bucket: to.bucket_bytes(),
            new_encrypted_object_key: to.key_bytes(),
            ..Default::default()
        });
        match self.object_and(from, request).await? {
            (object, Reply::ObjectBeginCopy(reply)) => {
                let metainfo::BeginCopyObjectResponse { stream_id, segment_keys, .. } = reply;
                let metadata_key_nonce = reply.encrypted_metadata_key_nonce;
                Ok(CopyOffer { object, stream_id, metadata_key_nonce, segment_keys })
            }
            _ => Err(other_reply()),
        }
    }

    /// Requests an object and the keys to move it with.
    pub(crate) async fn begin_move(&self, from: &Location, to: &Location) -> Result<CopyOffer> {
        let request = Request::ObjectBeginMove(metainfo::BeginMoveObjectRequest {
            bucket: from.bucket_bytes(),
            encrypted_object_key: from.key_bytes(),
            new_bucket: to.bucket_bytes(),
            new_encrypted_object_key: to.key_bytes(),
            ..Default::default()
        });
        match self.object_and(from, request).await? {
            (object, Reply::ObjectBeginMove(reply)) => {
                let metainfo::BeginMoveObjectResponse { stream_id, segment_keys, .. } = reply;
                let metadata_key_nonce = reply.encrypted_metadata_key_nonce;
                Ok(CopyOffer { object, stream_id, metadata_key_nonce, segment_keys })
            }
            _ => Err(other_reply()),
        }
    }

    /// Copies the object of an offer.
    pub(crate) async fn finish_copy(&self, finish: FinishCopy<'_>) -> Result<ObjectRecord> {
        let segment_keys = wire_keys(finish.segment_keys)?;
        let mut request = metainfo::FinishCopyObjectRequest {
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
        match self.request(Request::ObjectFinishCopy(request)).await? {
            Reply::ObjectFinishCopy(metainfo::FinishCopyObjectResponse {
                object: Some(object),
            }) => Ok(object.into()),
            _ => Err(other_reply()),
        }
    }

    /// Moves the object of an offer.
    pub(crate) async fn finish_move(&self, finish: FinishCopy<'_>) -> Result<()> {
        let mut request = metainfo::FinishMoveObjectRequest {
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
        match self.request(Request::ObjectFinishMove(request)).await? {
            Reply::ObjectFinishMove(_) => Ok(()),
            _ => Err(other_reply()),
        }
    }

    /// Replaces the metadata of the version of an object with this stream id.
    pub(crate) async fn update_metadata(
        &self,
        location: &Location,
        stream_id: Bytes,
        metadata: &SealedMetadata,
    ) -> Result<()> {
        let nonce = metadata.metadata_key_nonce.as_bytes();
        let request = Request::ObjectUpdateMetadata(metainfo::UpdateObjectMetadataRequest {
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
        });
        match self.request(request).await? {
            Reply::ObjectUpdateMetadata(_) => Ok(()),
            _ => Err(other_reply()),
        }
    }

    /// Requests an object and sends another call about it, as one batch.
    async fn object_and(
        &self,
        location: &Location,
        request: Request,
    ) -> Result<(ObjectRecord, Reply)> {
        let object = Request::ObjectGet(metainfo::GetObjectRequest {
            bucket: location.bucket_bytes(),
            encrypted_object_key: location.key_bytes(),
            ..Default::default()
        });
        let mut replies = self.batch(vec![object, request]).await?.into_iter();
        match (replies.next(), replies.next()) {
            (Some(Reply::ObjectGet(object)), Some(reply)) => match object.object {
                Some(object) => Ok((object.into(), reply)),
                None => Err(Error::protocol("the reply contains no object")),
            },
            _ => Err(other_reply()),
        }
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
