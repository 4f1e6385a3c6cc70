//! Sends a satellite's filter of the pieces to keep to a storage node.

use std::iter;

use bytes::Bytes;
use prost_types::Timestamp;
use uplink_core::order::PieceHashAlgorithm;

use crate::client;
use crate::r#gen::piecestore::RetainRequest;
use crate::pool::Connection;
use crate::status::Failure;

/// Maximum filter size in bytes in one message. Larger filters are sent in parts of this size.
pub const FILTER_PART: usize = 4_100_050;

/// Sends an encoded filter of the pieces that a node is to keep.
///
/// `created` must be a time before the satellite began to list the pieces. The call has no deadline of
/// its own. Dropping the future cancels it.
///
/// # Errors
/// The node is unreachable or rejects the filter.
pub async fn retain(
    connection: &Connection,
    created: Timestamp,
    filter: Bytes,
) -> Result<(), Failure> {
    let mut node = client::piecestore(connection.channel());
    let response = if filter.len() <= FILTER_PART {
        let creation_date = Some(created);
        node.retain(RetainRequest { creation_date, filter, ..RetainRequest::default() }).await
    } else {
        node.retain_big(futures_util::stream::iter(parts(created, filter))).await
    };
    response.map(drop).map_err(Failure::from)
}

/// Splits a filter into parts. The last part has the hash of all.
fn parts(created: Timestamp, filter: Bytes) -> impl Iterator<Item = RetainRequest> {
    let mut hash = Bytes::copy_from_slice(blake3::hash(&filter).as_bytes());
    let mut rest = filter;
    iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let filter = rest.split_to(rest.len().min(FILTER_PART));
        let mut part =
            RetainRequest { creation_date: Some(created), filter, ..RetainRequest::default() };
        if rest.is_empty() {
            part.hash_algorithm = PieceHashAlgorithm::Blake3.into();
            part.hash = std::mem::take(&mut hash);
        }
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_the_networks_size_and_the_last_has_the_hash() {
        for (length, sizes) in [
            (1, vec![1]),
            (FILTER_PART, vec![FILTER_PART]),
            (FILTER_PART + 1, vec![FILTER_PART, 1]),
            (2 * FILTER_PART, vec![FILTER_PART; 2]),
        ] {
            let filter: Bytes = (0..length).map(|i| (i * 7 + (i >> 9)) as u8).collect();
            let created = Timestamp { seconds: 5, nanos: 7 };
            let parts: Vec<_> = parts(created, filter.clone()).collect();
            assert_eq!(parts.iter().map(|part| part.filter.len()).collect::<Vec<_>>(), sizes);
            let joined: Vec<u8> = parts.iter().flat_map(|part| part.filter.clone()).collect();
            assert!(joined == filter && parts.iter().all(|it| it.creation_date == Some(created)));
            let (last, others) = parts.split_last().unwrap();
            assert!(others.iter().all(|part| part.hash.is_empty() && part.hash_algorithm == 0));
            assert_eq!(last.hash, blake3::hash(&filter).as_bytes()[..]);
            assert_eq!(last.hash_algorithm(), crate::r#gen::orders::PieceHashAlgorithm::Blake3);
        }
    }
}
