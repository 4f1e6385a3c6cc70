//! Documented differences between the clients. Everything else must be equal.

use uplink::{ErrorKind, Project};

use super::operation::{INVALID_PART, Operation, Step};
use super::outcome::Outcome;
use super::parties::Outcomes;

/// A difference between the reference client and ours, which is the same over both transports.
struct Difference {
    /// Why there is one.
    #[expect(dead_code, reason = "for readers")]
    why: &'static str,
    applies: fn(&Case<'_>) -> bool,
}

/// Outcomes that differ, and what is missing.
struct Case<'a> {
    step: &'a Step,
    theirs: &'a Outcome,
    ours: &'a Outcome,
    /// A bucket that the operation names does not exist.
    is_bucket_missing: bool,
    /// The object to copy or move does not exist.
    is_source_missing: bool,
}

const DIFFERENCES: [Difference; 10] = [
    Difference {
        why: "where it looks up an object, the reference client does not distinguish a missing \
               bucket from a missing object",
        applies: |case| case.is_missing_bucket(),
    },
    Difference {
        why: "before our client asks to copy or move an object, it requests it; then an error of the \
               source is reported before one of the target or of other permissions",
        applies: |case| case.is_error_of_source(),
    },
    Difference {
        why: "before our client commits an upload, it requests its parts; then a missing upload is \
               reported before a missing permission to write",
        applies: |case| {
            matches!(case.step.operation, Operation::CommitUpload { .. })
                && !case.step.grant.can_upload()
                && case.kinds()
                    == [ErrorKind::PermissionDenied, ErrorKind::ObjectNotFound].map(Some)
        },
    },
    Difference {
        why: "for the same reason a missing upload is reported before metadata that is too large",
        applies: |case| {
            let kinds = [ErrorKind::Rejected, ErrorKind::ObjectNotFound].map(Some);
            matches!(case.step.operation, Operation::CommitUpload { .. })
                && case.kinds() == kinds
                && case.theirs.says("metadata is too large")
        },
    },
    Difference {
        why: "an error of the beginning is reported by a write or by the commit, depending on what \
               each client buffers; an upload that is aborted has no commit",
        applies: |case| {
            let aborted = matches!(
                case.step.operation,
                Operation::UploadAborted { .. } | Operation::UploadPartAborted { .. }
            );
            aborted && (*case.theirs == Outcome::Done || *case.ours == Outcome::Done)
        },
    },
    Difference {
        why: "when it cannot begin one of several segments, the reference client returns an error of \
               its buffers, or the satellite's, whichever it sees first",
        applies: |case| {
            let written = matches!(
                case.step.operation,
                Operation::Upload { .. }
                    | Operation::UploadAborted { .. }
                    | Operation::UploadPart { .. }
                    | Operation::UploadPartAborted { .. }
            );
            written
                && case.theirs.says("WaitWrite called after DoneWriting")
                && case.ours.is_failed()
        },
    },
    Difference {
        why: "of an invalid upload id and an invalid part number, each client reports one",
        applies: |case| {
            let kinds = [ErrorKind::UploadIdInvalid, ErrorKind::PartNumberInvalid].map(Some);
            let is_invalid = matches!(
                case.step.operation,
                Operation::UploadPart { number: INVALID_PART, .. }
                    | Operation::UploadPartAborted { number: INVALID_PART, .. }
            );
            is_invalid && case.kinds() == kinds
        },
    },
    Difference {
        why: "of an invalid upload id and a key that the grant has no encryption key for, each client \
              reports one",
        applies: |case| {
            let kinds = [ErrorKind::UploadIdInvalid, ErrorKind::PermissionDenied].map(Some);
            matches!(case.step.operation, Operation::AbortUpload { is_elsewhere: true, .. })
                && case.kinds() == kinds
                && case.ours.says("missing encryption base")
        },
    },
    Difference {
        why: "of a prefix without a slash at its end and one that the grant has no encryption key for, \
              each client reports one",
        applies: |case| {
            let kinds = [ErrorKind::PermissionDenied, ErrorKind::PrefixInvalid].map(Some);
            matches!(case.step.operation, Operation::List(_) | Operation::ListUploads { .. })
                && case.kinds() == kinds
        },
    },
    Difference {
        why: "in a conditional commit, the reference client reports a part that is too small like an \
               object that exists",
        applies: |case| {
            let kinds = [ErrorKind::ObjectAlreadyExists, ErrorKind::Rejected].map(Some);
            matches!(case.step.operation, Operation::CommitUpload { if_absent: true, .. })
                && case.kinds() == kinds
                && case.ours.says("size of part number")
        },
    },
];

