//! Multipart uploads under attack, and checks of what they return and leave behind.

use futures_util::TryStreamExt;
use uplink::{ErrorKind, ListUploadsOptions, Permission, Project, UploadItem};

use super::checks::{Checked, wrong_unless};
use super::making::{PARTS, Parts, etag, put_parts, upload_parts};
use super::operations::{EXECUTED, End, MAX_ITEMS, Operation, Prepared, Setting};
use super::world::{BUCKET, Kind, World, config, content, custom};

/// Parts of an upload that is listed or aborted.
const LISTED_PARTS: Parts = &[(1, 1000), (2, 100), (9, 0)];
/// Keys of the uploads that are listed. The first one has two.
const PENDING: [&str; 4] = ["pending/a", "pending/a", "pending/b/c", "pending/d"];

/// Begins the uploads that are listed.
pub(crate) async fn begin_pending(project: &Project) {
    for key in PENDING {
        begin(project, key).await;
    }
}

/// Begins an upload with parts and returns its id.
pub(crate) async fn begin(project: &Project, key: &str) -> String {
    let id = project.begin_upload(BUCKET, key).await.expect("begun");
    let size = LISTED_PARTS.iter().map(|(_, size)| size).sum();
    let plain = content(key, 1, size);
    upload_parts(project, key, &id, (LISTED_PARTS, &plain)).await.expect("uploaded");
    id
}

/// Performs an operation on a multipart upload.
pub(crate) async fn perform(
    world: &World,
    project: &Project,
    setting: Setting,
    Prepared { name, upload_id, .. }: &Prepared,
) -> Checked {
    match setting.operation {
        Operation::Multipart => put(project, name, false).await,
        Operation::MultipartReceipts => put(project, name, true).await,
        Operation::MultipartWriteOnly => {
            let access = world.malicious_access.share(&Permission::write_only(), &[]);
            let config = config(setting.transport.get());
            let writer = Project::open_with(&access.expect("shared"), &config);
            put(&writer.expect("a project"), name, true).await
        }
        Operation::ListParts => list_parts(project, name, upload_id).await,
        Operation::ListUploads => list_uploads(project, "pending/").await,
        Operation::ListUploadsOf => list_uploads(project, PENDING[0]).await,
        Operation::Abort => project.abort_upload(BUCKET, name, upload_id).await.map(|()| None),
        other => Ok(Some(format!("{other:?} is not an operation on a multipart upload"))),
    }
}

/// The metadata with which an upload was begun is not authenticated: the satellite can omit it.
async fn put(project: &Project, key: &str, by_receipts: bool) -> Checked {
    let plain = content(key, 1, Kind::Parts.size());
    let written = custom(key, 1);
    let object = put_parts(project, key, (PARTS, &plain), &written, by_receipts).await?;
    let is_omitted = object.custom_metadata.is_empty() && !by_receipts;
    let is_right = object.key.to_text() == key
        && object.size == plain.len() as u64
        && (object.custom_metadata == written || is_omitted);
    Ok(wrong_unless(is_right, || format!("uploaded {object:?}")))
}

/// Checks what an upload stored that was sealed from the satellite's list: with a false list it may be
/// unreadable.
pub(crate) async fn stored(world: &World, name: &str, plain: &[u8], end: End) -> Option<String> {
    match (end, world.get(BUCKET, name).await) {
        (End::Failed, Ok(_)) => Some(EXECUTED.to_owned()),
        (_, Ok(read)) => wrong_unless(read == plain, || "stored other bytes".to_owned()),
        (End::Unknown, Err(_)) => None,
        (End::Succeeded, Err(error)) => {
            wrong_unless(error.kind() == ErrorKind::LayoutUnauthenticated, || {
                format!("success, but the object cannot be read: {error}")
            })
        }
        (End::Failed, Err(error)) => {
            wrong_unless(error.kind() == ErrorKind::ObjectNotFound, || {
                format!("an error, but the object is visible and corrupt: {error}")
            })
        }
    }
}

/// ETags of parts are authenticated; their numbers and sizes are not.
async fn list_parts(project: &Project, key: &str, id: &str) -> Checked {
    let mut list = project.list_parts(BUCKET, key, id)?;
    let mut count = 0;
    while let Some(part) = list.try_next().await? {
        let is_known = LISTED_PARTS.iter().any(|(number, _)| etag(*number) == part.etag);
        if !is_known && !part.etag.is_empty() {
            return Ok(Some(format!("a part with the ETag {:?}", part.etag)));
        }
        count += 1;
    }
    Ok(wrong_unless(count <= MAX_ITEMS, || format!("{count} parts")))
}

/// Keys in a listing are authenticated; its completeness and the ids are not.
async fn list_uploads(project: &Project, prefix: &str) -> Checked {
    let options = ListUploadsOptions::new().prefix(prefix);
    let mut list = project.list_uploads_with(BUCKET, &options)?;
    for _ in 0..MAX_ITEMS {
        let key = match list.try_next().await? {
            None => return Ok(None),
            Some(UploadItem::Undecryptable(_)) => continue,
            Some(UploadItem::Prefix(key)) => key,
            Some(UploadItem::Upload(upload)) => upload.key,
            Some(_) => return Ok(Some("an unknown kind of item".to_owned())),
        };
        if !PENDING.iter().any(|known| known.as_bytes().starts_with(&key)) {
            return Ok(Some(format!("{:?} is listed", String::from_utf8_lossy(&key))));
        }
    }
    Ok(Some(format!("more than {MAX_ITEMS} uploads")))
}

/// Checks that an upload is not pending any more.
pub(crate) async fn verify_aborted(world: &World, prepared: &Prepared) -> Option<String> {
    let list = world.honest.list_parts(BUCKET, &prepared.name, &prepared.upload_id);
    let parts = list.expect("a listing").try_next().await;
    wrong_unless(parts.is_err(), || "aborted, but still pending".to_owned())
}
