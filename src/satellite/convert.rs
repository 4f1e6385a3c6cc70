//! Wire → domain: every check of what a satellite says, in one place.
//!
//! The satellite is not trusted with integrity. Sizes, positions, keys and order limits become
//! domain types here or the answer is refused; past this file nobody checks again.

#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

use std::collections::HashSet;

use bytes::Bytes;
use uplink_core::encryption::mark::KeyKind;
use uplink_core::encryption::metadata::{EncryptedMetadata, OpenedMetadata, StreamMeta};
use uplink_core::encryption::{CipherSuite, EncryptionParameters, Key, Nonce, key};
use uplink_core::erasure::Scheme;
use uplink_core::id::{NodeId, SegmentPosition};
use uplink_core::layout;
use uplink_core::node_url::NodeUrl;
use uplink_core::order::{OrderLimit, PieceAction, PiecePrivateKey};
use uplink_core::signature::VerifyingKey;
use uplink_rpc::r#gen::encryption;
use uplink_rpc::r#gen::metainfo::{self, AddressedOrderLimit};
use uplink_rpc::r#gen::pointerdb::RedundancyScheme;
use uplink_rpc::raw;

use crate::error::{Error, Result};
use crate::layout::{ExpectedSegment, ListedSegment, SaidSize, unauthenticated};

/// One piece that may be moved: its number, and the node's order limit and address.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) piece: u16,
    pub(crate) node: NodeId,
    pub(crate) address: String,
    pub(crate) limit: raw::OrderLimit,
}

/// A segment that may be uploaded.
#[derive(Clone, Debug)]
pub(crate) struct BegunSegment {
    pub(crate) segment_id: Bytes,
    pub(crate) scheme: Scheme,
    pub(crate) piece_key: PiecePrivateKey,
    /// One per piece number, in order.
    pub(crate) offers: Vec<Offer>,
    /// Pieces that must be stored before the segment may be committed.
    pub(crate) needed: u16,
}

/// A segment that may be downloaded.
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
    /// With the satellite: sealed in one piece.
    Inline(Bytes),
    /// On storage nodes: sealed in blocks, coded into pieces.
    Remote(RemoteSegment),
}

/// A remote segment's pieces.
#[derive(Debug)]
pub(crate) struct RemoteSegment {
    pub(crate) scheme: Scheme,
    pub(crate) piece_key: PiecePrivateKey,
    pub(crate) offers: Vec<Offer>,
}

/// Reads the parameters of an object's encryption; unencrypted content is refused.
pub(crate) fn parameters(
    wire: Option<&encryption::EncryptionParameters>,
) -> Result<EncryptionParameters> {
    let wire = wire.ok_or_else(|| Error::protocol("an object has no encryption parameters"))?;
    let suite = CipherSuite::from_number(u64::try_from(wire.cipher_suite).unwrap_or(u64::MAX));
    if matches!(suite, CipherSuite::Null | CipherSuite::NullBase64Url) {
        return Err(Error::protocol("the satellite offers unencrypted content, which is refused"));
    }
    Ok(EncryptionParameters::new(suite, wire.block_size)?)
}

/// Opens the metadata envelope of an object; `None` when it carries none.
pub(crate) fn metadata(
    suite: CipherSuite,
    content_key: &Key,
    sealed: &SealedFields<'_>,
) -> Result<Option<OpenedMetadata>> {
    let meta = stream_meta(sealed.metadata)?;
    match sealed.envelope(suite, &meta) {
        Some(envelope) => Ok(envelope.open(content_key)?),
        None => Ok(None),
    }
}

/// Opens the metadata envelope of a listing item, whose suite the satellite puts into the envelope.
/// `None` when it carries none, or one of a suite that this client does not know.
pub(crate) fn listed_metadata(
    content_key: &Key,
    sealed: &SealedFields<'_>,
) -> Result<Option<OpenedMetadata>> {
    let meta = stream_meta(sealed.metadata)?;
    let number = u64::try_from(meta.encryption_type).unwrap_or(u64::MAX);
    match sealed.envelope(CipherSuite::from_number(number), &meta) {
        Some(envelope) => Ok(envelope.open_listed(content_key)?),
        None => Ok(None),
    }
}

fn stream_meta(message: &[u8]) -> Result<StreamMeta> {
    StreamMeta::decode(message)
        .map_err(|error| Error::protocol(format!("object metadata: {error}")))
}

