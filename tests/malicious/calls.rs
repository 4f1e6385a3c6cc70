//! Attacks on calls other than reads: endless pages, commits without their object, texts and addresses
//! of any length.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::TryStreamExt;
use prost::Message;
use tokio::time::timeout;
use uplink::{Error, ErrorKind, Project, Transport, Uploaded};
use uplink_rpc::r#gen::metainfo::{
    BeginSegmentResponse, BucketListItem, CommitObjectResponse, DownloadObjectResponse,
    ListBucketsResponse, ListObjectsResponse, ListSegmentsResponse, SegmentListItem,
    SegmentPosition,
};
use uplink_rpc::status::{Code, Failure};

use super::messages::rewrite;
use super::world::{BUCKET, LISTED, SEGMENT, World, config, content, custom};
use crate::HEAP;

/// Time limit of every call.
const TIME_LIMIT: Duration = Duration::from_secs(2);
/// Time after which a call counts as hung.
const HANG_TIMEOUT: Duration = Duration::from_secs(8);
/// Memory that an attack may cost.
const MEMORY_LIMIT: usize = 64 << 20;
/// Maximum bytes of an error text: a peer's own text is cut to 1 KiB.
const MAX_ERROR_TEXT: usize = 4096;
/// Buckets in a page of the maximum response size.
const BUCKETS_IN_FULL_PAGE: usize = 250_000;
pub(crate) const TRANSPORTS: [Transport; 2] = [Transport::Negotiated, Transport::Drpc];

/// Changes every response of one type with `edit`.
pub(crate) fn rewrite_responses<M: Message + Default>(
    world: &World,
    name: &'static str,
    edit: impl Fn(&mut M) + Send + Sync + 'static,
) {
    world.satellite.rewrite(move |call, answer| {
        answer.map(|answer| {
            rewrite(call, answer, &mut |found, answer| {
                if found != name {
                    return answer;
                }
                let mut message = M::decode(answer).expect("a valid response");
                edit(&mut message);
                message.encode_to_vec().into()
            })
        })
    });
}

/// Waits for an operation and asserts the limits on its time and memory.
pub(crate) async fn within_limits<T>(operation: impl Future<Output = T>) -> T {
    HEAP.reset_peak_usage();
    let heap = HEAP.current_usage();
    let started = Instant::now();
    let outcome = timeout(HANG_TIMEOUT, operation).await.expect("completes in time");
    let time = started.elapsed();
    let memory = HEAP.peak_usage().saturating_sub(heap);
    assert!(time <= TIME_LIMIT, "it took {time:?}");
    assert!(memory <= MEMORY_LIMIT, "it took {} MiB", memory >> 20);
    outcome
}

#[track_caller]
pub(crate) fn assert_refused<T>(outcome: Result<T, Error>) -> Error {
    let Err(error) = outcome else { panic!("the attack succeeded") };
    assert_ne!(error.kind(), ErrorKind::Internal, "{error}");
    assert!(
        error.to_string().len() <= MAX_ERROR_TEXT,
        "an error text of {} bytes",
        error.to_string().len()
    );
    error
}

async fn count_buckets(project: &Project) -> Result<usize, Error> {
    let mut list = project.list_buckets();
    let mut count = 0;
    while list.try_next().await?.is_some() {
        count += 1;
    }
    Ok(count)
}

async fn count_objects(project: &Project) -> Result<usize, Error> {
    let mut list = project.list_objects(LISTED)?;
    let mut count = 0;
    while list.try_next().await?.is_some() {
        count += 1;
    }
    Ok(count)
}

async fn put(project: &Project, key: &str, size: u64) -> Result<Uploaded, Error> {
    let mut upload = project.upload_object(BUCKET, key)?;
    upload.set_custom_metadata(custom(key, 1))?;
    upload.write(&content(key, 1, size)).await?;
    upload.commit().await
}

