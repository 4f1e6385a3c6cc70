//! The error kind of our client for an error of the reference client.

use uplink::ErrorKind;
use uplink_interop::ClientError;

use super::operation::Operation;

/// Exported errors of the reference client and of its internal interface.
const EXPORTED: [(&str, ErrorKind); 14] = [
    ("ErrBandwidthLimitExceeded", ErrorKind::BandwidthLimitExceeded),
    ("ErrBucketAlreadyExists", ErrorKind::BucketAlreadyExists),
    ("ErrBucketNameInvalid", ErrorKind::BucketNameInvalid),
    ("ErrBucketNotEmpty", ErrorKind::BucketNotEmpty),
    ("ErrBucketNotFound", ErrorKind::BucketNotFound),
    ("ErrFailedPrecondition", ErrorKind::ObjectAlreadyExists),
    ("ErrObjectKeyInvalid", ErrorKind::ObjectKeyInvalid),
    ("ErrObjectNotFound", ErrorKind::ObjectNotFound),
    ("ErrPermissionDenied", ErrorKind::PermissionDenied),
    ("ErrSegmentsLimitExceeded", ErrorKind::SegmentsLimitExceeded),
    ("ErrStorageLimitExceeded", ErrorKind::StorageLimitExceeded),
    ("ErrTooManyRequests", ErrorKind::TooManyRequests),
    ("ErrUploadDone", ErrorKind::UploadDone),
    ("ErrUploadIDInvalid", ErrorKind::UploadIdInvalid),
];

/// Errors that the reference client returns without a name and without a code: their texts.
const UNNAMED: [(&str, ErrorKind); 5] = [
    ("decryption failed", ErrorKind::Decryption),
    ("invalid pairs [empty key]", ErrorKind::CustomMetadataInvalid),
    ("missing encryption base", ErrorKind::PermissionDenied),
    ("partNumber should be less than", ErrorKind::PartNumberInvalid),
    ("prefix should end with slash", ErrorKind::PrefixInvalid),
];

/// Codes of the satellite.
const INVALID_ARGUMENT: u64 = 3;
const NOT_FOUND: u64 = 5;
const FAILED_PRECONDITION: u64 = 9;

/// Returns the kind; `None` for an error that no operation of these tests should cause.
pub(crate) fn kind_of(operation: &Operation, error: &ClientError) -> Option<ErrorKind> {
    let exported = EXPORTED.iter().find(|(name, _)| *name == error.kind);
    exported.map(|(_, kind)| *kind).or_else(|| match error.code {
        0 => UNNAMED.iter().find(|(text, _)| error.text.contains(text)).map(|(_, kind)| *kind),
        INVALID_ARGUMENT => Some(invalid_argument(operation, &error.text)),
        // Named only when the commit of the part returns it, not a write.
        NOT_FOUND => error.text.contains("pending object").then_some(ErrorKind::UploadIdInvalid),
        FAILED_PRECONDITION => failed_precondition(operation),
        _ => None,
    })
}

fn invalid_argument(operation: &Operation, text: &str) -> ErrorKind {
    match operation {
        _ if text.contains("key length") => ErrorKind::ObjectKeyInvalid,
        Operation::AbortUpload { .. } => ErrorKind::UploadIdInvalid,
        Operation::Download { .. } if text.contains("invalid range") => ErrorKind::RangeInvalid,
        // Our client has no kind of its own for what only the satellite checks.
        _ => ErrorKind::Rejected,
    }
}

fn failed_precondition(operation: &Operation) -> Option<ErrorKind> {
    match operation {
        // A part other than the last one is too small.
        Operation::CommitUpload { .. } => Some(ErrorKind::Rejected),
        Operation::DeleteBucket { .. } => Some(ErrorKind::BucketNotEmpty),
        _ => None,
    }
}