/// The sealed fields that objects and listing items have in common.
#[derive(Debug)]
pub(crate) struct SealedFields<'a> {
    metadata: &'a [u8],
    key: &'a [u8],
    nonce: &'a [u8],
    etag: &'a [u8],
}

impl SealedFields<'_> {
    /// What there is to open; a key alone opens nothing, and some satellites keep one.
    fn envelope<'b>(
        &'b self,
        suite: CipherSuite,
        meta: &'b StreamMeta,
    ) -> Option<EncryptedMetadata<'b>> {
        let (key, nonce) = meta.metadata_key_or(self.key, self.nonce);
        let envelope = EncryptedMetadata {
            suite,
            encrypted_stream_info: &meta.encrypted_stream_info,
            encrypted_metadata_key: key,
            metadata_key_nonce: nonce,
            encrypted_etag: self.etag,
        };
        let is_empty =
            envelope.encrypted_stream_info.is_empty() && envelope.encrypted_etag.is_empty();
        (!is_empty).then_some(envelope)
    }
}

impl<'a> From<&'a metainfo::Object> for SealedFields<'a> {
    fn from(object: &'a metainfo::Object) -> Self {
        Self {
            metadata: &object.encrypted_metadata,
            key: &object.encrypted_metadata_encrypted_key,
            nonce: &object.encrypted_metadata_nonce,
            etag: &object.encrypted_etag,
        }
    }
}

impl<'a> From<&'a metainfo::ObjectListItem> for SealedFields<'a> {
    fn from(item: &'a metainfo::ObjectListItem) -> Self {
        Self {
            metadata: &item.encrypted_metadata,
            key: &item.encrypted_metadata_encrypted_key,
            nonce: &item.encrypted_metadata_nonce,
            etag: &item.encrypted_etag,
        }
    }
}

/// What the satellite says of an object's size.
pub(crate) fn said_size(object: &metainfo::Object) -> Result<SaidSize> {
    said(object.plain_size, &object.encrypted_metadata)
}

/// What the satellite says of the size of an object in a listing.
pub(crate) fn listed_size(item: &metainfo::ObjectListItem) -> Result<SaidSize> {
    said(item.plain_size, &item.encrypted_metadata)
}

fn said(plain: i64, metadata: &[u8]) -> Result<SaidSize> {
    let segments = stream_meta(metadata)?.number_of_segments;
    let (plain, segments) = (size(plain, "an object")?, u64::try_from(segments).unwrap_or(0));
    Ok(SaidSize { plain, segments })
}

/// Reads an answer to beginning a segment.
pub(crate) fn begun_segment(
    reply: metainfo::BeginSegmentResponse,
    satellite: &VerifyingKey,
) -> Result<BegunSegment> {
    let scheme = scheme(reply.redundancy_scheme.as_ref())?;
    let offers = upload_offers(reply.addressed_limits, &scheme, satellite)?;
    if reply.segment_id.is_empty() {
        return Err(Error::protocol("a segment was begun without an id"));
    }
    let cohort = reply.cohort_requirements.as_ref().map_or(Ok(0), |wanted| cohort(wanted, 0))?;
    Ok(BegunSegment {
        segment_id: reply.segment_id,
        piece_key: piece_key(&reply.private_key)?,
        needed: scheme.optimal().max(cohort),
        scheme,
        offers,
    })
}

/// Reads the order limits of an upload: exactly one per piece number.
pub(crate) fn upload_offers(
    limits: Vec<AddressedOrderLimit>,
    scheme: &Scheme,
    satellite: &VerifyingKey,
) -> Result<Vec<Offer>> {
    let offers = offers(limits, scheme, PieceAction::Put, 0, satellite)?;
    if offers.len() == usize::from(scheme.total()) {
        return Ok(offers);
    }
    let (found, wanted) = (offers.len(), scheme.total());
    Err(Error::protocol(format!("{found} order limits for an upload of {wanted} pieces")))
}

