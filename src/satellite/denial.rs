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
        self.explain(error, || batch.iter().flat_map(needs).collect())
    }

    /// Adds the reason to the error of a single call, if the satellite denied it.
    pub(super) fn explain_call(&self, error: Error, call: Call) -> Error {
        let operation = match call {
            Call::CreateBucket => Some(Operation::Write),
            Call::DeleteBucket | Call::DeleteObject | Call::DeleteObjects => {
                Some(Operation::Delete)
            }
            Call::ListBuckets => Some(Operation::Read),
            _ => None,
        };
        self.explain(error, || operation.map(Need::Elsewhere).into_iter().collect())
    }

    fn explain<'a>(&self, error: Error, needs: impl FnOnce() -> Vec<Need<'a>>) -> Error {
        let is_unexplained = error.kind() == ErrorKind::PermissionDenied
            && error.failure().is_some_and(|failure| failure.message == UNAUTHORIZED);
        if !is_unexplained {
            return error;
        }
        let reason = self.reason(&needs(), timestamp(runtime::now()));
        error.explained(format!("permission denied: {reason}"))
    }

    fn reason(&self, needs: &[Need<'_>], time: Timestamp) -> String {
        let Some(caveats) = self.caveats.as_deref() else {
            return "the access grant has a restriction of an unknown form".to_owned();
        };
        // No caveat denies this operation, except for its time.
        let action =
            Action { operation: Operation::ProjectInfo, bucket: &[], encrypted_path: &[], time };
        // An operation that is denied everywhere says most.
        let denial = |action: &Action<'_>| {
            let denials = caveats.iter().filter_map(|caveat| caveat.denial(action));
            denials.max_by_key(|denial| *denial == Denial::Operation)
        };
        match denial(&action) {
            Some(Denial::NotBefore(first)) => {
                return format!("the access grant is not valid before {}", utc(first));
            }
            Some(Denial::NotAfter(last)) => {
                return format!("the access grant expired at {}", utc(last));
            }
            _ => {}
        }
        let reason = needs.iter().find_map(|need| {
            let action = need.action(time);
            match (denial(&action)?, need) {
                (Denial::Operation, Need::Replace) => Some(
                    "the access grant does not permit to replace objects, or has been revoked"
                        .into(),
                ),
                (Denial::Operation, _) => {
                    let verb = verb(action.operation);
                    Some(format!("the access grant does not permit to {verb}"))
                }
                (_, Need::At(..)) => {
                    Some("the access grant is for other buckets or prefixes".to_owned())
                }
                (_, Need::Elsewhere(_)) => Some(
                    "the access grant is limited to some buckets or prefixes, or has been revoked"
                        .to_owned(),
                ),
                // The begin of the upload was permitted.
                (_, Need::InUpload | Need::Replace) => None,
            }
        });
        // What the grant permits and the satellite does not is the satellite's to know.
        reason.unwrap_or_else(|| {
            "the satellite does not know the API key, or has revoked it".to_owned()
        })
    }
}

/// What a call needs permission for.
#[derive(Clone, Copy, Debug)]
enum Need<'a> {
    /// An operation on a bucket and encrypted path.
    At(Operation, &'a [u8], &'a [u8]),
    /// An operation on a bucket or object that is not known here.
    Elsewhere(Operation),
    /// Writing to an upload that was begun.
    InUpload,
    /// Replacing the object that exists, if there is one.
    Replace,
}

impl<'a> Need<'a> {
    fn action(self, time: Timestamp) -> Action<'a> {
        let (operation, bucket, encrypted_path): (_, &[u8], &[u8]) = match self {
            Self::At(operation, bucket, path) => (operation, bucket, path),
            Self::Elsewhere(operation) => (operation, &[], &[]),
            Self::InUpload => (Operation::Write, &[], &[]),
            Self::Replace => (Operation::Delete, &[], &[]),
        };
        Action { operation, bucket, encrypted_path, time }
    }
}

