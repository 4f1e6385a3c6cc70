//! The segments of one object that a handle knows.

use std::collections::HashMap;

use uplink_core::encryption::Key;
use uplink_core::encryption::mark::{Chain, ChainValue, KeyKind};
use uplink_core::id::SegmentPosition;
use uplink_core::layout::{Extent, INLINE_LIMIT};

use super::{Cut, ExpectedSegment, ListedSegment, MAX_SEGMENTS, unauthenticated};
use crate::error::Result;

/// Which segments an object consists of.
///
/// Listed and downloaded segments are compared with it before a byte of them is returned. It lives as
/// long as the reading handle, so that a repeated reply must match the first one.
#[derive(Debug)]
pub(crate) struct Layout(pub(super) Plan);

#[derive(Debug)]
pub(super) enum Plan {
    /// R3, R5: positions, sizes and keys are computed.
    Chained { cut: Cut, chain: Chain },
    /// R8, a stream: positions and sizes are computed; the keys seen so far, by index.
    Stream { cut: Cut, keys: HashMap<u32, Key> },
    /// R4, R6: the complete list, checked.
    Whole(Vec<ListedSegment>),
    /// R7, R8, parts: the part of the list read so far, from the start of the range.
    Partial { segments: Vec<ListedSegment>, more: bool, list_rules: ListRules },
}

/// The rules for the sequence of segments in a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListRules {
    /// Plain bytes of the object.
    pub(super) size: u64,
    /// Rejects segments of part 0, which are those of a stream.
    pub(super) parts_only: bool,
    /// Accepts marked keys.
    pub(super) marks: bool,
}

impl ListRules {
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

impl Layout {
    pub(super) fn chained(cut: Cut, first: ChainValue) -> Self {
        Self(Plan::Chained { cut, chain: Chain::new(KeyKind::Stream, 0, first) })
    }

    pub(super) fn whole(segments: Vec<ListedSegment>) -> Self {
        Self(Plan::Whole(segments))
    }

    /// Checks listed segments of a stream against the computed ones.
    pub(super) fn accept(&mut self, listed: &[ListedSegment]) -> Result<()> {
        listed.iter().try_for_each(|segment| match &mut self.0 {
            Plan::Chained { cut, chain } => accept_chained(cut, chain, segment),
            Plan::Stream { cut, keys } => accept_stream(cut, keys, segment),
            Plan::Partial { .. } | Plan::Whole(_) => Ok(()),
        })
    }

    /// Returns the segment with the byte at `offset`; `None` when more must be listed first.
    ///
    /// # Errors
    /// The complete list does not contain the byte.
    pub(crate) fn at(&mut self, offset: u64) -> Result<Option<ExpectedSegment>> {
        match &mut self.0 {
            Plan::Chained { cut, chain } => {
                let (position, extent) = in_stream(cut, offset);
                let key = Some(chain.key(position.index));
                let inline = Some(extent.size <= INLINE_LIMIT);
                Ok(Some(ExpectedSegment { position, extent, key, inline }))
            }
            Plan::Stream { cut, keys } => {
                let (position, extent) = in_stream(cut, offset);
                let key = keys.get(&position.index).cloned();
                Ok(Some(ExpectedSegment { position, extent, key, inline: None }))
            }
            Plan::Whole(segments) => listed_at(segments, offset).map(Some).ok_or_else(not_covered),
            Plan::Partial { segments, more, .. } => match listed_at(segments, offset) {
                None if !*more => Err(not_covered()),
                found => Ok(found),
            },
        }
    }

    /// Records the key of a downloaded segment if it was unknown.
    ///
    /// # Errors
    /// The key is marked, so it is not a key of this object.
    pub(crate) fn confirm(&mut self, position: SegmentPosition, key: &Key) -> Result<()> {
        match &mut self.0 {
            Plan::Stream { keys, .. } => remember(keys, position.index, key),
            _ => Ok(()),
        }
    }

    /// Checks the keys of all segments, which the satellite offers for a copy.
    ///
    /// # Errors
    /// A key is missing, or is not that of this object's segment at its position. Of a list that was
    /// read in part (R7, R8) only that part is compared.
    pub(crate) fn check_keys(&mut self, keys: &[(SegmentPosition, Key)]) -> Result<()> {
        let count = keys.len() as u64;
        match &mut self.0 {
            Plan::Chained { cut, chain } => {
                check_count(count, cut.count)?;
                check_each(keys, |index| Some(chain.key(index)))
            }
            Plan::Stream { cut, keys: known } => {
                check_count(count, cut.count)?;
                check_each(keys, |index| known.get(&index).cloned())?;
                keys.iter().try_for_each(|(position, key)| remember(known, position.index, key))
            }
            Plan::Whole(segments) => {
                check_count(count, segments.len() as u64)?;
                check_listed(keys, segments)
            }
            Plan::Partial { segments, more, list_rules } => {
                if !*more {
                    check_count(count, segments.len() as u64)?;
                }
                if !list_rules.marks && keys.iter().any(|(_, key)| KeyKind::of(key).is_some()) {
                    return Err(unauthenticated("a segment belongs to another object"));
                }
                check_listed(keys, segments)
            }
        }
    }

