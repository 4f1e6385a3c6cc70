//! The operations of a client under attack, and checks of their results.

use std::fmt;
use std::ops::Range;

use uplink::{
    Access, AccessOptions, DownloadOptions, ErrorKind, ListOptions, Project, UploadOptions,
};

use super::checks::{Checked, TransportKind, wrong_unless};
use super::reading::{list, list_buckets, read, seek, stat};
use super::world::{BUCKET, Kind, Known, World, config, content, custom, known};
use super::{changes, deletions, multiparts};

/// One operation of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Operation {
    Whole,
    Middle,
    Suffix,
    Seek,
    Stat,
    List,
    ListCustom,
    ListBuckets,
    StatBucket,
    Upload,
    /// An upload whose first storage node cannot be reached.
    UploadAround,
    /// An upload that must not replace an object.
    Create,
    Delete,
    DeleteMany,
    CreateBucket,
    DeleteBucket,
    Grant,
    Revoke,
    Copy,
    /// A copy with other metadata.
    CopyWith,
    Move,
    Update,
    /// A multipart upload, sealed from the satellite's list.
    Multipart,
    /// A multipart upload with receipts.
    MultipartReceipts,
    /// A multipart upload by an access grant that may not read, with receipts.
    MultipartWriteOnly,
    ListParts,
    ListUploads,
    /// The uploads of one key.
    ListUploadsOf,
    Abort,
}

/// An operation, the kind of object and the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Setting {
    pub(crate) operation: Operation,
    pub(crate) kind: Kind,
    pub(crate) transport: TransportKind,
}

/// The result of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Exact,
    Refused(ErrorKind, String),
    Wrong(String),
    /// It was cancelled at the time limit.
    TimedOut,
}

/// Maximum number of items in a listing of the test network.
pub(crate) const MAX_ITEMS: usize = 10_000;
/// Keys of the listed objects.
pub(crate) const LISTED_KEYS: [&str; 3] = ["a", "b", "c/d"];

/// Kinds of objects that are copied, moved and updated.
const CHANGED: [Kind; 3] = [Kind::Inline, Kind::ThreeSegments, Kind::Parts];

impl Operation {
    const READS: [Self; 5] = [Self::Whole, Self::Middle, Self::Suffix, Self::Seek, Self::Stat];
    const WRITES: [Self; 2] = [Self::Upload, Self::Delete];
    const CHANGES: [Self; 3] = [Self::Copy, Self::Move, Self::Update];
    const WITHOUT_KIND: [Self; 18] = [
        Self::List,
        Self::ListCustom,
        Self::ListBuckets,
        Self::StatBucket,
        Self::Create,
        Self::CreateBucket,
        Self::DeleteBucket,
        Self::DeleteMany,
        Self::Grant,
        Self::Revoke,
        Self::CopyWith,
        Self::Multipart,
        Self::MultipartReceipts,
        Self::MultipartWriteOnly,
        Self::ListParts,
        Self::ListUploads,
        Self::ListUploadsOf,
        Self::Abort,
    ];

    /// Returns the range of an object that a read requests.
    pub(crate) fn range(self, size: u64) -> (DownloadOptions, Range<usize>) {
        let start = size / 2 + 1;
        let end = size - size / 8;
        let (options, range) = match self {
            Self::Middle if start < end => (DownloadOptions::new().range(start..end), start..end),
            Self::Suffix => (DownloadOptions::new().suffix(size / 3), size - size / 3..size),
            _ => (DownloadOptions::new(), 0..size),
        };
        (options, range.start as usize..range.end as usize)
    }
}

impl Setting {
    /// Returns all settings, over both transports.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for transport in [TransportKind::Grpc, TransportKind::Drpc] {
            let mut add = |operations: &[Operation], kinds: &[Kind]| {
                for operation in operations.iter().copied() {
                    let of = |kind: &Kind| Self { operation, kind: *kind, transport };
                    all.extend(kinds.iter().map(of));
                }
            };
            add(&Operation::READS, &Kind::ALL);
            add(&Operation::WRITES, &Kind::STREAMS);
            add(&[Operation::UploadAround], &[Kind::OneSegment, Kind::ThreeSegments]);
            add(&Operation::CHANGES, &CHANGED);
            add(&Operation::WITHOUT_KIND, &[Kind::Inline]);
        }
        all
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {:?} over {:?}", self.operation, self.kind, self.transport)
    }
}

