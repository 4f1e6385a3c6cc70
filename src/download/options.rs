//! Which part of an object to read.

use std::ops::Range;

use crate::error::{Error, ErrorKind, Result};
use crate::satellite::object::Part;

/// Which part of an object to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct DownloadOptions {
    part: Part,
}

impl DownloadOptions {
    /// Reads the whole object.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads from `offset` to the end.
    pub fn from(mut self, offset: u64) -> Self {
        self.part = Part::From(offset);
        self
    }

    /// Reads `length` bytes from `offset`; what lies beyond the end of the object is left out.
    pub fn range(mut self, offset: u64, length: u64) -> Self {
        self.part = Part::Range(offset, length);
        self
    }

    /// Reads the last `length` bytes; the whole object when it has fewer.
    pub fn last(mut self, length: u64) -> Self {
        self.part = Part::Suffix(length);
        self
    }

    /// Whether the satellite is asked for the whole object.
    pub(super) fn is_whole(self) -> bool {
        self.part == Part::Whole
    }

    pub(super) fn part(self) -> Part {
        self.part
    }

    pub(super) fn resolve(self, size: u64) -> Result<Range<u64>> {
        let range = match self.part {
            Part::Whole => 0..size,
            Part::From(offset) => offset..size,
            Part::Range(offset, length) => offset..offset.saturating_add(length).min(size),
            Part::Suffix(length) => size.saturating_sub(length)..size,
        };
        if range.start > size {
            let text = format!("offset {} is beyond the object's {size} bytes", range.start);
            return Err(Error::new(ErrorKind::RangeInvalid, text));
        }
        Ok(range)
    }
}
