//! The parts of a multipart upload, checked before they are sealed.

use uplink_core::encryption::Key;
use uplink_core::encryption::mark::{Chain, PartDigest};
use uplink_core::id::SegmentPosition;

use super::listed::check_part;
use super::{MAX_SEGMENTS, unauthenticated};
use crate::error::Result;

/// One part of an upload: what the seal of the object is computed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SealedPart {
    pub(crate) number: u32,
    /// Plain bytes.
    pub(crate) size: u64,
    /// Digest over the segments: positions, sizes and keys.
    pub(crate) digest: [u8; 32],
}

/// The parts of an upload while the satellite's list of segments is read.
#[derive(Debug, Default)]
pub(crate) struct ListedParts {
    done: Vec<SealedPart>,
    current: Option<(u32, u64, Box<PartDigest>)>,
    chain: Option<(SegmentPosition, Chain)>,
    count: u64,
}

impl ListedParts {
    /// Adds the next segment, in the order of positions.
    ///
    /// # Errors
    /// It does not continue the chain of its part: a segment is missing, is left from an earlier attempt
    /// at the part, or was written by another client.
    pub(crate) fn add(&mut self, position: SegmentPosition, size: u64, key: &Key) -> Result<()> {
        self.count += 1;
        if self.count > MAX_SEGMENTS {
            return Err(unauthenticated("it has too many segments"));
        }
        check_part(&mut self.chain, position, key)?;
        if self.current.as_ref().is_some_and(|(number, ..)| *number != position.part) {
            self.end_part();
        }
        let (_, sum, digest) = self
            .current
            .get_or_insert_with(|| (position.part, 0, Box::new(PartDigest::new(position.part))));
        *sum = sum.saturating_add(size);
        digest.add(position.index, size, key);
        Ok(())
    }

    /// Returns the parts, in the order of their numbers.
    pub(crate) fn finish(mut self) -> Vec<SealedPart> {
        self.end_part();
        self.done
    }

    fn end_part(&mut self) {
        if let Some((number, size, digest)) = self.current.take() {
            self.done.push(SealedPart { number, size, digest: digest.finish() });
        }
    }
}
