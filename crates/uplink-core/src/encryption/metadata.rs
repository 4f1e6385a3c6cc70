//! The encrypted envelope around an object's metadata.
//!
//! ```text
//! custom metadata ─ SerializableMeta ─► StreamInfo{sizes, count, chain or seal, metadata}
//!                                          │ sealed under a random metadata key, zero nonce
//!                                          ▼
//!                     StreamMeta{encrypted_stream_info}     ETag: same key, nonce 1
//!                     metadata key: wrapped under the object's content key, random nonce
//! ```
//!
//! In addition to the fields of the public network, this client writes the number of segments, and the
//! first value of the segment key chain (streams) or the parts seal (multipart objects) into the
//! `StreamInfo`. Other clients skip these unknown fields. See [`mark`](super::mark).

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::key::{part_etag_key, unwrap_key, wrap_key};
use super::mark::{ChainValue, KeyKind};
use super::{CipherSuite, ContentCipher, EncryptionError, Key, Nonce};
use crate::wire::{Reader, WireError, put_bytes, put_int64, put_message};

/// The writer's encrypted description of an object, which the satellite cannot forge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamInfo {
    /// Number of segments, if the writer recorded it; 0 otherwise.
    pub number_of_segments: i64,
    /// Plain size of every segment but the last, or 0 for multipart objects.
    pub segments_size: i64,
    /// Plain size of the last segment, or 0 for multipart objects.
    pub last_segment_size: i64,
    /// Custom metadata.
    pub metadata: CustomMetadata,
    /// The seal over the parts of a multipart object, if the writer recorded it; see
    /// [`parts_seal`](super::mark::parts_seal).
    pub parts_seal: Option<[u8; 32]>,
    /// The first value of the segment key chain of a stream object, if the writer recorded it; see
    /// [`Chain`](super::mark::Chain).
    pub chain_start: Option<ChainValue>,
}

impl StreamInfo {
    /// Serializes deterministically.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut message = Vec::new();
        put_int64(&mut message, 1, self.number_of_segments);
        put_int64(&mut message, 2, self.segments_size);
        put_int64(&mut message, 3, self.last_segment_size);
        put_bytes(&mut message, 4, &self.metadata.encode());
        if let Some(seal) = &self.parts_seal {
            put_bytes(&mut message, PARTS_SEAL_FIELD, seal);
        }
        if let Some(value) = &self.chain_start {
            put_bytes(&mut message, CHAIN_START_FIELD, value.expose());
        }
        message
    }

    /// Decodes the serialized form. A seal must have 32 bytes, a chain value 26.
    pub fn decode(message: &[u8]) -> Result<Self, MetadataError> {
        let mut info = Self::default();
        let mut reader = Reader::new(message);
        while let Some(field) = reader.next()? {
            match field.number {
                1 => info.number_of_segments = field.int64()?,
                2 => info.segments_size = field.int64()?,
                3 => info.last_segment_size = field.int64()?,
                4 => info.metadata = CustomMetadata::decode(field.bytes()?)?,
                PARTS_SEAL_FIELD => {
                    let seal = field.bytes()?.try_into().map_err(|_| MetadataError::SealLength)?;
                    info.parts_seal = Some(seal);
                }
                CHAIN_START_FIELD => {
                    let value = ChainValue::from_slice(field.bytes()?);
                    info.chain_start = Some(value.ok_or(MetadataError::ChainStartLength)?);
                }
                _ => {}
            }
        }
        Ok(info)
    }
}

/// Custom metadata of an object: text keys with text values, serialized in the order of the keys.
///
/// Does not validate new metadata (no empty key, no NUL); callers that accept user input must.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CustomMetadata(BTreeMap<String, String>);

impl CustomMetadata {
    /// Wraps a map.
    #[must_use]
    pub const fn new(entries: BTreeMap<String, String>) -> Self {
        Self(entries)
    }

