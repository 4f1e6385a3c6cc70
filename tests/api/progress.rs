//! What callbacks learn of transfers, and the error of transfers without progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use uplink::{Access, AccessOptions, ErrorKind, Project};
use uplink_rpc::r#gen::metainfo::batch_response_item::Response;
use uplink_testnet::Options;

use super::proxy::{Fate, Proxy};
use super::relay::Relay;
use super::world::{BUCKET, PASSPHRASE, SMALL_SEGMENT, World, bytes, config};

/// Returns a callback and everything that it is called with.
fn recorder() -> (impl FnMut(u64) + Send + 'static, Receiver<u64>) {
    let (sender, reports) = channel();
    (move |bytes| sender.send(bytes).expect("a receiver"), reports)
}

fn assert_ascending_to(reports: &[u64], total: u64) {
    assert!(reports.is_sorted_by(|a, b| a < b), "{reports:?}");
    assert_eq!(reports.last(), Some(&total));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upload_reports_bytes_as_they_are_sent_and_all_at_the_end() {
    let world = World::start().await;
    let plain = bytes(1, 4 * SMALL_SEGMENT + 1000);
    let mut upload = world.project.upload_object(BUCKET, "key").unwrap();
    let (callback, reports) = recorder();
    upload.on_progress(callback);
    let mut written = 0;
    for chunk in plain.chunks(100_000) {
        upload.write(chunk).await.expect("written");
        written += chunk.len() as u64;
        assert!(reports.try_iter().all(|sent| sent <= written));
    }
    assert!(upload.commit().await.is_ok());
    let tail: Vec<u64> = reports.try_iter().collect();
    assert_ascending_to(&tail, plain.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_bytes_that_nodes_store_are_reported_before_the_commit_returns() {
    let world = World::start_with(Options::new(), &config()).await;
    let proxy = Proxy::start(&world).await;
    let sent = Arc::new(AtomicU64::new(0));
    let sent_at_commit = Arc::new(AtomicU64::new(0));
    let (now, at_commit) = (sent.clone(), sent_at_commit.clone());
    proxy.change_items(move |item| {
        if matches!(item, Response::ObjectCommit(_)) {
            at_commit.store(now.load(Ordering::SeqCst), Ordering::SeqCst);
        }
    });
    let plain = bytes(2, 8 << 20);
    let mut upload = proxy.project.upload_object(BUCKET, "key").unwrap();
    upload.write_all(&plain).await.expect("written");
    // Set while a write may still be running.
    upload.on_progress(move |bytes| sent.store(bytes, Ordering::SeqCst));
    upload.commit().await.expect("committed");
    assert_eq!(sent_at_commit.load(Ordering::SeqCst), plain.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inline_object_and_part_are_reported_when_committed() {
    let world = World::start().await;
    let mut upload = world.project.upload_object(BUCKET, "inline").unwrap();
    let (callback, reports) = recorder();
    upload.on_progress(callback);
    upload.write(&[7; 100]).await.expect("written");
    assert_eq!(reports.try_recv().ok(), None);
    upload.commit().await.expect("committed");
    assert_eq!(reports.iter().collect::<Vec<_>>(), [100]);

    let id = world.project.begin_upload(BUCKET, "parts").await.expect("begun");
    let mut part = world.project.upload_part(BUCKET, "parts", &id, 1).expect("a part");
    let (callback, reports) = recorder();
    part.on_progress(callback);
    part.write(&bytes(3, 200_000)).await.expect("written");
    part.commit().await.expect("committed");
    assert_ascending_to(&reports.iter().collect::<Vec<_>>(), 200_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn download_reports_bytes_returned_by_every_way_of_reading() {
    let world = World::start().await;
    world.put("key", &bytes(4, 300_000)).await;
    let (callback, reports) = recorder();
    let mut download = world.project.download_object(BUCKET, "key").await.expect("opened");
    download.on_progress(callback);
    let first = download.chunk().await.expect("read").expect("bytes").len() as u64;
    let mut buffer = [0; 10];
    download.read_exact(&mut buffer).await.expect("read");
    download.seek(std::io::SeekFrom::Start(0)).await.expect("sought");
    download.read_to_end(u64::MAX).await.expect("read");
    drop(download);
    let reports: Vec<u64> = reports.iter().collect();
    assert_eq!(reports[..2], [first, first + 10]);
    assert_ascending_to(&reports, first + 10 + 300_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn satellite_that_vanished_without_a_word_is_dialled_again() {
    let world = World::start().await;
    let url = world.network.satellite_url();
    let (id, address) = url.split_once('@').expect("id and address");
    let relay = Relay::start(address.parse().expect("an address")).await;
    let url = format!("{id}@{}", relay.address());
    let options = AccessOptions::new().config(config());
    let access = Access::request_with(&url, &world.api_key, PASSPHRASE, &options).await;
    let config = config().call_timeout(Duration::from_secs(2));
    let project = Project::open_with(&access.expect("an access grant"), &config).unwrap();
    for _ in 0..3 {
        project.put(BUCKET, "key", "some text").await.expect("stored");
        // Over DRPC several connections, all of which die.
        let reads = (0..5).map(|_| project.get(BUCKET, "key"));
        futures_util::future::try_join_all(reads).await.expect("read");
        relay.kill_connections();
        let started = Instant::now();
        assert_eq!(project.get(BUCKET, "key").await.expect("read again"), "some text");
        assert!(started.elapsed() < Duration::from_secs(5), "one timeout, not one per connection");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn call_without_a_reply_in_time_is_reported_as_stalled() {
    let world = World::start().await;
    let proxy = Proxy::start(&world).await;
    let config = config().call_timeout(Duration::from_secs(1));
    let project = Project::open_with(&proxy.access, &config).expect("a project");
    proxy.lose("CreateBucket", Fate::Lost);
    let error = project.create_bucket("another").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stalled, "{error}");
    assert!(error.is_retryable());
    project.create_bucket("another").await.expect("created");
}
