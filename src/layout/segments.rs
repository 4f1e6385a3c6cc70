//! The segments of one object, as far as they are known, for one handle.

use std::collections::HashMap;

use uplink_core::encryption::Key;
use uplink_core::encryption::mark::{Chain, ChainValue, KeyKind};
use uplink_core::id::SegmentPosition;
use uplink_core::layout::{Extent, INLINE_LIMIT};

use super::listed::{Order, WholeList};
use super::unauthenticated;
use super::{Claim, Claimed, Cut, ExpectedSegment, ListedSegment, MAX_SEGMENTS, Rules};
use crate::error::Result;

/// Which segments an object consists of.
///
/// What a satellite lists or sends of a segment is held against this before a byte of the segment is
/// handed out. It lives as long as the handle that reads, so that a repeated answer must agree with
/// the first one.
#[derive(Debug)]
pub(crate) struct Layout(Plan);

#[derive(Debug)]
enum Plan {
    /// R3, R5: positions, sizes and keys are computed.
    Chained { cut: Cut, chain: Chain },
    /// R8, a stream: positions and sizes are computed; the keys met so far, by number.
    Stream { cut: Cut, keys: HashMap<u32, Key> },
    /// R4, R6: the whole list, checked.
    Whole(Vec<ListedSegment>),
    /// R7, R8, parts: the list from where the range begins, as far as it was read.
    Partial { segments: Vec<ListedSegment>, more: bool, order: Order },
}

/// What must be listed before the first byte of an object may be handed out.
#[derive(Debug)]
pub(crate) enum Start {
    /// Nothing more.
    Ready(Layout),
    /// Any segment of the object, because no segment was listed: its key tells which rule holds.
    AnySegment(Claimed),
    /// All segments.
    Whole(WholeList),
}

impl Layout {
    /// Chooses the rule for an object and applies it to what was listed of it so far.
    ///
    /// `covers` says that the list was asked for the whole object and nothing follows it.
    ///
    /// # Errors
    /// [`ErrorKind::LayoutUnauthenticated`](crate::ErrorKind::LayoutUnauthenticated).
    pub(crate) fn start(
        claimed: Claimed,
        listed: &[ListedSegment],
        page: PageState,
        rules: Rules,
    ) -> Result<Start> {
        let Claimed { size, claim } = claimed;
        match claim {
            Claim::Stream { cut, first } => {
                if listed.is_empty() && page.covers {
                    return Err(empty());
                }
                let chain = Chain::new(KeyKind::Stream, 0, first);
                let mut layout = Self(Plan::Chained { cut, chain });
                layout.accept(listed)?;
                Ok(Start::Ready(layout))
            }
            Claim::Parts { seal } => Ok(Start::Whole(WholeList::sealed(size, seal))),
            Claim::Bare | Claim::Open { .. } => match listed.first() {
                Some(first) => {
                    let kind = KeyKind::of(&first.key);
                    Self::unsealed(Claimed { size, claim }, kind, listed, page, rules)
                }
                None if page.covers => {
                    rules.refuse_by_default("the satellite lists no segment")?;
                    let order = Order { size, parts_only: false, marks: true };
                    Ok(Start::Ready(Self(Plan::Partial {
                        segments: Vec::new(),
                        more: false,
                        order,
                    })))
                }
                None => Ok(Start::AnySegment(Claimed { size, claim })),
            },
        }
    }

    /// R5 to R8: the kind of the first key decides.
    fn unsealed(
        claimed: Claimed,
        kind: Option<KeyKind>,
        listed: &[ListedSegment],
        page: PageState,
        rules: Rules,
    ) -> Result<Start> {
        let size = claimed.size;
        let order = match (claimed.claim, kind) {
            (Claim::Open { cut: Some(cut), .. }, Some(KeyKind::Stream)) => {
                // Nothing authenticates an empty end, and only an empty object has one.
                if cut.last_size == 0 && cut.count > 1 {
                    return Err(unauthenticated("its last segment is empty"));
                }
                return Ok(Start::Whole(WholeList::rewritten_stream(cut)));
            }
            (Claim::Open { cut: None, last }, Some(KeyKind::Part)) => {
                return Ok(Start::Whole(WholeList::rewritten_parts(size, last)));
            }
            (Claim::Open { cut: Some(cut), .. }, None) => {
                let mut layout = Self(Plan::Stream { cut, keys: HashMap::new() });
                layout.accept(listed)?;
                return Ok(Start::Ready(layout));
            }
            // The reference client numbers parts from 0: part 0 alone does not tell a stream.
            (Claim::Open { cut: None, .. }, None) => {
                Order { size, parts_only: false, marks: false }
            }
            (Claim::Bare, kind) => {
                if kind.is_some() {
                    rules.refuse_by_default(
                        "the metadata that belongs to its segments is missing",
                    )?;
                }
                let allow = rules.allow_unauthenticated;
                Order { size, parts_only: !allow, marks: allow }
            }
            _ => return Err(unauthenticated("its metadata is not that of its segments")),
        };
        let mut segments = Vec::new();
        order.append(&mut segments, listed)?;
        Ok(Start::Ready(Self(Plan::Partial { segments, more: page.more, order })))
    }

