//! How the segments of a list follow one another.

use uplink_core::encryption::mark::{Chain, KeyKind};
use uplink_core::id::SegmentPosition;
use uplink_core::layout::Extent;

use super::{Cut, ListedSegment, MAX_SEGMENTS, unauthenticated};
use crate::error::Result;

/// How the segments of a list follow one another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    /// Plaintext bytes of the object.
    pub(super) size: u64,
    /// Refuses segments of part 0, which a stream consists of.
    pub(super) parts_only: bool,
    /// Accepts marked keys.
    pub(super) marks: bool,
}

impl Order {
    /// Appends a page: positions ascend, bytes follow without a gap and stay within the object.
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
        if follows {
            Ok(())
        } else {
            Err(unauthenticated("its segments do not follow one another"))
        }
    }
}

/// Checks a listed segment of a stream against the recorded sizes and the chain of its keys.
pub(super) fn accept_chained(cut: &Cut, chain: &mut Chain, segment: &ListedSegment) -> Result<()> {
    let extent = numbered(cut, segment.position)?;
    let listed = Extent { offset: segment.offset, size: segment.plain_size };
    if listed != extent {
        return Err(unauthenticated("a segment has another place or size than recorded"));
    }
    if chain.key(segment.position.index) != segment.key {
        return Err(unauthenticated("a segment has another key than recorded"));
    }
    Ok(())
}

/// Returns the recorded extent of a segment of a stream.
pub(super) fn numbered(cut: &Cut, position: SegmentPosition) -> Result<Extent> {
    if position.part != 0 || u64::from(position.index) > cut.last() {
        return Err(unauthenticated("a segment is listed that is not recorded"));
    }
    Ok(cut.extent(position.index.into()))
}
