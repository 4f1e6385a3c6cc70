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
use uplink_rpc::piece::PieceError;
use uplink_rpc::runtime::RuntimeError;
use uplink_rpc::status::{Code, Failure};
use uplink_segment::SegmentError;

/// Result of most operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed.
///
/// Branch on [`kind`](Self::kind); the message may change. It may contain bucket names and object
/// keys that the caller passed in, never an encryption key, passphrase or API key. It does not repeat
/// its [`source`](StdError::source): print the chain to see everything.
pub struct Error {
    kind: ErrorKind,
    message: String,
    cause: Option<Cause>,
}

struct Cause {
    error: Box<dyn StdError + Send + Sync>,
    /// The message of [`Error`] says what `error` says, so that its source is the next in the chain.
    is_included: bool,
}

/// What kind of failure an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An access grant, API key or satellite address is malformed.
    AccessInvalid,
    /// The authentication service of edge services cannot be reached, or is not authentic.
    AuthDialFailed,
    /// The project has used up its bandwidth.
    BandwidthLimitExceeded,
    /// A bucket of this name already exists.
    BucketAlreadyExists,
    /// The bucket name is empty or breaks the rules for bucket names.
    BucketNameInvalid,
    /// The bucket still holds objects.
    BucketNotEmpty,
    /// The bucket does not exist.
    BucketNotFound,
    /// The project was closed before the call returned; only projects of the module `blocking` can be.
    Cancelled,
    /// A commit was sent and its outcome is unknown.
    CommitUnknown,
    /// A setting of [`Config`](crate::Config) is out of range.
    ConfigInvalid,
    /// Custom metadata has an empty key, or a key or value that contains NUL.
    CustomMetadataInvalid,
    /// The passphrase or encryption key is wrong, or stored data was changed.
    Decryption,
    /// A listing was requested with a delimiter other than `/`, and the object keys are encrypted.
    DelimiterInvalid,
    /// This library or the system it runs on failed.
    Internal,
    /// The satellite's replies do not match what the writer of the object recorded under encryption:
    /// segments are missing, mixed or relabelled, or the metadata is missing.
    LayoutUnauthenticated,
    /// A link to a shared object cannot be made: the base is not a URL, or a part is missing.
    LinkInvalid,
    /// The strict memory budget is used up by open uploads that are not being written.
    MemoryBudgetExceeded,
    /// A peer could not be reached, or the connection to it was lost.
    Network,
    /// Fewer storage nodes stored or returned pieces than the redundancy scheme requires.
    NotEnoughNodes,
    /// There is an object under this key already.
    ObjectAlreadyExists,
    /// The object was replaced or deleted while it was being read, copied or updated.
    ObjectChanged,
    /// The object key is empty or too long.
    ObjectKeyInvalid,
    /// The object or pending upload does not exist.
    ObjectNotFound,
    /// The object is larger than the limit for reading it into memory.
    ObjectTooLarge,
    /// A deletion or creation was sent and its outcome is unknown.
    OutcomeUnknown,
    /// The number of a part is too large, or occurs twice.
    PartNumberInvalid,
    /// The access grant does not permit the operation, has expired, is not valid yet or was revoked, or
    /// holds no key for the name. [`Access::restrictions`](crate::Access::restrictions) shows its limits.
    PermissionDenied,
    /// The permission to share is empty, or its times or lifetime make no sense.
    PermissionInvalid,
    /// A prefix does not end with `/`, or the access grant to share has no encryption key for it.
    PrefixInvalid,
    /// A handle of the module `blocking` was opened by the process that this one was forked from.
    ProcessForked,
    /// A peer violated the protocol.
    Protocol,
    /// The range is malformed or starts beyond the end of the object, or the object is too large.
    RangeInvalid,
    /// The authentication service of edge services refused the access grant, or its reply is invalid.
    RegisterAccessFailed,
    /// The satellite rejected the request for a reason that has no kind of its own, such as an expiry in
    /// the past or a part that is too small. The message has the satellite's text.
    Rejected,
    /// The satellite's disk is full; it accepts changes again once its operator frees space.
    SatelliteOutOfSpace,
    /// The project has reached its maximum number of segments.
    SegmentsLimitExceeded,
    /// The satellite did not reply within [`Config::call_timeout`](crate::Config::call_timeout), or
    /// storage nodes made no progress within
    /// [`Config::progress_timeout`](crate::Config::progress_timeout).
    Stalled,
    /// The project has used up its storage.
    StorageLimitExceeded,
    /// The satellite limits the rate of calls.
    TooManyRequests,
    /// The upload has failed, or one of its writes was cancelled.
    UploadDone,
    /// The upload id is malformed, or belongs to another object.
    UploadIdInvalid,
    /// A peer presented a different node id than expected.
    WrongNode,
}

