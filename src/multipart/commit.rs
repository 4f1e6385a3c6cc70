//! Beginning and committing multipart uploads.

use std::collections::BTreeMap;
use std::time::SystemTime;

use bytes::Bytes;
use uplink_core::encryption::mark::{ChainValue, KeyKind, parts_seal};
use uplink_core::encryption::metadata::{CustomMetadata, MetadataKeys, SealedMetadata, StreamInfo};
use uplink_core::encryption::{EncryptionParameters, Key, Nonce};
use uplink_core::id::SegmentPosition;
use uplink_rpc::runtime::{random, random_secret};
use uplink_rpc::status::Code;

use super::id::{stream_id, upload_id};
use super::part::PartReceipt;
use crate::bucket::bucket_missing;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{ListedParts, Rules, SealedPart, unauthenticated};
use crate::location::Location;
use crate::object::{Object, check_custom_metadata, open};
use crate::project::Project;
use crate::satellite::batch::{Batch, BeginObject, CommitObject};
use crate::satellite::{ObjectKeys, ObjectRecord, to_i64};
use crate::session::Session;
use crate::upload::commit::{exists, unknown};

const PARAMETERS: EncryptionParameters = EncryptionParameters::DEFAULT;

/// How to begin a multipart upload; see [`Project::begin_upload_with`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct BeginUploadOptions {
    expires_at: Option<SystemTime>,
    custom_metadata: BTreeMap<String, String>,
}

impl BeginUploadOptions {
    /// Begins the upload of an object that does not expire, without custom metadata.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the object expire at a time in the future.
    pub fn expires_at(mut self, at: SystemTime) -> Self {
        self.expires_at = Some(at);
        self
    }

    /// Sets the custom metadata of the object, unless the commit sets other.
    pub fn custom_metadata(mut self, entries: BTreeMap<String, String>) -> Self {
        self.custom_metadata = entries;
        self
    }
}

/// How to commit a multipart upload; see [`Project::commit_upload_with`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct CommitUploadOptions {
    custom_metadata: Option<BTreeMap<String, String>>,
    etag: Vec<u8>,
    if_absent: bool,
    receipts: Vec<PartReceipt>,
}

impl CommitUploadOptions {
    /// Starts from the defaults: all parts that the satellite has, and the metadata of the beginning.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the custom metadata of the object, in place of that with which the upload was begun.
    pub fn custom_metadata(mut self, entries: BTreeMap<String, String>) -> Self {
        self.custom_metadata = Some(entries);
        self
    }

    /// Stores an ETag with the object, encrypted like the content.
    pub fn etag(mut self, etag: impl Into<Vec<u8>>) -> Self {
        self.etag = etag.into();
        self
    }

    /// Fails with [`ErrorKind::ObjectAlreadyExists`] if there is an object under the key.
    #[doc(alias = "if_none_match")]
    pub fn if_absent(mut self, if_absent: bool) -> Self {
        self.if_absent = if_absent;
        self
    }

    /// Requires that the object consists of exactly these parts.
    ///
    /// Without receipts the satellite could drop or mix whole parts, or cut off their last segments,
    /// before the commit.
    pub fn receipts(mut self, receipts: impl IntoIterator<Item = PartReceipt>) -> Self {
        self.receipts = receipts.into_iter().collect();
        self.receipts.sort_by_key(|receipt| receipt.number);
        self
    }
}

impl Project {
    /// Begins a multipart upload and returns its id.
    ///
    /// # Errors
    /// As [`upload_object`](Self::upload_object), and those of the satellite.
    pub async fn begin_upload(&self, bucket: &str, key: impl AsRef<[u8]>) -> Result<String> {
        self.begin_upload_with(bucket, key, &BeginUploadOptions::new()).await
    }

    /// Begins a multipart upload with options and returns its id.
    ///
    /// # Errors
    /// As [`begin_upload`](Self::begin_upload), and [`ErrorKind::CustomMetadataInvalid`].
    pub async fn begin_upload_with(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        options: &BeginUploadOptions,
    ) -> Result<String> {
        check_custom_metadata(&options.custom_metadata)?;
        let session = self.session();
        let location = session.locate(bucket, key.as_ref())?;
        let metadata = match options.custom_metadata.is_empty() {
            true => None,
            // Marked, and without a seal: nothing accepts it as the metadata of a committed object.
            false => {
                let metadata = CustomMetadata::new(options.custom_metadata.clone());
                let info = StreamInfo { metadata, ..StreamInfo::default() };
                Some(seal(&location, &info, b"", true)?)
            }
        };
        let expires_at = options.expires_at;
        let begin = BeginObject { location: &location, parameters: PARAMETERS, expires_at };
        let begun = session.satellite().begin_upload(&begin, metadata.as_ref()).await;
        upload_id(&begun.map_err(|error| bucket_missing(error, bucket))?)
    }