    /// Returns a reference to the entries.
    #[must_use]
    pub const fn entries(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Consumes the metadata and returns the entries.
    #[must_use]
    pub fn into_entries(self) -> BTreeMap<String, String> {
        self.0
    }

    fn encode(&self) -> Vec<u8> {
        let mut message = Vec::new();
        for (key, value) in &self.0 {
            let mut entry = Vec::new();
            put_bytes(&mut entry, 1, key.as_bytes());
            put_bytes(&mut entry, 2, value.as_bytes());
            put_message(&mut message, 2, &entry);
        }
        message
    }

    /// Decodes the serialized form. The content type, a separate field in old objects, is returned
    /// under the key `content-type` unless that is set.
    fn decode(message: &[u8]) -> Result<Self, WireError> {
        let mut content_type = "";
        let mut entries = BTreeMap::new();
        let mut reader = Reader::new(message);
        while let Some(field) = reader.next()? {
            match field.number {
                1 => content_type = field.text()?,
                2 => {
                    let (key, value) = map_entry(field.bytes()?)?;
                    entries.insert(key.to_owned(), value.to_owned());
                }
                _ => {}
            }
        }
        if !content_type.is_empty() {
            entries.entry("content-type".to_owned()).or_insert_with(|| content_type.to_owned());
        }
        Ok(Self(entries))
    }
}

fn map_entry(message: &[u8]) -> Result<(&str, &str), WireError> {
    let mut key = "";
    let mut value = "";
    let mut reader = Reader::new(message);
    while let Some(field) = reader.next()? {
        match field.number {
            1 => key = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
    }
    Ok((key, value))
}

/// The unencrypted envelope: as stored by a satellite, with the fields it adds when returning an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamMeta {
    /// The sealed [`StreamInfo`].
    pub encrypted_stream_info: Vec<u8>,
    /// Number of the cipher suite, filled by satellites.
    pub encryption_type: i32,
    /// Encrypted block size, filled by satellites.
    pub encryption_block_size: i32,
    /// The wrapped metadata key as old clients expect it, filled by satellites.
    pub last_segment_meta: Option<SegmentMeta>,
    /// Number of segments, filled by satellites.
    pub number_of_segments: i64,
}

/// A wrapped metadata key and its nonce, inside a [`StreamMeta`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentMeta {
    /// The wrapped key.
    pub encrypted_key: Vec<u8>,
    /// The nonce of the wrapping.
    pub key_nonce: Vec<u8>,
}

impl StreamMeta {
    /// Serializes the envelope.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut message = Vec::new();
        put_bytes(&mut message, 1, &self.encrypted_stream_info);
        put_int64(&mut message, 2, self.encryption_type.into());
        put_int64(&mut message, 3, self.encryption_block_size.into());
        if let Some(segment) = &self.last_segment_meta {
            let mut inner = Vec::new();
            put_bytes(&mut inner, 1, &segment.encrypted_key);
            put_bytes(&mut inner, 2, &segment.key_nonce);
            put_message(&mut message, 4, &inner);
        }
        put_int64(&mut message, 5, self.number_of_segments);
        message
    }

    /// Returns the wrapped metadata key and its nonce: those sent with the object or, if the satellite
    /// sent none, those in the envelope.
    #[must_use]
    pub fn metadata_key_or<'a>(
        &'a self,
        encrypted_key: &'a [u8],
        key_nonce: &'a [u8],
    ) -> (&'a [u8], &'a [u8]) {
        match &self.last_segment_meta {
            Some(segment) if encrypted_key.is_empty() => {
                (&segment.encrypted_key, &segment.key_nonce)
            }
            _ => (encrypted_key, key_nonce),
        }
    }

    /// Decodes an envelope.
    pub fn decode(message: &[u8]) -> Result<Self, WireError> {
        let mut meta = Self::default();
        let mut reader = Reader::new(message);
        while let Some(field) = reader.next()? {
            match field.number {
                1 => meta.encrypted_stream_info = field.bytes()?.to_vec(),
                2 => meta.encryption_type = field.int32()?,
                3 => meta.encryption_block_size = field.int32()?,
                4 => {
                    let segment = meta.last_segment_meta.get_or_insert_default();
                    segment.merge(field.bytes()?)?;
                }
                5 => meta.number_of_segments = field.int64()?,
                _ => {}
            }
        }
        Ok(meta)
    }
}

