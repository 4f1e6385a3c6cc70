//! The rule that applies to an object, and what must be listed under it.

use std::collections::HashMap;

use uplink_core::encryption::mark::KeyKind;

use super::listed::WholeList;
use super::segments::{Layout, ListRules, Plan};
use super::{ListedSegment, RecordedObject, RecordedSegments, Rules, unauthenticated};
use crate::error::Result;

/// What must be listed before the first byte of an object may be returned.
#[derive(Debug)]
pub(crate) enum Start {
    /// Nothing more.
    Ready(Layout),
    /// Any segment of the object, because none was listed: its key determines the rule.
    AnySegment(RecordedObject),
    /// All segments.
    Whole(WholeList),
}

/// What a page of listed segments covers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageState {
    /// The satellite announces more segments.
    pub(crate) more: bool,
    /// The page lists every segment of the object.
    pub(crate) covers: bool,
}

impl Layout {
    /// Chooses the rule for an object and applies it to the segments listed so far.
    ///
    /// `page.covers` means that the list is that of the whole object.
    ///
    /// # Errors
    /// [`ErrorKind::LayoutUnauthenticated`](crate::ErrorKind::LayoutUnauthenticated).
    pub(crate) fn start(
        recorded: RecordedObject,
        listed: &[ListedSegment],
        page: PageState,
        rules: Rules,
    ) -> Result<Start> {
        let RecordedObject { size, segments } = recorded;
        match segments {
            RecordedSegments::Stream { cut, first } => {
                if listed.is_empty() && page.covers {
                    return Err(unauthenticated("the satellite lists no segments"));
                }
                let mut layout = Self::chained(cut, first);
                layout.accept(listed)?;
                Ok(Start::Ready(layout))
            }
            RecordedSegments::Parts { seal } => Ok(Start::Whole(WholeList::sealed(size, seal))),
            RecordedSegments::Nothing | RecordedSegments::Unsealed { .. } => match listed.first() {
                Some(first) => {
                    let kind = KeyKind::of(&first.key);
                    Self::unsealed(RecordedObject { size, segments }, kind, listed, page, rules)
                }
                None if page.covers => {
                    rules.refuse_by_default("the satellite lists no segments")?;
                    let list_rules = ListRules { size, parts_only: false, marks: true };
                    Ok(Start::Ready(Self(Plan::Partial {
                        segments: Vec::new(),
                        more: false,
                        list_rules,
                    })))
                }
                None => Ok(Start::AnySegment(RecordedObject { size, segments })),
            },
        }
    }

    /// R5 to R8: the kind of the first key determines the rule.
    fn unsealed(
        recorded: RecordedObject,
        kind: Option<KeyKind>,
        listed: &[ListedSegment],
        page: PageState,
        rules: Rules,
    ) -> Result<Start> {
        let size = recorded.size;
        let list_rules = match (recorded.segments, kind) {
            (RecordedSegments::Unsealed { cut: Some(cut), .. }, Some(KeyKind::Stream)) => {
                // Nothing authenticates an empty last segment, and only an empty object has one.
                if cut.last_size == 0 && cut.count > 1 {
                    return Err(unauthenticated("its last segment is empty"));
                }
                return Ok(Start::Whole(WholeList::rewritten_stream(cut)));
            }
            (RecordedSegments::Unsealed { cut: None, last }, Some(KeyKind::Part)) => {
                return Ok(Start::Whole(WholeList::rewritten_parts(size, last)));
            }
            (RecordedSegments::Unsealed { cut: Some(cut), .. }, None) => {
                let mut layout = Self(Plan::Stream { cut, keys: HashMap::new() });
                layout.accept(listed)?;
                return Ok(Start::Ready(layout));
            }
            // The reference client numbers parts from 0: part 0 alone does not imply a stream.
            (RecordedSegments::Unsealed { cut: None, .. }, None) => {
                ListRules { size, parts_only: false, marks: false }
            }
            (RecordedSegments::Nothing, kind) => {
                if kind.is_some() {
                    rules.refuse_by_default("the metadata of its segments is missing")?;
                }
                let allow = rules.allow_unauthenticated;
                ListRules { size, parts_only: !allow, marks: allow }
            }
            _ => return Err(unauthenticated("its metadata does not belong to its segments")),
        };
        let mut segments = Vec::new();
        list_rules.append(&mut segments, listed)?;
        Ok(Start::Ready(Self(Plan::Partial { segments, more: page.more, list_rules })))
    }
}