/// Pieces that a cohort requirement asks for at least. Requirements over node tags are refused:
/// storing fewer pieces than the satellite wants would waste the upload.
fn cohort(wanted: &metainfo::CohortRequirements, depth: usize) -> Result<u16> {
    use metainfo::cohort_requirements::Requirement;
    const DEPTH: usize = 8;
    match &wanted.requirement {
        Some(Requirement::Literal(literal)) => u16::try_from(literal.value)
            .map_err(|_| Error::protocol("a cohort requirement is out of range")),
        Some(Requirement::And(and)) if depth < DEPTH => {
            let (mut each, depth) = (and.requirements.iter(), depth.saturating_add(1));
            each.try_fold(0, |most, one| Ok(most.max(cohort(one, depth)?)))
        }
        None => Ok(0),
        _ => Err(Error::protocol("the satellite asks for a cohort that this client cannot meet")),
    }
}

/// Reads an answer to downloading a segment, which must be the expected one.
///
/// # Errors
/// [`ErrorKind::LayoutUnauthenticated`](crate::ErrorKind::LayoutUnauthenticated) for another segment
/// than the expected one, [`ErrorKind::Protocol`](crate::ErrorKind::Protocol) for an answer that
/// contradicts itself.
pub(crate) fn segment_download(
    reply: metainfo::DownloadSegmentResponse,
    expected: &ExpectedSegment,
    object: &ObjectKeys<'_>,
    satellite: &VerifyingKey,
) -> Result<SegmentDownload> {
    let extent = expected.extent;
    let said = (size(reply.plain_offset, "a segment")?, segment_size(reply.plain_size)?);
    // Satellites have neither offset nor size of objects that were migrated from old formats.
    let migrated = expected.inline.is_none() && said == (0, 0);
    let position = read_position(reply.position)?;
    if position != expected.position || (said != (extent.offset, extent.size) && !migrated) {
        return Err(unauthenticated("the satellite sent another segment than the expected one"));
    }
    let key = object.segment_key(&reply.encrypted_key_nonce, &reply.encrypted_key)?;
    if expected.key.as_ref().is_some_and(|expected| *expected != key) {
        return Err(unauthenticated("a segment has another key than the expected one"));
    }
    let remote = reply.addressed_limits.iter().any(|offered| offered.limit.is_some());
    if expected.inline.is_some_and(|inline| inline == remote) {
        return Err(unauthenticated("a segment is kept by other servers than its writer chose"));
    }
    let content = if remote {
        let scheme = scheme(reply.redundancy_scheme.as_ref())?;
        let encrypted = layout::encrypted_size(extent.size, object.parameters.block_size)?;
        if size(reply.segment_size, "a segment")? != encrypted {
            return Err(Error::protocol(
                "the encrypted size of a segment is not that of its content",
            ));
        }
        let offers = offers(reply.addressed_limits, &scheme, PieceAction::Get, 1, satellite)?;
        Content::Remote(RemoteSegment { piece_key: piece_key(&reply.private_key)?, offers, scheme })
    } else {
        let sealed = reply.encrypted_inline_data;
        if extent.size > layout::MAX_INLINE_SIZE
            || sealed.len() as u64 != layout::inline_encrypted_size(extent.size)?
        {
            return Err(Error::protocol("an inline segment has another size than its content"));
        }
        Content::Inline(sealed)
    };
    Ok(SegmentDownload { position, plain_size: extent.size, key, content })
}

/// What the keys of an object's segments are wrapped with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ObjectKeys<'a> {
    pub(crate) parameters: EncryptionParameters,
    pub(crate) content_key: &'a Key,
}

impl ObjectKeys<'_> {
    /// Opens the key of a segment (R1): a key must be there, and it must not be that of metadata.
    fn segment_key(&self, nonce: &[u8], wrapped: &[u8]) -> Result<Key> {
        let nonce = self::nonce(nonce)?;
        let key = key::unwrap_key(self.parameters.suite, self.content_key, &nonce, wrapped)?;
        if KeyKind::of(&key) == Some(KeyKind::Metadata) {
            return Err(unauthenticated("a segment is sealed with the key of metadata"));
        }
        Ok(key)
    }
}

/// Reads one page of a segment listing.
pub(crate) fn listed_segments(
    items: &[metainfo::SegmentListItem],
    object: &ObjectKeys<'_>,
) -> Result<Vec<ListedSegment>> {
    if items.len() > MAX_LISTED_SEGMENTS {
        return Err(Error::protocol("a page of a segment listing is larger than asked for"));
    }
    let read = |item: &metainfo::SegmentListItem| {
        Ok(ListedSegment {
            position: read_position(item.position)?,
            offset: size(item.plain_offset, "a segment")?,
            plain_size: segment_size(item.plain_size)?,
            key: object.segment_key(&item.encrypted_key_nonce, &item.encrypted_key)?,
        })
    };
    items.iter().map(read).collect()
}

