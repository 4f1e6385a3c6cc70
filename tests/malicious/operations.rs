//! The operations of a client under attack, and checks of their results.

use std::fmt;
use std::ops::Range;

use futures_util::TryStreamExt;
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};
use uplink::{Access, AccessOptions, DownloadOptions, ErrorKind, ListItem, ListOptions, Project};

use super::checks::{
    Checked, TransportKind, check_bytes, check_object, into_uplink_error, wrong_unless,
};
use super::world::{BUCKET, Kind, Known, LISTED, World, config, content, custom, known};

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
    Delete,
    CreateBucket,
    DeleteBucket,
    Grant,
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
const MAX_ITEMS: usize = 10_000;
/// Keys of the listed objects.
pub(crate) const LISTED_KEYS: [&str; 3] = ["a", "b", "c/d"];

impl Operation {
    const PER_KIND: [Self; 8] = [
        Self::Whole,
        Self::Middle,
        Self::Suffix,
        Self::Seek,
        Self::Stat,
        Self::Upload,
        Self::UploadAround,
        Self::Delete,
    ];
    const WITHOUT_KIND: [Self; 7] = [
        Self::List,
        Self::ListCustom,
        Self::ListBuckets,
        Self::StatBucket,
        Self::CreateBucket,
        Self::DeleteBucket,
        Self::Grant,
    ];

    /// Returns the range of an object that a read requests.
    fn range(self, size: u64) -> (DownloadOptions, Range<usize>) {
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
            for operation in Operation::PER_KIND {
                all.extend(Kind::ALL.map(|kind| Self { operation, kind, transport }));
            }
            let kind = Kind::Inline;
            all.extend(Operation::WITHOUT_KIND.map(|operation| Self {
                operation,
                kind,
                transport,
            }));
        }
        all.retain(|setting| {
            let remote = matches!(setting.kind, Kind::OneSegment | Kind::ThreeSegments);
            setting.operation != Operation::UploadAround || remote
        });
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
    name: String,
}

/// Creates what the operation needs, directly on the satellite.
pub(crate) async fn prepare(world: &World, setting: Setting) -> Prepared {
    let name = world.fresh_name();
    match setting.operation {
        Operation::Delete => {
            world.put(BUCKET, &name, 1, &content(&name, 1, setting.kind.size())).await;
        }
        Operation::DeleteBucket => {
            world.honest.create_bucket(&name).await.expect("a bucket");
        }
        _ => {}
    }
    Prepared { name }
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
            upload(project, name, setting.kind.size()).await
        }
        Operation::Delete => project.delete_object(BUCKET, name).await.map(|_| None),
        Operation::CreateBucket => project.create_bucket(name).await.map(|bucket| {
            wrong_unless(bucket.name == name, || format!("bucket {:?}", bucket.name))
        }),
        Operation::DeleteBucket => project.delete_bucket(name).await.map(|()| None),
        Operation::Grant => grant(world, setting).await,
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
    let succeeded = match &verdict {
        Verdict::Exact => true,
        Verdict::Refused(ErrorKind::CommitUnknown, _) | Verdict::Wrong(_) | Verdict::TimedOut => {
            return verdict;
        }
        Verdict::Refused(..) => false,
    };
    let wrong = match setting.operation {
        Operation::Upload | Operation::UploadAround => {
            let plain = content(name, 1, setting.kind.size());
            match (succeeded, world.get(BUCKET, name).await) {
                (true, Ok(read)) => wrong_unless(read == plain, || "stored other bytes".to_owned()),
                (true, Err(error)) => {
                    Some(format!("success, but the object cannot be read: {error}"))
                }
                (false, Ok(_)) => Some("an error, but the object is visible".to_owned()),
                (false, Err(error)) => {
                    wrong_unless(error.kind() == ErrorKind::ObjectNotFound, || {
                        format!("an error, but the object is visible and corrupt: {error}")
                    })
                }
            }
        }
        Operation::Delete if succeeded => {
            let gone = world.get(BUCKET, name).await;
            wrong_unless(gone.is_err(), || "deleted, but still present".to_owned())
        }
        Operation::CreateBucket if succeeded => {
            let there = world.honest.stat_bucket(name).await;
            wrong_unless(there.is_ok(), || "created, but missing".to_owned())
        }
        Operation::DeleteBucket if succeeded => {
            let gone = world.honest.stat_bucket(name).await;
            wrong_unless(gone.is_err(), || "deleted, but still present".to_owned())
        }
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

async fn read(project: &Project, operation: Operation, object: &Known) -> Checked {
    let (options, range) = operation.range(object.contents[0].len() as u64);
    let mut download = project.download_object_with(BUCKET, &object.key, &options).await?;
    // Bytes first: wrong content matters more than wrong metadata.
    let wrong = check_bytes(&mut download, object, range).await?;
    Ok(wrong.or_else(|| check_object(object, download.object())))
}

async fn seek(project: &Project, object: &Known) -> Checked {
    let mut download = project.download_object(BUCKET, &object.key).await?;
    let size = object.contents[0].len();
    // A few bytes, then one in the last segment, then back.
    let targets = [(0, 100), (size - size / 10, 1000), (size / 3, size)];
    for (start, length) in targets {
        if download.seek(SeekFrom::Start(start as u64)).await.map_err(into_uplink_error)?
            != start as u64
        {
            return Ok(Some(format!("the seek to {start} ended elsewhere")));
        }
        let end = size.min(start + length);
        let mut read = Vec::new();
        let mut part = (&mut download).take((end - start) as u64);
        while part.read_buf(&mut read).await.map_err(into_uplink_error)? > 0 {
            let possible = object
                .contents
                .iter()
                .any(|content| content.get(start..start + read.len()) == Some(&read[..]));
            if !possible {
                return Ok(Some(format!("wrong bytes after a seek to {start}")));
            }
        }
        if read.len() != end - start {
            let got = read.len();
            return Ok(Some(format!("{got} bytes of {start}..{end} after a seek")));
        }
    }
    Ok(None)
}

async fn stat(project: &Project, object: &Known) -> Checked {
    let found = project.stat_object(BUCKET, &object.key).await?;
    Ok(check_object(object, &found))
}

/// Names in a listing are authenticated, its completeness is not.
async fn list(project: &Project, options: ListOptions) -> Checked {
    let mut list = project.list_objects_with(LISTED, &options)?;
    for _ in 0..MAX_ITEMS {
        let key = match list.try_next().await? {
            None => return Ok(None),
            Some(ListItem::Undecryptable(_)) => continue,
            Some(ListItem::Object(object)) => object.key,
            Some(ListItem::Prefix(prefix)) => prefix,
            Some(_) => return Ok(Some("an unknown kind of item".to_owned())),
        };
        let exists = LISTED_KEYS.iter().any(|known| known.as_bytes().starts_with(&key));
        if !exists {
            return Ok(Some(format!("{:?} is listed", String::from_utf8_lossy(&key))));
        }
    }
    Ok(Some(format!("more than {MAX_ITEMS} items")))
}

async fn list_buckets(project: &Project) -> Checked {
    let mut list = project.list_buckets();
    for _ in 0..MAX_ITEMS {
        if list.try_next().await?.is_none() {
            return Ok(None);
        }
    }
    Ok(Some(format!("more than {MAX_ITEMS} buckets")))
}

async fn upload(project: &Project, key: &str, size: u64) -> Checked {
    let mut upload = project.upload_object(BUCKET, key)?;
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
