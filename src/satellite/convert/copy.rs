//! The keys that the satellite offers for a copy or move.

use uplink_core::encryption::Key;
use uplink_core::id::SegmentPosition;
use uplink_rpc::r#gen::metainfo;

use super::read_position;
use super::segment::ObjectKeys;
use crate::error::{Error, Result};
use crate::layout::MAX_SEGMENTS;

/// The keys of an object's segments, in the order of their positions.
pub(crate) type OfferedKeys = Vec<(SegmentPosition, Key)>;

/// Decrypts the offered keys of segments; their positions ascend.
pub(in super::super) fn offered_keys(
    wire: &[metainfo::EncryptedKeyAndNonce],
    object: &ObjectKeys<'_>,
) -> Result<OfferedKeys> {
    if wire.len() as u64 > MAX_SEGMENTS {
        return Err(Error::protocol("keys of too many segments are offered"));
    }
    let mut keys = OfferedKeys::with_capacity(wire.len());
    for item in wire {
        let position = read_position(item.position)?;
        if keys.last().is_some_and(|(last, _)| *last >= position) {
            return Err(Error::protocol("offered keys of segments are out of order"));
        }
        let key = object.segment_key(&item.encrypted_key_nonce, &item.encrypted_key)?;
        keys.push((position, key));
    }
    Ok(keys)
}
