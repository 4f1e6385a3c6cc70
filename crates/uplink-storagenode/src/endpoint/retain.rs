//! Which pieces a satellite wants kept.

use prost_types::Timestamp;
use tokio::time::timeout;
use uplink_core::{
    bloom_filter::{BloomFilter, MAX_FILTER_BYTES},
    id::NodeId,
    order::PieceHashAlgorithm,
};
use uplink_rpc::{
    r#gen::piecestore::RetainRequest,
    piece::stream::Messages,
    server::Peer,
    status::{Code, Failure},
};

use super::{Shared, broken, next, refused, too_slow};
use crate::{hash::Hasher, retention::RetentionError, trust::Trust, verify::invalid};

/// Takes a whole filter.
pub(super) async fn whole(
    shared: &Shared,
    peer: Option<&Peer>,
    request: RetainRequest,
) -> Result<(), Failure> {
    let satellite = satellite(shared.verifier.trust(), peer)?;
    let created = request.creation_date.ok_or_else(undated)?;
    let filter = Vec::from(request.filter);
    if !request.hash.is_empty() {
        check(&filter, request.hash_algorithm, &request.hash)?;
    }
    keep(shared, satellite, created, filter).await
}

/// Takes a filter in parts.
pub(super) async fn parts(
    shared: &Shared,
    peer: Option<&Peer>,
    mut messages: Messages<RetainRequest>,
) -> Result<(), Failure> {
    let satellite = satellite(shared.verifier.trust(), peer)?;
    // One at a time, because filters are large. Waiting for another satellite is like silence.
    let turn = timeout(shared.idle, shared.large_filters.lock()).await;
    let _turn = turn.map_err(|_| too_slow("another filter takes too long"))?;
    let (mut filter, mut created) = (Vec::new(), None);
    loop {
        let part = next(&mut messages, shared.idle).await?;
        let part = part.ok_or_else(|| invalid("filter: ended before the part with the hash"))?;
        let date = part.creation_date.ok_or_else(undated)?;
        if *created.get_or_insert(date) != date {
            return Err(invalid("filter: parts of different times"));
        }
        if filter.len().saturating_add(part.filter.len()) > MAX_FILTER_BYTES {
            return Err(invalid(format!("filter: more than {MAX_FILTER_BYTES} bytes")));
        }
        if part.filter.is_empty() && part.hash.is_empty() {
            return Err(invalid("filter: a part without bytes"));
        }
        filter.extend_from_slice(&part.filter);
        if !part.hash.is_empty() {
            check(&filter, part.hash_algorithm, &part.hash)?;
            if next(&mut messages, shared.idle).await?.is_some() {
                return Err(invalid("filter: a part after the one with the hash"));
            }
            return keep(shared, satellite, date, filter).await;
        }
    }
}

/// Takes everything back out of the trash.
pub(super) async fn restore(shared: &Shared, peer: Option<&Peer>) -> Result<(), Failure> {
    let satellite = satellite(shared.verifier.trust(), peer)?;
    shared.retention.restore(satellite).await.map_err(failed)
}

/// The satellite that calls, if it is one that the node works for.
fn satellite(trust: &Trust, peer: Option<&Peer>) -> Result<NodeId, Failure> {
    let identity = peer.and_then(|peer| peer.identity.as_ref());
    let id = identity.map(|identity| identity.node_id()).ok_or_else(|| {
        Failure::new(Code::UNAUTHENTICATED, "the connection shows no node identity")
    })?;
    if !trust.knows(id) {
        let text = format!("satellite {id} is not trusted");
        return Err(Failure::new(Code::PERMISSION_DENIED, text));
    }
    Ok(id)
}

async fn keep(
    shared: &Shared,
    satellite: NodeId,
    created: Timestamp,
    filter: Vec<u8>,
) -> Result<(), Failure> {
    let filter = BloomFilter::parse(filter).map_err(|error| invalid(error.to_string()))?;
    shared.retention.retain(satellite, created, filter).await.map_err(failed)
}

fn check(filter: &[u8], algorithm: i32, hash: &[u8]) -> Result<(), Failure> {
    let algorithm = PieceHashAlgorithm::try_from(algorithm)
        .map_err(|_| invalid("filter: unknown hash algorithm"))?;
    let mut hasher = Hasher::new(algorithm);
    hasher.update(filter);
    if hasher.finish() == hash { Ok(()) } else { Err(invalid("filter: the hash differs")) }
}

fn undated() -> Failure {
    invalid("filter: no creation date")
}

fn failed(error: RetentionError) -> Failure {
    match error {
        RetentionError::Interrupted(error) => broken(error),
        RetentionError::Store(error) => refused(error),
    }
}

#[cfg(test)]
mod tests {
    use uplink_rpc::{dial::Dialer, tls::Identity};

    use super::*;

    #[test]
    fn peer_that_shows_no_identity_is_nobody() {
        let trust = Trust::new(&[], Dialer::new(&Identity::generate().unwrap()).unwrap());
        let remote = ([127, 0, 0, 1], 1).into();
        for peer in [None, Some(Peer { remote, identity: None })] {
            let refused = satellite(&trust, peer.as_ref()).unwrap_err();
            assert_eq!(refused.code, Code::UNAUTHENTICATED, "{refused}");
        }
    }
}