impl SegmentMeta {
    fn merge(&mut self, message: &[u8]) -> Result<(), WireError> {
        let mut reader = Reader::new(message);
        while let Some(field) = reader.next()? {
            match field.number {
                1 => self.encrypted_key = field.bytes()?.to_vec(),
                2 => self.key_nonce = field.bytes()?.to_vec(),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The four fields of an object that contain its metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SealedMetadata {
    /// A serialized [`StreamMeta`] that holds only the sealed stream info.
    pub encrypted_metadata: Vec<u8>,
    /// The metadata key, wrapped under the object's content key.
    pub encrypted_metadata_key: [u8; Key::WRAPPED_SIZE],
    /// The nonce of that wrapping.
    pub metadata_key_nonce: Nonce,
    /// The sealed ETag; empty if there is none.
    pub encrypted_etag: Vec<u8>,
}

/// Keys of one metadata envelope.
#[derive(Debug)]
pub struct MetadataKeys<'a> {
    /// Suite of the object.
    pub suite: CipherSuite,
    /// The object's content key.
    pub content_key: &'a Key,
    /// The metadata key: random, and used for this envelope only.
    pub metadata_key: &'a Key,
    /// The nonce that wraps the metadata key: random.
    pub metadata_key_nonce: Nonce,
}

impl MetadataKeys<'_> {
    /// Seals the stream info and the ETag, which may be empty.
    pub fn seal(&self, info: &StreamInfo, etag: &[u8]) -> Result<SealedMetadata, EncryptionError> {
        let cipher = ContentCipher::new(self.suite, self.metadata_key)?;
        let info = Zeroizing::new(info.encode());
        // Not `seal_whole`: an empty stream info must be authenticated too.
        let encrypted_stream_info = seal_always(&cipher, &Nonce::ZERO, &info)?;
        let encrypted_metadata =
            StreamMeta { encrypted_stream_info, ..StreamMeta::default() }.encode();
        Ok(SealedMetadata {
            encrypted_metadata,
            encrypted_metadata_key: wrap_key(
                self.suite,
                self.content_key,
                &self.metadata_key_nonce,
                self.metadata_key,
            )?,
            metadata_key_nonce: self.metadata_key_nonce,
            encrypted_etag: cipher.seal_whole(&Nonce::ONE, etag)?,
        })
    }

    /// Seals like [`seal`](Self::seal), or returns `None` if there is nothing to seal, as in the commit
    /// of a multipart object without metadata. The key and nonce must not be sent without data.
    pub fn seal_if_any(
        &self,
        info: &StreamInfo,
        etag: &[u8],
    ) -> Result<Option<SealedMetadata>, EncryptionError> {
        if *info == StreamInfo::default() && etag.is_empty() {
            return Ok(None);
        }
        self.seal(info, etag).map(Some)
    }
}

/// Metadata as a satellite returned it, with the suite of the object.
#[derive(Clone, Copy, Debug)]
pub struct EncryptedMetadata<'a> {
    /// Suite of the object, already checked against what the caller permits.
    pub suite: CipherSuite,
    /// The sealed stream info out of a [`StreamMeta`]; may be empty.
    pub encrypted_stream_info: &'a [u8],
    /// The wrapped metadata key; may be empty.
    pub encrypted_metadata_key: &'a [u8],
    /// The nonce of the wrapping; may be empty.
    pub metadata_key_nonce: &'a [u8],
    /// The sealed ETag; may be empty.
    pub encrypted_etag: &'a [u8],
}

/// Opened metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenedMetadata {
    /// The stream info; `None` if only an ETag came.
    pub stream_info: Option<StreamInfo>,
    /// The ETag; empty if there is none.
    pub etag: Vec<u8>,
    /// What the metadata key is marked as.
    pub key_kind: Option<KeyKind>,
}

