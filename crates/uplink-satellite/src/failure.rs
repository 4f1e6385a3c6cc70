//! What goes wrong inside, in the codes and texts that clients of the network know.

use uplink_rpc::status::{Code, Failure};

use crate::metabase::MetabaseError;

/// What clients hear when the satellite's disk is full. They tell it from the limits of a project by
/// this text.
const NO_SPACE: &str = "satellite has no disk space left";

/// Translates what the store says. Details of the engine stay in the log.
pub(crate) fn database(error: MetabaseError) -> Failure {
    let code = match &error {
        MetabaseError::AlreadyExists { .. } => Code::ALREADY_EXISTS,
        MetabaseError::Incomplete => Code::NOT_FOUND,
        MetabaseError::Invalid { .. } => Code::INVALID_ARGUMENT,
        MetabaseError::LimitReached { .. } => Code::RESOURCE_EXHAUSTED,
        MetabaseError::NotFound { .. } => Code::NOT_FOUND,
        MetabaseError::NoSpace(_) => {
            tracing::error!(%error, "the store failed");
            return Failure::new(Code::RESOURCE_EXHAUSTED, NO_SPACE);
        }
        MetabaseError::Overwrite => Code::PERMISSION_DENIED,
        MetabaseError::Precondition { .. } => Code::FAILED_PRECONDITION,
        _ => {
            tracing::error!(%error, "the store failed");
            return Failure::new(Code::INTERNAL, "internal error");
        }
    };
    let text = match error {
        MetabaseError::Overwrite => "Unauthorized API credentials".to_owned(),
        error => error.to_string(),
    };
    Failure::new(code, text)
}

/// An argument that no correct client sends.
pub(crate) fn invalid(text: impl Into<String>) -> Failure {
    Failure::new(Code::INVALID_ARGUMENT, text)
}
