//! The order of the segments in a list.

use uplink_core::encryption::mark::{Chain, KeyKind};
use uplink_core::id::SegmentPosition;
use uplink_core::layout::Extent;

use super::{Cut, ListedSegment, MAX_SEGMENTS, unauthenticated};
use crate::error::Result;

/// The order that the segments of a list must have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    /// Plain bytes of the object.
    pub(super) size: u64,
    /// Rejects segments of part 0, which are those of a stream.
    pub(super) parts_only: bool,
    /// Accepts marked keys.
    pub(super) marks: bool,
}

impl Order {
    /// Appends a page: positions ascend, and extents are contiguous and within the object.
    pub(super) fn append(
        &self,
        segments: &mut Vec<ListedSegment>,
        page: &[ListedSegment],
    ) -> Result<()> {
        for segment in page {
            self.check(segments.last(), segment)?;
            if segments.len() as u64 >= MAX_SEGMENTS {
                return Err(unauthenticated("it has too many segments"));
            }
            segments.push(segment.clone());
        }
        Ok(())
    }

    fn check(&self, previous: Option<&ListedSegment>, segment: &ListedSegment) -> Result<()> {
        if segment.end() > self.size {
            return Err(unauthenticated("its segments are larger than the object"));
        }
        if self.parts_only && segment.position.part == 0 {
            return Err(unauthenticated("a segment of a stream is among its parts"));
        }
        if !self.marks && KeyKind::of(&segment.key).is_some() {
            return Err(unauthenticated("a segment belongs to another object"));
        }
        let follows = previous.is_none_or(|previous| {
            previous.position < segment.position && previous.end() == segment.offset
        });
        if follows { Ok(()) } else { Err(unauthenticated("its segments are not contiguous")) }
    }
}

/// Checks a listed segment of a stream against the recorded sizes and the chain of its keys.
pub(super) fn accept_chained(cut: &Cut, chain: &mut Chain, segment: &ListedSegment) -> Result<()> {
    let extent = numbered(cut, segment.position)?;
    let listed = Extent { offset: segment.offset, size: segment.plain_size };
    if listed != extent {
        return Err(unauthenticated("position or size of a segment do not match the record"));
    }
    if chain.key(segment.position.index) != segment.key {
        return Err(unauthenticated("the key of a segment does not match the record"));
    }
    Ok(())
}

/// Returns the recorded extent of a segment of a stream.
pub(super) fn numbered(cut: &Cut, position: SegmentPosition) -> Result<Extent> {
    if position.part != 0 || u64::from(position.index) > cut.last() {
        return Err(unauthenticated("a listed segment is not recorded"));
    }
    Ok(cut.extent(position.index.into()))
}
