//! Calls about multipart uploads. Listing and aborting them is in `pending.rs` and `outcome.rs`; parts
//! are committed in `batch.rs`.

use bytes::Bytes;
use uplink_core::encryption::metadata::SealedMetadata;
use uplink_core::id::SegmentPosition;
use uplink_rpc::r#gen::metainfo;

use super::Satellite;
use super::batch::BeginObject;
use super::call::Call;
use super::convert::object::ObjectRecord;
use super::convert::segment::{self, ObjectKeys, PartSegment};
use super::page::Page;
use crate::error::{Error, Result};
use crate::location::Location;

impl Satellite {
    /// Begins an upload, whose commit keeps `metadata` unless it sends its own. Returns its stream id.
    ///
    /// After a lost reply the upload may have begun; the satellite discards it after a day.
    pub(crate) async fn begin_upload(
        &self,
        begin: &BeginObject<'_>,
        metadata: Option<&SealedMetadata>,
    ) -> Result<Bytes> {
        let mut request = metainfo::BeginObjectRequest { header: self.header(), ..begin.request() };
        if let Some(metadata) = metadata {
            let nonce = metadata.metadata_key_nonce.as_bytes();
            let key = &metadata.encrypted_metadata_key;
            request.encrypted_metadata_nonce = Bytes::copy_from_slice(nonce);
            request.encrypted_metadata = metadata.encrypted_metadata.clone().into();
            request.encrypted_metadata_encrypted_key = Bytes::copy_from_slice(key);
        }
        let reply = self
            .call(Call::BeginObject, |mut client| {
                let request = request.clone();
                async move { client.begin_object(request).await }
            })
            .await?;
        if reply.stream_id.is_empty() {
            return Err(Error::protocol("an upload was begun without an id"));
        }
        Ok(reply.stream_id)
    }

    /// Returns the metadata with which an upload was begun.
    pub(crate) async fn pending_metadata(
        &self,
        location: &Location,
        stream_id: Bytes,
    ) -> Result<ObjectRecord> {
        let request = metainfo::GetPendingObjectMetadataRequest {
            bucket: location.bucket_bytes(),
            encrypted_object_key: location.key_bytes(),
            stream_id,
            header: self.header(),
        };
        let reply = self
            .call(Call::GetPendingMetadata, |mut client| {
                let request = request.clone();
                async move { client.get_pending_object_metadata(request).await }
            })
            .await?;
        Ok(ObjectRecord::from(metainfo::Object {
            encrypted_metadata_nonce: reply.encrypted_metadata_nonce,
            encrypted_metadata: reply.encrypted_metadata,
            encrypted_metadata_encrypted_key: reply.encrypted_metadata_encrypted_key,
            encrypted_etag: reply.encrypted_etag,
            ..Default::default()
        }))
    }

    /// Lists the next page of the segments of an upload, after the segment at `after`.
    pub(crate) async fn list_part_segments(
        &self,
        stream_id: Bytes,
        after: SegmentPosition,
        keys: &ObjectKeys<'_>,
    ) -> Result<Page<PartSegment, SegmentPosition>> {
        let reply = self.segment_list(stream_id, after).await?;
        let items = segment::part_segments(&reply, after, keys)?;
        let next = items.last().filter(|_| reply.more).map(|last| last.position);
        Ok(Page { items, next })
    }
}