    /// Commits a multipart upload: the object consists of all its parts, in the order of their numbers.
    ///
    /// # Errors
    /// See [`commit_upload_with`](Self::commit_upload_with).
    pub async fn commit_upload(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        upload_id: &str,
    ) -> Result<Object> {
        self.commit_upload_with(bucket, key, upload_id, &CommitUploadOptions::new()).await
    }

    /// Commits a multipart upload with options.
    ///
    /// The parts are sealed: the object's metadata records a hash over all of them, which every reader
    /// of this library checks. They come from the satellite's list, which must match the receipts, if
    /// there are any. If the access grant does not permit reading, the receipts alone are sealed; with
    /// neither, the object is committed without a seal, as other clients do. A grant that may neither
    /// read nor list does not see the metadata of the beginning, and satellites of the public network
    /// may not return it: pass it again. The satellite can omit that metadata, and cannot omit what the
    /// options set.
    ///
    /// # Errors
    /// [`ErrorKind::UploadIdInvalid`]; [`ErrorKind::ObjectNotFound`] when the upload is not pending any
    /// more; [`ErrorKind::LayoutUnauthenticated`] when the parts do not match the receipts, or when
    /// segments of a part are missing or left from an earlier attempt;
    /// [`ErrorKind::ObjectAlreadyExists`] with [`if_absent`](CommitUploadOptions::if_absent);
    /// [`ErrorKind::CommitUnknown`] when the reply was lost and its outcome cannot be queried.
    pub async fn commit_upload_with(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        upload_id: &str,
        options: &CommitUploadOptions,
    ) -> Result<Object> {
        if let Some(entries) = &options.custom_metadata {
            check_custom_metadata(entries)?;
        }
        let session = self.session();
        let location = session.locate(bucket, key.as_ref())?;
        let stream_id = stream_id(upload_id)?;
        let commit = Commit { session, location: &location, stream_id, options };
        commit.run().await
    }
}

/// The commit of one upload.
struct Commit<'a> {
    session: &'a Session,
    location: &'a Location,
    stream_id: Bytes,
    options: &'a CommitUploadOptions,
}

