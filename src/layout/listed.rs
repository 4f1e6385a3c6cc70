//! Complete lists of segments, read page by page and checked incrementally.

use uplink_core::encryption::Key;
use uplink_core::encryption::mark::{Chain, ChainValue, KeyKind, PartDigest, parts_seal};
use uplink_core::id::SegmentPosition;

use super::segments::{Layout, ListRules, accept_chained};
use super::{Cut, ListedSegment, unauthenticated};
use crate::error::Result;

/// The complete list of an object's segments while it is read: R4, R5, R6.
///
/// Every segment is checked when its page arrives, so that reading stops at the first invalid one.
#[derive(Debug)]
pub(crate) struct WholeList {
    list_rules: ListRules,
    rule: Rule,
    segments: Vec<ListedSegment>,
}

#[derive(Debug)]
enum Rule {
    /// R4: the digests of the parts must match the seal.
    Sealed { seal: [u8; 32], done: Vec<(u32, [u8; 32])>, part: Option<(u32, Box<PartDigest>)> },
    /// R5: one chain over all segments of a stream.
    Stream { cut: Cut, chain: Option<Chain> },
    /// R6: one chain for each part; the recorded sum of sizes, or 0.
    Parts { sum: u64, part: Option<(SegmentPosition, Chain)> },
}

impl WholeList {
    pub(super) fn sealed(size: u64, seal: [u8; 32]) -> Self {
        Self::new(size, Rule::Sealed { seal, done: Vec::new(), part: None })
    }

    pub(super) fn rewritten_stream(cut: Cut) -> Self {
        Self::new(cut.size(), Rule::Stream { cut, chain: None })
    }

    pub(super) fn rewritten_parts(size: u64, sum: u64) -> Self {
        Self::new(size, Rule::Parts { sum, part: None })
    }

    fn new(size: u64, rule: Rule) -> Self {
        let list_rules = ListRules { size, parts_only: false, marks: true };
        Self { list_rules, rule, segments: Vec::new() }
    }

    /// The last segment read; `None` before the first page.
    pub(crate) fn last(&self) -> Option<&ListedSegment> {
        self.segments.last()
    }

    /// Adds the next page. Returns whether it advances in bytes; a page that does not is the last one
    /// (R9).
    ///
    /// # Errors
    /// The page breaks a rule.
    pub(crate) fn extend(&mut self, page: &[ListedSegment]) -> Result<bool> {
        let end = self.segments.last().map_or(0, ListedSegment::end);
        for segment in page {
            self.rule.check(segment)?;
        }
        self.list_rules.append(&mut self.segments, page)?;
        Ok(self.segments.last().is_some_and(|last| last.end() > end))
    }

    /// Completes the list. For a rewritten stream it also returns the last segment, the end of which
    /// must be authenticated before any byte is returned to the caller.
    ///
    /// # Errors
    /// The list is incomplete.
    pub(crate) fn finish(mut self) -> Result<(Layout, Option<ListedSegment>)> {
        let first = self.segments.first();
        let begin = first.map_or(0, |first| first.offset);
        let end = self.segments.last().map_or(0, ListedSegment::end);
        if begin != 0 || end != self.list_rules.size {
            return Err(unauthenticated("the listed segments do not cover it"));
        }
        match self.rule {
            Rule::Sealed { seal, mut done, part } => {
                done.extend(part.map(|(part, digest)| (part, digest.finish())));
                if parts_seal(done) != seal {
                    return Err(unauthenticated("its segments do not match the seal"));
                }
                Ok((Layout::whole(self.segments), None))
            }
            Rule::Stream { cut, .. } => {
                let whole = self.segments.len() as u64 == cut.count;
                match (self.segments.first(), whole) {
                    (Some(first), true) => {
                        let layout = Layout::chained(cut, ChainValue::of(&first.key));
                        Ok((layout, self.segments.pop()))
                    }
                    _ => Err(unauthenticated("a segment is missing")),
                }
            }
            Rule::Parts { sum, part } => {
                if part.is_none() || (sum != 0 && sum != end) {
                    return Err(unauthenticated("its parts do not match the record"));
                }
                Ok((Layout::whole(self.segments), None))
            }
        }
    }
}

impl Rule {
    fn check(&mut self, segment: &ListedSegment) -> Result<()> {
        match self {
            Self::Sealed { done, part, .. } => {
                digest(done, part, segment);
                Ok(())
            }
            Self::Stream { cut, chain } => {
                let first = || Chain::new(KeyKind::Stream, 0, ChainValue::of(&segment.key));
                let chain = chain.get_or_insert_with(first);
                accept_chained(cut, chain, segment)
            }
            Self::Parts { part, .. } => check_part(part, segment.position, &segment.key),
        }
    }
}

fn digest(
    done: &mut Vec<(u32, [u8; 32])>,
    part: &mut Option<(u32, Box<PartDigest>)>,
    segment: &ListedSegment,
) {
    let SegmentPosition { part: number, index } = segment.position;
    if let Some((ended, digest)) = part.take_if(|(current, _)| *current != number) {
        done.push((ended, digest.finish()));
    }
    let (_, digest) = part.get_or_insert_with(|| (number, Box::new(PartDigest::new(number))));
    digest.add(index, segment.plain_size, &segment.key);
}

pub(super) fn check_part(
    part: &mut Option<(SegmentPosition, Chain)>,
    position: SegmentPosition,
    key: &Key,
) -> Result<()> {
    let SegmentPosition { part: number, index } = position;
    let expected = match part {
        Some((last, _)) if last.part == number => last.index.checked_add(1),
        _ => {
            let first = ChainValue::of(key);
            *part = Some((position, Chain::new(KeyKind::Part, number, first)));
            Some(0)
        }
    };
    let Some((last, chain)) = part else { return Ok(()) };
    last.index = index;
    if expected != Some(index) || chain.key(index) != *key {
        return Err(unauthenticated("a segment is out of order within its part"));
    }
    Ok(())
}
