//! Which segments make up an object, and what authenticates them.
//!
//! The satellite is not trusted: it could omit segments, mix versions or serve a segment under another
//! position. The record that the writer encrypted and the marks of the segment keys decide. The rules
//! R1 to R10 of `docs/LAYOUT.md` are named where they are applied.
//!
//! ```text
//! envelope ─► RecordedSegments ──┬─ Stream    sizes, number and keys of all segments are computed   R3
//!                                ├─ Parts     the whole list must give the recorded seal            R4
//!                                ├─ Unsealed  written or rewritten by another client                R5, R6, R8
//!                                └─ Nothing   no envelope                                           R7
//! ```

use std::ops::Range;

use uplink_core::encryption::Key;
use uplink_core::encryption::mark::{ChainValue, KeyKind};
use uplink_core::encryption::metadata::OpenedMetadata;
use uplink_core::id::SegmentPosition;
use uplink_core::layout::{BLOCK_SIZE, Extent, MAX_SEGMENT_SIZE};

use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};

mod listed;
mod parts;
mod segments;
mod start;
#[cfg(test)]
mod tests;

pub(crate) use self::listed::WholeList;
pub(crate) use self::parts::{ListedParts, SealedPart};
pub(crate) use self::segments::Layout;
pub(crate) use self::start::{PageState, Start};

/// Maximum segments of an object.
pub(crate) const MAX_SEGMENTS: u64 = 1_000_000;

/// What confirms an object's size and custom metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Authenticity {
    /// Only the satellite: nothing encrypted confirms them.
    Claimed,
    /// The writer of the object, which recorded them under encryption.
    Sealed,
}

/// What the caller accepts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rules {
    require_seal: bool,
    allow_unauthenticated: bool,
}

impl From<&Config> for Rules {
    fn from(config: &Config) -> Self {
        let require_seal = config.require_seal;
        let allow = config.allow_unauthenticated_layout;
        Self { require_seal, allow_unauthenticated: allow && !require_seal }
    }
}

impl Rules {
    /// Returns whether the caller accepts what the reference client accepts.
    pub(crate) fn accepts_unauthenticated(self) -> bool {
        self.allow_unauthenticated
    }

    /// Rejects, unless the caller accepts what the reference client accepts.
    fn refuse_by_default(self, why: &str) -> Result<()> {
        if self.allow_unauthenticated { Ok(()) } else { Err(unauthenticated(why)) }
    }
}

/// The size of an object according to the satellite.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClaimedSize {
    /// Plain bytes; also 0 when the satellite does not know.
    pub(crate) plain: u64,
    /// Number of segments, as satellites write it into the clear part of the metadata.
    pub(crate) segments: u64,
}

/// An object cut into segments of one size, except the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    count: u64,
    segment_size: u64,
    last_size: u64,
}

impl Cut {
    fn size(&self) -> u64 {
        // The constructors bound the product.
        (self.count - 1) * self.segment_size + self.last_size
    }

    fn last(&self) -> u64 {
        self.count - 1
    }

    /// Returns the segment at an index below the count.
    fn extent(&self, index: u64) -> Extent {
        let size = if index == self.last() { self.last_size } else { self.segment_size };
        Extent { offset: index * self.segment_size, size }
    }

    /// Returns the index of the segment with the byte at `offset`, which is within the object.
    fn index_of(&self, offset: u64) -> u64 {
        offset.checked_div(self.segment_size).unwrap_or(0).min(self.last())
    }
}

/// What an object's metadata envelope records of its segments.
#[derive(Debug)]
pub(crate) enum RecordedSegments {
    /// The object has no envelope.
    Nothing,
    /// Parts under a seal.
    Parts { seal: [u8; 32] },
    /// A sealed stream: position, size and key of every segment are known.
    Stream { cut: Cut, first: ChainValue },
    /// Written or rewritten by a client without seals: the segment sizes of a stream, nothing for
    /// parts; and the recorded size of the last segment.
    Unsealed { cut: Option<Cut>, last: u64 },
}

/// An object's size and what its envelope records.
#[derive(Debug)]
pub(crate) struct RecordedObject {
    pub(crate) size: u64,
    pub(crate) segments: RecordedSegments,
}

impl RecordedObject {
    /// Reads an envelope and compares it with the satellite's claims.
    ///
    /// # Errors
    /// [`ErrorKind::LayoutUnauthenticated`] when the two contradict each other or the envelope is
    /// not that of a committed object.
    pub(crate) fn new(
        claimed: ClaimedSize,
        opened: Option<&OpenedMetadata>,
        rules: Rules,
    ) -> Result<Self> {
        let kind = opened.and_then(|opened| opened.key_kind);
        if matches!(kind, Some(KeyKind::Stream | KeyKind::Part)) {
            return Err(unauthenticated("its metadata is sealed with the key of a segment"));
        }
        let Some(info) = opened.and_then(|opened| opened.stream_info.as_ref()) else {
            // R2: an ETag alone under a key of this client lost its record.
            if kind == Some(KeyKind::Metadata) {
                rules.refuse_by_default("its metadata lacks the recorded segments")?;
            }
            return Ok(Self { size: claimed.plain, segments: RecordedSegments::Nothing });
        };
        let sizes = [info.number_of_segments, info.segments_size, info.last_segment_size];
        let [Ok(count), Ok(segment), Ok(last)] = sizes.map(u64::try_from) else {
            return Err(unauthenticated("its recorded sizes are negative"));
        };
        match (&info.chain_start, &info.parts_seal) {
            (Some(_), Some(_)) => {
                Err(unauthenticated("it is recorded both as a stream and as parts"))
            }
            (Some(first), None) => Self::stream(claimed, count, segment, last, first.clone()),
            (None, Some(seal)) => Self::parts(claimed, segment, last, *seal),
            (None, None) => {
                if kind == Some(KeyKind::Metadata) {
                    rules.refuse_by_default("its metadata lacks the recorded segments")?;
                }
                Self::unsealed(claimed, segment, last)
            }
        }
    }

