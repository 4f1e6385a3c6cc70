//! The commit of an upload, and the query for its outcome after a lost reply.

use std::collections::BTreeMap;

use uplink_core::encryption::Nonce;
use uplink_core::encryption::mark::{ChainValue, KeyKind};
use uplink_core::encryption::metadata::{CustomMetadata, MetadataKeys, SealedMetadata, StreamInfo};
use uplink_rpc::runtime::random;

use super::writer::{PARAMETERS, Placement, Writer};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::unauthenticated;
use crate::location::Location;
use crate::object::{self, Object};
use crate::satellite::ObjectRecord;

/// Makes the object visible, once all its segments are stored. Returns it, and where its segments are.
pub(super) async fn commit(
    mut writer: Writer,
    custom_metadata: BTreeMap<String, String>,
) -> Result<(Object, Vec<Placement>)> {
    let calls = writer.finish().await?;
    let sealed = metadata(&writer, custom_metadata)?;
    let satellite = writer.session().satellite();
    let record = match satellite.commit_object(calls, writer.pending.stream_id(), &sealed).await {
        Ok(record) if record.has_metadata_of(&sealed) => record,
        // The satellite did commit, or it lies.
        Ok(_) => {
            let text = "the reply to the commit contains a different object";
            resolve(&writer, &sealed, Error::protocol(text)).await?
        }
        Err(error) if error.may_have_taken_effect() => resolve(&writer, &sealed, error).await?,
        Err(error) => return Err(error),
    };
    writer.pending.committed();
    let object = committed(&writer, record, &sealed)?;
    Ok((object, writer.segments.into_iter().map(|segment| segment.placement).collect()))
}

/// Queries the outcome of a commit whose reply was lost or invalid.
async fn resolve(writer: &Writer, sealed: &SealedMetadata, flaw: Error) -> Result<ObjectRecord> {
    let Location { bucket, encrypted_key, .. } = writer.pending.location();
    let satellite = writer.session().satellite();
    let is_lost = flaw.kind() == ErrorKind::Network;
    match satellite.object(bucket, encrypted_key.clone()).await {
        Ok(record) if record.has_metadata_of(sealed) => Ok(record),
        Ok(_) if is_lost => Err(flaw),
        Err(error) if error.kind() == ErrorKind::ObjectNotFound && is_lost => Err(flaw),
        _ => Err(unknown(flaw)),
    }
}

/// Returns the committed object: times and version of the satellite, size and metadata as written.
fn committed(writer: &Writer, record: ObjectRecord, sealed: &SealedMetadata) -> Result<Object> {
    let written = writer.segments.iter().map(|segment| segment.placement.size).sum::<u64>();
    let record = record.with_metadata(sealed);
    let rules = writer.session().config().into();
    match object::open(writer.pending.location(), &record, rules) {
        Ok((object, _)) if object.size == written => Ok(object),
        Ok(_) => Err(unknown(unauthenticated("its size does not match the bytes written"))),
        Err(flaw) => Err(unknown(flaw)),
    }
}

fn unknown(flaw: Error) -> Error {
    let text = "commit may or may not have taken effect";
    Error::new(ErrorKind::CommitUnknown, text).with_source(flaw)
}

/// Seals the metadata of the object, with the number, sizes and first key of its segments.
fn metadata(writer: &Writer, custom_metadata: BTreeMap<String, String>) -> Result<SealedMetadata> {
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let info = StreamInfo {
        number_of_segments: signed(writer.segments.len() as u64),
        segments_size: signed(writer.session().config().segment_size),
        last_segment_size: signed(writer.segments.last().map_or(0, |last| last.placement.size)),
        metadata: CustomMetadata::new(custom_metadata),
        parts_seal: None,
        chain_start: Some(writer.chain_start.clone()),
    };
    let keys = MetadataKeys {
        suite: PARAMETERS.suite,
        content_key: &writer.pending.location().content_key,
        metadata_key: &ChainValue::new(random()?).key(KeyKind::Metadata),
        metadata_key_nonce: Nonce::new(random()?),
    };
    Ok(keys.seal(&info, b"")?)
}
