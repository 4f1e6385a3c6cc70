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
use std::ops::Range;

use bytes::Bytes;
use uplink_core::encryption::metadata::{EncryptedMetadata, OpenedMetadata, StreamMeta};
use uplink_core::encryption::{CipherSuite, EncryptionParameters, Key, Nonce, key};
use uplink_core::erasure::Scheme;
use uplink_core::id::{NodeId, SegmentPosition};
use uplink_core::layout;
use uplink_core::order::{OrderLimit, PieceAction, PiecePrivateKey};
use uplink_core::signature::VerifyingKey;
use uplink_rpc::r#gen::encryption;
use uplink_rpc::r#gen::metainfo::{self, AddressedOrderLimit};
use uplink_rpc::r#gen::pointerdb::RedundancyScheme;
use uplink_rpc::raw;

use crate::error::{Error, Result};

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

/// What a satellite's listing says of one segment.
#[derive(Clone, Debug)]
pub(crate) struct ListedSegment {
    pub(crate) position: SegmentPosition,
    pub(crate) offset: u64,
    pub(crate) plain_size: u64,
    /// The content key, where the listing carries it.
    pub(crate) key: Option<Key>,
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

/// The plain size of an object: what the satellite says, or for objects that it has no size of,
/// what the writer said under encryption.
pub(crate) fn object_size(object: &metainfo::Object, meta: Option<&OpenedMetadata>) -> Result<u64> {
    let size = size(object.plain_size, "an object")?;
    let Some(info) = meta.map(|meta| &meta.stream_info) else { return Ok(size) };
    if size > 0 || info.segments_size <= 0 {
        return Ok(size);
    }
    let stream = stream_meta(&object.encrypted_metadata)?;
    let whole = self::size(stream.number_of_segments.saturating_sub(1).max(0), "an object")?
        .checked_mul(self::size(info.segments_size, "a segment")?);
    let last = self::size(info.last_segment_size, "a segment")?;
    whole
        .and_then(|whole| whole.checked_add(last))
        .ok_or_else(|| Error::protocol("the object's sizes do not fit together"))
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

/// Reads an answer to downloading a segment. `whole` says that limits must cover whole pieces, not
/// just the shares of a range.
pub(crate) fn segment_download(
    reply: metainfo::DownloadSegmentResponse,
    object: EncryptionParameters,
    content_key: &Key,
    satellite: &VerifyingKey,
) -> Result<SegmentDownload> {
    let plain_size = segment_size(reply.plain_size)?;
    let nonce = nonce(&reply.encrypted_key_nonce)?;
    let key = key::unwrap_key(object.suite, content_key, &nonce, &reply.encrypted_key)?;
    let position = read_position(reply.position)?;
    let remote = reply.addressed_limits.iter().any(|offered| offered.limit.is_some());
    let content = if remote {
        let scheme = scheme(reply.redundancy_scheme.as_ref())?;
        let encrypted = layout::encrypted_size(plain_size, object.block_size)?;
        if size(reply.segment_size, "a segment")? != encrypted {
            return Err(Error::protocol(
                "the encrypted size of a segment is not that of its content",
            ));
        }
        let offers = offers(reply.addressed_limits, &scheme, PieceAction::Get, 1, satellite)?;
        Content::Remote(RemoteSegment { piece_key: piece_key(&reply.private_key)?, offers, scheme })
    } else {
        let sealed = reply.encrypted_inline_data;
        if plain_size > layout::MAX_INLINE_SIZE
            || sealed.len() as u64 != layout::inline_encrypted_size(plain_size)?
        {
            return Err(Error::protocol("an inline segment has another size than its content"));
        }
        Content::Inline(sealed)
    };
    Ok(SegmentDownload { position, plain_size, key, content })
}

/// Reads one page of a segment listing; positions must go on after `after`, offsets at `offset`
/// where one is known.
pub(crate) fn listed_segments(
    items: &[metainfo::SegmentListItem],
    after: Option<&ListedSegment>,
    suite: CipherSuite,
    content_key: &Key,
) -> Result<Vec<ListedSegment>> {
    let mut listed: Vec<ListedSegment> = Vec::with_capacity(items.len());
    for item in items {
        let previous = listed.last().or(after);
        let position = read_position(item.position)?;
        let (offset, plain_size) =
            (size(item.plain_offset, "a segment")?, segment_size(item.plain_size)?);
        let in_order = previous.is_none_or(|previous| {
            previous.position < position
                && previous.offset.checked_add(previous.plain_size) == Some(offset)
        });
        if !in_order {
            return Err(Error::protocol("the segments of an object do not follow one another"));
        }
        let key = if item.encrypted_key.is_empty() {
            None
        } else {
            let nonce = nonce(&item.encrypted_key_nonce)?;
            Some(key::unwrap_key(suite, content_key, &nonce, &item.encrypted_key)?)
        };
        listed.push(ListedSegment { position, offset, plain_size, key });
    }
    Ok(listed)
}

/// Checks the sizes that the writer recorded under encryption against a listing of `range`.
pub(crate) fn check_sizes(
    segments: &[ListedSegment],
    object_size: u64,
    meta: Option<&OpenedMetadata>,
) -> Result<()> {
    let Some(info) = meta.map(|meta| &meta.stream_info) else { return Ok(()) };
    if info.segments_size <= 0 {
        return Ok(());
    }
    let (full, last) =
        (size(info.segments_size, "a segment")?, size(info.last_segment_size, "a segment")?);
    for segment in segments {
        let end = segment.offset.saturating_add(segment.plain_size);
        let wanted = if end == object_size { last } else { full };
        if segment.plain_size != wanted {
            return Err(Error::protocol("a segment has another size than the writer recorded"));
        }
    }
    Ok(())
}

/// Refuses segments that do not cover a range without gaps.
pub(crate) fn check_cover(segments: &[ListedSegment], range: &Range<u64>) -> Result<()> {
    let begins = segments.first().is_some_and(|first| first.offset <= range.start);
    let end = segments.last().map_or(0, |last| last.offset.saturating_add(last.plain_size));
    if range.is_empty() || (begins && end >= range.end) {
        return Ok(());
    }
    Err(Error::protocol("the segments listed do not cover the range asked for"))
}

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
        let address = address.filter(|address| !address.is_empty());
        let address = address.ok_or_else(|| Error::protocol("a storage node has no address"))?;
        offers.push(Offer { piece, node, address, limit });
    }
    Ok(offers)
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
