//! Replacing the custom metadata of an object, and keeping what its envelope records of the segments.

use std::collections::BTreeMap;

use uplink_core::encryption::mark::{ChainValue, KeyKind};
use uplink_core::encryption::metadata::{
    CustomMetadata, MetadataKeys, OpenedMetadata, SealedMetadata, StreamInfo,
};
use uplink_core::encryption::{CipherSuite, Key, Nonce};
use uplink_rpc::runtime::{random, random_secret};

use super::attributes::{check_custom_metadata, open};
use super::missing;
use crate::download::source::layout_of;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::Rules;
use crate::location::Location;
use crate::project::Project;
use crate::satellite::ObjectRecord;
use crate::session::Session;

impl Project {
    /// Replaces the custom metadata of an object. Its content, ETag, expiry and seal stay.
    ///
    /// The object is checked first as a download would, so that a satellite cannot have the seal of an
    /// object moved to other segments.
    ///
    /// # Errors
    /// [`ErrorKind::CustomMetadataInvalid`]; [`ErrorKind::ObjectChanged`] when the object is replaced
    /// at the same time; [`ErrorKind::OutcomeUnknown`] when the reply was lost and the outcome cannot
    /// be queried; otherwise as [`stat_object`](Self::stat_object).
    pub async fn update_object_metadata(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        entries: BTreeMap<String, String>,
    ) -> Result<()> {
        check_custom_metadata(&entries)?;
        let session = self.session();
        let location = session.locate(bucket, key.as_ref())?;
        let record = missing::find(session, &location).await?;
        let rules = Rules::from(session.config());
        let (_, recorded) = open(&location, &record, rules)?;
        recorded.check_required(rules)?;
        match layout_of(session, &location, &record, recorded).await {
            Err(error) if has_changed(session, &location, &record, &error).await => {
                return Err(changed(error));
            }
            checked => drop(checked?),
        }

        let metadata = record.metadata(&location.content_key)?;
        let suite = record.parameters()?.suite;
        let sealed = reseal(metadata, entries, suite, &location.content_key)?;
        let satellite = session.satellite();
        let updated = satellite.update_metadata(&location, record.stream_id(), &sealed).await;
        match updated {
            Err(error) if error.may_have_taken_effect() => {
                let nonce = &sealed.metadata_key_nonce;
                satellite.resolve_write(&location, nonce, error, outcome_unknown).await.map(drop)
            }
            Err(error) if error.kind() == ErrorKind::ObjectNotFound => Err(changed(error)),
            outcome => outcome,
        }
    }
}

/// Seals new custom metadata with what the envelope records of the object's segments, and its ETag.
///
/// A seal is kept, under a metadata key that says so. An envelope without a seal keeps the sizes that
/// the reference client needs.
pub(super) fn reseal(
    old: Option<OpenedMetadata>,
    custom: BTreeMap<String, String>,
    suite: CipherSuite,
    content_key: &Key,
) -> Result<SealedMetadata> {
    let (info, etag) = match old {
        Some(opened) => (opened.stream_info.unwrap_or_default(), opened.etag),
        None => (StreamInfo::default(), Vec::new()),
    };
    let is_sealed = info.chain_start.is_some() || info.parts_seal.is_some();
    let metadata = CustomMetadata::new(custom);
    let (info, metadata_key) = if is_sealed {
        (StreamInfo { metadata, ..info }, ChainValue::new(random_secret()?).key(KeyKind::Metadata))
    } else {
        (StreamInfo { metadata, number_of_segments: 0, ..info }, Key::new(random_secret()?))
    };
    let metadata_key_nonce = Nonce::new(random()?);
    let keys = MetadataKeys { suite, content_key, metadata_key: &metadata_key, metadata_key_nonce };
    Ok(keys.seal(&info, &etag)?)
}

fn changed(error: Error) -> Error {
    let text = "object was replaced or deleted while its metadata was being updated";
    Error::new(ErrorKind::ObjectChanged, text).with_included(error)
}

/// Returns whether replies about an object contradict each other because the object or its metadata was
/// replaced between them, or the object was moved, which encrypts its keys for the new location.
pub(super) async fn has_changed(
    session: &Session,
    location: &Location,
    record: &ObjectRecord,
    error: &Error,
) -> bool {
    if !matches!(error.kind(), ErrorKind::LayoutUnauthenticated | ErrorKind::Decryption) {
        return false;
    }
    let Location { bucket, encrypted_key, .. } = location;
    match session.satellite().object(bucket, encrypted_key.clone()).await {
        Ok(now) => now.version() != record.version() || !now.has_metadata_of(record),
        Err(error) => error.kind() == ErrorKind::ObjectNotFound,
    }
}

pub(super) fn outcome_unknown(cause: Error) -> Error {
    let text = "change of an object may or may not have taken effect";
    Error::new(ErrorKind::OutcomeUnknown, text).with_source(cause)
}
