//! Replacing the metadata of a committed object.

use uplink_core::macaroon::Operation;
use uplink_rpc::r#gen::metainfo as messages;
use uplink_rpc::status::{Code, Failure};

use super::{Answer, State, check};
use crate::auth::Caller;
use crate::failure::database;
use crate::metabase::{Includes, MetabaseError, MetadataUpdate};

impl State {
    /// Replaces an object's metadata. Clients that do not say what they bring know of custom
    /// metadata only, unless they set the ETag.
    pub(super) async fn update_object_metadata(
        &self,
        caller: &Caller,
        request: messages::UpdateObjectMetadataRequest,
    ) -> Answer<messages::UpdateObjectMetadataResponse> {
        let (bucket, key) = (&request.bucket, &request.encrypted_object_key);
        check::bucket(bucket)?;
        caller.require(Operation::Write, bucket, key)?;
        check::key(key)?;
        let includes = includes(&request)?;
        check::no_checksum(request.checksum_algorithm, &request.encrypted_checksum)?;
        let etag = if includes.etag { &request.encrypted_etag[..] } else { &[] };
        let metadata = check::metadata(
            if includes.custom { &request.encrypted_metadata } else { &[] },
            &request.encrypted_metadata_encrypted_key,
            &request.encrypted_metadata_nonce,
            etag,
        )?;
        let stream = self.own_stream(caller, &request.stream_id, (bucket, key))?;
        let update = MetadataUpdate {
            project: &caller.project.id,
            stream_id: stream.stream(),
            metadata: metadata.unwrap_or_default(),
            includes,
            now: caller.now,
        };
        match self.metabase.update_metadata(&update).await {
            Ok(()) => Ok(messages::UpdateObjectMetadataResponse {}),
            Err(MetabaseError::Incomplete) if request.includes.is_some() => Err(Failure::new(
                Code::INSUFFICIENT_OBJECT_METADATA_INCLUDES,
                "the object has metadata that the update leaves out",
            )),
            Err(error) => Err(database(error)),
        }
    }
}

fn includes(request: &messages::UpdateObjectMetadataRequest) -> Answer<Includes> {
    let Some(includes) = &request.includes else {
        return Ok(Includes { custom: true, etag: request.set_encrypted_etag });
    };
    if !includes.custom && !includes.etag && !includes.checksum {
        return Err(Failure::new(Code(10_033), "the update includes nothing"));
    }
    // A client may say that it brings the checksum and have none: there is none to be lost either.
    Ok(Includes { custom: includes.custom, etag: includes.etag })
}
