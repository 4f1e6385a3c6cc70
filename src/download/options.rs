//! Which part of an object to read.

use std::ops::Range;

use uplink_rpc::r#gen::metainfo;

use crate::error::{Error, ErrorKind, Result};

/// Which part of an object to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct DownloadOptions {
    part: Part,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Whole,
    From(u64),
    Range(u64, u64),
    Last(u64),
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
        self.part = Part::Last(length);
        self
    }

    /// Whether the satellite is asked for the whole object.
    pub(super) fn is_whole(self) -> bool {
        self.part == Part::Whole
    }

    pub(super) fn wire(self) -> Result<Option<metainfo::Range>> {
        use metainfo::range::Range as Wire;
        let signed = |number: u64| {
            i64::try_from(number).map_err(|_| {
                Error::new(ErrorKind::RangeInvalid, format!("offset {number} is out of range"))
            })
        };
        let range = match self.part {
            Part::Whole => return Ok(None),
            Part::From(offset) => {
                Wire::Start(metainfo::RangeStart { plain_start: signed(offset)? })
            }
            Part::Range(offset, length) => Wire::StartLimit(metainfo::RangeStartLimit {
                plain_start: signed(offset)?,
                plain_limit: signed(offset.saturating_add(length).min(i64::MAX as u64))?,
            }),
            Part::Last(length) => {
                Wire::Suffix(metainfo::RangeSuffix { plain_suffix: signed(length)? })
            }
        };
        Ok(Some(metainfo::Range { range: Some(range) }))
    }

    pub(super) fn resolve(self, size: u64) -> Result<Range<u64>> {
        let range = match self.part {
            Part::Whole => 0..size,
            Part::From(offset) => offset..size,
            Part::Range(offset, length) => offset..offset.saturating_add(length).min(size),
            Part::Last(length) => size.saturating_sub(length)..size,
        };
        if range.start > size {
            let text = format!("offset {} is beyond the object's {size} bytes", range.start);
            return Err(Error::new(ErrorKind::RangeInvalid, text));
        }
        Ok(range)
    }
}
