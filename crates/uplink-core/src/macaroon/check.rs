//! Authorization: whether an API key allows an action, as decided by the satellite.

use std::collections::BTreeSet;

use super::{ApiKey, Caveat, Operation, Timestamp};
use crate::WireError;

/// An action to authorize: operation, target and time.
#[derive(Clone, Copy, Debug)]
pub struct Action<'a> {
    /// The operation.
    pub operation: Operation,
    /// Name of the bucket; empty for actions on the project.
    pub bucket: &'a [u8],
    /// The encrypted object key or prefix; empty for actions on a bucket.
    pub encrypted_path: &'a [u8],
    /// The satellite's current time.
    pub time: Timestamp,
}

/// The features that the satellite has enabled for an API key, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApiKeyVersion(pub u32);

impl ApiKeyVersion {
    /// Operations 6 to 13 are enabled.
    pub const OBJECT_LOCK: Self = Self(1);
    /// Every tail must be registered with the satellite.
    pub const AUDITABLE: Self = Self(2);
    /// Operations 14 and 15 are enabled.
    pub const EVENTING: Self = Self(4);

    /// Returns whether all bits of `other` are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    fn supports(self, operation: Operation) -> bool {
        match operation as u8 {
            6..=13 => self.has(Self::OBJECT_LOCK),
            14..=15 => self.has(Self::EVENTING),
            _ => true,
        }
    }
}

/// The buckets that a bucket listing may show.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AllowedBuckets {
    /// All buckets of the project.
    All,
    /// Only these buckets.
    Only(BTreeSet<Vec<u8>>),
}

impl AllowedBuckets {
    /// Returns whether a bucket may be shown.
    #[must_use]
    pub fn contains(&self, bucket: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Only(buckets) => buckets.contains(bucket),
        }
    }
}

/// Why an API key does not allow an action.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The tail does not match head, caveats and secret.
    #[error("API key invalid: macaroon unauthorized")]
    Invalid,
    /// The key's version or one of its caveats disallows the action.
    #[error("API key unauthorized: action disallowed")]
    Unauthorized,
    /// A caveat cannot be decoded, which disallows every action.
    #[error("API key format: {0}")]
    Caveat(#[from] WireError),
}

/// Why a caveat denies an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The key is not valid before this time.
    NotBefore(Timestamp),
    /// The key is not valid after this time.
    NotAfter(Timestamp),
    /// The operation is not allowed, wherever it is.
    Operation,
    /// Nothing is allowed in this bucket, or below this path.
    Path,
}

impl ApiKey {
    /// Checks whether this key allows an action. The satellite looks up `secret` and `version` by the
    /// key's head.
    ///
    /// Caveats are decoded strictly: an unknown field disallows every action, because its meaning is
    /// unknown. The caller must check afterwards whether any of the key's [`tails`](Self::tails) is
    /// revoked.
    pub fn check(
        &self,
        secret: &[u8],
        version: ApiKeyVersion,
        action: &Action<'_>,
    ) -> Result<(), CheckError> {
        self.allowing_caveats(secret, version, action, |_| {})
    }

    /// Returns the buckets that a listing may show: the intersection over all caveats that restrict
    /// paths. The action is normally [`Operation::Read`] without a bucket.
    pub fn allowed_buckets(
        &self,
        secret: &[u8],
        version: ApiKeyVersion,
        action: &Action<'_>,
    ) -> Result<AllowedBuckets, CheckError> {
        let mut allowed = AllowedBuckets::All;
        self.allowing_caveats(secret, version, action, |caveat| {
            if caveat.allowed_paths.is_empty() {
                return;
            }
            let buckets = caveat.allowed_paths.into_iter().map(|path| path.bucket);
            let remaining = buckets.filter(|bucket| allowed.contains(bucket)).collect();
            allowed = AllowedBuckets::Only(remaining);
        })?;
        Ok(allowed)
    }

    /// Returns the smallest maximum lifetime that the caveats set for new objects, in nanoseconds. With
    /// 0 or a negative value no object can be created. Does not verify the key: call
    /// [`check`](Self::check) first.
    pub fn max_object_ttl_nanos(&self) -> Result<Option<i64>, CheckError> {
        let mut shortest = None;
        for caveat in self.caveats() {
            if let Some(nanos) = Caveat::decode_strict(caveat)?.max_object_ttl_nanos {
                shortest = Some(shortest.map_or(nanos, |shortest: i64| shortest.min(nanos)));
            }
        }
        Ok(shortest)
    }

    fn allowing_caveats(
        &self,
        secret: &[u8],
        version: ApiKeyVersion,
        action: &Action<'_>,
        mut each: impl FnMut(Caveat),
    ) -> Result<(), CheckError> {
        if !self.is_authentic(secret) {
            return Err(CheckError::Invalid);
        }
        if !version.supports(action.operation) {
            return Err(CheckError::Unauthorized);
        }
        for caveat in self.caveats() {
            let caveat = Caveat::decode_strict(caveat)?;
            if !caveat.allows(action) {
                return Err(CheckError::Unauthorized);
            }
            each(caveat);
        }
        Ok(())
    }
}

impl Caveat {
    /// Returns whether this caveat allows an action.
    #[must_use]
    pub fn allows(&self, action: &Action<'_>) -> bool {
        self.denial(action).is_none()
    }

    /// Returns why this caveat denies an action; `None` if it allows it.
    #[must_use]
    pub fn denial(&self, action: &Action<'_>) -> Option<Denial> {
        if let Some(first) = self.not_before.filter(|first| action.time < *first) {
            return Some(Denial::NotBefore(first));
        }
        if let Some(last) = self.not_after.filter(|last| action.time > *last) {
            return Some(Denial::NotAfter(last));
        }
        // Any key with access to something in a bucket may check that the bucket exists, whatever its
        // operations.
        if action.operation == Operation::Read && action.encrypted_path.is_empty() {
            let is_allowed = self.allowed_paths.is_empty()
                || action.bucket.is_empty()
                || self.allowed_paths.iter().any(|path| path.bucket == action.bucket);
            return (!is_allowed).then_some(Denial::Path);
        }
        if self.disallows(action.operation) {
            return Some(Denial::Operation);
        }
        (!self.covers(action)).then_some(Denial::Path)
    }

    fn disallows(&self, operation: Operation) -> bool {
        match operation {
            // Permission to set a retention includes reading it.
            Operation::GetRetention => {
                self.disallowed.contains(Operation::GetRetention)
                    && self.disallowed.contains(Operation::PutRetention)
            }
            operation => self.disallowed.contains(operation),
        }
    }

    fn covers(&self, action: &Action<'_>) -> bool {
        self.allowed_paths.is_empty()
            || action.operation == Operation::ProjectInfo
            || self.allowed_paths.iter().any(|path| {
                path.bucket == action.bucket
                    && action.encrypted_path.starts_with(&path.encrypted_path_prefix)
            })
    }
}