impl ErrorKind {
    /// Returns the number that programs in C see for this kind, as in the C library of the public
    /// network: `UPLINK_ERROR_…` and `EDGE_ERROR_…`.
    ///
    /// Kinds for which that library has no number share `UPLINK_ERROR_INTERNAL`, 0x02.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::Cancelled => 0x03,
            Self::TooManyRequests => 0x05,
            Self::BandwidthLimitExceeded => 0x06,
            Self::StorageLimitExceeded => 0x07,
            Self::SegmentsLimitExceeded => 0x08,
            Self::PermissionDenied => 0x09,
            Self::BucketNameInvalid => 0x10,
            Self::BucketAlreadyExists => 0x11,
            Self::BucketNotEmpty => 0x12,
            Self::BucketNotFound => 0x13,
            Self::ObjectKeyInvalid => 0x20,
            Self::ObjectNotFound => 0x21,
            Self::UploadDone => 0x22,
            Self::AuthDialFailed => 0x30,
            Self::RegisterAccessFailed => 0x31,
            Self::AccessInvalid
            | Self::CommitUnknown
            | Self::ConfigInvalid
            | Self::CustomMetadataInvalid
            | Self::Decryption
            | Self::DelimiterInvalid
            | Self::Internal
            | Self::LayoutUnauthenticated
            | Self::LinkInvalid
            | Self::MemoryBudgetExceeded
            | Self::Network
            | Self::NotEnoughNodes
            | Self::ObjectAlreadyExists
            | Self::ObjectChanged
            | Self::ObjectTooLarge
            | Self::OutcomeUnknown
            | Self::PartNumberInvalid
            | Self::PermissionInvalid
            | Self::PrefixInvalid
            | Self::ProcessForked
            | Self::Protocol
            | Self::RangeInvalid
            | Self::Rejected
            | Self::SatelliteOutOfSpace
            | Self::Stalled
            | Self::UploadIdInvalid
            | Self::WrongNode => 0x02,
        }
    }
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), cause: None }
    }

    pub(crate) fn protocol(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Protocol, message)
    }

    /// Adds the error that [`source`](StdError::source) returns. The message must not repeat it.
    pub(crate) fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.cause = Some(Cause { error: Box::new(source), is_included: false });
        self
    }

    /// Adds the error that the message already describes; its source becomes the source of this one.
    pub(crate) fn with_included(mut self, error: impl StdError + Send + Sync + 'static) -> Self {
        self.cause = Some(Cause { error: Box::new(error), is_included: true });
        self
    }

    /// Replaces the message by one that does not say what the cause says.
    pub(crate) fn explained(self, message: String) -> Self {
        let cause = self.cause.map(|cause| Cause { is_included: false, ..cause });
        Self { message, cause, ..self }
    }

    /// Wraps an error with its own message.
    pub(crate) fn transparent(
        kind: ErrorKind,
        error: impl StdError + Send + Sync + 'static,
    ) -> Self {
        Self::new(kind, error.to_string()).with_included(error)
    }

    pub(crate) fn cause<T: StdError + 'static>(&self) -> Option<&T> {
        self.cause.as_ref()?.error.downcast_ref()
    }

    /// Returns the kind of failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns whether a retry of the same operation may succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::Network
                | ErrorKind::NotEnoughNodes
                | ErrorKind::ObjectChanged
                | ErrorKind::SatelliteOutOfSpace
                | ErrorKind::Stalled
                | ErrorKind::TooManyRequests
        )
    }

    /// Returns whether a call got no reply, because the satellite could not be reached, the connection
    /// was lost, or the timeout passed.
    pub(crate) fn is_unanswered(&self) -> bool {
        matches!(self.kind, ErrorKind::Network | ErrorKind::Stalled)
    }

    /// Returns whether a call was sent, or may have been, and its reply never arrived: it may have
    /// taken effect.
    pub(crate) fn is_lost_reply(&self) -> bool {
        self.is_unanswered() && !self.is_unsent()
    }

    /// Returns whether a call may have taken effect although its reply is not a success: the reply
    /// was lost or invalid.
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
    pub(crate) fn is_unsent(&self) -> bool {
        self.cause::<DialError>().is_some() || self.failure().is_some_and(Failure::is_overloaded)
    }

    /// Returns whether the satellite does not know the call. Those of the public network say so in the
    /// text alone.
    pub(crate) fn is_unknown_call(&self) -> bool {
        self.failure().is_some_and(|failure| match failure.code {
            Code::UNIMPLEMENTED => true,
            Code::UNKNOWN => failure.message.contains("unknown rpc"),
            _ => false,
        })
    }

    /// Returns the status that the satellite or a storage node answered with, if one did.
    #[must_use]
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.cause()
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
        let cause = self.cause.as_ref()?;
        let mut source: &(dyn StdError + 'static) = match cause.is_included {
            false => cause.error.as_ref(),
            true => cause.error.source()?,
        };
        // Some errors of the layers below repeat their sources.
        while self.message.contains(&source.to_string()) {
            source = source.source()?;
        }
        Some(source)
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}

