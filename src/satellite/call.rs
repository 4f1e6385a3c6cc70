//! Which calls may be retried.
//!
//! A call whose connection could not be opened was never sent and is retried whatever its class. After
//! a lost reply the class decides.

use uplink_rpc::r#gen::metainfo::batch_request_item::Request;

/// The effect of sending a call twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// None: it stores nothing. Retried after a lost reply.
    ReadOnly,
    /// Idempotent: it identifies what it changes by id. Retried after a lost reply.
    Idempotent,
    /// It may take effect twice. Not retried after a lost reply: the caller queries the outcome.
    OnceOnly,
}

/// The calls that this client makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    AbortObject,
    BeginCopy,
    BeginMove,
    BeginObject,
    BeginSegment,
    CommitObject,
    CommitSegment,
    CreateBucket,
    DeleteBucket,
    DeleteObject,
    DeleteObjects,
    DownloadObject,
    DownloadSegment,
    FinishCopy,
    FinishMove,
    GetBucket,
    GetObject,
    GetPendingMetadata,
    ListBuckets,
    ListObjects,
    ListPendingStreams,
    ListSegments,
    MakeInlineSegment,
    /// A call that is not in this table.
    Other,
    ProjectInfo,
    RetryPieces,
    RevokeAccess,
    UpdateMetadata,
}

impl Call {
    /// Returns the class of the call. Comments name what resolves the outcome of a once-only call.
    pub(crate) const fn class(self) -> Class {
        match self {
            Self::DownloadObject
            | Self::DownloadSegment
            | Self::GetBucket
            | Self::GetObject
            | Self::GetPendingMetadata
            | Self::ListBuckets
            | Self::ListObjects
            | Self::ListPendingStreams
            | Self::ListSegments
            | Self::ProjectInfo => Class::ReadOnly,
            // The keys of an object are read.
            Self::BeginCopy | Self::BeginMove => Class::ReadOnly,
            // Order limits are issued and not stored; unused ones expire.
            Self::BeginSegment | Self::RetryPieces => Class::ReadOnly,
            // A second one changes nothing.
            Self::RevokeAccess => Class::Idempotent,
            // By stream id; an upload that does not exist is aborted (`outcome.rs`).
            Self::AbortObject => Class::Idempotent,
            // By stream id and position; the second one replaces the first.
            Self::CommitSegment | Self::MakeInlineSegment => Class::Idempotent,
            // A second one leaves a pending object, which the satellite discards after a day.
            Self::BeginObject => Class::OnceOnly,
            // Resolved by the upload: the object under the key is the committed one.
            Self::CommitObject => Class::OnceOnly,
            // Resolved by the caller, object by object.
            Self::DeleteObjects => Class::OnceOnly,
            // Resolved by the caller: the object has the new nonce of its metadata key.
            Self::FinishCopy | Self::FinishMove | Self::UpdateMetadata => Class::OnceOnly,
            // Resolved in `outcome.rs`.
            Self::CreateBucket | Self::DeleteBucket | Self::DeleteObject => Class::OnceOnly,
            Self::Other => Class::OnceOnly,
        }
    }
}

/// Returns the strictest class among the items of a batch: after a lost reply any of them may have
/// taken effect.
pub(crate) fn class(batch: &[Request]) -> Class {
    batch.iter().map(|item| Call::from(item).class()).max().unwrap_or(Class::ReadOnly)
}

/// Returns the calls of a batch, for logs.
pub(crate) fn names(batch: &[Request]) -> Vec<Call> {
    batch.iter().map(Call::from).collect()
}

impl From<&Request> for Call {
    fn from(request: &Request) -> Self {
        match request {
            Request::BucketCreate(_) => Self::CreateBucket,
            Request::BucketDelete(_) => Self::DeleteBucket,
            Request::BucketGet(_) => Self::GetBucket,
            Request::BucketList(_) => Self::ListBuckets,
            Request::ObjectBegin(_) => Self::BeginObject,
            Request::ObjectBeginCopy(_) => Self::BeginCopy,
            Request::ObjectBeginDelete(delete) if delete.stream_id.is_empty() => Self::DeleteObject,
            Request::ObjectBeginDelete(_) => Self::AbortObject,
            Request::ObjectBeginMove(_) => Self::BeginMove,
            Request::ObjectCommit(_) => Self::CommitObject,
            Request::ObjectDownload(_) => Self::DownloadObject,
            Request::ObjectFinishCopy(_) => Self::FinishCopy,
            Request::ObjectFinishMove(_) => Self::FinishMove,
            Request::ObjectGet(_) => Self::GetObject,
            Request::ObjectGetPendingMetadata(_) => Self::GetPendingMetadata,
            Request::ObjectList(_) => Self::ListObjects,
            Request::ObjectListPendingStreams(_) => Self::ListPendingStreams,
            Request::ObjectUpdateMetadata(_) => Self::UpdateMetadata,
            Request::RevokeApiKey(_) => Self::RevokeAccess,
            Request::SegmentBegin(_) => Self::BeginSegment,
            Request::SegmentBeginRetryPieces(_) => Self::RetryPieces,
            Request::SegmentCommit(_) => Self::CommitSegment,
            Request::SegmentDownload(_) => Self::DownloadSegment,
            Request::SegmentList(_) => Self::ListSegments,
            Request::SegmentMakeInline(_) => Self::MakeInlineSegment,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_has_the_strictest_class_of_its_items() {
        let begin = || Request::SegmentBegin(Default::default());
        let commit = || Request::SegmentCommit(Default::default());
        let object = || Request::ObjectCommit(Default::default());
        assert_eq!(class(&[]), Class::ReadOnly);
        assert_eq!(class(&[begin()]), Class::ReadOnly);
        assert_eq!(class(&[begin(), commit()]), Class::Idempotent);
        assert_eq!(class(&[commit(), object(), begin()]), Class::OnceOnly);
        assert_eq!(class(&[Request::PartDelete(Default::default())]), Class::OnceOnly);
    }

    #[test]
    fn deletion_by_stream_id_is_idempotent_and_by_key_once_only() {
        let mut delete = uplink_rpc::r#gen::metainfo::BeginDeleteObjectRequest::default();
        assert_eq!(class(&[Request::ObjectBeginDelete(delete.clone())]), Class::OnceOnly);
        delete.stream_id = b"stream".to_vec().into();
        assert_eq!(class(&[Request::ObjectBeginDelete(delete)]), Class::Idempotent);
    }
}
