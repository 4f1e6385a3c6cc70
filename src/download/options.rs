//! Which part of an object to read.

use std::ops::{Bound, Range, RangeBounds};

use crate::error::{Error, ErrorKind, Result};
use crate::satellite::download::ByteRange;

/// Which part of an object to read; all of it by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct DownloadOptions {
    range: Option<(Bound<u64>, Bound<u64>)>,
    suffix: Option<u64>,
}

impl DownloadOptions {
    /// Reads the whole object.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a range of plain bytes, such as `1024..`, `..=99` or `10..20`.
    ///
    /// Bytes beyond the end of the object are left out. A range that starts beyond the end, or ends
    /// before its start, is [`ErrorKind::RangeInvalid`] when the object is opened.
    pub fn range(mut self, range: impl RangeBounds<u64>) -> Self {
        self.range = Some((range.start_bound().cloned(), range.end_bound().cloned()));
        self
    }

    /// Reads the last `length` bytes; the whole object if it has fewer.
    ///
    /// Together with [`range`](Self::range) this is [`ErrorKind::RangeInvalid`] when the object is
    /// opened.
    pub fn suffix(mut self, length: u64) -> Self {
        self.suffix = Some(length);
        self
    }

    /// Returns the range to request.
    pub(super) fn byte_range(self) -> Result<ByteRange> {
        match (self.range, self.suffix) {
            (None, None) => Ok(ByteRange::Whole),
            (None, Some(length)) => Ok(ByteRange::Suffix(length)),
            (Some((start, end)), None) => byte_range(start, end),
            (Some(_), Some(_)) => Err(invalid("range and suffix exclude each other")),
        }
    }
}

fn byte_range(start: Bound<u64>, end: Bound<u64>) -> Result<ByteRange> {
    let start = match start {
        Bound::Excluded(before) => before.checked_add(1),
        Bound::Included(start) => Some(start),
        Bound::Unbounded => Some(0),
    };
    let start = start.ok_or_else(|| invalid("its start exceeds the largest offset"))?;
    let end = match end {
        Bound::Excluded(end) => Some(end),
        // The largest offset cannot be exceeded.
        Bound::Included(last) => last.checked_add(1),
        Bound::Unbounded => None,
    };
    match end {
        None if start == 0 => Ok(ByteRange::Whole),
        None => Ok(ByteRange::From(start)),
        Some(end) if start <= end => Ok(ByteRange::Range(start..end)),
        Some(end) => Err(invalid(&format!("it ends at {end}, before its start at {start}"))),
    }
}

/// Returns the bytes that `requested` means in an object of `size` bytes.
pub(super) fn resolve(requested: &ByteRange, size: u64) -> Result<Range<u64>> {
    let range = match *requested {
        ByteRange::Whole => 0..size,
        ByteRange::From(offset) => offset..size,
        ByteRange::Range(Range { start, end }) => start..end.min(size),
        ByteRange::Suffix(length) => size.saturating_sub(length)..size,
    };
    if range.start > size {
        let start = range.start;
        return Err(invalid(&format!("it starts at {start}, the object has {size} bytes")));
    }
    Ok(range)
}

fn invalid(why: &str) -> Error {
    Error::new(ErrorKind::RangeInvalid, format!("invalid range: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(options: DownloadOptions, size: u64) -> Option<Range<u64>> {
        let requested = options.byte_range().ok()?;
        resolve(&requested, size).ok()
    }

    #[test]
    fn ranges_of_all_forms_are_clamped_to_the_object() {
        let options = DownloadOptions::new;
        for (options, expected) in [
            (options(), Some(0..10)),
            (options().range(..), Some(0..10)),
            (options().range(3..), Some(3..10)),
            (options().range(..4), Some(0..4)),
            (options().range(..=4), Some(0..5)),
            (options().range(2..7), Some(2..7)),
            (options().range(2..2), Some(2..2)),
            (options().range(2..=u64::MAX), Some(2..10)),
            (options().range(10..), Some(10..10)),
            (options().range(11..), None),
            (options().range((Bound::Excluded(2), Bound::Unbounded)), Some(3..10)),
            (options().range((Bound::Excluded(u64::MAX), Bound::Unbounded)), None),
            (options().range((Bound::Included(5), Bound::Excluded(4))), None),
            (options().suffix(3), Some(7..10)),
            (options().suffix(0), Some(10..10)),
            (options().suffix(11), Some(0..10)),
        ] {
            assert_eq!(resolved(options, 10), expected, "{options:?}");
        }
    }

    #[test]
    fn range_and_suffix_together_are_rejected() {
        let error = DownloadOptions::new().range(1..).suffix(1).byte_range().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RangeInvalid);
    }
}
