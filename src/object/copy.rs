//! Copying and moving objects.
//!
//! The pieces stay where they are. What changes is the encryption of the keys: those of the segments
//! and of the metadata are decrypted with the content key of the old location and encrypted with that
//! of the new one.

use std::collections::BTreeMap;

use uplink_core::encryption::mark::KeyKind;
use uplink_core::encryption::{EncryptionParameters, Key, Nonce, key};
use uplink_rpc::runtime::random;
use uplink_rpc::status::Code;

use super::attributes::{Object, check_custom_metadata, open};
use super::metadata::{has_changed, outcome_unknown, reseal};
use super::missing;
use crate::bucket::bucket_missing;
use crate::download::source::layout_of;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{Rules, unauthenticated};
use crate::location::Location;
use crate::project::Project;
use crate::satellite::batch::WrappedKey;
use crate::satellite::copy::{CopyOffer, FinishCopy, NewMetadata};
use crate::satellite::{ObjectKeys, ObjectRecord, OfferedKeys};
use crate::session::Session;
use crate::upload::commit::exists;

/// How to copy an object; see [`Project::copy_object_with`].
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct CopyOptions {
    custom_metadata: Option<BTreeMap<String, String>>,
    if_absent: bool,
}

impl CopyOptions {
    /// Starts from the defaults: the custom metadata is copied, and an object under the new key is
    /// replaced.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the copy other custom metadata.
    pub fn custom_metadata(mut self, entries: BTreeMap<String, String>) -> Self {
        self.custom_metadata = Some(entries);
        self
    }

    /// Fails with [`ErrorKind::ObjectAlreadyExists`] if there is an object under the new key.
    #[doc(alias = "if_none_match")]
    pub fn if_absent(mut self, if_absent: bool) -> Self {
        self.if_absent = if_absent;
        self
    }
}

impl Project {
    /// Copies an object to another key, in the same bucket or another one, with its metadata and
    /// expiry. An object under the new key is replaced.
    ///
    /// No content is transferred: the satellite shares the pieces. The object is checked first as a
    /// download would check it, so that a satellite cannot mix versions in the copy.
    ///
    /// # Errors
    /// [`ErrorKind::ObjectNotFound`]; [`ErrorKind::LayoutUnauthenticated`];
    /// [`ErrorKind::PermissionDenied`] when the access grant does not permit reading the object and
    /// writing the new one (and deleting, if one is replaced); [`ErrorKind::OutcomeUnknown`] when the
    /// reply was lost and the outcome cannot be queried.
    pub async fn copy_object(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        new_bucket: &str,
        new_key: impl AsRef<[u8]>,
    ) -> Result<Object> {
        self.copy_object_with(bucket, key, new_bucket, new_key, &CopyOptions::new()).await
    }

    /// Copies an object with options.
    ///
    /// # Errors
    /// As [`copy_object`](Self::copy_object), and [`ErrorKind::CustomMetadataInvalid`] and
    /// [`ErrorKind::ObjectAlreadyExists`].
    pub async fn copy_object_with(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        new_bucket: &str,
        new_key: impl AsRef<[u8]>,
        options: &CopyOptions,
    ) -> Result<Object> {
        if let Some(entries) = &options.custom_metadata {
            check_custom_metadata(entries)?;
        }
        let session = self.session();
        let from = session.locate(bucket, key.as_ref())?;
        let to = session.locate(new_bucket, new_key.as_ref())?;
        let copy = Copy { session, from: &from, to: &to };
        let offer = session.satellite().begin_copy(&from, &to).await;
        let (source, finish) = copy.prepare(offer, options).await?;
        copy.finish(&source, finish).await
    }

    /// Moves an object to another key, in the same bucket or another one. An object under the new key
    /// is replaced.
    ///
    /// # Errors
    /// As [`copy_object`](Self::copy_object); the access grant must permit deleting the object.
    pub async fn move_object(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        new_bucket: &str,
        new_key: impl AsRef<[u8]>,
    ) -> Result<()> {
        let session = self.session();
        let from = session.locate(bucket, key.as_ref())?;
        let to = session.locate(new_bucket, new_key.as_ref())?;
        let copy = Copy { session, from: &from, to: &to };
        let offer = session.satellite().begin_move(&from, &to).await;
        let (_, finish) = copy.prepare(offer, &CopyOptions::new()).await?;
        let nonce = finish.metadata.as_ref().map(|metadata| *metadata.nonce());
        match session.satellite().finish_move(finish).await {
            Err(error) if error.may_have_taken_effect() => {
                copy.resolve(nonce, error).await.map(drop)
            }
            outcome => outcome.map_err(|error| copy.refused(error)),
        }
    }
}

/// A copy or move between two locations.
struct Copy<'a> {
    session: &'a Session,
    from: &'a Location,
    to: &'a Location,
}

