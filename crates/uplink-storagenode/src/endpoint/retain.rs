//! Filters of pieces to keep, received from satellites.

use prost_types::Timestamp;
use tokio::time::timeout;
use uplink_core::bloom_filter::{BloomFilter, MAX_FILTER_BYTES};
use uplink_core::id::NodeId;
use uplink_core::order::PieceHashAlgorithm;
use uplink_rpc::r#gen::piecestore::RetainRequest;
use uplink_rpc::piece::stream::Messages;
use uplink_rpc::server::Peer;
use uplink_rpc::status::{Code, Failure};

use super::{Shared, aborted, join_failure, next, store_failure};
use crate::hash::Hasher;
use crate::retention::RetentionError;
use crate::trust::Trust;
use crate::verify::invalid;

/// Receives a filter in one message.
pub(super) async fn whole(
    shared: &Shared,
    peer: Option<&Peer>,
    request: RetainRequest,
) -> Result<(), Failure> {
    let satellite = satellite(shared.verifier.trust(), peer)?;
    let created = request.creation_date.ok_or_else(missing_date)?;
    let filter = Vec::from(request.filter);
    if !request.hash.is_empty() {
        check(&filter, request.hash_algorithm, &request.hash)?;
    }
    store(shared, satellite, created, filter).await
}

/// Receives a filter in parts.
pub(super) async fn parts(
    shared: &Shared,
    peer: Option<&Peer>,
    mut messages: Messages<RetainRequest>,
) -> Result<(), Failure> {
    let satellite = satellite(shared.verifier.trust(), peer)?;
    // One at a time, because filters are large. Waiting counts toward the idle timeout.
    let _guard = timeout(shared.idle, shared.large_filters.lock())
        .await
        .map_err(|_| aborted("filter: timed out waiting for another filter"))?;

    let mut filter = Vec::new();
    let mut created = None;
    loop {
        let part = next(&mut messages, shared.idle).await?;
        let part = part.ok_or_else(|| invalid("filter: stream ended before the hash"))?;
        let date = part.creation_date.ok_or_else(missing_date)?;
        if *created.get_or_insert(date) != date {
            return Err(invalid("filter: creation dates of the parts differ"));
        }
        if filter.len().saturating_add(part.filter.len()) > MAX_FILTER_BYTES {
            return Err(invalid(format!("filter: more than {MAX_FILTER_BYTES} bytes")));
        }
        if part.filter.is_empty() && part.hash.is_empty() {
            return Err(invalid("filter: empty part"));
        }
        filter.extend_from_slice(&part.filter);
        if !part.hash.is_empty() {
            check(&filter, part.hash_algorithm, &part.hash)?;
            if next(&mut messages, shared.idle).await?.is_some() {
                return Err(invalid("filter: unexpected part after the hash"));
            }
            return store(shared, satellite, date, filter).await;
        }
    }
}

/// Restores all pieces of the calling satellite from the trash.
pub(super) async fn restore(shared: &Shared, peer: Option<&Peer>) -> Result<(), Failure> {
    let satellite = satellite(shared.verifier.trust(), peer)?;
    shared.retention.restore(satellite).await.map_err(retention_failure)
}

/// Returns the id of the calling satellite. Fails if it is not trusted.
fn satellite(trust: &Trust, peer: Option<&Peer>) -> Result<NodeId, Failure> {
    let identity = peer.and_then(|peer| peer.identity.as_ref());
    let id = identity.map(|identity| identity.node_id()).ok_or_else(|| {
        Failure::new(Code::UNAUTHENTICATED, "missing node identity in the TLS connection")
    })?;
    if !trust.contains(id) {
        let text = format!("untrusted satellite {id}");
        return Err(Failure::new(Code::PERMISSION_DENIED, text));
    }
    Ok(id)
}

async fn store(
    shared: &Shared,
    satellite: NodeId,
    created: Timestamp,
    filter: Vec<u8>,
) -> Result<(), Failure> {
    let filter = BloomFilter::parse(filter).map_err(|error| invalid(error.to_string()))?;
    shared.retention.retain(satellite, created, filter).await.map_err(retention_failure)
}

fn check(filter: &[u8], algorithm: i32, hash: &[u8]) -> Result<(), Failure> {
    let algorithm = PieceHashAlgorithm::try_from(algorithm)
        .map_err(|_| invalid("filter: unknown hash algorithm"))?;
    let mut hasher = Hasher::new(algorithm);
    hasher.update(filter);
    if hasher.finish() == hash { Ok(()) } else { Err(invalid("filter: hash mismatch")) }
}

fn missing_date() -> Failure {
    invalid("filter: missing creation date")
}

fn retention_failure(error: RetentionError) -> Failure {
    match error {
        RetentionError::Interrupted(error) => join_failure(error),
        RetentionError::Store(error) => store_failure(error),
    }
}

#[cfg(test)]
mod tests {
    use uplink_rpc::dial::Dialer;
    use uplink_rpc::tls::Identity;

    use super::*;

    #[test]
    fn peer_without_identity_is_unauthenticated() {
        let trust = Trust::new(&[], Dialer::new(&Identity::generate().unwrap()).unwrap());
        let remote = ([127, 0, 0, 1], 1).into();
        for peer in [None, Some(Peer { remote, identity: None })] {
            let failure = satellite(&trust, peer.as_ref()).unwrap_err();
            assert_eq!(failure.code, Code::UNAUTHENTICATED, "{failure}");
        }
    }
}
