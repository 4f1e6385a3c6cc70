//! The one error type of the public interface.

use std::error::Error as StdError;
use std::fmt;

use uplink_core::access_grant::AccessGrantError;
use uplink_core::encryption::EncryptionError;
use uplink_core::encryption::metadata::MetadataError;
use uplink_core::encryption::path::PathError;
use uplink_core::layout::LayoutError;
use uplink_core::macaroon::ApiKeyError;
use uplink_rpc::dial::DialError;
use uplink_rpc::runtime::RuntimeError;
use uplink_rpc::status::{Code, Failure};
use uplink_segment::SegmentError;

/// Result of most operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed.
///
/// Branch on [`kind`](Self::kind); the text is for people and may change. It names buckets and
/// object keys that the caller passed in, and never a key, passphrase or API key.
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What kind of failure an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An access grant, API key or satellite address cannot be read.
    AccessInvalid,
    /// The project has used up its download allowance.
    BandwidthLimitExceeded,
    /// A bucket of this name exists already.
    BucketAlreadyExists,
    /// The name does not follow the rules for bucket names.
    BucketNameInvalid,
    /// The bucket still holds objects.
    BucketNotEmpty,
    /// There is no such bucket.
    BucketNotFound,
    /// A commit was sent and neither its success nor its failure could be learned.
    CommitUnknown,
    /// The passphrase or encryption key does not open what is stored, or it was changed.
    Decryption,
    /// A failure inside this library or of the system it runs on.
    Internal,
    /// The satellite's answers are not what the writer of the object recorded under encryption: it
    /// left out, mixed or relabelled segments, or serves the object without its metadata.
    LayoutUnauthenticated,
    /// A peer could not be reached, or did not answer in time.
    Network,
    /// Fewer storage nodes took or gave their pieces than the redundancy scheme needs.
    NotEnoughNodes,
    /// The object was replaced or deleted while it was being read.
    ObjectChanged,
    /// The object key is empty or not usable.
    ObjectKeyInvalid,
    /// There is no such object.
    ObjectNotFound,
    /// A deletion or creation was sent, and neither its success nor its failure could be learned.
    OutcomeUnknown,
    /// The access grant does not allow this.
    PermissionDenied,
    /// A peer sent something that makes no sense.
    Protocol,
    /// The range does not lie within the object, or an argument makes no sense.
    RangeInvalid,
    /// The satellite's disk is full: it changes nothing until its operator frees space.
    SatelliteOutOfSpace,
    /// The project has used up its number of segments.
    SegmentsLimitExceeded,
    /// The project has used up its storage.
    StorageLimitExceeded,
    /// The satellite asks to slow down.
    TooManyRequests,
    /// The upload was committed or aborted before.
    UploadDone,
    /// The upload id is malformed, or belongs to another object.
    UploadIdInvalid,
    /// Another node than the expected one answers at an address.
    WrongNode,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    pub(crate) fn protocol(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Protocol, message)
    }

    pub(crate) fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// Returns the kind of failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns whether the same operation may succeed when tried again unchanged.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::Network
                | ErrorKind::NotEnoughNodes
                | ErrorKind::ObjectChanged
                | ErrorKind::SatelliteOutOfSpace
                | ErrorKind::TooManyRequests
        )
    }

    /// Returns whether a call was sent, or may have been, and its reply never arrived: it may have
    /// taken effect.
    pub(crate) fn is_lost_reply(&self) -> bool {
        self.kind == ErrorKind::Network && !self.is_unsent()
    }

    /// Returns whether a call may have taken effect although its reply is not a success: the reply
    /// was lost, or makes no sense.
    pub(crate) fn may_have_taken_effect(&self) -> bool {
        // Answers that are too large to be decoded are out of range, on this side.
        let is_unclear = |failure: &Failure| {
            matches!(failure.code, Code::INTERNAL | Code::UNKNOWN | Code::OUT_OF_RANGE)
        };
        let is_nonsense = self.kind == ErrorKind::Protocol && self.failure().is_none_or(is_unclear);
        self.is_lost_reply() || is_nonsense
    }

    /// Returns whether a call was never sent, because no connection could be opened, or never begun,
    /// because the peer was overloaded.
    fn is_unsent(&self) -> bool {
        self.source.as_ref().is_some_and(|source| source.is::<DialError>())
            || self.failure().is_some_and(Failure::is_overloaded)
    }

    /// Returns the status that the satellite or a storage node answered with, if one did.
    #[must_use]
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.source.as_ref()?.downcast_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({:?})", self.kind, self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}

impl From<AccessGrantError> for Error {
    fn from(error: AccessGrantError) -> Self {
        Self::new(ErrorKind::AccessInvalid, error.to_string()).with_source(error)
    }
}

impl From<ApiKeyError> for Error {
    fn from(error: ApiKeyError) -> Self {
        Self::new(ErrorKind::AccessInvalid, error.to_string()).with_source(error)
    }
}

impl From<PathError> for Error {
    fn from(error: PathError) -> Self {
        let kind = match &error {
            missing if missing.is_missing_base() => ErrorKind::PermissionDenied,
            PathError::Encryption(EncryptionError::Unsupported(_)) => ErrorKind::Protocol,
            _ => ErrorKind::Decryption,
        };
        Self::new(kind, error.to_string()).with_source(error)
    }
}

