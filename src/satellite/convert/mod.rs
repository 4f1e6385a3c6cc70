//! Protobuf messages to domain types: the checks of the fields of a reply.
//!
//! The satellite is not trusted. Sizes, positions, keys and order limits become domain types here, or
//! the reply is rejected. Code above this module relies on the types.

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

use uplink_core::encryption::Nonce;
use uplink_core::id::SegmentPosition;
use uplink_core::layout;
use uplink_rpc::r#gen::metainfo;

use crate::error::{Error, Result};

pub(crate) mod bucket;
pub(crate) mod copy;
pub(crate) mod limits;
pub(crate) mod object;
pub(crate) mod segment;

/// Converts a segment position.
pub(super) fn position(position: SegmentPosition) -> Result<metainfo::SegmentPosition> {
    let number = |number: u32| {
        i32::try_from(number).map_err(|_| Error::protocol("segment position out of range"))
    };
    Ok(metainfo::SegmentPosition {
        part_number: number(position.part)?,
        index: number(position.index)?,
    })
}

/// Converts a size.
pub(crate) fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
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
