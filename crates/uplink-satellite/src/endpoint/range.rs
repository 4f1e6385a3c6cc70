//! Byte ranges of requests.

use std::ops::Range;

use uplink_rpc::r#gen::metainfo as messages;
use uplink_rpc::r#gen::metainfo::range::Range as WireRange;

use crate::failure::{RpcResult, invalid};

/// Resolves the range of a request for an object of `size` plain bytes; `None` means all of them. An
/// empty range selects the segment that contains its start.
pub(super) fn plain_range(
    range: Option<&messages::Range>,
    size: i64,
) -> RpcResult<Option<Range<i64>>> {
    let Some(range) = range.and_then(|range| range.range.as_ref()) else { return Ok(None) };
    let (start, end) = match range {
        WireRange::Start(range) => (range.plain_start, size),
        WireRange::StartLimit(range) => (range.plain_start, range.plain_limit.min(size)),
        WireRange::Suffix(range) => (size.saturating_sub(range.plain_suffix).max(0), size),
    };
    let negative = match range {
        WireRange::Start(_) => false,
        WireRange::StartLimit(range) => range.plain_limit < range.plain_start,
        WireRange::Suffix(range) => range.plain_suffix < 0,
    };
    if start < 0 || start > size || negative {
        return Err(invalid(format!("metabase: invalid request: invalid range: {start}:{end}")));
    }
    if start == 0 && end == size {
        return Ok(None);
    }
    Ok(Some(start..end.max(start.saturating_add(1)).min(size)))
}

#[cfg(test)]
mod tests {
    use uplink_rpc::status::Code;

    use super::*;

    fn range(range: WireRange, size: i64) -> RpcResult<Option<Range<i64>>> {
        plain_range(Some(&messages::Range { range: Some(range) }), size)
    }

    fn start(plain_start: i64) -> WireRange {
        WireRange::Start(messages::RangeStart { plain_start })
    }

    fn start_limit(plain_start: i64, plain_limit: i64) -> WireRange {
        WireRange::StartLimit(messages::RangeStartLimit { plain_start, plain_limit })
    }

    fn suffix(plain_suffix: i64) -> WireRange {
        WireRange::Suffix(messages::RangeSuffix { plain_suffix })
    }

    #[test]
    fn range_resolves_against_object_size() {
        assert_eq!(plain_range(None, 100), Ok(None));
        assert_eq!(range(start(0), 100), Ok(None));
        assert_eq!(range(start(7), 100), Ok(Some(7..100)));
        assert_eq!(range(start(100), 100), Ok(Some(100..100)));
        assert_eq!(range(start_limit(7, 9), 100), Ok(Some(7..9)));
        assert_eq!(range(start_limit(7, 900), 100), Ok(Some(7..100)));
        assert_eq!(range(start_limit(7, 7), 100), Ok(Some(7..8)));
        assert_eq!(range(suffix(7), 100), Ok(Some(93..100)));
        assert_eq!(range(suffix(700), 100), Ok(None));
        assert_eq!(range(suffix(0), 100), Ok(Some(100..100)));
        assert_eq!(range(start(0), 0), Ok(None));
    }

    #[test]
    fn range_outside_the_object_is_rejected() {
        for bad in [
            start(101),
            start(-1),
            start_limit(5, 4),
            start_limit(101, 102),
            start_limit(i64::MIN, i64::MAX),
            suffix(-1),
        ] {
            assert_eq!(range(bad, 100).unwrap_err().code, Code::INVALID_ARGUMENT, "{bad:?}");
        }
    }
}