/// Returns the object that operations on a kind read.
pub(crate) fn target(kind: Kind) -> Known {
    known(&format!("target-{kind:?}"), kind.size())
}

/// The target of an operation, created by [`prepare`] and checked by [`verify`].
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) name: String,
    /// The id of an upload that is listed or aborted.
    pub(crate) upload_id: String,
    /// An access grant to revoke.
    shared: Access,
}

/// Creates what the operation needs, directly on the satellite.
pub(crate) async fn prepare(world: &World, setting: Setting) -> Prepared {
    let name = world.fresh_name();
    let upload_id = match setting.operation {
        Operation::ListParts | Operation::Abort => multiparts::begin(&world.honest, &name).await,
        _ => String::new(),
    };
    match setting.operation {
        Operation::Delete => {
            world.put(BUCKET, &name, 1, &content(&name, 1, setting.kind.size())).await;
        }
        Operation::DeleteBucket => {
            world.honest.create_bucket(&name).await.expect("a bucket");
        }
        Operation::DeleteMany => deletions::prepare(world, &name).await,
        Operation::Move | Operation::Update => changes::prepare(world, setting.kind, &name).await,
        _ => {}
    }
    let shared = deletions::share(world, &name);
    Prepared { name, upload_id, shared }
}

/// Performs the operation and checks what the client returns.
pub(crate) async fn perform(
    world: &World,
    project: &Project,
    setting: Setting,
    prepared: &Prepared,
) -> Verdict {
    let name = prepared.name.as_str();
    let outcome = match setting.operation {
        Operation::Whole | Operation::Middle | Operation::Suffix => {
            read(project, setting.operation, &target(setting.kind)).await
        }
        Operation::Seek => seek(project, &target(setting.kind)).await,
        Operation::Stat => stat(project, &target(setting.kind)).await,
        Operation::List => list(project, ListOptions::new()).await,
        Operation::ListCustom => {
            list(project, ListOptions::new().recursive(true).custom_metadata(true)).await
        }
        Operation::ListBuckets => list_buckets(project).await,
        Operation::StatBucket => project.stat_bucket(BUCKET).await.map(|bucket| {
            wrong_unless(bucket.name == BUCKET, || format!("bucket {:?}", bucket.name))
        }),
        Operation::Upload | Operation::UploadAround => {
            upload(project, name, setting.kind.size(), false).await
        }
        Operation::Create => upload(project, name, setting.kind.size(), true).await,
        Operation::Delete => project.delete_object(BUCKET, name).await.map(|_| None),
        Operation::DeleteMany => deletions::perform(project, name).await,
        Operation::CreateBucket => project.create_bucket(name).await.map(|bucket| {
            wrong_unless(bucket.name == name, || format!("bucket {:?}", bucket.name))
        }),
        Operation::DeleteBucket => project.delete_bucket(name).await.map(|()| None),
        Operation::Grant => grant(world, setting).await,
        Operation::Revoke => deletions::revoke(project, &prepared.shared).await,
        Operation::Copy | Operation::CopyWith | Operation::Move | Operation::Update => {
            changes::perform(project, setting, name).await
        }
        _ => multiparts::perform(world, project, setting, prepared).await,
    };
    match outcome {
        Ok(None) => Verdict::Exact,
        Ok(Some(wrong)) => Verdict::Wrong(wrong),
        Err(error) => Verdict::Refused(error.kind(), error.to_string()),
    }
}