/// Returns what a request needs permission for, as far as it says so.
fn needs(request: &Request) -> Vec<Need<'_>> {
    use Operation::{Delete, List, Read, Write};
    match request {
        Request::ObjectBegin(begin) => {
            vec![Need::At(Write, &begin.bucket, &begin.encrypted_object_key)]
        }
        Request::ObjectBeginCopy(copy) => vec![
            Need::At(Read, &copy.bucket, &copy.encrypted_object_key),
            Need::At(Write, &copy.new_bucket, &copy.new_encrypted_object_key),
        ],
        Request::ObjectBeginMove(moved) => vec![
            Need::At(Read, &moved.bucket, &moved.encrypted_object_key),
            Need::At(Delete, &moved.bucket, &moved.encrypted_object_key),
            Need::At(Write, &moved.new_bucket, &moved.new_encrypted_object_key),
        ],
        Request::ObjectFinishCopy(_) | Request::ObjectFinishMove(_) | Request::ObjectCommit(_) => {
            vec![Need::InUpload, Need::Replace]
        }
        Request::ObjectBeginDelete(delete) if delete.stream_id.is_empty() => {
            vec![Need::At(Delete, &delete.bucket, &delete.encrypted_object_key)]
        }
        Request::BucketGet(get) => vec![Need::At(Read, &get.name, &[])],
        Request::ObjectGet(get) => vec![Need::At(Read, &get.bucket, &get.encrypted_object_key)],
        Request::ObjectDownload(download) => {
            vec![Need::At(Read, &download.bucket, &download.encrypted_object_key)]
        }
        Request::ObjectList(list) => vec![Need::At(List, &list.bucket, &list.encrypted_prefix)],
        Request::ObjectListPendingStreams(list) => {
            vec![Need::At(List, &list.bucket, &list.encrypted_object_key)]
        }
        Request::ObjectUpdateMetadata(update) => {
            vec![Need::At(Write, &update.bucket, &update.encrypted_object_key)]
        }
        Request::SegmentBegin(_) | Request::SegmentMakeInline(_) | Request::SegmentCommit(_) => {
            vec![Need::InUpload]
        }
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

#[cfg(test)]
mod tests {
    use uplink_core::encryption::PathScope;
    use uplink_core::macaroon::OperationSet;
    use uplink_rpc::r#gen::metainfo::BeginObjectRequest;
    use uplink_rpc::status::{Code, Failure};

    use super::*;

    /// Returns the reason of a denied batch, with an API key that has these caveats.
    fn reason(caveats: &[Caveat], batch: &[Request]) -> String {
        let mut api_key = ApiKey::new(b"secret", b"head".to_vec());
        for caveat in caveats {
            api_key = api_key.restrict(caveat).expect("restricted");
        }
        let error = Failure::new(Code::PERMISSION_DENIED, UNAUTHORIZED).into();
        Restrictions::of(&api_key).explain_batch(error, batch).to_string()
    }

    fn without(operation: Operation) -> Caveat {
        let disallowed = OperationSet::from_iter([operation]);
        let scope = PathScope { bucket: b"b".to_vec(), encrypted_path_prefix: b"p".to_vec() };
        Caveat { disallowed, allowed_paths: vec![scope], ..Caveat::default() }
    }

    fn begin(bucket: &'static [u8]) -> Request {
        Request::ObjectBegin(BeginObjectRequest {
            bucket: bucket.into(),
            encrypted_object_key: b"p/key".as_slice().into(),
            ..Default::default()
        })
    }

    #[test]
    fn upload_that_may_not_replace_is_told_from_one_outside_the_prefix() {
        let caveats = [without(Operation::Delete)];
        let commit = Request::ObjectCommit(Default::default());
        assert!(reason(&caveats, &[commit]).contains("does not permit to replace objects"));
        assert!(reason(&caveats, &[begin(b"c")]).contains("other buckets or prefixes"));
    }

    #[test]
    fn permitted_call_blames_the_satellite_or_a_revocation() {
        let caveats = [without(Operation::Delete)];
        let unknown = "does not know the API key, or has revoked it";
        assert!(reason(&caveats, &[begin(b"b")]).contains(unknown));
        assert!(reason(&[], &[Request::ObjectCommit(Default::default())]).contains(unknown));
        assert!(reason(&caveats, &[Request::SegmentCommit(Default::default())]).contains(unknown));
    }

    #[test]
    fn expiry_is_named_for_calls_without_a_target() {
        let expired =
            Caveat { not_after: Some(Timestamp::new(1_500_000_000, 0)), ..Caveat::default() };
        let text = reason(&[expired], &[Request::SegmentDownload(Default::default())]);
        assert!(text.ends_with("expired at 2017-07-14T02:40:00Z"), "{text}");
    }
}
