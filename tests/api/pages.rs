//! Listings from a satellite that repeats, reorders or inflates its pages.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::TryStreamExt;
use uplink::{ErrorKind, ListItem, Project};
use uplink_rpc::r#gen::metainfo::batch_response_item::Response;
use uplink_rpc::r#gen::metainfo::{BucketListItem, ListBucketsResponse, ObjectListItem};

use super::proxy::Proxy;
use super::world::{BUCKET, World};

/// Maximum calls of a listing that detects the first invalid page.
const MAX_CALLS: usize = 4;

type Tamper<T> = Arc<dyn Fn(&mut T) + Send + Sync>;

fn bucket(name: &str) -> BucketListItem {
    BucketListItem { name: name.as_bytes().to_vec().into(), ..Default::default() }
}

fn object(key: &[u8]) -> ObjectListItem {
    ObjectListItem { encrypted_object_key: key.to_vec().into(), ..Default::default() }
}

async fn buckets(project: &Project) -> Result<Vec<String>, ErrorKind> {
    let mut list = project.list_buckets();
    let mut names = Vec::new();
    loop {
        match list.try_next().await {
            Ok(Some(bucket)) => names.push(bucket.name),
            Ok(None) => return Ok(names),
            Err(error) => return Err(error.kind()),
        }
    }
}

async fn objects(project: &Project) -> Result<Vec<ListItem>, ErrorKind> {
    let mut list = project.list_objects(BUCKET).expect("a listing");
    let mut items = Vec::new();
    loop {
        match list.try_next().await {
            Ok(Some(item)) => items.push(item),
            Ok(None) => return Ok(items),
            Err(error) => return Err(error.kind()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bucket_pages_that_do_not_advance_are_an_error() {
    let world = World::start().await;
    let proxy = Proxy::start(&world).await;
    proxy.project.create_bucket("another").await.expect("created");
    assert_eq!(buckets(&proxy.project).await, Ok(vec!["another".to_owned(), BUCKET.to_owned()]));
    let cases: [(&str, Tamper<ListBucketsResponse>); 8] = [
        (
            "same page",
            Arc::new(|page| {
                page.items = vec![bucket("another"), bucket("bucket")];
                page.more = true;
            }),
        ),
        (
            "empty page",
            Arc::new(|page| {
                page.items.clear();
                page.more = true;
            }),
        ),
        ("out of order", Arc::new(|page| page.items.reverse())),
        ("duplicate", Arc::new(|page| page.items = vec![bucket("bucket"), bucket("bucket")])),
        (
            "too many",
            Arc::new(|page| {
                page.items = (0..2001).map(|number| bucket(&format!("b{number:05}"))).collect();
            }),
        ),
        ("long name", Arc::new(|page| page.items = vec![bucket(&"x".repeat(300_000))])),
        ("empty name", Arc::new(|page| page.items = vec![bucket("")])),
        ("control characters", Arc::new(|page| page.items = vec![bucket("a\u{1b}[2J")])),
    ];
    for (name, tamper) in cases {
        proxy.change_buckets(move |page| tamper(page));
        assert_eq!(buckets(&proxy.project).await, Err(ErrorKind::Protocol), "{name}");
        assert!(proxy.listings() <= MAX_CALLS, "{name}: {} calls", proxy.listings());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn object_pages_that_do_not_advance_are_an_error() {
    let world = World::start().await;
    let proxy = Proxy::start(&world).await;
    for key in ["a", "b", "c"] {
        let upload = proxy.project.upload_object(BUCKET, key).unwrap();
        upload.commit().await.expect("committed");
    }
    assert_eq!(objects(&proxy.project).await.expect("listed").len(), 3);
    let cases: [(&str, Tamper<Vec<ObjectListItem>>, bool); 6] = [
        ("same page", Arc::new(|_| {}), true),
        ("empty page", Arc::new(|items| items.clear()), true),
        ("out of order", Arc::new(|items| items.swap(0, 1)), false),
        ("duplicate", Arc::new(|items| items.insert(1, items[0].clone())), false),
        ("empty key", Arc::new(|items| items.push(object(b""))), false),
        (
            "too many",
            Arc::new(|items| {
                *items = (0..2001).map(|n| object(format!("{n:05}").as_bytes())).collect();
            }),
            false,
        ),
    ];
    for (name, tamper, more) in cases {
        let first = Arc::new(std::sync::Mutex::new(None));
        proxy.change_items(move |item| {
            let Response::ObjectList(page) = item else { return };
            let mut first = first.lock().unwrap();
            page.items = first.get_or_insert_with(|| page.items.clone()).clone();
            tamper(&mut page.items);
            page.more = more;
        });
        assert_eq!(objects(&proxy.project).await, Err(ErrorKind::Protocol), "{name}");
        assert!(proxy.listings() <= MAX_CALLS, "{name}: {} calls", proxy.listings());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undecryptable_item_is_listed_as_such() {
    let world = World::start().await;
    let proxy = Proxy::start(&world).await;
    let upload = proxy.project.upload_object(BUCKET, "name").unwrap();
    upload.commit().await.expect("committed");
    proxy.change_items(|item| {
        let Response::ObjectList(page) = item else { return };
        page.items.insert(0, object(b"\0"));
        page.items.push(object(b"\xff\xff"));
    });
    let items = objects(&proxy.project).await.expect("listed");
    let encrypted = |item: &ListItem| match item {
        ListItem::Undecryptable(key) => Some(key.clone()),
        _ => None,
    };
    let hidden: BTreeSet<_> = items.iter().filter_map(encrypted).collect();
    assert_eq!(items.len(), 3);
    assert_eq!(hidden, BTreeSet::from([b"\0".to_vec(), b"\xff\xff".to_vec()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_node_address_gives_a_short_error() {
    let world = World::start().await;
    let proxy = Proxy::start(&world).await;
    let plain = super::world::bytes(1, 100_000);
    let mut upload = proxy.project.upload_object(BUCKET, "key").unwrap();
    upload.write(&plain).await.expect("written");
    upload.commit().await.expect("committed");
    let long = format!("{}:7777", "x".repeat(300_000));
    let addresses =
        ["", "no port", "host:0", "host:65536", ":7777", "a\nb:7777", "::1:7777", "a b:1", &long];
    for address in addresses {
        let to = address.to_owned();
        proxy.change_items(move |item| {
            let limits = match item {
                Response::ObjectDownload(reply) => {
                    reply.segment_download.iter_mut().flat_map(|it| &mut it.addressed_limits)
                }
                _ => return,
            };
            for limit in limits {
                limit.storage_node_address.get_or_insert_default().address.clone_from(&to);
            }
        });
        let read = match proxy.project.download_object(BUCKET, "key").await {
            Ok(mut download) => download.read_to_end(u64::MAX).await,
            Err(error) => Err(error),
        };
        let error = read.expect_err("no node at such an address");
        assert_eq!(error.kind(), ErrorKind::Protocol, "{:.80}", error.to_string());
        assert!(error.to_string().len() <= 1024, "{} bytes", error.to_string().len());
    }
}