#[doc(hidden)]
impl From<AccessGrantError> for Error {
    fn from(error: AccessGrantError) -> Self {
        Self::transparent(ErrorKind::AccessInvalid, error)
    }
}

#[doc(hidden)]
impl From<ApiKeyError> for Error {
    fn from(error: ApiKeyError) -> Self {
        Self::transparent(ErrorKind::AccessInvalid, error)
    }
}

#[doc(hidden)]
impl From<PathError> for Error {
    fn from(error: PathError) -> Self {
        let kind = match &error {
            missing if missing.is_missing_base() => ErrorKind::PermissionDenied,
            PathError::Encryption(EncryptionError::Unsupported(_)) => ErrorKind::Protocol,
            _ => ErrorKind::Decryption,
        };
        Self::transparent(kind, error)
    }
}

#[doc(hidden)]
impl From<EncryptionError> for Error {
    fn from(error: EncryptionError) -> Self {
        let kind = match &error {
            EncryptionError::Decryption => ErrorKind::Decryption,
            EncryptionError::Length { .. } => ErrorKind::Internal,
            _ => ErrorKind::Protocol,
        };
        Self::transparent(kind, error)
    }
}

#[doc(hidden)]
impl From<MetadataError> for Error {
    fn from(error: MetadataError) -> Self {
        match error {
            MetadataError::Encryption(error) => error.into(),
            other => Self::transparent(ErrorKind::Protocol, other),
        }
    }
}

#[doc(hidden)]
impl From<LayoutError> for Error {
    fn from(error: LayoutError) -> Self {
        Self::transparent(ErrorKind::Protocol, error)
    }
}

#[doc(hidden)]
impl From<DialError> for Error {
    fn from(error: DialError) -> Self {
        let kind = match &error {
            DialError::WrongNode { .. } => ErrorKind::WrongNode,
            _ => ErrorKind::Network,
        };
        Self::transparent(kind, error)
    }
}

#[doc(hidden)]
impl From<RuntimeError> for Error {
    fn from(error: RuntimeError) -> Self {
        Self::transparent(ErrorKind::Internal, error)
    }
}