impl EncryptedMetadata<'_> {
    /// Opens metadata with the object's content key.
    ///
    /// Returns `None` if the object has no metadata, that is, neither data nor key. Data without a key
    /// or with a key of the wrong length is an error; it is never opened with an empty key.
    pub fn open(&self, content_key: &Key) -> Result<Option<OpenedMetadata>, MetadataError> {
        if self.encrypted_stream_info.is_empty()
            && self.encrypted_etag.is_empty()
            && self.encrypted_metadata_key.is_empty()
        {
            return Ok(None);
        }
        let nonce = Nonce::from_slice(self.metadata_key_nonce)
            .ok_or(MetadataError::Nonce(self.metadata_key_nonce.len()))?;
        let key = unwrap_key(self.suite, content_key, &nonce, self.encrypted_metadata_key)?;
        let cipher = ContentCipher::new(self.suite, &key)?;
        let stream_info = if self.encrypted_stream_info.is_empty() {
            None
        } else {
            let info = cipher.open_whole(&Nonce::ZERO, self.encrypted_stream_info)?;
            Some(StreamInfo::decode(&Zeroizing::new(info))?)
        };
        Ok(Some(OpenedMetadata {
            stream_info,
            etag: cipher.open_whole(&Nonce::ONE, self.encrypted_etag)?,
            key_kind: KeyKind::of(&key),
        }))
    }

    /// Opens metadata in a listing: like [`open`](Self::open), but returns `None` for an unsupported
    /// suite, so that one object of a different client does not fail the whole listing.
    pub fn open_listed(&self, content_key: &Key) -> Result<Option<OpenedMetadata>, MetadataError> {
        if self.suite.is_supported() { self.open(content_key) } else { Ok(None) }
    }
}

/// The sealed ETag of a part with its wrapped key, as listed with the part's last segment.
#[derive(Clone, Copy, Debug)]
pub struct EncryptedPartEtag<'a> {
    /// Suite of the object.
    pub suite: CipherSuite,
    /// The wrapped key of the segment; may be empty.
    pub encrypted_key: &'a [u8],
    /// The nonce of the wrapping; may be empty.
    pub key_nonce: &'a [u8],
    /// The sealed ETag; empty if the part has none.
    pub encrypted_etag: &'a [u8],
}

impl EncryptedPartEtag<'_> {
    /// Opens the ETag with the object's content key.
    ///
    /// Returns `None` if the part has no ETag or an unsupported suite, which must not fail a listing
    /// of parts. An ETag without the segment's key is an error.
    pub fn open(&self, content_key: &Key) -> Result<Option<Vec<u8>>, MetadataError> {
        if self.encrypted_etag.is_empty() || !self.suite.is_supported() {
            return Ok(None);
        }
        let nonce =
            Nonce::from_slice(self.key_nonce).ok_or(MetadataError::Nonce(self.key_nonce.len()))?;
        let segment_key = unwrap_key(self.suite, content_key, &nonce, self.encrypted_key)?;
        Ok(Some(open_part_etag(self.suite, &segment_key, self.encrypted_etag)?))
    }
}

/// Seals the ETag of a part under a key derived from that of the part's last segment.
pub fn seal_part_etag(
    suite: CipherSuite,
    segment_key: &Key,
    etag: &[u8],
) -> Result<Vec<u8>, EncryptionError> {
    ContentCipher::new(suite, &part_etag_key(segment_key))?.seal_whole(&Nonce::ZERO, etag)
}

/// Opens an ETag sealed by [`seal_part_etag`].
pub fn open_part_etag(
    suite: CipherSuite,
    segment_key: &Key,
    sealed: &[u8],
) -> Result<Vec<u8>, EncryptionError> {
    ContentCipher::new(suite, &part_etag_key(segment_key))?.open_whole(&Nonce::ZERO, sealed)
}

/// Why metadata could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// The cipher failed, or a length is wrong.
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
    /// A message inside is malformed.
    #[error("malformed object metadata: {0}")]
    Message(#[from] WireError),
    /// The nonce of a wrapped key is not 24 bytes long.
    #[error("invalid nonce of a wrapped key: {0} bytes, expected 24")]
    Nonce(usize),
    /// The first value of the chain of segment keys is not 26 bytes long.
    #[error("invalid first value of the segment key chain: expected 26 bytes")]
    ChainStartLength,
    /// The parts seal is not 32 bytes long.
    #[error("invalid parts seal: expected 32 bytes")]
    SealLength,
}

const PARTS_SEAL_FIELD: u32 = 100;
const CHAIN_START_FIELD: u32 = 101;

fn seal_always(
    cipher: &ContentCipher,
    nonce: &Nonce,
    plain: &[u8],
) -> Result<Vec<u8>, EncryptionError> {
    let mut sealed = vec![0; plain.len().saturating_add(cipher.overhead())];
    cipher.seal_block(nonce, 0, plain, &mut sealed)?;
    Ok(sealed)
}