    /// Returns the last listed segment, after which a partial list continues.
    pub(crate) fn list_after(&self) -> Option<&ListedSegment> {
        match &self.0 {
            Plan::Partial { segments, .. } => segments.last(),
            _ => None,
        }
    }

    /// Adds the next page of the list.
    ///
    /// # Errors
    /// The page breaks a rule.
    pub(crate) fn extend(&mut self, page: &[ListedSegment], more: bool) -> Result<()> {
        let Plan::Partial { segments, more: still, list_rules } = &mut self.0 else {
            return Ok(());
        };
        let end = segments.last().map_or(0, ListedSegment::end);
        list_rules.append(segments, page)?;
        // R9: a page that does not advance in bytes is the last one.
        *still = more && segments.last().is_some_and(|last| last.end() > end);
        Ok(())
    }
}

fn check_count(offered: u64, expected: u64) -> Result<()> {
    if offered == expected {
        Ok(())
    } else {
        Err(unauthenticated("keys of its segments are missing"))
    }
}

/// Checks the keys of a stream, whose segments are numbered from 0.
fn check_each(
    keys: &[(SegmentPosition, Key)],
    mut expected: impl FnMut(u32) -> Option<Key>,
) -> Result<()> {
    for ((position, key), index) in keys.iter().zip(0..) {
        let is_expected = *position == SegmentPosition { part: 0, index };
        if !is_expected || expected(index).is_some_and(|expected| expected != *key) {
            return Err(unauthenticated("the key of a segment does not match the record"));
        }
    }
    Ok(())
}

/// Checks keys against the beginning of the list.
fn check_listed(keys: &[(SegmentPosition, Key)], segments: &[ListedSegment]) -> Result<()> {
    let matches = |((position, key), listed): (&(SegmentPosition, Key), &ListedSegment)| {
        *position == listed.position && *key == listed.key
    };
    if keys.len() >= segments.len() && keys.iter().zip(segments).all(matches) {
        return Ok(());
    }
    Err(unauthenticated("the key of a segment does not match the listed one"))
}

fn in_stream(cut: &Cut, offset: u64) -> (SegmentPosition, Extent) {
    let index = cut.index_of(offset);
    (SegmentPosition { part: 0, index: number(index) }, cut.extent(index))
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
fn numbered(cut: &Cut, position: SegmentPosition) -> Result<Extent> {
    if position.part != 0 || u64::from(position.index) > cut.last() {
        return Err(unauthenticated("a listed segment is not recorded"));
    }
    Ok(cut.extent(position.index.into()))
}

fn accept_stream(cut: &Cut, keys: &mut HashMap<u32, Key>, segment: &ListedSegment) -> Result<()> {
    let extent = numbered(cut, segment.position)?;
    let listed = Extent { offset: segment.offset, size: segment.plain_size };
    // Satellites have neither offset nor size for objects migrated from old formats.
    let migrated = Extent { offset: 0, size: 0 };
    if listed != extent && listed != migrated {
        return Err(unauthenticated("position or size of a segment do not match the record"));
    }
    remember(keys, segment.position.index, &segment.key)
}

fn remember(keys: &mut HashMap<u32, Key>, index: u32, key: &Key) -> Result<()> {
    if KeyKind::of(key).is_some() {
        return Err(unauthenticated("a segment belongs to another object"));
    }
    match keys.get(&index) {
        Some(first) if first != key => Err(unauthenticated("a segment has two keys")),
        Some(_) => Ok(()),
        None => {
            keys.insert(index, key.clone());
            Ok(())
        }
    }
}

fn listed_at(segments: &[ListedSegment], offset: u64) -> Option<ExpectedSegment> {
    let place = segments.partition_point(|segment| segment.end() <= offset);
    let found = segments.get(place).filter(|segment| segment.offset <= offset)?;
    let extent = Extent { offset: found.offset, size: found.plain_size };
    let key = Some(found.key.clone());
    Some(ExpectedSegment { position: found.position, extent, key, inline: None })
}

fn number(index: u64) -> u32 {
    // Counts are at most MAX_SEGMENTS.
    u32::try_from(index.min(MAX_SEGMENTS)).unwrap_or(u32::MAX)
}

fn not_covered() -> crate::error::Error {
    unauthenticated("the listed segments do not cover it")
}
