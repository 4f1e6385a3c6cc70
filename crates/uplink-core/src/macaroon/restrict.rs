//! Permissions, and the caveats that enforce them.

use super::{Caveat, Operation, OperationSet, Timestamp};
use crate::encryption::PathScope;

/// The permissions of a shared access grant. The default permits nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permission {
    /// The permitted operations.
    pub allowed: OperationSet,
    /// The first time at which the access may be used.
    pub not_before: Option<Timestamp>,
    /// The last time at which the access may be used.
    pub not_after: Option<Timestamp>,
    /// Maximum lifetime of new objects, in nanoseconds.
    pub max_object_ttl_nanos: Option<i64>,
}

impl Permission {
    /// Permits download and list.
    #[must_use]
    pub fn read_only() -> Self {
        Self::of([Operation::Read, Operation::List])
    }

    /// Permits upload and delete.
    #[must_use]
    pub fn write_only() -> Self {
        Self::of([Operation::Write, Operation::Delete])
    }

    /// Permits download, upload, list, delete and the old form of lock. Like in all public libraries,
    /// the newer object-lock operations are not included.
    #[must_use]
    pub fn full() -> Self {
        Self::of([
            Operation::Read,
            Operation::Write,
            Operation::List,
            Operation::Delete,
            Operation::Lock,
        ])
    }

    /// Permits these operations.
    #[must_use]
    pub fn of(operations: impl IntoIterator<Item = Operation>) -> Self {
        Self { allowed: operations.into_iter().collect(), ..Self::default() }
    }

    /// Returns the caveat that disallows everything else. `nonce` should be 4 random bytes.
    ///
    /// Rejects an empty permission as a likely mistake. A permission with only a time or a lifetime is
    /// accepted, although it permits almost nothing.
    pub fn to_caveat(
        &self,
        allowed_paths: Vec<PathScope>,
        nonce: [u8; 4],
    ) -> Result<Caveat, PermissionError> {
        if *self == Self::default() {
            return Err(PermissionError::Empty);
        }
        if let (Some(first), Some(last)) = (self.not_before, self.not_after)
            && last < first
        {
            return Err(PermissionError::TimeRange);
        }
        if self.max_object_ttl_nanos.is_some_and(|nanos| nanos <= 0) {
            return Err(PermissionError::ObjectTtl);
        }
        Ok(Caveat {
            disallowed: self.allowed.complement(),
            allowed_paths,
            not_after: self.not_after,
            not_before: self.not_before,
            max_object_ttl_nanos: self.max_object_ttl_nanos,
            nonce: nonce.to_vec(),
        })
    }
}

/// Why a permission is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PermissionError {
    /// Nothing is set.
    #[error("permission is empty")]
    Empty,
    /// The end is before the beginning.
    #[error("invalid time range")]
    TimeRange,
    /// The lifetime is not positive.
    #[error("non-positive ttl period")]
    ObjectTtl,
}