impl Case<'_> {
    /// Returns the kinds of both errors: that of the reference client and ours.
    fn kinds(&self) -> [Option<ErrorKind>; 2] {
        [self.theirs.kind(), self.ours.kind()]
    }

    fn is_missing_bucket(&self) -> bool {
        let looks_up = matches!(
            self.step.operation,
            Operation::Copy { .. }
                | Operation::Download { .. }
                | Operation::Move { .. }
                | Operation::Stat { .. }
                | Operation::UpdateMetadata { .. }
        );
        let kinds = [ErrorKind::ObjectNotFound, ErrorKind::BucketNotFound].map(Some);
        looks_up && self.is_bucket_missing && self.kinds() == kinds
    }

    fn is_error_of_source(&self) -> bool {
        let (Operation::Copy { from, .. } | Operation::Move { from, .. }) = self.step.operation
        else {
            return false;
        };
        let [Some(theirs), Some(ours)] = self.kinds() else { return false };
        let of_names = [ErrorKind::BucketNameInvalid, ErrorKind::ObjectKeyInvalid];
        let of_target = [ErrorKind::BucketNotFound, ErrorKind::PermissionDenied];
        // The satellite checks the length of names before anything else.
        let is_of_name = of_names.contains(&theirs) || self.theirs.says("invalid bucket name");
        let is_of_target = is_of_name || of_target.contains(&theirs);
        match ours {
            ErrorKind::BucketNotFound | ErrorKind::ObjectNotFound => {
                is_of_target && self.is_source_missing
            }
            ErrorKind::ObjectKeyInvalid => is_of_target && from.key.len() > MAX_KEY,
            ErrorKind::PermissionDenied => is_of_name,
            _ => false,
        }
    }
}

/// Maximum bytes of an encrypted key.
const MAX_KEY: usize = 4000;

/// Returns whether the outcomes are equal or differ as documented.
pub(crate) async fn agree(step: &Step, outcomes: &Outcomes, owners: &[Project; 3]) -> bool {
    let [theirs, ours, over_drpc] = outcomes;
    // No difference between our transports is documented.
    if ours != over_drpc {
        return false;
    }
    if theirs == ours {
        return true;
    }
    let is_bucket_missing = is_bucket_missing(&step.operation, &owners[1]).await;
    let is_source_missing = is_source_missing(&step.operation, &owners[1]).await;
    let case = Case { step, theirs, ours, is_bucket_missing, is_source_missing };
    DIFFERENCES.iter().any(|difference| (difference.applies)(&case))
}

async fn is_bucket_missing(operation: &Operation, owner: &Project) -> bool {
    for bucket in operation.buckets() {
        let found = owner.stat_bucket(bucket).await;
        if found.is_err_and(|error| error.kind() == ErrorKind::BucketNotFound) {
            return true;
        }
    }
    false
}

async fn is_source_missing(operation: &Operation, owner: &Project) -> bool {
    let (Operation::Copy { from, .. } | Operation::Move { from, .. }) = operation else {
        return false;
    };
    let missing = [ErrorKind::BucketNotFound, ErrorKind::ObjectNotFound];
    let found = owner.stat_object(from.bucket, from.key).await;
    found.is_err_and(|error| missing.contains(&error.kind()))
}
