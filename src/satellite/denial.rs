//! Why an access grant does not permit a call, for the error of a satellite that only says that it does
//! not.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uplink_core::macaroon::{Action, ApiKey, Caveat, Denial, Operation, Timestamp};
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::runtime;

use super::call::Call;
use crate::error::{Error, ErrorKind};

/// Text with which satellites deny a call, whatever the reason.
const UNAUTHORIZED: &str = "Unauthorized API credentials";

/// The restrictions of an API key.
#[derive(Clone, Debug)]
pub(super) struct Restrictions {
    /// `None` if a caveat is malformed: then the satellite denies every call.
    caveats: Option<Arc<[Caveat]>>,
}

impl Restrictions {
    pub(super) fn of(api_key: &ApiKey) -> Self {
        let caveats = api_key.caveats().iter().map(|caveat| Caveat::decode_strict(caveat));
        Self { caveats: caveats.collect::<Result<_, _>>().ok() }
    }

    /// Adds the reason to the error of a batch, if the satellite denied it.
    pub(super) fn explain_batch(&self, error: Error, batch: &[Request]) -> Error {
        self.explain(error, batch.iter().flat_map(actions))
    }

    /// Adds the reason to the error of a single call, if the satellite denied it.
    pub(super) fn explain_call(&self, error: Error, call: Call) -> Error {
        let operation = match call {
            Call::CreateBucket => Operation::Write,
            Call::DeleteBucket | Call::DeleteObject | Call::DeleteObjects => Operation::Delete,
            Call::ListBuckets => Operation::Read,
            _ => Operation::ProjectInfo,
        };
        self.explain(error, [(operation, &[][..], &[][..])])
    }

    fn explain<'a>(&self, error: Error, targets: impl IntoIterator<Item = Target<'a>>) -> Error {
        let is_unexplained = error.kind() == ErrorKind::PermissionDenied
            && error.failure().is_some_and(|failure| failure.message == UNAUTHORIZED);
        if !is_unexplained {
            return error;
        }
        let now = timestamp(runtime::now());
        let reason = targets.into_iter().find_map(|target| self.reason(target, now));
        // What the grant permits and the satellite does not is the satellite's to know.
        let reason = reason.unwrap_or_else(|| {
            "the satellite does not know the API key, or has revoked it".to_owned()
        });
        error.explained(format!("permission denied: {reason}"))
    }

    fn reason(&self, target: Target<'_>, time: Timestamp) -> Option<String> {
        let Some(caveats) = &self.caveats else {
            return Some("the access grant has a restriction of an unknown form".to_owned());
        };
        let (operation, bucket, encrypted_path) = target;
        let action = Action { operation, bucket, encrypted_path, time };
        let text = match caveats.iter().find_map(|caveat| caveat.denial(&action)) {
            Some(Denial::NotBefore(first)) => {
                format!("the access grant is not valid before {}", utc(first))
            }
            Some(Denial::NotAfter(last)) => format!("the access grant expired at {}", utc(last)),
            Some(Denial::Operation) => {
                format!("the access grant does not permit to {}", verb(operation))
            }
            // What the target was is not known here.
            Some(Denial::Path) if bucket.is_empty() => {
                "the access grant is limited to some buckets or prefixes, or has been revoked"
                    .to_owned()
            }
            Some(Denial::Path) => "the access grant is for other buckets or prefixes".to_owned(),
            None if operation == Operation::Write && !self.permits(Operation::Delete) => {
                "the access grant does not permit to replace objects".to_owned()
            }
            None => return None,
        };
        Some(text)
    }

    fn permits(&self, operation: Operation) -> bool {
        let caveats = self.caveats.as_deref().unwrap_or_default();
        !caveats.iter().any(|caveat| caveat.disallowed.contains(operation))
    }
}

/// Operation, bucket and encrypted path of an action. The latter are empty where a request names an
/// upload instead.
type Target<'a> = (Operation, &'a [u8], &'a [u8]);

/// Returns the actions that a request needs permission for.
fn actions(request: &Request) -> Vec<Target<'_>> {
    match request {
        Request::ObjectBegin(begin) => {
            vec![(Operation::Write, &begin.bucket, &begin.encrypted_object_key)]
        }
        Request::ObjectBeginCopy(copy) => vec![
            (Operation::Read, &copy.bucket, &copy.encrypted_object_key),
            (Operation::Write, &copy.new_bucket, &copy.new_encrypted_object_key),
        ],
        Request::ObjectBeginMove(moved) => vec![
            (Operation::Read, &moved.bucket, &moved.encrypted_object_key),
            (Operation::Delete, &moved.bucket, &moved.encrypted_object_key),
            (Operation::Write, &moved.new_bucket, &moved.new_encrypted_object_key),
        ],
        Request::ObjectBeginDelete(delete) => {
            vec![(Operation::Delete, &delete.bucket, &delete.encrypted_object_key)]
        }
        Request::BucketGet(get) => vec![(Operation::Read, &get.name, &[])],
        Request::ObjectGet(get) => vec![(Operation::Read, &get.bucket, &get.encrypted_object_key)],
        Request::ObjectDownload(download) => {
            vec![(Operation::Read, &download.bucket, &download.encrypted_object_key)]
        }
        Request::ObjectList(list) => vec![(Operation::List, &list.bucket, &list.encrypted_prefix)],
        Request::ObjectListPendingStreams(list) => {
            vec![(Operation::List, &list.bucket, &list.encrypted_object_key)]
        }
        Request::ObjectUpdateMetadata(update) => {
            vec![(Operation::Write, &update.bucket, &update.encrypted_object_key)]
        }
        Request::SegmentBegin(_)
        | Request::SegmentMakeInline(_)
        | Request::SegmentCommit(_)
        | Request::ObjectCommit(_) => vec![(Operation::Write, &[], &[])],
        _ => Vec::new(),
    }
}

fn verb(operation: Operation) -> &'static str {
    match operation {
        Operation::Delete => "delete",
        Operation::List => "list",
        Operation::Write => "write",
        _ => "read",
    }
}

fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::new(i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_nanos())
}

/// Formats a time as RFC 3339, to the second.
fn utc(time: Timestamp) -> String {
    let time = OffsetDateTime::from_unix_timestamp(time.seconds()).ok();
    let text = time.and_then(|time| time.format(&Rfc3339).ok());
    text.unwrap_or_else(|| "a time out of range".to_owned())
}