/// Checks directly on the satellite what the operation left behind.
pub(crate) async fn verify(
    world: &World,
    setting: Setting,
    prepared: &Prepared,
    verdict: Verdict,
) -> Verdict {
    let name = prepared.name.as_str();
    let end = match &verdict {
        Verdict::Exact => End::Succeeded,
        Verdict::Refused(ErrorKind::CommitUnknown | ErrorKind::OutcomeUnknown, _) => End::Unknown,
        Verdict::Refused(..) => End::Failed,
        Verdict::Wrong(_) | Verdict::TimedOut => return verdict,
    };
    let succeeded = end == End::Succeeded;
    let wrong = match setting.operation {
        Operation::Upload
        | Operation::UploadAround
        | Operation::Create
        | Operation::MultipartReceipts
        | Operation::MultipartWriteOnly => stored(world, name, &written(setting, name), end).await,
        Operation::Multipart => multiparts::stored(world, name, &written(setting, name), end).await,
        Operation::Delete if succeeded => {
            let gone = world.get(BUCKET, name).await;
            wrong_unless(gone.is_err(), || "deleted, but still present".to_owned())
        }
        Operation::DeleteMany if succeeded => deletions::verify(world, name).await,
        Operation::CreateBucket if succeeded => {
            let there = world.honest.stat_bucket(name).await;
            wrong_unless(there.is_ok(), || "created, but missing".to_owned())
        }
        Operation::DeleteBucket if succeeded => {
            let gone = world.honest.stat_bucket(name).await;
            wrong_unless(gone.is_err(), || "deleted, but still present".to_owned())
        }
        Operation::Revoke if succeeded => deletions::verify_revoked(&prepared.shared, name).await,
        Operation::Copy | Operation::CopyWith | Operation::Move | Operation::Update => {
            changes::verify(world, setting, name, end).await
        }
        Operation::Abort if succeeded => multiparts::verify_aborted(world, prepared).await,
        _ => None,
    };
    match (wrong, verdict) {
        (None, verdict) => verdict,
        (Some(wrong), Verdict::Refused(kind, text)) => {
            Verdict::Wrong(format!("{wrong} ({kind:?}: {text})"))
        }
        (Some(wrong), _) => Verdict::Wrong(wrong),
    }
}

/// The satellite executed an upload whose client reports that it failed.
pub(crate) const EXECUTED: &str = "an error, but the object is visible";

/// How an operation ended for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Succeeded,
    Failed,
    /// The error says that the outcome is unknown.
    Unknown,
}

/// Returns the content that an upload writes.
fn written(setting: Setting, name: &str) -> Vec<u8> {
    match setting.operation {
        Operation::Multipart | Operation::MultipartReceipts | Operation::MultipartWriteOnly => {
            content(name, 1, Kind::Parts.size())
        }
        _ => content(name, 1, setting.kind.size()),
    }
}

/// Checks that an upload stored the content if it succeeded, nothing if it failed, and never anything
/// else.
async fn stored(world: &World, name: &str, plain: &[u8], end: End) -> Option<String> {
    match (end, world.get(BUCKET, name).await) {
        (End::Succeeded | End::Unknown, Ok(read)) => {
            wrong_unless(read == plain, || "stored other bytes".to_owned())
        }
        (End::Unknown, Err(_)) => None,
        (End::Succeeded, Err(error)) => {
            Some(format!("success, but the object cannot be read: {error}"))
        }
        (End::Failed, Ok(_)) => Some(EXECUTED.to_owned()),
        (End::Failed, Err(error)) => {
            wrong_unless(error.kind() == ErrorKind::ObjectNotFound, || {
                format!("an error, but the object is visible and corrupt: {error}")
            })
        }
    }
}

async fn upload(project: &Project, key: &str, size: u64, if_absent: bool) -> Checked {
    let options = UploadOptions::new().if_absent(if_absent);
    let mut upload = project.upload_object_with(BUCKET, key, &options)?;
    upload.set_custom_metadata(custom(key, 1))?;
    upload.write(&content(key, 1, size)).await?;
    let object = upload.commit().await?.object;
    if object.key.to_text() != key || object.size != size {
        return Ok(Some(format!("uploaded {:?} of {} bytes", object.key.to_text(), object.size)));
    }
    let right = object.custom_metadata == custom(key, 1);
    Ok(wrong_unless(right, || format!("uploaded with metadata {:?}", object.custom_metadata)))
}

/// The salt cannot be checked: a wrong one gives a grant that decrypts nothing.
async fn grant(world: &World, setting: Setting) -> Checked {
    let options = AccessOptions::new().config(config(setting.transport.get()));
    let satellite = world.satellite.url();
    let access = Access::request_with(&satellite, &world.api_key, "pass", &options);
    access.await.map(|_| None)
}