impl From<EncryptionError> for Error {
    fn from(error: EncryptionError) -> Self {
        let kind = match &error {
            EncryptionError::Decryption => ErrorKind::Decryption,
            EncryptionError::Length { .. } => ErrorKind::Internal,
            _ => ErrorKind::Protocol,
        };
        Self::new(kind, error.to_string()).with_source(error)
    }
}

impl From<MetadataError> for Error {
    fn from(error: MetadataError) -> Self {
        match error {
            MetadataError::Encryption(error) => error.into(),
            other => Self::protocol(other.to_string()).with_source(other),
        }
    }
}

impl From<LayoutError> for Error {
    fn from(error: LayoutError) -> Self {
        Self::protocol(error.to_string()).with_source(error)
    }
}

impl From<DialError> for Error {
    fn from(error: DialError) -> Self {
        let kind = match &error {
            DialError::WrongNode { .. } => ErrorKind::WrongNode,
            _ => ErrorKind::Network,
        };
        Self::new(kind, error.to_string()).with_source(error)
    }
}

impl From<RuntimeError> for Error {
    fn from(error: RuntimeError) -> Self {
        Self::new(ErrorKind::Internal, error.to_string()).with_source(error)
    }
}

impl From<SegmentError> for Error {
    fn from(error: SegmentError) -> Self {
        let kind = match error {
            SegmentError::Encryption(error) => return error.into(),
            SegmentError::Layout(error) => return error.into(),
            SegmentError::Corrupt(_) | SegmentError::Forged { .. } => ErrorKind::Decryption,
            SegmentError::NotEnoughNodes { .. } => ErrorKind::NotEnoughNodes,
            SegmentError::OrderLimits(_) => ErrorKind::Protocol,
            _ => ErrorKind::Internal,
        };
        let message = match &error {
            SegmentError::NotEnoughNodes { last: Some(last), .. } => {
                format!("{error}; the last one: {last}")
            }
            error => error.to_string(),
        };
        Self::new(kind, message).with_source(error)
    }
}

impl From<Failure> for Error {
    /// Classifies a satellite's answer as the public libraries do: by code, then by agreed text.
    fn from(failure: Failure) -> Self {
        let text = failure.message.as_str();
        let kind = match failure.code {
            Code::RESOURCE_EXHAUSTED if text.ends_with("Exceeded Usage Limit") => {
                ErrorKind::BandwidthLimitExceeded
            }
            Code::RESOURCE_EXHAUSTED if text == "satellite has no disk space left" => {
                ErrorKind::SatelliteOutOfSpace
            }
            Code::RESOURCE_EXHAUSTED if text.ends_with("Too Many Requests") => {
                ErrorKind::TooManyRequests
            }
            Code::RESOURCE_EXHAUSTED if text.contains("Exceeded Storage Limit") => {
                ErrorKind::StorageLimitExceeded
            }
            Code::RESOURCE_EXHAUSTED if text.contains("Exceeded Segments Limit") => {
                ErrorKind::SegmentsLimitExceeded
            }
            Code::INVALID_ARGUMENT if text.starts_with("key length") => ErrorKind::ObjectKeyInvalid,
            Code::NOT_FOUND if text.starts_with("bucket not found") => ErrorKind::BucketNotFound,
            Code::NOT_FOUND if text.starts_with("object not found") => ErrorKind::ObjectNotFound,
            Code::PERMISSION_DENIED | Code::UNAUTHENTICATED => ErrorKind::PermissionDenied,
            Code::UNAVAILABLE | Code::DEADLINE_EXCEEDED | Code::CANCELED => ErrorKind::Network,
            Code::FAILED_PRECONDITION if text.contains("nodes") => ErrorKind::NotEnoughNodes,
            // Too few of a segment's holders are online, or signed for their pieces lately.
            Code::INTERNAL if text.contains("not enough reachable pieces") => {
                ErrorKind::NotEnoughNodes
            }
            Code::INVALID_ARGUMENT if text.starts_with("not enough valid pieces") => {
                ErrorKind::NotEnoughNodes
            }
            _ => ErrorKind::Protocol,
        };
        let message = match kind {
            ErrorKind::BucketNotFound => match text.strip_prefix("bucket not found: ") {
                Some(name) => format!("bucket {name:?} not found"),
                None => "bucket not found".to_owned(),
            },
            ErrorKind::PermissionDenied => format!("permission denied: {text}"),
            _ => format!("the satellite answers: {failure}"),
        };
        Self::new(kind, message).with_source(failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_nodes_are_told_from_other_failures_of_the_satellite() {
        let kind = |code, text: &str| Error::from(Failure::new(code, text)).kind();
        for (code, text) in [
            (Code::INTERNAL, "not enough reachable pieces: have 3, need 4"),
            (Code::INVALID_ARGUMENT, "not enough valid pieces: have 7, need 8"),
            (Code::FAILED_PRECONDITION, "not enough storage nodes: have 7, need 8"),
        ] {
            assert_eq!(kind(code, text), ErrorKind::NotEnoughNodes, "{text}");
        }
        assert_eq!(kind(Code::INTERNAL, "not enough memory"), ErrorKind::Protocol);
        let full = "satellite has no disk space left";
        assert_eq!(kind(Code::RESOURCE_EXHAUSTED, full), ErrorKind::SatelliteOutOfSpace);
    }
}
