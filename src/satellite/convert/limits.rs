//! Order limits, with their storage nodes and redundancy scheme.

use std::collections::HashSet;
use std::fmt::Display;

use uplink_core::erasure::Scheme;
use uplink_core::id::NodeId;
use uplink_core::node_url::NodeUrl;
use uplink_core::order::{OrderLimit, PieceAction, PiecePrivateKey};
use uplink_core::signature::VerifyingKey;
use uplink_rpc::r#gen::metainfo::{self, AddressedOrderLimit};
use uplink_rpc::r#gen::pointerdb::RedundancyScheme;
use uplink_segment::{PieceLimit, SegmentUpload};

use crate::error::{Error, Result};

/// Reads the reply to beginning a segment.
pub(crate) fn begun_segment(
    reply: metainfo::BeginSegmentResponse,
    satellite: &VerifyingKey,
) -> Result<SegmentUpload> {
    let scheme = scheme(reply.redundancy_scheme.as_ref())?;
    let limits = upload_limits(reply.addressed_limits, &scheme, satellite)?;
    if reply.segment_id.is_empty() {
        return Err(Error::protocol("the begun segment has no id"));
    }
    let cohort = reply.cohort_requirements.as_ref().map_or(Ok(0), |wanted| cohort(wanted, 0))?;
    Ok(SegmentUpload {
        segment_id: reply.segment_id,
        piece_key: piece_key(&reply.private_key)?,
        target_pieces: scheme.optimal().max(cohort),
        scheme,
        limits,
    })
}

/// Reads the order limits of an upload: exactly one per piece number.
pub(crate) fn upload_limits(
    addressed: Vec<AddressedOrderLimit>,
    scheme: &Scheme,
    satellite: &VerifyingKey,
) -> Result<Vec<PieceLimit>> {
    let limits = limits(addressed, scheme, PieceAction::Put, 0, satellite)?;
    if limits.len() == usize::from(scheme.total()) {
        return Ok(limits);
    }
    let found = limits.len();
    let wanted = scheme.total();
    Err(Error::protocol(format!("{found} order limits for an upload of {wanted} pieces")))
}

/// Returns the minimum pieces of a cohort requirement. Requirements over node tags are rejected: an
/// upload that stores fewer pieces than required would fail at its commit.
fn cohort(wanted: &metainfo::CohortRequirements, depth: usize) -> Result<u16> {
    use metainfo::cohort_requirements::Requirement;
    const DEPTH: usize = 8;
    match &wanted.requirement {
        Some(Requirement::Literal(literal)) => u16::try_from(literal.value)
            .map_err(|_| Error::protocol("a cohort requirement is out of range")),
        Some(Requirement::And(and)) if depth < DEPTH => {
            let mut each = and.requirements.iter();
            let depth = depth.saturating_add(1);
            each.try_fold(0, |max, one| Ok(max.max(cohort(one, depth)?)))
        }
        None => Ok(0),
        _ => Err(Error::protocol("unsupported cohort requirement")),
    }
}

/// Reads order limits for one `action` of at least `min` bytes each.
pub(super) fn limits(
    addressed: Vec<AddressedOrderLimit>,
    scheme: &Scheme,
    action: PieceAction,
    min: i64,
    satellite: &VerifyingKey,
) -> Result<Vec<PieceLimit>> {
    if addressed.len() > usize::from(scheme.total()) {
        return Err(Error::protocol("more order limits than pieces"));
    }
    let mut limits = Vec::with_capacity(addressed.len());
    let mut nodes = HashSet::new();
    for (piece, addressed) in (0_u16..).zip(addressed) {
        let Some(limit) = addressed.limit else { continue };
        // One signature is verified per response; each node verifies its own limit.
        let typed = match limits.is_empty() {
            true => OrderLimit::verify(limit.wire(), satellite).map_err(unusable)?,
            false => limit.decode_typed().map_err(unusable)?,
        };
        if typed.action != i32::from(action) || typed.limit < min {
            return Err(Error::protocol("an order limit does not match the request"));
        }
        let node = NodeId::from_slice(&typed.storage_node_id).map_err(unusable)?;
        if !nodes.insert(node) {
            return Err(Error::protocol("two order limits name the same node"));
        }
        let address = addressed.storage_node_address.map(|address| address.address);
        let address = node_address(address.unwrap_or_default())?;
        limits.push(PieceLimit { piece, node, address, limit });
    }
    Ok(limits)
}

fn unusable(error: impl Display) -> Error {
    Error::protocol(format!("order limit: {error}"))
}

/// Maximum bytes of a storage node's address: a domain name has at most 253.
const MAX_ADDRESS: usize = 272;

/// Checks that an address is a host name or IP address with a port.
fn node_address(address: String) -> Result<String> {
    let size = address.len();
    let url = address.parse::<NodeUrl>().ok().filter(|_| size <= MAX_ADDRESS);
    match url {
        Some(url) if url.address == address && url.host_port().is_some() => Ok(address),
        _ => Err(Error::protocol(format!("invalid storage node address of {size} bytes"))),
    }
}

pub(super) fn scheme(wire: Option<&RedundancyScheme>) -> Result<Scheme> {
    let wire = wire.ok_or_else(|| Error::protocol("a segment has no redundancy scheme"))?;
    if wire.r#type() != uplink_rpc::r#gen::pointerdb::redundancy_scheme::SchemeType::Rs {
        return Err(Error::protocol("unknown redundancy algorithm"));
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

pub(super) fn piece_key(bytes: &[u8]) -> Result<PiecePrivateKey> {
    PiecePrivateKey::from_bytes(bytes).map_err(|error| Error::protocol(error.to_string()))
}
