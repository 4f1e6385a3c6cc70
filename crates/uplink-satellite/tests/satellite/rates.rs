//! Rate limits and batch size limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::*;
use uplink_rpc::status::{Code, Failure};
use uplink_satellite::Config;

use crate::network::{Network, begin_object};

const NOW: u64 = 1_750_000_000;

async fn network(config: Config) -> (Network, Arc<AtomicU64>) {
    let seconds = Arc::new(AtomicU64::new(NOW));
    let clock = Arc::clone(&seconds);
    let now = move || UNIX_EPOCH + Duration::from_secs(clock.load(Ordering::SeqCst));
    let network = Network::start_with(0, config, now).await;
    network.create_bucket("bucket").await;
    seconds.fetch_add(60, Ordering::SeqCst);
    (network, seconds)
}

fn get() -> Request {
    Request::BucketGet(GetBucketRequest { name: "bucket".into(), ..Default::default() })
}

fn too_many() -> Failure {
    Failure::new(Code::RESOURCE_EXHAUSTED, "Too Many Requests")
}

#[tokio::test]
async fn requests_in_batches_count_against_the_project() {
    let mut config = Config::dev();
    config.requests_per_second = 3;
    let (network, seconds) = network(config).await;
    assert_eq!(network.batch(vec![get(), get(), get(), get()]).await, Err(too_many()));
    assert_eq!(network.batch(vec![get()]).await, Err(too_many()));
    seconds.fetch_add(1, Ordering::SeqCst);
    assert_eq!(network.batch(vec![get(), get()]).await.unwrap().len(), 2);
    let info = ProjectInfoRequest { header: network.header() };
    assert!(network.client().project_info(info.clone()).await.is_ok());
    let rejected = network.client().project_info(info).await.unwrap_err();
    assert_eq!(Failure::from(rejected), too_many());
    // Limits apply to each project separately.
    let other = network.admin.create_project("other").await.unwrap();
    let key = network.admin.create_api_key(&other, "key").await.unwrap();
    let found = network.batch_as(&key, vec![get()]).await.unwrap_err();
    assert_eq!(found.code, Code::NOT_FOUND);
    network.stop().await;
}

#[tokio::test]
async fn uploads_to_one_key_are_limited() {
    let mut config = Config::dev();
    config.uploads_per_key_and_second = 1;
    let (network, seconds) = network(config).await;
    let upload =
        |key: &'static [u8]| network.batch(vec![Request::ObjectBegin(begin_object("bucket", key))]);
    for _ in 0..3 {
        assert!(upload(b"key").await.is_ok());
    }
    assert_eq!(upload(b"key").await, Err(too_many()));
    assert!(upload(b"other").await.is_ok());
    seconds.fetch_add(1, Ordering::SeqCst);
    assert!(upload(b"key").await.is_ok());
    assert_eq!(upload(b"key").await, Err(too_many()));
    network.stop().await;
}

#[tokio::test]
async fn requests_per_batch_are_limited() {
    let mut config = Config::dev();
    config.requests_per_batch = 2;
    let (network, _) = network(config).await;
    assert!(network.batch(vec![get(), get()]).await.is_ok());
    let rejected = network.batch(vec![get(), get(), get()]).await;
    let text = "batch has more than 2 requests";
    assert_eq!(rejected, Err(Failure::new(Code::INVALID_ARGUMENT, text)));
    network.stop().await;
}
