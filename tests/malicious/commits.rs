//! Attacks on the commit of a multipart upload: a list of parts that lacks segments, mixes attempts or
//! gives other sizes. With receipts the commit is refused. Without, the object is unreadable at worst.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::TryStreamExt;
use uplink::{CommitUploadOptions, Error, ErrorKind, Object, PartReceipt, Permission, Project};
use uplink_rpc::r#gen::metainfo::{
    GetPendingObjectMetadataResponse, ListSegmentsResponse, SegmentListItem,
};

use super::calls::{TRANSPORTS, assert_refused, rewrite_responses, within_limits};
use super::making::{Parts, upload_parts};
use super::raw::Raw;
use super::world::{BUCKET, SEGMENT, World, config, content};

/// Parts of an upload. The second one is uploaded twice: first in two segments.
const EARLIER: Parts = &[(3, SEGMENT + 100)];
const PARTS: Parts = &[(1, SEGMENT + 10_000), (3, 20_000), (7, 100)];
/// A third attempt, of the size of the second one.
const AGAIN: Parts = &[(3, 20_000)];

type Edit = fn(&mut Vec<SegmentListItem>, &[SegmentListItem]);

/// Edits of the list of segments; the second argument is the list of the earlier attempt.
const EDITS: [(&str, Edit); 13] = [
    ("a part is missing", |items, _| items.retain(|item| part(item) != 3)),
    ("the last part is missing", |items, _| drop(items.pop())),
    ("the end of a part is missing", |items, _| drop(items.remove(1))),
    ("the beginning of a part is missing", |items, _| drop(items.remove(0))),
    ("no parts", |items, _| items.clear()),
    ("a part of an earlier attempt", |items, earlier| {
        items.retain(|item| part(item) != 3);
        items.splice(2..2, earlier.iter().cloned());
    }),
    ("the beginning of an earlier attempt", |items, earlier| items[2] = earlier[0].clone()),
    ("the end of an earlier attempt", |items, earlier| items.insert(3, earlier[1].clone())),
    ("one byte more", |items, _| items[2].plain_size += 1),
    ("one byte less", |items, _| items[0].plain_size -= 1),
    ("keys of two parts exchanged", |items, _| {
        let key = (items[2].encrypted_key.clone(), items[2].encrypted_key_nonce.clone());
        items[2].encrypted_key = items[3].encrypted_key.clone();
        items[2].encrypted_key_nonce = items[3].encrypted_key_nonce.clone();
        (items[3].encrypted_key, items[3].encrypted_key_nonce) = key;
        items.iter_mut().for_each(|item| item.encrypted_e_tag.clear());
    }),
    ("another part number", |items, _| {
        items[2].position.iter_mut().for_each(|position| position.part_number = 4);
    }),
    ("a segment twice", |items, _| items.insert(1, items[0].clone())),
];

fn part(item: &SegmentListItem) -> i32 {
    item.position.map_or(0, |position| position.part_number)
}

/// An upload whose parts are stored.
struct Upload {
    key: String,
    id: String,
    plain: Vec<u8>,
    receipts: Vec<PartReceipt>,
    /// The segments of the earlier attempt.
    earlier: Vec<SegmentListItem>,
}

impl Upload {
    async fn store(world: &World, project: &Project) -> Self {
        let key = world.fresh_name();
        let plain = content(&key, 1, PARTS.iter().map(|(_, size)| size).sum());
        let id = project.begin_upload(BUCKET, &key).await.expect("begun");
        let other = content(&key, 0, EARLIER[0].1);
        upload_parts(project, &key, &id, (EARLIER, &other)).await.expect("uploaded");
        let earlier = segments(world, project, &key, &id).await;
        let receipts = upload_parts(project, &key, &id, (PARTS, &plain)).await;
        let receipts = receipts.expect("uploaded");
        Self { key, id, plain, receipts, earlier }
    }

    async fn commit(&self, project: &Project, by_receipts: bool) -> Result<Object, Error> {
        let options = match by_receipts {
            true => CommitUploadOptions::new().receipts(self.receipts.clone()),
            false => CommitUploadOptions::new(),
        };
        within_limits(project.commit_upload_with(BUCKET, &self.key, &self.id, &options)).await
    }

    /// Asserts that an honest satellite returns the content or an error.
    async fn assert_not_wrong(&self, world: &World, name: &str) {
        match world.get(BUCKET, &self.key).await {
            Ok(read) => assert!(read == self.plain, "{name}: reads as other bytes"),
            Err(error) => {
                let kinds = [ErrorKind::LayoutUnauthenticated, ErrorKind::ObjectNotFound];
                assert!(kinds.contains(&error.kind()), "{name}: {error}");
            }
        }
    }
}