#[doc(hidden)]
impl From<SegmentError> for Error {
    fn from(error: SegmentError) -> Self {
        let kind = match error {
            SegmentError::Encryption(error) => return error.into(),
            SegmentError::Layout(error) => return error.into(),
            SegmentError::Corrupt(_) | SegmentError::Forged { .. } => ErrorKind::Decryption,
            // Without the last failure the transfer would have continued.
            SegmentError::NotEnoughNodes { last: Some(PieceError::Stalled { .. }), .. } => {
                ErrorKind::Stalled
            }
            SegmentError::NotEnoughNodes { .. } => ErrorKind::NotEnoughNodes,
            SegmentError::MemoryBudgetExceeded(_) => ErrorKind::MemoryBudgetExceeded,
            SegmentError::OrderLimits(_) => ErrorKind::Protocol,
            _ => ErrorKind::Internal,
        };
        Self::transparent(kind, error)
    }
}

#[doc(hidden)]
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
            Code::BUCKET_NOT_FOUND => ErrorKind::BucketNotFound,
            Code::NOT_FOUND if text.starts_with("bucket not found") => ErrorKind::BucketNotFound,
            Code::NOT_FOUND if text.starts_with("object not found") => ErrorKind::ObjectNotFound,
            Code::PERMISSION_DENIED | Code::UNAUTHENTICATED => ErrorKind::PermissionDenied,
            Code::DEADLINE_EXCEEDED => ErrorKind::Stalled,
            Code::UNAVAILABLE | Code::CANCELED => ErrorKind::Network,
            Code::FAILED_PRECONDITION if text.contains("nodes") => ErrorKind::NotEnoughNodes,
            // Too few of a segment's holders are online, or signed for their pieces lately.
            Code::INTERNAL if text.contains("not enough reachable pieces") => {
                ErrorKind::NotEnoughNodes
            }
            Code::INVALID_ARGUMENT if text.starts_with("not enough valid pieces") => {
                ErrorKind::NotEnoughNodes
            }
            Code::INVALID_ARGUMENT
            | Code::ALREADY_EXISTS
            | Code::FAILED_PRECONDITION
            | Code::UNIMPLEMENTED
            | Code::METHOD_NOT_ALLOWED => ErrorKind::Rejected,
            _ => ErrorKind::Protocol,
        };
        let message = match kind {
            ErrorKind::BucketNotFound => match text.strip_prefix("bucket not found: ") {
                Some(name) => format!("bucket {name:?} not found"),
                None => "bucket not found".to_owned(),
            },
            ErrorKind::PermissionDenied => format!("permission denied: {text}"),
            // The satellite's limit is that of the encrypted key.
            ErrorKind::ObjectKeyInvalid => format!("object key too long when encrypted: {text}"),
            ErrorKind::Network => format!("satellite unavailable: {text}"),
            _ => format!("satellite: {failure}"),
        };
        Self::new(kind, message).with_included(failure)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uplink_core::id::NodeId;
    use uplink_segment::Shortage;

    use super::*;

    #[test]
    fn calls_that_a_satellite_does_not_know_are_recognized() {
        let text = "protocol error: unknown rpc: \"/metainfo.Metainfo/GetPendingObjectMetadata\"";
        for (code, text, is_unknown) in [
            (Code::UNKNOWN, text, true),
            (Code::UNIMPLEMENTED, "", true),
            (Code::UNKNOWN, "other", false),
            (Code::NOT_FOUND, text, false),
        ] {
            let error = Error::from(Failure::new(code, text));
            assert_eq!(error.is_unknown_call(), is_unknown, "{error}");
        }
    }

    #[test]
    fn transfer_that_ends_with_a_stall_is_told_from_missing_nodes() {
        let shortage = Shortage::Upload { total: 10, failed: 3, target_pieces: 8, stored: 2 };
        let node = NodeId::new([1; 32]);
        let stalled = PieceError::Stalled { node, after: Duration::from_secs(30) };
        let failure = Failure::new(Code::UNAVAILABLE, "connection refused");
        let refused = PieceError::Node { node, failure };
        for (last, kind) in [
            (None, ErrorKind::NotEnoughNodes),
            (Some(refused), ErrorKind::NotEnoughNodes),
            (Some(stalled), ErrorKind::Stalled),
        ] {
            let error = Error::from(SegmentError::NotEnoughNodes { shortage, last });
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.is_retryable());
        }
    }

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
