//! Listing a bucket, compared with the calls for its pages alone: `cargo xtask bench listing
//! [-- OBJECTS …]`.
//!
//! The satellite runs in a process of its own. The objects are inline, half of them under 1,000
//! prefixes, with encrypted keys. Listing and the calls for the same pages take turns; the ratio of
//! their medians is what decrypting and checking adds to the calls. Each case is one JSON line.

use std::time::Instant;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use network::Network;
use uplink::{Access, ListItem, ListOptions, Project, UploadOptions};
use uplink_core::access_grant::AccessGrant;
use uplink_core::node_url::NodeUrl;
use uplink_rpc::client;
use uplink_rpc::dial::Dialer;
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::batch_response_item::Response;
use uplink_rpc::r#gen::metainfo::{
    BatchRequest, BatchRequestItem, ListObjectsRequest, ListObjectsResponse,
    ObjectListItemIncludes, RequestHeader,
};
use uplink_rpc::pool::{Connection, Pool};
use uplink_rpc::tls::Identity;

#[allow(dead_code, reason = "each benchmark uses its part")]
mod network;

/// Default number of objects.
const OBJECTS: usize = 100_000;
/// Prefixes of half of the objects.
const PREFIXES: usize = 1000;
/// Uploads in flight while the bucket is filled.
const CONCURRENT: usize = 64;
/// Turns of each case.
const TURNS: usize = 7;
/// Items per page, as the client requests.
const PAGE: i32 = 1000;
const BUCKET: &str = "bench";

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if network::serve_if_asked(&runtime) {
        return;
    }
    let given = |argument: String| argument.parse().ok();
    let mut counts: Vec<usize> = std::env::args().filter_map(given).collect();
    if counts.is_empty() {
        counts.push(OBJECTS);
    }
    for count in counts {
        runtime.block_on(bench(count));
    }
}

async fn bench(count: usize) {
    let network = Network::start(&"4/6/8/10-256".parse().expect("a scheme"));
    let access = network.access().await;
    let project = Project::open(&access).expect("a project");
    project.ensure_bucket(BUCKET).await.expect("a bucket");
    fill(&project, count).await;
    let pages = Pages::new(&access);
    for metadata in [false, true] {
        let mut listed = Vec::new();
        let mut called = Vec::new();
        for _ in 0..TURNS {
            let started = Instant::now();
            assert_eq!(list(&project, metadata).await, count);
            listed.push(started.elapsed().as_secs_f64());
            let started = Instant::now();
            assert_eq!(pages.read(metadata).await, count);
            called.push(started.elapsed().as_secs_f64());
        }
        let listed = median(listed);
        let called = median(called);
        let ratio = listed / called;
        println!(
            r#"{{"bench":"listing","objects":{count},"metadata":{metadata},"seconds":{listed:.3},"pages_alone":{called:.3},"ratio":{ratio:.2}}}"#
        );
    }
}

/// Stores inline objects with an entry of custom metadata each.
async fn fill(project: &Project, count: usize) {
    let uploads = stream::iter(0..count).map(|number| async move {
        let key = match number % 2 {
            0 => format!("object {number}"),
            _ => format!("prefix {}/object {number}", number / 2 % PREFIXES),
        };
        let entries = [("number".to_owned(), number.to_string())].into();
        let options = UploadOptions::new().custom_metadata(entries);
        project.put_with(BUCKET, key, "some text", &options).await.expect("stored");
    });
    uploads.buffer_unordered(CONCURRENT).collect::<()>().await;
}

/// Lists all objects and returns their number.
async fn list(project: &Project, metadata: bool) -> usize {
    let options = ListOptions::new().recursive(true).custom_metadata(metadata);
    let mut objects = project.list_objects_with(BUCKET, &options).expect("a listing");
    let mut count = 0;
    while let Some(item) = objects.try_next().await.expect("listed") {
        assert!(matches!(item, ListItem::Object(_)));
        count += 1;
    }
    count
}

/// The calls for the pages, without what the client does with them.
struct Pages {
    satellite: Connection,
    header: RequestHeader,
}

impl Pages {
    fn new(access: &Access) -> Self {
        let grant = AccessGrant::parse(&access.serialize().expect("a text")).expect("a grant");
        let url: NodeUrl = grant.satellite_address().parse().expect("a node URL");
        let identity = Identity::generate().expect("an identity");
        let pool = Pool::new(Dialer::new(&identity).expect("a dialer"));
        let satellite = pool.peer(url.id.expect("a node id"), &url.address);
        let api_key = grant.api_key().to_bytes().into();
        Self { satellite, header: RequestHeader { api_key, ..Default::default() } }
    }

    /// Reads all pages, one after another, and returns the number of items.
    async fn read(&self, metadata: bool) -> usize {
        let mut cursor = Bytes::new();
        let mut count = 0;
        loop {
            let page = self.page(cursor, metadata).await;
            count += page.items.len();
            match page.items.last().filter(|_| page.more) {
                None => return count,
                Some(last) => cursor = last.encrypted_object_key.clone(),
            }
        }
    }

    async fn page(&self, cursor: Bytes, metadata: bool) -> ListObjectsResponse {
        let list = ListObjectsRequest {
            bucket: Bytes::from_static(BUCKET.as_bytes()),
            encrypted_cursor: cursor,
            recursive: true,
            limit: PAGE,
            use_object_includes: true,
            object_includes: Some(ObjectListItemIncludes { metadata, ..Default::default() }),
            ..Default::default()
        };
        let item = BatchRequestItem { request: Some(Request::ObjectList(list)) };
        let batch = BatchRequest { requests: vec![item], header: Some(self.header.clone()) };
        let reply = client::metainfo(self.satellite.channel()).batch(batch).await.expect("a page");
        match reply.into_inner().responses.pop().and_then(|item| item.response) {
            Some(Response::ObjectList(page)) => page,
            _ => panic!("not a page"),
        }
    }
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}
