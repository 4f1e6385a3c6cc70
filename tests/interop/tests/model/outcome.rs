//! What callers see of an operation, in a form that is equal for all clients.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use uplink::ErrorKind;

use super::grant::far_ahead;

/// The result of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Buckets(Vec<String>),
    Content {
        object: Seen,
        length: u64,
        sha256: String,
    },
    Deleted(bool),
    Done,
    Failed(Failure),
    Listed(Vec<Item>),
    Object(Seen),
    Parts(Vec<SeenPart>),
    /// Bytes written.
    Written(u64),
    /// Pending uploads, sorted: key and the number of the upload, or none for a prefix.
    Uploads(Vec<(String, Option<usize>)>),
}

/// An error. Two are equal if their kinds are known and equal.
#[derive(Clone, Debug, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: Option<ErrorKind>,
    /// For a person to read.
    pub(crate) text: String,
}

impl PartialEq for Failure {
    fn eq(&self, other: &Self) -> bool {
        self.kind.is_some() && self.kind == other.kind
    }
}

/// Attributes of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) key: String,
    pub(crate) size: u64,
    pub(crate) custom: BTreeMap<String, String>,
    pub(crate) lifetime: Lifetime,
}

/// An item of a listing, in the order of the listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Object(Seen),
    Prefix(String),
}

/// A part of a pending upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeenPart {
    pub(crate) number: u32,
    pub(crate) size: u64,
    pub(crate) etag: String,
}

/// When an object expires. The times of grants with a maximum lifetime differ by microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    Days,
    Late,
    Seconds,
    Unlimited,
}

impl Lifetime {
    pub(crate) fn new(expires: Option<SystemTime>, now: SystemTime) -> Self {
        match expires {
            None => Self::Unlimited,
            Some(at) if at == far_ahead() => Self::Late,
            Some(at) if at < now + Duration::from_secs(60) => Self::Seconds,
            Some(_) => Self::Days,
        }
    }
}

impl Outcome {
    pub(crate) fn failed(kind: Option<ErrorKind>, text: String) -> Self {
        Self::Failed(Failure { kind, text })
    }

    /// Returns the kind of a failure.
    pub(crate) fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Failed(failure) => failure.kind,
            _ => None,
        }
    }

    pub(crate) fn is_failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }

    /// Returns whether this is a failure whose text contains `part`.
    pub(crate) fn says(&self, part: &str) -> bool {
        matches!(self, Self::Failed(failure) if failure.text.contains(part))
    }

    pub(crate) fn uploads(mut listed: Vec<(String, Option<usize>)>) -> Self {
        listed.sort();
        Self::Uploads(listed)
    }
}
