//! Operations, as data that every client runs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::grant::{Grant, far_ahead, long_ago};

/// Segment size of all clients.
pub(crate) const SEGMENT: u64 = 20_000;
/// A number that no part can have.
pub(crate) const INVALID_PART: u32 = 1 << 31;
/// By how much [`Operation::AdvanceClock`] advances the clock: more than [`Expiry::Soon`] lasts.
pub(crate) const STEP_OF_CLOCK: Duration = Duration::from_secs(6);
const SOON: Duration = Duration::from_secs(5);

/// One operation with one grant.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) grant: Grant,
    pub(crate) operation: Operation,
}

/// What a client does. A `slot` holds the upload that was begun in it last.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    AbortUpload { slot: usize, is_elsewhere: bool },
    AdvanceClock,
    BeginUpload { slot: usize, at: Place, custom: Custom, expiry: Expiry },
    CommitUpload { slot: usize, custom: Custom, if_absent: bool, with_receipts: bool },
    Copy { from: Place, to: Place, if_absent: bool },
    CreateBucket { bucket: &'static str },
    Delete { at: Place },
    DeleteBucket { bucket: &'static str, with_objects: bool },
    Download { at: Place, range: Range },
    EnsureBucket { bucket: &'static str },
    List(Listing),
    ListBuckets { cursor: &'static str },
    ListParts { slot: usize, after: Option<u32> },
    ListUploads { bucket: &'static str, prefix: &'static str, recursive: bool },
    Move { from: Place, to: Place },
    Stat { at: Place },
    StatBucket { bucket: &'static str },
    UpdateMetadata { at: Place, custom: Custom },
    Upload { at: Place, content: Content, custom: Custom, expiry: Expiry, if_absent: bool },
    UploadAborted { at: Place, content: Content },
    UploadPart { slot: usize, number: u32, content: Content, has_etag: bool },
    UploadPartAborted { slot: usize, number: u32, content: Content },
}

/// Bucket and key of an object.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) bucket: &'static str,
    pub(crate) key: &'static str,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.len() {
            length if length > 100 => write!(f, "{:?}/{length} bytes", self.bucket),
            _ => write!(f, "{:?}/{:?}", self.bucket, self.key),
        }
    }
}

/// A content that the driver of the reference client generates from the same numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content {
    pub(crate) seed: u8,
    pub(crate) size: u64,
}

/// Custom metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Custom {
    Absent,
    BeyondAscii,
    EmptyKey,
    Number(u8),
    TooLarge,
}

impl Custom {
    /// Returns the entries; `None` for none.
    pub(crate) fn entries(self) -> Option<BTreeMap<String, String>> {
        let entry = |key: &str, value: String| Some(BTreeMap::from([(key.to_owned(), value)]));
        match self {
            Self::Absent => None,
            Self::BeyondAscii => entry("größe", "ключ: 鍵".to_owned()),
            Self::EmptyKey => entry("", "value".to_owned()),
            Self::Number(number) => entry("number", number.to_string()),
            Self::TooLarge => entry("large", "x".repeat(3000)),
        }
    }
}

/// When an object expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    Late,
    Never,
    Past,
    Soon,
}

impl Expiry {
    pub(crate) fn at(self, now: SystemTime) -> Option<SystemTime> {
        let whole_seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        match self {
            Self::Late => Some(far_ahead()),
            Self::Never => None,
            Self::Past => Some(long_ago()),
            Self::Soon => Some(UNIX_EPOCH + Duration::from_secs(whole_seconds) + SOON),
        }
    }
}

/// Which part of an object to read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Range {
    From(u64),
    Slice { start: u64, length: u64 },
    Suffix(u64),
    Whole,
}

/// A listing of objects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listing {
    pub(crate) bucket: &'static str,
    pub(crate) prefix: &'static str,
    pub(crate) cursor: &'static str,
    pub(crate) recursive: bool,
    pub(crate) custom: bool,
    /// Items per page of the reference client; 0 for the satellite's default.
    pub(crate) page: usize,
}

impl Operation {
    /// Returns the buckets that the operation names.
    pub(crate) fn buckets(&self) -> Vec<&'static str> {
        match self {
            Self::Copy { from, to, .. } | Self::Move { from, to } => vec![from.bucket, to.bucket],
            Self::BeginUpload { at, .. }
            | Self::Delete { at }
            | Self::Download { at, .. }
            | Self::Stat { at }
            | Self::UpdateMetadata { at, .. }
            | Self::Upload { at, .. }
            | Self::UploadAborted { at, .. } => vec![at.bucket],
            Self::CreateBucket { bucket }
            | Self::DeleteBucket { bucket, .. }
            | Self::EnsureBucket { bucket }
            | Self::List(Listing { bucket, .. })
            | Self::ListUploads { bucket, .. }
            | Self::StatBucket { bucket } => vec![bucket],
            Self::AbortUpload { .. }
            | Self::AdvanceClock
            | Self::CommitUpload { .. }
            | Self::ListBuckets { .. }
            | Self::ListParts { .. }
            | Self::UploadPart { .. }
            | Self::UploadPartAborted { .. } => Vec::new(),
        }
    }

    /// Returns whether a client may leave a pending upload behind that no caller knows.
    pub(crate) fn may_leave_pending(&self) -> bool {
        matches!(self, Self::Upload { .. } | Self::UploadAborted { .. })
    }
}
