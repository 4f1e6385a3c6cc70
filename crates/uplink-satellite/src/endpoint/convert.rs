//! Conversion of stored rows to messages.

use bytes::Bytes;
use uplink_core::encryption::metadata::{SegmentMeta, StreamMeta};
use uplink_core::erasure::Scheme;
use uplink_core::id::SegmentPosition;
use uplink_core::layout::unpack_encryption_parameters;
use uplink_rpc::r#gen::encryption::EncryptionParameters;
use uplink_rpc::r#gen::metainfo as messages;
use uplink_rpc::r#gen::pointerdb::RedundancyScheme;
use uplink_rpc::r#gen::pointerdb::redundancy_scheme::SchemeType;

use crate::metabase::{Bucket, Metadata, Object, Segment, Status};
use crate::time::Time;

/// Plain size of a regular segment; only informative for clients.
const SEGMENT_SIZE: i64 = 64 << 20;

pub(super) fn bucket(bucket: Bucket, scheme: &Scheme) -> messages::Bucket {
    let block_size = i64::from(scheme.stripe_size());
    messages::Bucket {
        name: bucket.name.into(),
        path_cipher: 2,
        created_at: Some(bucket.created.to_wire()),
        default_segment_size: SEGMENT_SIZE,
        default_redundancy_scheme: Some(redundancy(scheme)),
        default_encryption_parameters: Some(EncryptionParameters { cipher_suite: 2, block_size }),
        ..messages::Bucket::default()
    }
}

pub(super) fn redundancy(scheme: &Scheme) -> RedundancyScheme {
    RedundancyScheme {
        r#type: SchemeType::Rs.into(),
        min_req: i32::from(scheme.required()),
        total: i32::from(scheme.total()),
        repair_threshold: i32::from(scheme.repair()),
        success_threshold: i32::from(scheme.optimal()),
        erasure_share_size: i32::try_from(scheme.share_size()).unwrap_or(i32::MAX),
    }
}

pub(super) fn encryption(packed: i64) -> EncryptionParameters {
    let (suite, block_size) = unpack_encryption_parameters(packed).unwrap_or_default();
    EncryptionParameters { cipher_suite: i32::from(suite), block_size: i64::from(block_size) }
}

pub(super) fn position(position: SegmentPosition) -> messages::SegmentPosition {
    let number = |number| i32::try_from(number).unwrap_or(i32::MAX);
    messages::SegmentPosition { part_number: number(position.part), index: number(position.index) }
}

pub(super) fn status(status: Status) -> messages::object::Status {
    match status {
        Status::Pending => messages::object::Status::Uploading,
        Status::CommittedUnversioned => messages::object::Status::CommittedUnversioned,
        Status::CommittedVersioned => messages::object::Status::CommittedVersioned,
        Status::Hidden => messages::object::Status::Invalid,
    }
}

/// Converts an object with all fields that clients may see.
pub(super) fn object(object: Object, stream_id: Bytes) -> messages::Object {
    let stream_meta = StreamMetaFields { number: true, wrapped_key: true };
    messages::Object {
        status: status(object.status).into(),
        stream_id,
        created_at: Some(object.created.to_wire()),
        expires_at: object.expires.map(Time::to_wire),
        encrypted_metadata: stream_meta.fill(&object).into(),
        encryption_parameters: Some(encryption(object.encryption)),
        total_size: object.encrypted_size,
        plain_size: object.plain_size,
        object_version: object.object_version().to_vec().into(),
        bucket: object.bucket.into(),
        encrypted_object_key: object.key.into(),
        encrypted_metadata_nonce: object.metadata.nonce.unwrap_or_default().into(),
        encrypted_metadata_encrypted_key: object.metadata.key.unwrap_or_default().into(),
        encrypted_etag: object.metadata.etag.unwrap_or_default().into(),
        ..messages::Object::default()
    }
}

/// Fields that a satellite adds to the stored envelope of an object's metadata. Without the exact
/// number of segments, clients misread the object's layout.
#[derive(Clone, Copy)]
pub(super) struct StreamMetaFields {
    pub(super) number: bool,
    pub(super) wrapped_key: bool,
}

impl StreamMetaFields {
    pub(super) fn fill(self, object: &Object) -> Vec<u8> {
        let Metadata { data, nonce, key, .. } = &object.metadata;
        let stored = data.as_deref().unwrap_or_default();
        // Returns data that is not an envelope unchanged; only its client can interpret it.
        let Ok(mut meta) = StreamMeta::decode(stored) else { return stored.to_vec() };
        let parameters = encryption(object.encryption);
        meta.encryption_type = parameters.cipher_suite;
        meta.encryption_block_size = i32::try_from(parameters.block_size).unwrap_or(i32::MAX);
        if self.number {
            meta.number_of_segments = object.segment_count;
        }
        if self.wrapped_key {
            meta.last_segment_meta = Some(SegmentMeta {
                encrypted_key: key.clone().unwrap_or_default(),
                key_nonce: nonce.clone().unwrap_or_default(),
            });
        }
        meta.encode()
    }
}

pub(super) fn segment_item(segment: Segment) -> messages::SegmentListItem {
    messages::SegmentListItem {
        position: Some(position(segment.position)),
        plain_size: segment.plain_size,
        created_at: Some(segment.created.to_wire()),
        plain_offset: segment.plain_offset,
        encrypted_e_tag: segment.encrypted_etag.unwrap_or_default().into(),
        encrypted_key_nonce: segment.encrypted_key_nonce.into(),
        encrypted_key: segment.encrypted_key.into(),
        ..messages::SegmentListItem::default()
    }
}
