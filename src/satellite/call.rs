//! How often each call may be sent.
//!
//! A call whose connection could not be opened was never sent and is sent again whatever its class.
//! After a lost reply the class decides.

use uplink_rpc::r#gen::metainfo::batch_request_item::Request;

/// What sending a call twice does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Nothing: it stores nothing. Sent again after a lost reply.
    ReadOnly,
    /// The same as sending it once, because it names what it changes by id. Sent again after a lost
    /// reply.
    Idempotent,
    /// It may take effect twice. Never sent again: its caller queries the outcome.
    OnceOnly,
}

/// The calls that this client makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    AbortObject,
    BeginObject,
    BeginSegment,
    CommitObject,
    CommitSegment,
    CreateBucket,
    DeleteBucket,
    DeleteObject,
    DownloadObject,
    DownloadSegment,
    GetBucket,
    GetObject,
    ListBuckets,
    ListObjects,
    ListPendingStreams,
    ListSegments,
    MakeInlineSegment,
    /// A call that this table does not know.
    Other,
    ProjectInfo,
    RetryPieces,
}

impl Call {
    /// The table. Who resolves the outcome of a once-only call stands beside it.
    pub(crate) const fn class(self) -> Class {
        match self {
            Self::DownloadObject
            | Self::DownloadSegment
            | Self::GetBucket
            | Self::GetObject
            | Self::ListBuckets
            | Self::ListObjects
            | Self::ListPendingStreams
            | Self::ListSegments
            | Self::ProjectInfo => Class::ReadOnly,
            // Order limits are handed out and not stored; unused ones expire.
            Self::BeginSegment | Self::RetryPieces => Class::ReadOnly,
            // By stream id; an upload that is gone is aborted (`outcome.rs`).
            Self::AbortObject => Class::Idempotent,
            // By stream id and position; the second one replaces the first.
            Self::CommitSegment | Self::MakeInlineSegment => Class::Idempotent,
            // A second one leaves a pending object, which the satellite drops after a day.
            Self::BeginObject => Class::OnceOnly,
            // Resolved by the upload: the object under the key is the committed one.
            Self::CommitObject => Class::OnceOnly,
            // Resolved in `outcome.rs`.
            Self::CreateBucket | Self::DeleteBucket | Self::DeleteObject => Class::OnceOnly,
            Self::Other => Class::OnceOnly,
        }
    }
}

/// The class of a batch is that of its item with the strictest one: if its reply is lost, any of
/// them may have taken effect.
pub(crate) fn class(batch: &[Request]) -> Class {
    batch.iter().map(|item| Call::from(item).class()).max().unwrap_or(Class::ReadOnly)
}

impl From<&Request> for Call {
    fn from(request: &Request) -> Self {
        match request {
            Request::BucketCreate(_) => Self::CreateBucket,
            Request::BucketDelete(_) => Self::DeleteBucket,
            Request::BucketGet(_) => Self::GetBucket,
            Request::BucketList(_) => Self::ListBuckets,
            Request::ObjectBegin(_) => Self::BeginObject,
            Request::ObjectBeginDelete(delete) if delete.stream_id.is_empty() => Self::DeleteObject,
            Request::ObjectBeginDelete(_) => Self::AbortObject,
            Request::ObjectCommit(_) => Self::CommitObject,
            Request::ObjectDownload(_) => Self::DownloadObject,
            Request::ObjectGet(_) => Self::GetObject,
            Request::ObjectList(_) => Self::ListObjects,
            Request::ObjectListPendingStreams(_) => Self::ListPendingStreams,
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
