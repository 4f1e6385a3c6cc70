//! Consistency of responses during concurrent writes.

use std::sync::atomic::{AtomicBool, Ordering};

use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::*;
use uplink_rpc::status::Failure;

use crate::network::{Network, begin_object, inline_segment};

/// Reads per reader.
const READS: usize = 400;

/// Stores a version of `key` with `segments` segments of `segments` bytes, each of that value.
async fn store(network: &Network, key: &[u8], segments: u8) {
    let mut requests = vec![Request::ObjectBegin(begin_object("bucket", key))];
    for index in 0..segments {
        let data = vec![segments; usize::from(segments)];
        requests.push(Request::SegmentMakeInline(inline_segment(0, index.into(), &data)));
    }
    requests.push(Request::ObjectCommit(CommitObjectRequest::default()));
    network.batch(requests).await.unwrap();
}

async fn download(network: &Network) -> Result<DownloadObjectResponse, Failure> {
    let request = DownloadObjectRequest {
        bucket: "bucket".into(),
        encrypted_object_key: "key".into(),
        header: network.header(),
        ..Default::default()
    };
    let answer = network.client().download_object(request).await;
    answer.map(|answer| answer.into_inner()).map_err(Failure::from)
}

/// Asserts that all parts of a response belong to one version.
fn assert_consistent(answer: DownloadObjectResponse) {
    let object = answer.object.unwrap();
    let list = answer.segment_list.unwrap();
    let segments = i64::try_from(list.items.len()).unwrap();
    assert_eq!(object.plain_size, segments * segments, "{segments} segments");
    let data = &answer.segment_download[0].encrypted_inline_data;
    assert_eq!(data[..], vec![u8::try_from(segments).unwrap(); list.items.len()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn download_of_overwritten_key_returns_one_version() {
    let network = Network::start(0).await;
    network.create_bucket("bucket").await;
    store(&network, b"key", 1).await;
    let stop = AtomicBool::new(false);
    let write = async {
        let mut versions = 0;
        while !stop.load(Ordering::Relaxed) {
            store(&network, b"key", 1 + versions % 3).await;
            versions = versions.wrapping_add(1);
        }
        assert!(versions > 0);
    };
    let read = async || {
        for _ in 0..READS {
            assert_consistent(download(&network).await.unwrap());
        }
    };
    let read = async {
        tokio::join!(read(), read(), read());
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(write, read);
    network.stop().await;
}
