//! Status codes of the network ↔ typed failures.
//!
//! The public network's codes equal those of gRPC from 3 to 16, and differ below and above. gRPC
//! carries the nearest gRPC code, and the original number in the trailer `rpc-status`. DRPC carries
//! the number itself in eight bytes before the text.

#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

use std::error::Error as StdError;
use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use tonic::Status;

/// Trailer that carries the original number.
const TRAILER: &str = "rpc-status";
/// Maximum number of bytes kept of a peer's text.
const MAX_TEXT: usize = 1024;

/// Status text of a server that has no descriptor left for another connection.
pub(crate) const OVERLOADED: &str = "server overloaded: too many open connections";

/// A status code of the network. An open set: peers may send other numbers than those named here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code(pub u64);

/// Why a call failed, as reported by the peer or the transport.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({code})")]
pub struct Failure {
    /// The network's status code.
    pub code: Code,
    /// The status text; at most 1 KiB and without control characters if it was received.
    pub message: String,
}

macro_rules! codes {
    ($($number:literal $name:ident $text:literal;)*) => {
        impl Code {
            $(#[doc = concat!("Code ", stringify!($number), ": ", $text, ".")]
            pub const $name: Self = Self($number);)*

            fn text(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    0 UNKNOWN "unknown";
    1 OK "ok";
    2 CANCELED "canceled";
    3 INVALID_ARGUMENT "invalid argument";
    4 DEADLINE_EXCEEDED "deadline exceeded";
    5 NOT_FOUND "not found";
    6 ALREADY_EXISTS "already exists";
    7 PERMISSION_DENIED "permission denied";
    8 RESOURCE_EXHAUSTED "resource exhausted";
    9 FAILED_PRECONDITION "failed precondition";
    10 ABORTED "aborted";
    11 OUT_OF_RANGE "out of range";
    12 UNIMPLEMENTED "unimplemented";
    13 INTERNAL "internal";
    14 UNAVAILABLE "unavailable";
    15 DATA_LOSS "data loss";
    16 UNAUTHENTICATED "unauthenticated";
    17 METHOD_NOT_ALLOWED "method not allowed";
    10000 OBJECT_LOCK_ENDPOINTS_DISABLED "object lock endpoints disabled";
    10001 OBJECT_LOCK_DISABLED_FOR_PROJECT "object lock disabled for project";
    10002 OBJECT_LOCK_INVALID_BUCKET_STATE "object lock: invalid bucket state";
    10003 OBJECT_LOCK_BUCKET_CONFIGURATION_MISSING "object lock: no bucket configuration";
    10004 OBJECT_LOCK_OBJECT_CONFIGURATION_MISSING "object lock: no object configuration";
    10005 OBJECT_LOCK_OBJECT_PROTECTED "object lock: object protected";
    10006 OBJECT_LOCK_INVALID_OBJECT_STATE "object lock: invalid object state";
    10007 OBJECT_LOCK_INVALID_BUCKET_CONFIGURATION "object lock: invalid bucket configuration";
    10014 BUCKET_NAME_MISSING "bucket name missing";
    10015 BUCKET_NAME_INVALID "bucket name invalid";
    10016 OBJECT_KEY_MISSING "object key missing";
    10017 OBJECT_KEY_TOO_LONG "object key too long";
    10018 OBJECT_VERSION_INVALID "object version invalid";
    10019 BUCKET_NOT_FOUND "bucket not found";
    10020 DELETE_OBJECTS_NO_ITEMS "no objects to delete";
    10021 DELETE_OBJECTS_TOO_MANY_ITEMS "too many objects to delete";
    10034 INSUFFICIENT_OBJECT_METADATA_INCLUDES "insufficient object metadata includes";
    10035 STREAM_ID_INVALID "stream id invalid";
}

impl Code {
    /// Returns the gRPC code that represents this one on a gRPC connection.
    #[must_use]
    pub fn grpc(self) -> tonic::Code {
        match self.0 {
            1 => tonic::Code::Ok,
            2 => tonic::Code::Cancelled,
            code @ 3..=16 => tonic::Code::from(i32::try_from(code).unwrap_or(2)),
            17 | 10001..=10013 => tonic::Code::FailedPrecondition,
            10019 | 10026 => tonic::Code::NotFound,
            10000 | 10027 => tonic::Code::Unimplemented,
            10014..=10018 | 10020..=10025 | 10028..=10035 => tonic::Code::InvalidArgument,
            _ => tonic::Code::Unknown,
        }
    }

    fn from_grpc(code: tonic::Code) -> Self {
        match code {
            tonic::Code::Ok => Self::OK,
            tonic::Code::Cancelled => Self::CANCELED,
            tonic::Code::Unknown => Self::UNKNOWN,
            other => Self(u64::from(i32::from(other).unsigned_abs())),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text() {
            Some(text) => f.write_str(text),
            None => write!(f, "code {}", self.0),
        }
    }
}

impl Failure {
    /// Creates a failure to send. The text is for people and must not contain secrets.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Returns whether the server was overloaded and did not begin the call. The same call may be
    /// retried after a pause.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        let text = self.message.as_str();
        self.code == Code::UNAVAILABLE
            && (text.contains("overloaded") || text.starts_with("too many "))
    }
}

impl From<Status> for Failure {
    /// Converts a received status, preferring the original number to the gRPC code. A failure of the
    /// connection is always "unavailable", regardless of the transport library's code.
    fn from(status: Status) -> Self {
        let local = status.source().map(innermost);
        let code = original(&status).unwrap_or_else(|| match local {
            Some(_) => Code::UNAVAILABLE,
            None => Code::from_grpc(status.code()),
        });
        let message = match local {
            Some(error) => local_text(error),
            None => printable(status.message()),
        };
        Self { code, message }
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let mut status = Self::new(failure.code.grpc(), failure.message);
        status.metadata_mut().insert(TRAILER, failure.code.0.into());
        status
    }
}

/// Encodes a failure as the data of DRPC's `Error`, without truncating its text.
pub(crate) fn to_drpc(status: &Status) -> Bytes {
    let code = original(status).unwrap_or_else(|| Code::from_grpc(status.code()));
    drpc_error(code, status.message())
}

/// Encodes the failure of a call to an unknown path, with the public network's text.
pub(crate) fn unknown_path(path: &[u8]) -> Bytes {
    let path: String = String::from_utf8_lossy(path).chars().take(MAX_TEXT).collect();
    drpc_error(Code::UNKNOWN, &format!("protocol error: unknown rpc: {path:?}"))
}

/// Returns whether a gRPC service does not know the path. A service that knows the method but does not
/// implement it sets a text or an original number.
pub(crate) fn is_unknown_path(status: &Status) -> bool {
    let unimplemented = status.code() == tonic::Code::Unimplemented;
    unimplemented && status.message().is_empty() && original(status).is_none()
}

/// Decodes the data of DRPC's `Error`. Data too short for a number is text.
pub(crate) fn from_drpc(data: &[u8]) -> Failure {
    let (code, text) = match data.split_first_chunk() {
        Some((code, text)) => (Code(u64::from_be_bytes(*code)), text),
        None => (Code::UNKNOWN, data),
    };
    // A failure must not have the code "ok": gRPC would report success.
    let code = if code == Code::OK { Code::UNKNOWN } else { code };
    let text = text.get(..text.len().min(MAX_TEXT.saturating_mul(4))).unwrap_or_default();
    Failure { code, message: printable(&String::from_utf8_lossy(text)) }
}

fn drpc_error(code: Code, text: &str) -> Bytes {
    let mut data = BytesMut::new();
    data.put_u64(code.0);
    data.extend_from_slice(text.as_bytes());
    data.freeze()
}

/// Returns the original number of a status, from its trailer.
fn original(status: &Status) -> Option<Code> {
    let trailer = status.metadata().get(TRAILER).and_then(|value| value.to_str().ok());
    trailer.and_then(|text| text.parse().ok()).map(Code)
}

/// Returns the root cause, which has the most specific text.
fn innermost<'a>(mut error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    while let Some(cause) = error.source() {
        error = cause;
    }
    error
}

/// Formats an error of this side without what is meant for its programmers: the TLS library appends a
/// link to its manual.
pub(crate) fn local_text(error: &(impl StdError + ?Sized)) -> String {
    let text = error.to_string();
    printable(text.split(": https://").next().unwrap_or_default())
}

/// Makes a peer's text safe to print: removes control characters, keeps at most [`MAX_TEXT`] bytes.
pub(crate) fn printable(text: &str) -> String {
    let mut kept = String::new();
    for character in text.chars().filter(|character| !character.is_control()) {
        if kept.len().saturating_add(character.len_utf8()) > MAX_TEXT {
            break;
        }
        kept.push(character);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_the_tls_library_has_no_link() {
        let text = "peer closed connection without sending TLS close_notify";
        let error = std::io::Error::other(format!("{text}: https://docs.rs/rustls/manual#eof"));
        assert_eq!(local_text(&error), text);
    }

    #[test]
    fn every_code_round_trips_over_grpc() {
        for number in (0..=17).filter(|number| *number != 1).chain(10000..=10035).chain([99_999]) {
            let sent = Failure::new(Code(number), "why");
            assert_eq!(Failure::from(Status::from(sent.clone())), sent);
        }
    }

    #[test]
    fn grpc_code_without_original_number_maps_to_the_networks() {
        for (grpc, code) in [
            (tonic::Code::Unknown, Code::UNKNOWN),
            (tonic::Code::Cancelled, Code::CANCELED),
            (tonic::Code::NotFound, Code::NOT_FOUND),
            (tonic::Code::Unauthenticated, Code::UNAUTHENTICATED),
        ] {
            assert_eq!(Failure::from(Status::new(grpc, "")).code, code);
        }
    }

    #[test]
    fn received_text_is_truncated_and_has_no_control_characters() {
        let long = "ä".repeat(2 * MAX_TEXT);
        assert_eq!(Failure::from(Status::internal(long)).message.len(), MAX_TEXT);
        assert_eq!(Failure::from(Status::internal("a\u{1b}[2Jb\n")).message, "a[2Jb");
    }
}