    pub(super) fn chained(cut: Cut, first: ChainValue) -> Self {
        Self(Plan::Chained { cut, chain: Chain::new(KeyKind::Stream, 0, first) })
    }

    pub(super) fn whole(segments: Vec<ListedSegment>) -> Self {
        Self(Plan::Whole(segments))
    }

    /// Checks listed segments of a stream against what is computed.
    fn accept(&mut self, listed: &[ListedSegment]) -> Result<()> {
        listed.iter().try_for_each(|segment| match &mut self.0 {
            Plan::Chained { cut, chain } => accept_chained(cut, chain, segment),
            Plan::Stream { cut, keys } => accept_stream(cut, keys, segment),
            Plan::Partial { .. } | Plan::Whole(_) => Ok(()),
        })
    }

    /// The segment that holds the byte at `offset`; `None` when more must be listed before it is
    /// known.
    ///
    /// # Errors
    /// The whole object was listed and does not hold the byte.
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

    /// Notes the key of a downloaded segment where it was not known before.
    ///
    /// # Errors
    /// The key is marked, which is no key of this object.
    pub(crate) fn confirm(&mut self, position: SegmentPosition, key: &Key) -> Result<()> {
        match &mut self.0 {
            Plan::Stream { keys, .. } => remember(keys, position.index, key),
            _ => Ok(()),
        }
    }

    /// The position after which the list goes on, while there is more of it.
    pub(crate) fn list_after(&self) -> Option<&ListedSegment> {
        match &self.0 {
            Plan::Partial { segments, .. } => segments.last(),
            _ => None,
        }
    }

    /// Takes a further page of the list.
    ///
    /// # Errors
    /// The page breaks a rule.
    pub(crate) fn extend(&mut self, page: &[ListedSegment], more: bool) -> Result<()> {
        let Plan::Partial { segments, more: still, order } = &mut self.0 else { return Ok(()) };
        let end = segments.last().map_or(0, ListedSegment::end);
        order.append(segments, page)?;
        // R9: a page that does not advance in bytes is the last one.
        *still = more && segments.last().is_some_and(|last| last.end() > end);
        Ok(())
    }
}

/// What is known of the page that came with an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageState {
    /// The satellite says that more segments follow.
    pub(crate) more: bool,
    /// It was asked for the whole object and is complete.
    pub(crate) covers: bool,
}

fn in_stream(cut: &Cut, offset: u64) -> (SegmentPosition, Extent) {
    let index = cut.index_of(offset);
    (SegmentPosition { part: 0, index: number(index) }, cut.extent(index))
}

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

fn accept_stream(cut: &Cut, keys: &mut HashMap<u32, Key>, segment: &ListedSegment) -> Result<()> {
    let extent = numbered(cut, segment.position)?;
    let listed = Extent { offset: segment.offset, size: segment.plain_size };
    // Satellites have neither offset nor size of objects that were migrated from old formats.
    let migrated = Extent { offset: 0, size: 0 };
    if listed != extent && listed != migrated {
        return Err(unauthenticated("a segment has another place or size than recorded"));
    }
    remember(keys, segment.position.index, &segment.key)
}

fn numbered(cut: &Cut, position: SegmentPosition) -> Result<Extent> {
    if position.part != 0 || u64::from(position.index) > cut.last() {
        return Err(unauthenticated("a segment is listed that is not recorded"));
    }
    Ok(cut.extent(position.index.into()))
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

fn empty() -> crate::error::Error {
    unauthenticated("the satellite lists no segment")
}

fn not_covered() -> crate::error::Error {
    unauthenticated("the segments listed do not cover it")
}