async fn get(project: &Project, key: &str) -> Result<Vec<u8>, Error> {
    project.download_object(BUCKET, key).await?.read_to_end(u64::MAX).await.map(Vec::from)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bucket_pages_that_do_not_advance_end_in_an_error() {
    let world = World::start().await;
    for transport in TRANSPORTS {
        let project = world.project(transport);
        rewrite_responses(&world, "ListBucketsResponse", |page: &mut ListBucketsResponse| {
            page.more = true
        });
        assert_refused(within_limits(count_buckets(&project)).await);
        rewrite_responses(&world, "ListBucketsResponse", |page: &mut ListBucketsResponse| {
            *page = ListBucketsResponse { items: Vec::new(), more: true };
        });
        assert_refused(within_limits(count_buckets(&project)).await);
        rewrite_responses(&world, "ListBucketsResponse", |page: &mut ListBucketsResponse| {
            page.items.reverse();
            page.more = true;
        });
        assert_refused(within_limits(count_buckets(&project)).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bucket_pages_larger_than_requested_are_bounded() {
    let world = World::start().await;
    let item = |n| BucketListItem { name: format!("b{n:06}").into(), ..Default::default() };
    let items = (0..BUCKETS_IN_FULL_PAGE).map(item).collect();
    let page: Bytes = ListBucketsResponse { items, more: false }.encode_to_vec().into();
    world.satellite.intercept(move |_, _| {
        let page = page.clone();
        async move { Ok(page) }
    });
    for transport in TRANSPORTS {
        let project = world.project(transport);
        // Bucket names are not authenticated.
        match within_limits(count_buckets(&project)).await {
            Ok(count) => assert!(count <= BUCKETS_IN_FULL_PAGE),
            refused => drop(assert_refused(refused)),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn object_pages_that_do_not_advance_end_in_an_error() {
    let world = World::start().await;
    for key in ["a", "b", "c"] {
        world.put(LISTED, key, 1, b"content").await;
    }
    for transport in TRANSPORTS {
        let project = world.project(transport);
        rewrite_responses(&world, "ListObjectsResponse", |page: &mut ListObjectsResponse| {
            page.more = true
        });
        assert_refused(within_limits(count_objects(&project)).await);
        rewrite_responses(&world, "ListObjectsResponse", |page: &mut ListObjectsResponse| {
            *page = ListObjectsResponse { items: Vec::new(), more: true };
        });
        assert_refused(within_limits(count_objects(&project)).await);
    }
}

/// Returns a page of empty segments that start where the first segment ends.
fn empty_segments(answer: Bytes, first: i32) -> Bytes {
    let mut page = ListSegmentsResponse::decode(answer).expect("an answer");
    let template = page.items.first().cloned().unwrap_or_default();
    let item = |index| SegmentListItem {
        position: Some(SegmentPosition { part_number: 0, index }),
        plain_offset: SEGMENT as i64,
        plain_size: 0,
        ..template.clone()
    };
    page.items = (first..first + 1000).map(item).collect();
    page.more = true;
    page.encode_to_vec().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segment_pages_without_bytes_end_a_read() {
    let world = World::start().await;
    let plain = content("key", 1, 2 * SEGMENT + 10_000);
    world.put(BUCKET, "key", 1, &plain).await;
    for (transport, stripped) in TRANSPORTS.into_iter().flat_map(|one| [(one, false), (one, true)])
    {
        let pages = AtomicUsize::new(0);
        world.satellite.rewrite(move |call, answer| {
            answer.map(|answer| {
                rewrite(call, answer, &mut |name, answer| match name {
                    "DownloadObjectResponse" => only_first_segment(answer, stripped),
                    "ListSegmentsResponse" => {
                        let first = 1 + 1000 * pages.fetch_add(1, Ordering::Relaxed) as i32;
                        empty_segments(answer, first)
                    }
                    _ => answer,
                })
            })
        });
        let project = world.project(transport);
        match within_limits(get(&project, "key")).await {
            // The pages are not needed: everything in them follows from the envelope.
            Ok(read) => assert!(read == plain),
            refused => drop(assert_refused(refused)),
        }
    }
}

/// Lists one segment with `more` set, and removes the envelope if `stripped`.
fn only_first_segment(answer: Bytes, stripped: bool) -> Bytes {
    let mut reply = DownloadObjectResponse::decode(answer).expect("an answer");
    if let Some(list) = &mut reply.segment_list {
        list.items.truncate(1);
        list.more = true;
    }
    if let Some(object) = reply.object.as_mut().filter(|_| stripped) {
        object.encrypted_metadata.clear();
        object.encrypted_metadata_encrypted_key.clear();
        object.encrypted_metadata_nonce.clear();
    }
    reply.encode_to_vec().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_segments_end_a_read_that_requires_the_seal() {
    let world = World::start().await;
    let plain = content("key", 1, SEGMENT);
    world.put(BUCKET, "key", 1, &plain).await;
    for transport in TRANSPORTS {
        let pages = Arc::new(AtomicUsize::new(0));
        rewrite_responses(
            &world,
            "ListSegmentsResponse",
            move |page: &mut ListSegmentsResponse| {
                let template = page.items.first().cloned().unwrap_or_default();
                let first = 1000 * pages.fetch_add(1, Ordering::Relaxed);
                let item = |index: usize| SegmentListItem {
                    position: Some(SegmentPosition { part_number: 0, index: index as i32 }),
                    plain_offset: index as i64 * SEGMENT as i64,
                    plain_size: SEGMENT as i64,
                    ..template.clone()
                };
                page.items = (first..first + 1000).map(item).collect();
                page.more = true;
            },
        );
        let config = config(transport).require_seal(true);
        let project = Project::open_with(&world.malicious_access, &config).expect("a project");
        match within_limits(get(&project, "key")).await {
            Ok(read) => assert!(read == plain),
            refused => drop(assert_refused(refused)),
        }
    }
}

/// Uploads while commit responses are changed: a committed upload succeeds or its outcome is unknown.
async fn check_commits(edit: impl Fn(&mut CommitObjectResponse) + Clone + Send + Sync + 'static) {
    let world = World::start().await;
    for transport in TRANSPORTS {
        for size in [0, 1000, 20_000, 2 * SEGMENT + 1] {
            let project = world.project(transport);
            let key = world.fresh_name();
            rewrite_responses(&world, "CommitObjectResponse", edit.clone());
            match within_limits(put(&project, &key, size)).await {
                Ok(Uploaded { object, .. }) => {
                    assert_eq!((object.key, object.size), (key.as_str().into(), size));
                    assert_eq!(object.custom_metadata, custom(&key, 1));
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::CommitUnknown, "{error}"),
            }
            world.satellite.pass_through();
            let read = world.get(BUCKET, &key).await.expect("committed");
            assert!(read == content(&key, 1, size));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commit_response_without_object_is_resolved() {
    check_commits(|reply| reply.object = None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commit_response_with_wrong_size_is_not_retried() {
    check_commits(|reply| {
        if let Some(object) = &mut reply.object {
            object.plain_size = 77;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commit_response_with_invalid_object_is_resolved() {
    check_commits(|reply| {
        if let Some(object) = &mut reply.object {
            object.encryption_parameters = None;
            object.encrypted_metadata = Bytes::from_static(b"\xFF");
            object.plain_size = -1;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commit_response_of_another_type_is_resolved() {
    let world = World::start().await;
    for transport in TRANSPORTS {
        for garbage in &garbage() {
            let project = world.project(transport);
            let key = world.fresh_name();
            let garbage = garbage.clone();
            world.satellite.rewrite(move |call, answer| {
                let commits = call.method == "Batch"
                    && contains_response(call, answer.clone(), "CommitObjectResponse");
                if commits { Ok(garbage.clone()) } else { answer }
            });
            match within_limits(put(&project, &key, 1000)).await {
                Ok(uploaded) => assert_eq!(uploaded.object.size, 1000),
                Err(error) => assert_eq!(error.kind(), ErrorKind::CommitUnknown, "{error}"),
            }
            world.satellite.pass_through();
            assert!(world.get(BUCKET, &key).await.expect("committed") == content(&key, 1, 1000));
        }
    }
}

/// Invalid response bodies: empty, not a message, another message, larger than the decoder accepts.
fn garbage() -> Vec<Bytes> {
    let small = [&b""[..], b"\xFF\xFF\xFF", b"\x0A\x02\x52\x00"];
    let large = [0x0A, 0].repeat(2_000_000).into();
    small.into_iter().map(Bytes::from_static).chain([large]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_responses_to_create_and_delete_are_resolved() {
    let world = World::start().await;
    for transport in TRANSPORTS {
        for garbage in garbage() {
            let project = world.project(transport);
            let name = world.fresh_name();
            let methods = ["CreateBucket", "BeginDeleteObject", "DeleteBucket"];
            world.satellite.rewrite(move |call, answer| match methods.contains(&&*call.method) {
                true => answer.and(Ok(garbage.clone())),
                false => answer,
            });
            let created = within_limits(project.create_bucket(&name)).await.expect("created");
            assert_eq!(created.name, name);
            world.put(&name, "key", 1, b"content").await;
            within_limits(project.delete_object(&name, "key")).await.expect("deleted");
            within_limits(project.delete_bucket(&name)).await.expect("deleted");
            world.satellite.pass_through();
            let gone = project.stat_bucket(&name).await.expect_err("deleted");
            assert_eq!(gone.kind(), ErrorKind::BucketNotFound, "{gone}");
        }
    }
}

/// Returns whether a response contains one of type `wanted`.
fn contains_response(
    call: &uplink_testnet::Call,
    answer: uplink_testnet::Answer,
    wanted: &str,
) -> bool {
    let found = Mutex::new(false);
    if let Ok(answer) = answer {
        rewrite(call, answer, &mut |name, answer| {
            *found.lock().expect("not poisoned") |= name == wanted;
            answer
        });
    }
    found.into_inner().expect("not poisoned")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_node_address_gives_a_short_error() {
    let world = World::start().await;
    let plain = content("key", 1, 20_000);
    world.put(BUCKET, "key", 1, &plain).await;
    for address in ["a".repeat(300_000), format!("127.0.0.1:{}", "9".repeat(300_000))] {
        for transport in TRANSPORTS {
            let project = world.project(transport);
            let long = address.clone();
            rewrite_responses(
                &world,
                "DownloadObjectResponse",
                move |reply: &mut DownloadObjectResponse| {
                    let limits =
                        reply.segment_download.iter_mut().flat_map(|one| &mut one.addressed_limits);
                    for limit in limits {
                        if let Some(node) = &mut limit.storage_node_address {
                            node.address.clone_from(&long);
                        }
                    }
                },
            );
            match within_limits(get(&project, "key")).await {
                Ok(read) => assert!(read == plain),
                refused => drop(assert_refused(refused)),
            }
            let long = address.clone();
            rewrite_responses(
                &world,
                "BeginSegmentResponse",
                move |reply: &mut BeginSegmentResponse| {
                    for limit in &mut reply.addressed_limits {
                        if let Some(node) = &mut limit.storage_node_address {
                            node.address.clone_from(&long);
                        }
                    }
                },
            );
            assert_refused(within_limits(put(&project, &world.fresh_name(), 20_000)).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_status_text_gives_equal_errors_on_both_transports() {
    let world = World::start().await;
    world.put(BUCKET, "key", 1, b"content").await;
    let text = "ä".repeat(50_000);
    for code in [Code::INVALID_ARGUMENT, Code::NOT_FOUND, Code::INTERNAL, Code::PERMISSION_DENIED] {
        let mut kinds = Vec::new();
        for transport in TRANSPORTS {
            let project = world.project(transport);
            let text = text.clone();
            let calls = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&calls);
            world.satellite.intercept(move |_, _| {
                count.fetch_add(1, Ordering::Relaxed);
                let failure = Failure::new(code, text.clone());
                async move { Err(failure) }
            });
            let error = assert_refused(within_limits(project.stat_bucket(BUCKET)).await);
            kinds.push((error.kind(), calls.load(Ordering::Relaxed)));
        }
        assert_eq!(kinds[0], kinds[1], "kinds and calls over gRPC and DRPC");
        assert_eq!(kinds[0].1, 1, "a non-retryable status is not retried");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn millions_of_empty_batch_items_take_little_memory() {
    let world = World::start().await;
    world.put(BUCKET, "key", 1, b"content").await;
    let items: Bytes = [0x0A, 0].repeat(2_000_000).into();
    for transport in TRANSPORTS {
        let project = world.project(transport);
        let items = items.clone();
        world.satellite.intercept(move |_, _| {
            let items = items.clone();
            async move { Ok(items) }
        });
        assert_refused(within_limits(project.stat_object(BUCKET, "key")).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honest_proxy_changes_nothing() {
    let world = World::start().await;
    for transport in TRANSPORTS {
        let project = world.project(transport);
        let key = world.fresh_name();
        for size in [0, 1000, 20_000, 2 * SEGMENT + 1] {
            put(&project, &key, size).await.expect("uploaded");
            assert!(get(&project, &key).await.expect("read") == content(&key, 1, size));
        }
        assert!(project.delete_object(BUCKET, &key).await.expect("deleted"));
        let missing = project.stat_object(BUCKET, &key).await.expect_err("deleted");
        assert_eq!(missing.kind(), ErrorKind::ObjectNotFound, "{missing}");
    }
    assert!(world.satellite.calls() > 10);
}