/// Segments of one page that are accepted: twice as many as satellites list.
const MAX_LISTED_SEGMENTS: usize = 2_000;

fn offers(
    limits: Vec<AddressedOrderLimit>,
    scheme: &Scheme,
    action: PieceAction,
    least: i64,
    satellite: &VerifyingKey,
) -> Result<Vec<Offer>> {
    if limits.len() > usize::from(scheme.total()) {
        return Err(Error::protocol("more order limits than pieces"));
    }
    let (mut offers, mut nodes) = (Vec::with_capacity(limits.len()), HashSet::new());
    for (piece, addressed) in (0_u16..).zip(limits) {
        let Some(limit) = addressed.limit else { continue };
        let typed = if offers.is_empty() {
            // One signature stands for the response; a node checks its own anyway.
            OrderLimit::verify(limit.wire(), satellite)
                .map_err(|error| Error::protocol(format!("order limit: {error}")))?
        } else {
            limit
                .decode_typed()
                .map_err(|error| Error::protocol(format!("order limit: {error}")))?
        };
        if typed.action != i32::from(action) || typed.limit < least {
            return Err(Error::protocol("an order limit is for something else"));
        }
        let node = NodeId::from_slice(&typed.storage_node_id)
            .map_err(|error| Error::protocol(format!("order limit: {error}")))?;
        if !nodes.insert(node) {
            return Err(Error::protocol("two order limits name the same node"));
        }
        let address = addressed.storage_node_address.map(|address| address.address);
        let address = node_address(address.unwrap_or_default())?;
        offers.push(Offer { piece, node, address, limit });
    }
    Ok(offers)
}

/// Longest address of a storage node: a domain name has at most 253 bytes.
const MAX_ADDRESS: usize = 272;

/// Checks that an address is a name or IP address with a port.
fn node_address(address: String) -> Result<String> {
    let size = address.len();
    let url = address.parse::<NodeUrl>().ok().filter(|_| size <= MAX_ADDRESS);
    match url {
        Some(url) if url.address == address && url.host_port().is_some() => Ok(address),
        _ => Err(Error::protocol(format!("invalid storage node address of {size} bytes"))),
    }
}

fn scheme(wire: Option<&RedundancyScheme>) -> Result<Scheme> {
    let wire = wire.ok_or_else(|| Error::protocol("a segment has no redundancy scheme"))?;
    if wire.r#type() != uplink_rpc::r#gen::pointerdb::redundancy_scheme::SchemeType::Rs {
        return Err(Error::protocol("a segment has an unknown kind of redundancy"));
    }
    Scheme::from_wire(
        wire.min_req,
        wire.repair_threshold,
        wire.success_threshold,
        wire.total,
        wire.erasure_share_size,
    )
    .map_err(|error| Error::protocol(format!("redundancy scheme: {error}")))
}

fn piece_key(bytes: &[u8]) -> Result<PiecePrivateKey> {
    PiecePrivateKey::from_bytes(bytes).map_err(|error| Error::protocol(error.to_string()))
}

fn nonce(bytes: &[u8]) -> Result<Nonce> {
    let length = bytes.len();
    Nonce::from_slice(bytes)
        .ok_or_else(|| Error::protocol(format!("a nonce has {length} bytes instead of 24")))
}

fn read_position(wire: Option<metainfo::SegmentPosition>) -> Result<SegmentPosition> {
    let wire = wire.ok_or_else(|| Error::protocol("a segment has no position"))?;
    match (u32::try_from(wire.part_number), u32::try_from(wire.index)) {
        (Ok(part), Ok(index)) => Ok(SegmentPosition { part, index }),
        _ => Err(Error::protocol("a segment position is negative")),
    }
}

fn segment_size(plain: i64) -> Result<u64> {
    match size(plain, "a segment")? {
        plain if plain <= layout::MAX_SEGMENT_SIZE => Ok(plain),
        plain => Err(Error::protocol(format!("a segment of {plain} bytes is too large"))),
    }
}

fn size(wire: i64, of: &str) -> Result<u64> {
    u64::try_from(wire).map_err(|_| Error::protocol(format!("the size of {of} is negative")))
}
