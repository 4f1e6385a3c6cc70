//! The commit of an upload, and the query for its outcome after a lost reply.

use std::collections::BTreeMap;

use uplink_core::encryption::Nonce;
use uplink_core::encryption::mark::{ChainValue, KeyKind};
use uplink_core::encryption::metadata::{CustomMetadata, MetadataKeys, SealedMetadata, StreamInfo};
use uplink_rpc::runtime::{random, random_secret};
use uplink_rpc::status::Code;

use super::writer::{PARAMETERS, Placement, Writer};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::unauthenticated;
use crate::location::Location;
use crate::object::{self, Object};
use crate::satellite::batch::CommitObject;
use crate::satellite::{ObjectRecord, to_i64};

/// What the commit of an object stores beside its segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) custom_metadata: BTreeMap<String, String>,
    pub(super) etag: Vec<u8>,
    /// Fails if there is an object under the key.
    pub(super) if_absent: bool,
}

/// Makes the object visible, once all its segments are stored. Returns it, and where its segments are.
pub(super) async fn commit(
    mut writer: Writer,
    contents: Contents,
) -> Result<(Object, Vec<Placement>)> {
    let calls = writer.finish(b"").await?;
    let if_absent = contents.if_absent;
    let sealed = metadata(&writer, contents)?;
    let satellite = writer.session().satellite();
    let stream_id = writer.pending.stream_id();
    let request = CommitObject { stream_id, metadata: Some(&sealed), if_absent };
    let record = match satellite.commit_object(calls, request).await {
        Ok(record) if record.has_metadata_nonce(&sealed.metadata_key_nonce) => record,
        // The satellite did commit, or it lies.
        Ok(_) => {
            let text = "the reply to the commit contains a different object";
            resolve(&writer, &sealed, Error::protocol(text)).await?
        }
        Err(error) if error.may_have_taken_effect() => resolve(&writer, &sealed, error).await?,
        Err(error) if if_absent => return Err(exists(writer.pending.location(), error)),
        Err(error) => return Err(error),
    };
    writer.pending.committed();
    writer.report_all();
    let object = committed(&writer, record, &sealed)?;
    Ok((object, writer.segments.into_iter().map(|segment| segment.placement).collect()))
}

/// Queries the outcome of a commit whose reply was lost or invalid.
async fn resolve(writer: &Writer, sealed: &SealedMetadata, cause: Error) -> Result<ObjectRecord> {
    let satellite = writer.session().satellite();
    let location = writer.pending.location();
    satellite.resolve_write(location, &sealed.metadata_key_nonce, cause, unknown).await
}

/// Returns the committed object: times and version of the satellite, size and metadata as written.
fn committed(writer: &Writer, record: ObjectRecord, sealed: &SealedMetadata) -> Result<Object> {
    let written = writer.segments.iter().map(|segment| segment.placement.size).sum::<u64>();
    let record = record.with_metadata(sealed);
    let rules = writer.session().config().into();
    match object::open(writer.pending.location(), &record, rules) {
        Ok((object, _)) if object.size == written => Ok(object),
        Ok(_) => Err(unknown(unauthenticated("its size does not match the bytes written"))),
        Err(cause) => Err(unknown(cause)),
    }
}

/// Returns the error of a commit whose outcome is unknown.
pub(crate) fn unknown(cause: Error) -> Error {
    let text = "commit may or may not have taken effect";
    Error::new(ErrorKind::CommitUnknown, text).with_source(cause)
}

/// Explains why the satellite refused a commit that must not replace an object.
pub(crate) fn exists(location: &Location, error: Error) -> Error {
    let code = error.failure().map(|failure| failure.code);
    let is_refused = matches!(code, Some(Code::ALREADY_EXISTS | Code::FAILED_PRECONDITION));
    if !is_refused || error.kind() == ErrorKind::NotEnoughNodes {
        return error;
    }
    let key = String::from_utf8_lossy(&location.key);
    let text = format!("object {key:?} already exists in bucket {:?}", location.bucket);
    Error::new(ErrorKind::ObjectAlreadyExists, text).with_included(error)
}

/// Seals the metadata of the object, with the number, sizes and first key of its segments.
fn metadata(writer: &Writer, contents: Contents) -> Result<SealedMetadata> {
    let info = StreamInfo {
        number_of_segments: to_i64(writer.segments.len() as u64),
        segments_size: to_i64(writer.session().config().segment_size),
        last_segment_size: to_i64(writer.segments.last().map_or(0, |last| last.placement.size)),
        metadata: CustomMetadata::new(contents.custom_metadata),
        parts_seal: None,
        chain_start: Some(writer.chain_start.clone()),
    };
    let keys = MetadataKeys {
        suite: PARAMETERS.suite,
        content_key: &writer.pending.location().content_key,
        metadata_key: &ChainValue::new(random_secret()?).key(KeyKind::Metadata),
        metadata_key_nonce: Nonce::new(random()?),
    };
    Ok(keys.seal(&info, &contents.etag)?)
}