    /// R3: count, sizes and first key are recorded.
    fn stream(
        claimed: ClaimedSize,
        count: u64,
        segment_size: u64,
        last_size: u64,
        first: ChainValue,
    ) -> Result<Self> {
        let in_bounds = (1..=MAX_SEGMENTS).contains(&count)
            && last_size <= segment_size
            && segment_size <= MAX_SEGMENT_SIZE;
        if !in_bounds {
            return Err(unauthenticated("its recorded segments are out of bounds"));
        }
        let cut = Cut { count, segment_size, last_size };
        let size = cut.size();
        check_size(claimed.plain, size)?;
        Ok(Self { size, segments: RecordedSegments::Stream { cut, first } })
    }

    /// R4: the seal authenticates the list of segments, and the recorded size is their sum.
    fn parts(claimed: ClaimedSize, segment_size: u64, size: u64, seal: [u8; 32]) -> Result<Self> {
        if segment_size != 0 {
            return Err(unauthenticated("it is recorded both as a stream and as parts"));
        }
        check_size(claimed.plain, size)?;
        Ok(Self { size, segments: RecordedSegments::Parts { seal } })
    }

    /// R8, as the reference client computes it: when the satellite has no size, the number of segments
    /// determines it.
    fn unsealed(claimed: ClaimedSize, segment_size: u64, last: u64) -> Result<Self> {
        if segment_size == 0 {
            return Ok(Self {
                size: claimed.plain,
                segments: RecordedSegments::Unsealed { cut: None, last },
            });
        }
        let before_last = match claimed.plain {
            0 => claimed.segments.checked_sub(1).and_then(|full| full.checked_mul(segment_size)),
            plain => plain.checked_sub(last),
        };
        let before_last = before_last.filter(|size| size % segment_size == 0);
        let count = before_last.map(|before| before / segment_size + 1);
        match count {
            Some(count) if count <= MAX_SEGMENTS && last <= segment_size => {
                if segment_size > MAX_SEGMENT_SIZE {
                    return Err(unauthenticated("its recorded segments are out of bounds"));
                }
                let cut = Cut { count, segment_size, last_size: last };
                Ok(Self {
                    size: cut.size(),
                    segments: RecordedSegments::Unsealed { cut: Some(cut), last },
                })
            }
            _ => Err(unauthenticated("its size does not match the recorded segments")),
        }
    }

    /// Returns whether the object has no envelope.
    pub(crate) fn has_no_envelope(&self) -> bool {
        matches!(self.segments, RecordedSegments::Nothing)
    }

    /// Returns what confirms the size.
    pub(crate) fn authenticity(&self) -> Authenticity {
        match self.segments {
            RecordedSegments::Parts { .. } | RecordedSegments::Stream { .. } => {
                Authenticity::Sealed
            }
            RecordedSegments::Nothing | RecordedSegments::Unsealed { .. } => Authenticity::Claimed,
        }
    }

    /// Rejects a sealed object whose block size is not the one that this client uses.
    ///
    /// # Errors
    /// [`ErrorKind::LayoutUnauthenticated`].
    pub(crate) fn check_block_size(&self, block_size: u32) -> Result<()> {
        let sealed = self.authenticity() == Authenticity::Sealed;
        if !sealed || block_size == BLOCK_SIZE {
            return Ok(());
        }
        Err(unauthenticated("its block size does not match the seal"))
    }

    /// Rejects an object without a seal if the configuration requires one.
    ///
    /// # Errors
    /// [`ErrorKind::LayoutUnauthenticated`].
    pub(crate) fn check_required(&self, rules: Rules) -> Result<()> {
        let sealed = self.authenticity() == Authenticity::Sealed;
        if sealed || !rules.require_seal {
            return Ok(());
        }
        Err(unauthenticated("it has no seal, which the configuration requires"))
    }
}

fn check_size(claimed: u64, recorded: u64) -> Result<()> {
    if claimed == 0 || claimed == recorded {
        return Ok(());
    }
    let text = format!("the satellite claims {claimed} bytes, its writer recorded {recorded}");
    Err(unauthenticated(&text))
}

/// One segment in a satellite's list.
#[derive(Clone, Debug)]
pub(crate) struct ListedSegment {
    pub(crate) position: SegmentPosition,
    pub(crate) offset: u64,
    pub(crate) plain_size: u64,
    pub(crate) key: Key,
}

impl ListedSegment {
    fn end(&self) -> u64 {
        self.offset.saturating_add(self.plain_size)
    }
}

/// The segment to be read next, as its download must match it.
#[derive(Clone, Debug)]
pub(crate) struct ExpectedSegment {
    pub(crate) position: SegmentPosition,
    pub(crate) extent: Extent,
    /// The key, if it is known before the segment is downloaded.
    pub(crate) key: Option<Key>,
    /// Whether the segment must, or must not, be inline.
    pub(crate) inline: Option<bool>,
}

impl ExpectedSegment {
    /// Returns the part of an object's range that is within this segment.
    pub(crate) fn within(&self, range: &Range<u64>) -> Range<u64> {
        let start = range.start.saturating_sub(self.extent.offset);
        start..range.end.saturating_sub(self.extent.offset).min(self.extent.size)
    }
}

/// Returns the error of a violated rule.
pub(crate) fn unauthenticated(why: &str) -> Error {
    let text = format!("object layout is not authentic: {why}");
    Error::new(ErrorKind::LayoutUnauthenticated, text)
}
