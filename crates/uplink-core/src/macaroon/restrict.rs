//! From what a user wants to permit to a caveat.

use super::{Caveat, Operation, OperationSet, Timestamp};
use crate::encryption::PathScope;

/// What a shared access may do. The default permits nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permission {
    /// The operations that stay possible.
    pub allowed: OperationSet,
    /// The first moment at which the access may be used.
    pub not_before: Option<Timestamp>,
    /// The last moment at which the access may be used.
    pub not_after: Option<Timestamp>,
    /// Longest lifetime of new objects, in nanoseconds.
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

    /// Permits download, upload, list, delete and, in the old form, lock. As with all public
    /// libraries the finer object-lock operations are not part of it.
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

    /// Makes the caveat that takes away everything else. `nonce` should be 4 random bytes.
    ///
    /// Setting nothing at all is refused as a likely mistake. Setting a time or a lifetime alone
    /// passes, and allows next to nothing.
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

/// Why a permission makes no sense.
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
