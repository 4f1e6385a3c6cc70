//! Conversion of errors to the status codes and texts that clients of the network know.

use uplink_rpc::status::{Code, Failure};

use crate::metabase::MetabaseError;

/// Result of a call.
pub(crate) type RpcResult<T> = Result<T, Failure>;

/// Text for a full disk. Clients distinguish it from project limits by this text.
const NO_SPACE: &str = "satellite has no disk space left";

/// Converts a database error. Details of the engine are logged, not sent.
pub(crate) fn database(error: MetabaseError) -> Failure {
    let code = match &error {
        MetabaseError::AlreadyExists { .. } => Code::ALREADY_EXISTS,
        MetabaseError::Incomplete => Code::NOT_FOUND,
        MetabaseError::Invalid { .. } => Code::INVALID_ARGUMENT,
        MetabaseError::LimitReached { .. } => Code::RESOURCE_EXHAUSTED,
        MetabaseError::NotFound { .. } => Code::NOT_FOUND,
        MetabaseError::NoSpace(_) => {
            tracing::error!(%error, "database failed");
            return Failure::new(Code::RESOURCE_EXHAUSTED, NO_SPACE);
        }
        MetabaseError::Overwrite => Code::PERMISSION_DENIED,
        MetabaseError::Precondition { .. } => Code::FAILED_PRECONDITION,
        _ => {
            tracing::error!(%error, "database failed");
            return Failure::new(Code::INTERNAL, "internal error");
        }
    };
    let text = match error {
        MetabaseError::Overwrite => "Unauthorized API credentials".to_owned(),
        error => error.to_string(),
    };
    Failure::new(code, text)
}

/// Returns the failure for an invalid argument.
pub(crate) fn invalid(text: impl Into<String>) -> Failure {
    Failure::new(Code::INVALID_ARGUMENT, text)
}
