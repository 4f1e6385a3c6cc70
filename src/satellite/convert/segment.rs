//! Segments: in lists, and with order limits for their download.

use std::time::SystemTime;

use bytes::Bytes;
use uplink_core::encryption::mark::KeyKind;
use uplink_core::encryption::metadata::open_part_etag;
use uplink_core::encryption::{EncryptionParameters, Key, key};
use uplink_core::id::SegmentPosition;
use uplink_core::layout;
use uplink_core::order::PieceAction;
use uplink_core::signature::VerifyingKey;
use uplink_rpc::r#gen::metainfo;
use uplink_rpc::time::system_time;
use uplink_segment::RemoteSegment;

use super::limits::{limits, piece_key, scheme};
use super::{nonce, read_position, segment_size, size};
use crate::error::{Error, Result};
use crate::layout::{ExpectedSegment, ListedSegment, unauthenticated};

/// A segment to download.
#[derive(Debug)]
pub(crate) struct SegmentDownload {
    pub(crate) position: SegmentPosition,
    pub(crate) plain_size: u64,
    pub(crate) key: Key,
    pub(crate) content: Content,
}

/// Where the bytes of a segment are.
#[derive(Debug)]
pub(crate) enum Content {
    /// At the satellite, encrypted as a whole.
    Inline(Bytes),
    /// On storage nodes, encrypted in blocks and coded into pieces.
    Remote(RemoteSegment),
}

/// Reads the reply to downloading a segment, which must be the expected one.
///
/// # Errors
/// [`ErrorKind::LayoutUnauthenticated`](crate::ErrorKind::LayoutUnauthenticated) for another segment
/// than the expected one, [`ErrorKind::Protocol`](crate::ErrorKind::Protocol) for a reply that
/// contradicts itself.
pub(in super::super) fn segment_download(
    reply: metainfo::DownloadSegmentResponse,
    expected: &ExpectedSegment,
    object: &ObjectKeys<'_>,
    satellite: &VerifyingKey,
) -> Result<SegmentDownload> {
    let extent = expected.extent;
    let claimed = (size(reply.plain_offset, "a segment")?, segment_size(reply.plain_size)?);
    // Satellites have neither offset nor size for objects migrated from old formats.
    let migrated = expected.inline.is_none() && claimed == (0, 0);
    let position = read_position(reply.position)?;
    if position != expected.position || (claimed != (extent.offset, extent.size) && !migrated) {
        return Err(unauthenticated("the satellite sent a different segment than expected"));
    }
    let key = object.segment_key(&reply.encrypted_key_nonce, &reply.encrypted_key)?;
    if expected.key.as_ref().is_some_and(|expected| *expected != key) {
        return Err(unauthenticated("the key of a segment does not match the expected one"));
    }
    let remote = reply.addressed_limits.iter().any(|offered| offered.limit.is_some());
    if expected.inline.is_some_and(|inline| inline == remote) {
        return Err(unauthenticated("a segment is inline or remote contrary to the record"));
    }
    let content = if remote {
        let scheme = scheme(reply.redundancy_scheme.as_ref())?;
        let encrypted = layout::encrypted_size(extent.size, object.parameters.block_size)?;
        if size(reply.segment_size, "a segment")? != encrypted {
            return Err(Error::protocol(
                "the encrypted size of a segment does not match its content",
            ));
        }
        let limits = limits(reply.addressed_limits, &scheme, PieceAction::Get, 1, satellite)?;
        Content::Remote(RemoteSegment { piece_key: piece_key(&reply.private_key)?, limits, scheme })
    } else {
        let sealed = reply.encrypted_inline_data;
        if extent.size > layout::MAX_INLINE_SIZE
            || sealed.len() as u64 != layout::inline_encrypted_size(extent.size)?
        {
            return Err(Error::protocol(
                "the size of an inline segment does not match its content",
            ));
        }
        Content::Inline(sealed)
    };
    Ok(SegmentDownload { position, plain_size: extent.size, key, content })
}

/// The key and parameters that wrap the keys of an object's segments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ObjectKeys<'a> {
    pub(crate) parameters: EncryptionParameters,
    pub(crate) content_key: &'a Key,
}

impl ObjectKeys<'_> {
    /// Unwraps the key of a segment (R1). There must be one, and it must not be a metadata key.
    pub(super) fn segment_key(&self, nonce: &[u8], wrapped: &[u8]) -> Result<Key> {
        let nonce = self::nonce(nonce)?;
        let key = key::unwrap_key(self.parameters.suite, self.content_key, &nonce, wrapped)?;
        if KeyKind::of(&key) == Some(KeyKind::Metadata) {
            return Err(unauthenticated("a segment is encrypted with a metadata key"));
        }
        Ok(key)
    }
}

/// One page of a segment listing.
#[derive(Debug)]
pub(crate) struct SegmentPage {
    pub(crate) segments: Vec<ListedSegment>,
    pub(crate) more: bool,
}

/// Reads one page of a segment listing.
pub(in super::super) fn page(
    reply: &metainfo::ListSegmentsResponse,
    object: &ObjectKeys<'_>,
) -> Result<SegmentPage> {
    if reply.items.len() > MAX_LISTED_SEGMENTS {
        return Err(Error::protocol("page of a segment list: more items than requested"));
    }
    let read = |item: &metainfo::SegmentListItem| {
        Ok(ListedSegment {
            position: read_position(item.position)?,
            offset: size(item.plain_offset, "a segment")?,
            plain_size: segment_size(item.plain_size)?,
            key: object.segment_key(&item.encrypted_key_nonce, &item.encrypted_key)?,
        })
    };
    let segments: Result<_> = reply.items.iter().map(read).collect();
    Ok(SegmentPage { segments: segments?, more: reply.more })
}

/// A segment of an upload that is not committed. Its offset is unknown.
#[derive(Debug)]
pub(crate) struct PartSegment {
    pub(crate) position: SegmentPosition,
    pub(crate) plain_size: u64,
    pub(crate) created_at: Option<SystemTime>,
    pub(crate) key: Key,
    /// That of the part if this is its last segment; `None` if it has none.
    pub(crate) etag: Option<Vec<u8>>,
}

/// Reads one page of the segments of an upload, whose positions ascend from `after`.
pub(in super::super) fn part_segments(
    reply: &metainfo::ListSegmentsResponse,
    after: SegmentPosition,
    object: &ObjectKeys<'_>,
) -> Result<Vec<PartSegment>> {
    if reply.items.len() > MAX_LISTED_SEGMENTS {
        return Err(Error::protocol("page of a segment list: more items than requested"));
    }
    let mut segments: Vec<PartSegment> = Vec::with_capacity(reply.items.len());
    for item in &reply.items {
        let position = read_position(item.position)?;
        // The first segment is at the position that also means the start.
        let is_first = segments.is_empty() && after == SegmentPosition::default();
        let last = segments.last().map_or(after, |last| last.position);
        if position < last || (position == last && !is_first) {
            return Err(Error::protocol("page of a segment list: positions do not ascend"));
        }
        let key = object.segment_key(&item.encrypted_key_nonce, &item.encrypted_key)?;
        let etag = match item.encrypted_e_tag.as_ref() {
            [] => None,
            sealed => Some(open_part_etag(object.parameters.suite, &key, sealed)?),
        };
        let created_at = system_time(item.created_at.as_ref());
        let plain_size = segment_size(item.plain_size)?;
        segments.push(PartSegment { position, plain_size, created_at, key, etag });
    }
    Ok(segments)
}

/// Maximum segments of a page: twice as many as satellites list.
const MAX_LISTED_SEGMENTS: usize = 2_000;