impl<'a> Copy<'a> {
    /// Checks what the satellite offers, and encrypts the keys for the new location. Returns the
    /// source too.
    async fn prepare(
        &self,
        offer: Result<CopyOffer>,
        options: &CopyOptions,
    ) -> Result<(Object, FinishCopy<'a>)> {
        let offer = match offer {
            Err(error) if self.is_target_missing(&error) => {
                return Err(bucket_missing(error, &self.to.bucket));
            }
            Err(error) => return Err(missing::explain(self.session, error, self.from).await),
            Ok(offer) => offer,
        };
        let (source, offered) = match self.verify(&offer).await {
            Err(error) if has_changed(self.session, self.from, &offer.object, &error).await => {
                return Err(changed(error));
            }
            verified => verified?,
        };
        let parameters = offer.object.parameters()?;
        let wrap = |key: &Key| wrap(parameters, &self.to.content_key, key);
        let segment_keys = offered.iter().map(|(position, key)| Ok((*position, wrap(key)?)));
        let segment_keys = segment_keys.collect::<Result<_>>()?;
        let metadata = match &options.custom_metadata {
            Some(entries) => {
                let old = offer.object.metadata(&self.from.content_key)?;
                let suite = parameters.suite;
                let sealed = reseal(old, entries.clone(), suite, &self.to.content_key)?;
                Some(NewMetadata::Replaced(sealed))
            }
            None => {
                let is_alone = offer.object.metadata(&self.from.content_key)?.is_none();
                let key = offer.object.metadata_key(&self.from.content_key)?;
                let key = key.map(|key| {
                    check_metadata_key(&key, is_alone)?;
                    wrap(&key)
                });
                key.transpose()?.map(NewMetadata::Kept)
            }
        };
        let CopyOffer { stream_id, .. } = offer;
        let if_absent = options.if_absent;
        Ok((source, FinishCopy { stream_id, to: self.to, segment_keys, metadata, if_absent }))
    }

    /// Checks the object and the keys that the satellite offers.
    async fn verify(&self, offer: &CopyOffer) -> Result<(Object, OfferedKeys)> {
        let rules = Rules::from(self.session.config());
        let (source, recorded) = open(self.from, &offer.object, rules)?;
        if !offer.is_of_one_state() {
            return Err(unauthenticated("the offered metadata key is not that of its metadata"));
        }
        recorded.check_required(rules)?;
        let mut layout = layout_of(self.session, self.from, &offer.object, recorded).await?;
        let parameters = offer.object.parameters()?;
        let keys = ObjectKeys { parameters, content_key: &self.from.content_key };
        let offered = offer.keys(&keys)?;
        layout.check_keys(&offered)?;
        Ok((source, offered))
    }

    /// Returns whether the satellite names the bucket of the new location as missing.
    fn is_target_missing(&self, error: &Error) -> bool {
        let message = error.failure().map(|failure| failure.message.as_str());
        let bucket = message.and_then(|text| text.strip_prefix("bucket not found: "));
        self.to.bucket != self.from.bucket && bucket == Some(self.to.bucket.as_str())
    }

    /// Completes a copy and returns the new object.
    async fn finish(&self, source: &Object, finish: FinishCopy<'a>) -> Result<Object> {
        let nonce = finish.metadata.as_ref().map(|metadata| *metadata.nonce());
        let if_absent = finish.if_absent;
        let is_kept = !matches!(finish.metadata, Some(NewMetadata::Replaced(_)));
        let record = match self.session.satellite().finish_copy(finish).await {
            Ok(record) => record,
            Err(error) if error.may_have_taken_effect() => self.resolve(nonce, error).await?,
            Err(error) if if_absent => return Err(exists(self.to, self.refused(error))),
            Err(error) => return Err(self.refused(error)),
        };
        let (object, _) =
            open(self.to, &record, Rules::from(self.session.config())).map_err(outcome_unknown)?;
        let is_same = object.size == source.size && object.authenticity == source.authenticity;
        if !is_same || (is_kept && object.custom_metadata != source.custom_metadata) {
            return Err(outcome_unknown(unauthenticated("the copy differs from the object")));
        }
        Ok(object)
    }

    /// Queries the outcome after a lost or invalid reply. A copy without metadata cannot be told from
    /// another object.
    async fn resolve(&self, nonce: Option<Nonce>, cause: Error) -> Result<ObjectRecord> {
        match nonce {
            Some(nonce) => {
                let satellite = self.session.satellite();
                satellite.resolve_write(self.to, &nonce, cause, outcome_unknown).await
            }
            None => Err(outcome_unknown(cause)),
        }
    }

    /// Explains why the satellite refused to complete a copy or move.
    fn refused(&self, error: Error) -> Error {
        match error.failure().map(|failure| failure.code) {
            Some(Code::NOT_FOUND) if error.kind() == ErrorKind::ObjectNotFound => changed(error),
            Some(Code::NOT_FOUND) => bucket_missing(error, &self.to.bucket),
            _ => error,
        }
    }
}

fn changed(error: Error) -> Error {
    let text = "object was replaced or deleted while it was being copied";
    Error::new(ErrorKind::ObjectChanged, text).with_included(error)
}

/// Checks a metadata key that the copy keeps. R1: it is not that of a segment. R2: a key of this client
/// without metadata lost its record.
fn check_metadata_key(key: &Key, is_alone: bool) -> Result<()> {
    match KeyKind::of(key) {
        Some(KeyKind::Part | KeyKind::Stream) => {
            Err(unauthenticated("its metadata is sealed with the key of a segment"))
        }
        Some(KeyKind::Metadata) if is_alone => {
            Err(unauthenticated("its metadata lacks the recorded segments"))
        }
        _ => Ok(()),
    }
}

fn wrap(parameters: EncryptionParameters, content_key: &Key, key: &Key) -> Result<WrappedKey> {
    let nonce = Nonce::new(random()?);
    let wrapped = key::wrap_key(parameters.suite, content_key, &nonce, key)?;
    Ok(WrappedKey { wrapped, nonce })
}
