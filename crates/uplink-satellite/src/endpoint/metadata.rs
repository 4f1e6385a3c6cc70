//! Replacing the metadata of a committed object.

use uplink_core::macaroon::Operation;
use uplink_rpc::r#gen::metainfo as messages;
use uplink_rpc::status::{Code, Failure};

use super::{State, check};
use crate::auth::Caller;
use crate::failure::{RpcResult, database};
use crate::metabase::{MetabaseError, MetadataParts, MetadataUpdate};

impl State {
    /// Replaces an object's metadata. Clients that do not specify the included parts send custom
    /// metadata, and the ETag if they set its flag.
    pub(super) async fn update_object_metadata(
        &self,
        caller: &Caller,
        request: messages::UpdateObjectMetadataRequest,
    ) -> RpcResult<messages::UpdateObjectMetadataResponse> {
        let bucket = &request.bucket;
        let key = &request.encrypted_object_key;
        check::bucket(bucket)?;
        caller.require(Operation::Write, bucket, key)?;
        check::key(key)?;
        let parts = included_parts(&request)?;
        check::no_checksum(request.checksum_algorithm, &request.encrypted_checksum)?;
        let etag = if parts.etag { &request.encrypted_etag[..] } else { &[] };
        let metadata = check::metadata(
            if parts.custom { &request.encrypted_metadata } else { &[] },
            &request.encrypted_metadata_encrypted_key,
            &request.encrypted_metadata_nonce,
            etag,
        )?;
        let stream = self.own_stream(caller, &request.stream_id, (bucket, key))?;
        let update = MetadataUpdate {
            project: &caller.project.id,
            location: (bucket, key),
            stream_id: stream.stream(),
            metadata: metadata.unwrap_or_default(),
            parts,
            now: caller.now,
        };
        match self.metabase.update_metadata(&update).await {
            Ok(()) => Ok(messages::UpdateObjectMetadataResponse {}),
            Err(MetabaseError::Incomplete) if request.includes.is_some() => Err(Failure::new(
                Code::INSUFFICIENT_OBJECT_METADATA_INCLUDES,
                "the object has metadata that the update does not include",
            )),
            Err(error) => Err(database(error)),
        }
    }
}

fn included_parts(request: &messages::UpdateObjectMetadataRequest) -> RpcResult<MetadataParts> {
    let Some(includes) = &request.includes else {
        return Ok(MetadataParts { custom: true, etag: request.set_encrypted_etag });
    };
    if !includes.custom && !includes.etag && !includes.checksum {
        return Err(Failure::new(Code(10_033), "the update includes nothing"));
    }
    // An included checksum is ignored: no object has a checksum that the update could drop.
    Ok(MetadataParts { custom: includes.custom, etag: includes.etag })
}