/// Returns the segments of an upload as the satellite lists them.
async fn segments(world: &World, project: &Project, key: &str, id: &str) -> Vec<SegmentListItem> {
    let seen: Arc<Mutex<Vec<SegmentListItem>>> = Arc::default();
    let recorder = Arc::clone(&seen);
    rewrite_responses(world, "ListSegmentsResponse", move |page: &mut ListSegmentsResponse| {
        let mut seen = recorder.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone_from(&page.items);
    });
    let list = project.list_parts(BUCKET, key, id).expect("a listing");
    let parts: Vec<_> = list.try_collect().await.expect("listed");
    assert_eq!(parts.len(), EARLIER.len());
    world.satellite.pass_through();
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut *seen)
}

/// Changes every list of segments.
fn falsify(world: &World, upload: &Upload, edit: Edit) {
    let earlier = upload.earlier.clone();
    rewrite_responses(world, "ListSegmentsResponse", move |page: &mut ListSegmentsResponse| {
        edit(&mut page.items, &earlier);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn false_list_of_parts_is_refused_with_receipts() {
    let world = World::start().await;
    for transport in TRANSPORTS {
        let project = world.project(transport);
        let upload = Upload::store(&world, &project).await;
        for (name, edit) in EDITS {
            falsify(&world, &upload, edit);
            let error = assert_refused(upload.commit(&project, true).await);
            let kinds =
                [ErrorKind::LayoutUnauthenticated, ErrorKind::Protocol, ErrorKind::Rejected];
            assert!(kinds.contains(&error.kind()), "{name}: {error}");
            world.satellite.pass_through();
            let missing = world.get(BUCKET, &upload.key).await.expect_err("not committed");
            assert_eq!(missing.kind(), ErrorKind::ObjectNotFound, "{name}: {missing}");
        }
        // The refused commits changed nothing.
        upload.commit(&project, true).await.expect("committed");
        assert!(world.get(BUCKET, &upload.key).await.expect("read") == upload.plain);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn false_list_of_parts_never_makes_other_bytes() {
    let world = World::start().await;
    for (transport, (name, edit)) in TRANSPORTS.into_iter().cycle().zip(EDITS) {
        let project = world.project(transport);
        let upload = Upload::store(&world, &project).await;
        falsify(&world, &upload, edit);
        let committed = upload.commit(&project, false).await;
        world.satellite.pass_through();
        match committed {
            Ok(object) => assert_eq!(object.size, upload.plain.len() as u64, "{name}"),
            Err(error) => drop(assert_refused::<Object>(Err(error))),
        }
        upload.assert_not_wrong(&world, name).await;
    }
}

/// The satellite keeps another attempt than the one whose receipt the commit seals.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_seal_what_was_written_not_what_is_stored() {
    let world = World::start().await;
    for transport in TRANSPORTS {
        let access = world.malicious_access.share(&Permission::write_only(), &[]);
        let access = access.expect("shared");
        let writer = Project::open_with(&access, &config(transport)).expect("a project");
        let full = world.project(transport);
        let upload = Upload::store(&world, &full).await;
        let again = upload_parts(&full, &upload.key, &upload.id, (AGAIN, &upload.plain)).await;
        again.expect("uploaded");
        upload.commit(&writer, true).await.expect("the list is not readable");
        let refused = world.get(BUCKET, &upload.key).await.expect_err("refused");
        assert_eq!(refused.kind(), ErrorKind::LayoutUnauthenticated, "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_of_an_object_is_refused_for_an_upload() {
    let world = World::start().await;
    let raw = Raw::new(&world);
    for transport in TRANSPORTS {
        let project = world.project(transport);
        let upload = Upload::store(&world, &project).await;
        world.put(BUCKET, &upload.key, 1, b"an object of this key").await;
        let object = raw.download_object(&raw.encrypted_key(&upload.key)).await.object;
        let object = object.expect("the object");
        rewrite_responses(
            &world,
            "GetPendingObjectMetadataResponse",
            move |reply: &mut GetPendingObjectMetadataResponse| {
                reply.encrypted_metadata = object.encrypted_metadata.clone();
                reply.encrypted_metadata_encrypted_key =
                    object.encrypted_metadata_encrypted_key.clone();
                reply.encrypted_metadata_nonce = object.encrypted_metadata_nonce.clone();
            },
        );
        let error = assert_refused(upload.commit(&project, false).await);
        assert_eq!(error.kind(), ErrorKind::LayoutUnauthenticated, "{error}");
        world.satellite.pass_through();
    }
}