impl Commit<'_> {
    async fn run(&self) -> Result<Object> {
        let parts = self.parts().await?;
        let custom_metadata = self.custom_metadata().await?;
        let size = parts.as_ref().map(|parts| parts.iter().map(|part| part.size).sum());
        let metadata = self.metadata(parts, custom_metadata)?;
        let satellite = self.session.satellite();
        let commit = CommitObject {
            stream_id: self.stream_id.clone(),
            metadata: metadata.as_ref(),
            if_absent: self.options.if_absent,
        };
        let record = match satellite.commit_object(Batch::default(), commit).await {
            Ok(record) => record,
            Err(error) if error.may_have_taken_effect() => {
                self.resolve(metadata.as_ref(), error).await?
            }
            Err(error) => return Err(self.refused(error)),
        };
        let record = match &metadata {
            Some(sealed) => record.with_metadata(sealed),
            None => record,
        };
        let rules = Rules::from(self.session.config());
        let (object, _) = open(self.location, &record, rules).map_err(unknown)?;
        if size.is_some_and(|size: u64| size != object.size) {
            return Err(unknown(unauthenticated("its size does not match its parts")));
        }
        Ok(object)
    }

    /// Returns the parts to seal; `None` if they are unknown.
    async fn parts(&self) -> Result<Option<Vec<SealedPart>>> {
        let receipts: Vec<SealedPart> =
            self.options.receipts.iter().cloned().map(SealedPart::from).collect();
        if receipts.windows(2).any(|pair| pair[0].number == pair[1].number) {
            let text = "two receipts of one part";
            return Err(Error::new(ErrorKind::PartNumberInvalid, text));
        }
        match self.listed_parts().await {
            Ok(listed) if receipts.is_empty() || listed == receipts => Ok(Some(listed)),
            Ok(_) => Err(unauthenticated("its parts do not match the receipts")),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                Ok((!receipts.is_empty()).then_some(receipts))
            }
            Err(error)
                if error.kind() == ErrorKind::LayoutUnauthenticated
                    && receipts.is_empty()
                    && Rules::from(self.session.config()).accepts_unauthenticated() =>
            {
                Ok(None)
            }
            Err(error) if error.kind() == ErrorKind::Decryption => Err(self.explain(error).await),
            Err(error) => Err(self.refused(error)),
        }
    }

    /// Explains why the keys of the parts cannot be decrypted: if the upload is not pending any more, the
    /// satellite lists the segments of an object that was moved since.
    async fn explain(&self, error: Error) -> Error {
        let satellite = self.session.satellite();
        match satellite.pending_metadata(self.location, self.stream_id.clone()).await {
            Err(missing) if is_not_found(&missing) => self.refused(missing),
            _ => error,
        }
    }

    async fn listed_parts(&self) -> Result<Vec<SealedPart>> {
        let keys = ObjectKeys { parameters: PARAMETERS, content_key: &self.location.content_key };
        let satellite = self.session.satellite();
        let mut list = ListedParts::default();
        let mut next = Some(SegmentPosition::default());
        while let Some(after) = next {
            let page = satellite.list_part_segments(self.stream_id.clone(), after, &keys).await?;
            for segment in &page.items {
                list.add(segment.position, segment.plain_size, &segment.key)?;
            }
            next = page.next;
        }
        Ok(list.finish())
    }

    /// Returns the custom metadata of the options, or that of the beginning as far as the access grant
    /// and the satellite allow.
    async fn custom_metadata(&self) -> Result<BTreeMap<String, String>> {
        if let Some(entries) = &self.options.custom_metadata {
            return Ok(entries.clone());
        }
        let satellite = self.session.satellite();
        let record = match satellite.pending_metadata(self.location, self.stream_id.clone()).await {
            Ok(record) => record,
            Err(error) => {
                let is_unknown =
                    error.kind() == ErrorKind::PermissionDenied || error.is_unknown_call();
                return if is_unknown { Ok(BTreeMap::new()) } else { Err(self.refused(error)) };
            }
        };
        let metadata = record.metadata_of(PARAMETERS.suite, &self.location.content_key)?;
        let info = metadata.and_then(|opened| opened.stream_info);
        if info.as_ref().is_some_and(|info| info.chain_start.is_some() || info.parts_seal.is_some())
        {
            return Err(unauthenticated("the metadata of the upload is that of an object"));
        }
        Ok(info.map(|info| info.metadata.into_entries()).unwrap_or_default())
    }

    fn metadata(
        &self,
        parts: Option<Vec<SealedPart>>,
        custom_metadata: BTreeMap<String, String>,
    ) -> Result<Option<SealedMetadata>> {
        let etag = &self.options.etag;
        let Some(parts) = parts else {
            if custom_metadata.is_empty() && etag.is_empty() {
                return Ok(None);
            }
            let metadata = CustomMetadata::new(custom_metadata);
            let info = StreamInfo { metadata, ..StreamInfo::default() };
            return seal(self.location, &info, etag, false).map(Some);
        };
        let size: u64 = parts.iter().map(|part| part.size).sum();
        let info = StreamInfo {
            last_segment_size: to_i64(size),
            metadata: CustomMetadata::new(custom_metadata),
            parts_seal: Some(parts_seal(parts.iter().map(|part| (part.number, part.digest)))),
            ..StreamInfo::default()
        };
        seal(self.location, &info, etag, true).map(Some)
    }

    /// Queries the outcome of a commit whose reply was lost or invalid.
    async fn resolve(
        &self,
        metadata: Option<&SealedMetadata>,
        cause: Error,
    ) -> Result<ObjectRecord> {
        let Some(metadata) = metadata else { return Err(unknown(cause)) };
        let nonce = &metadata.metadata_key_nonce;
        self.session.satellite().resolve_write(self.location, nonce, cause, unknown).await
    }

    fn refused(&self, error: Error) -> Error {
        let code = error.failure().map(|failure| failure.code);
        match code {
            Some(Code::NOT_FOUND) if error.kind() != ErrorKind::BucketNotFound => {
                let key = String::from_utf8_lossy(&self.location.key);
                let bucket = &self.location.bucket;
                let text =
                    format!("no pending upload of {key:?} with this id in bucket {bucket:?}");
                Error::new(ErrorKind::ObjectNotFound, text).with_included(error)
            }
            _ if self.options.if_absent && !is_about_parts(&error) => exists(self.location, error),
            _ => bucket_missing(error, &self.location.bucket),
        }
    }
}

fn is_not_found(error: &Error) -> bool {
    error.failure().is_some_and(|failure| failure.code == Code::NOT_FOUND)
}

/// Returns whether the satellite rejects the parts: a small one, or too many. It has the same code for
/// an object that exists.
fn is_about_parts(error: &Error) -> bool {
    let is_named = |text: &str| text.contains("part number") || text.contains("number of parts");
    error.failure().is_some_and(|failure| is_named(&failure.message))
}

/// Seals metadata under a new key, which is marked if the envelope is one of this client alone.
fn seal(
    location: &Location,
    info: &StreamInfo,
    etag: &[u8],
    is_marked: bool,
) -> Result<SealedMetadata> {
    let metadata_key = match is_marked {
        true => ChainValue::new(random_secret()?).key(KeyKind::Metadata),
        false => Key::new(random_secret()?),
    };
    let keys = MetadataKeys {
        suite: PARAMETERS.suite,
        content_key: &location.content_key,
        metadata_key: &metadata_key,
        metadata_key_nonce: Nonce::new(random()?),
    };
    Ok(keys.seal(info, etag)?)
}
