//! Pieces of objects that are deleted, copied and uploaded during garbage collection.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::time::sleep;
use uplink::{ErrorKind, Uploaded};
use uplink_core::macaroon::ApiKey;
use uplink_rpc::channel::Channel;
use uplink_rpc::client;
use uplink_rpc::dial::Dialer;
use uplink_rpc::r#gen::metainfo::metainfo_client::MetainfoClient;
use uplink_rpc::r#gen::metainfo::{
    BeginCopyObjectRequest, FinishCopyObjectRequest, ListObjectsRequest, RequestHeader,
};
use uplink_rpc::pool::Pool;
use uplink_rpc::tls::Identity;
use uplink_testnet::{Network, Options};

use super::world::{BUCKET, SMALL_SEGMENT, World, bytes, config};

/// A network with a test clock.
struct Timed {
    world: World,
    minutes: Arc<AtomicU64>,
}

/// Minutes after which an unreferenced piece counts as garbage, beyond the margin for commits.
const OLD: u64 = 16;

impl Timed {
    async fn start() -> Self {
        let minutes = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&minutes);
        let options = Options::new()
            .clock(move || {
                SystemTime::now() + Duration::from_secs(60 * clock.load(Ordering::Relaxed))
            })
            // Garbage is collected only on request.
            .satellite_config(|config| config.garbage_interval = Duration::ZERO);
        let world = World::start_with(options, &config().segment_size(SMALL_SEGMENT)).await;
        Self { world, minutes }
    }

    fn network(&self) -> &Network {
        &self.world.network
    }

    /// Advances the clock and waits until all nodes have checked in.
    async fn wait(&self, minutes: u64) {
        self.minutes.fetch_add(minutes, Ordering::Relaxed);
        self.network().online().await.expect("online");
    }

    /// Collects garbage and waits until all nodes have processed their filters.
    async fn collect(&self) {
        let report = self.network().collect_garbage().await.expect("collected");
        assert_eq!((report.notified, report.failed), (10, 0));
        for node in self.network().nodes() {
            let filters = node.directory().join("data/filters");
            while std::fs::read_dir(&filters).expect("a folder").count() > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        }
    }

    /// Deletes expired pieces from the trash.
    async fn empty_trash(&self) {
        for node in self.network().nodes() {
            node.empty_trash().await.expect("emptied");
        }
    }

    /// Returns the number of pieces of each node, and the total in the trash.
    async fn pieces(&self) -> (Vec<u64>, u64) {
        let mut pieces = Vec::new();
        let mut trashed = 0;
        for node in self.network().nodes() {
            let mut usage = node.usage().await.expect("running");
            while usage.reserved > 0 {
                sleep(Duration::from_millis(5)).await;
                usage = node.usage().await.expect("running");
            }
            pieces.push(usage.pieces);
            trashed += usage.trashed;
        }
        (pieces, trashed)
    }

    /// Returns the number of pieces of the objects on each node.
    fn placed<'a>(&self, objects: impl IntoIterator<Item = &'a Uploaded>) -> Vec<u64> {
        let mut counts = HashMap::<String, u64>::new();
        let segments = objects.into_iter().flat_map(|object| &object.placement);
        for holder in segments.flat_map(|segment| &segment.holders) {
            *counts.entry(holder.node.to_string()).or_default() += 1;
        }
        let count = |id: String| counts.get(&id).copied().unwrap_or(0);
        self.network().nodes().iter().map(|node| count(node.id().to_string())).collect()
    }

    /// Returns the satellite, for calls that the client does not make yet.
    fn satellite(&self) -> (MetainfoClient<Channel>, Option<RequestHeader>) {
        let url = self.network().satellite_url();
        let (id, address) = url.split_once('@').expect("a node URL");
        let pool =
            Pool::new(Dialer::new(&Identity::generate().expect("created")).expect("created"));
        let channel = pool.peer(id.parse().expect("an id"), address).channel();
        let api_key = ApiKey::parse(&self.world.api_key).expect("a key").to_bytes().into();
        let header = Some(RequestHeader { api_key, ..RequestHeader::default() });
        (client::metainfo(channel), header)
    }

    /// Returns the encrypted key of the only object of a bucket.
    async fn encrypted_key(&self, bucket: &str) -> Bytes {
        let (mut satellite, header) = self.satellite();
        let bucket = bucket.to_owned().into();
        let list =
            ListObjectsRequest { header, bucket, recursive: true, ..ListObjectsRequest::default() };
        let items = satellite.list_objects(list).await.expect("listed").into_inner().items;
        assert_eq!(items.len(), 1);
        items[0].encrypted_object_key.clone()
    }

    /// Copies an object without rewrapping its keys, which fit only its original key.
    async fn copy(&self, bucket: &str, key: &Bytes, to: &Bytes) {
        let (mut satellite, header) = self.satellite();
        let begin = BeginCopyObjectRequest {
            header: header.clone(),
            bucket: bucket.to_owned().into(),
            encrypted_object_key: key.clone(),
            new_bucket: bucket.to_owned().into(),
            new_encrypted_object_key: to.clone(),
            ..BeginCopyObjectRequest::default()
        };
        let begun = satellite.begin_copy_object(begin).await.expect("started").into_inner();
        let finish = FinishCopyObjectRequest {
            header,
            stream_id: begun.stream_id,
            new_bucket: bucket.to_owned().into(),
            new_encrypted_object_key: to.clone(),
            new_encrypted_metadata_key: begun.encrypted_metadata_key,
            new_encrypted_metadata_key_nonce: begun.encrypted_metadata_key_nonce,
            new_segment_keys: begun.segment_keys,
            ..FinishCopyObjectRequest::default()
        };
        satellite.finish_copy_object(finish).await.expect("copied");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_pieces_are_trashed_and_removed_others_stay() {
    const COPIES: &str = "copies";
    let timed = Timed::start().await;
    let world = &timed.world;
    let size = 2 * SMALL_SEGMENT + 100_000;
    let kept = bytes(1, size);
    let copied = bytes(2, size);
    let kept_at = world.put("kept", &kept).await;
    world.put("deleted", &bytes(3, size)).await;
    world.project.create_bucket(COPIES).await.expect("a bucket");
    let mut upload = world.project.upload_object(COPIES, "copied").expect("started");
    upload.write(&copied).await.expect("written");
    let copied_at = upload.commit().await.expect("committed");
    let source = timed.encrypted_key(COPIES).await;
    let copy = Bytes::from_static(b"\x01copy");
    timed.copy(COPIES, &source, &copy).await;
    world.project.delete_object(COPIES, "copied").await.expect("deleted");
    world.project.delete_object(BUCKET, "deleted").await.expect("deleted");

    let before = timed.pieces().await.0;
    timed.collect().await;
    assert_eq!(timed.pieces().await, (before.clone(), 0), "all pieces are young");
    timed.wait(OLD).await;
    let young = bytes(4, size);
    world.put("young", &young).await;
    let with_young = timed.pieces().await.0;
    timed.collect().await;
    let (after, trashed) = timed.pieces().await;
    let live = timed.placed([&kept_at, &copied_at]);
    for node in 0..10 {
        // Young pieces stay, of the young object and of others.
        let arrived = with_young[node] - before[node];
        assert_eq!(after[node], live[node] + arrived, "node {node}");
    }
    assert_eq!(trashed, before.iter().sum::<u64>() - live.iter().sum::<u64>());
    assert!(trashed >= 3 * 8, "three segments of the deleted object");

    assert!(world.get("kept").await.expect("read") == kept);
    assert!(world.get("young").await.expect("read") == young);
    timed.copy(COPIES, &copy, &source).await;
    let download = world.project.download_object_with(COPIES, "copied", &Default::default()).await;
    assert!(download.expect("opened").read_to_end(u64::MAX).await.expect("read") == copied);
    assert_eq!(world.get("deleted").await.unwrap_err().kind(), ErrorKind::ObjectNotFound);
    assert_eq!(timed.pieces().await.1, trashed, "no piece was read from the trash");

    timed.wait(2).await;
    timed.empty_trash().await;
    assert_eq!(timed.pieces().await, (after, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_collection_keeps_pieces_of_running_uploads() {
    let timed = Timed::start().await;
    let world = &timed.world;
    let long = bytes(1, 7 * SMALL_SEGMENT + 5_000);
    let mut upload = world.project.upload_object(BUCKET, "long").expect("started");
    let mut rest = &long[..];
    let mut objects = Vec::new();
    let mut deleted = 0;
    for round in 0..4u8 {
        // At the end its first segments are older than any margin, and have been pending all the
        // time.
        let (now, later) = rest.split_at(rest.len().min(2 * SMALL_SEGMENT as usize));
        rest = later;
        upload.write(now).await.expect("written");
        let uploads = async {
            let mut put = Vec::new();
            for number in 0..4 {
                let key = format!("{round}/{number}");
                let plain = bytes(number, 50_000);
                put.push((key.clone(), plain.clone(), world.put(&key, &plain).await));
            }
            put
        };
        let collections = async {
            for _ in 0..4 {
                timed.collect().await;
            }
        };
        let (mut put, ()) = tokio::join!(uploads, collections);
        let (key, ..) = put.pop().expect("four");
        deleted += u32::from(world.project.delete_object(BUCKET, &key).await.expect("deleted"));
        objects.extend(put);
        timed.wait(6).await;
    }
    assert_eq!((rest.len(), deleted), (0, 4));
    timed.collect().await;
    let long_at = upload.commit().await.expect("committed");
    timed.wait(OLD).await;
    // A false positive of one filter is not one of the next.
    for _ in 0..2 {
        timed.collect().await;
    }
    timed.empty_trash().await;
    let (pieces, trashed) = timed.pieces().await;
    // Exactly the pieces of the objects are left.
    let live = objects.iter().map(|(.., object)| object).chain([&long_at]);
    assert_eq!(pieces, timed.placed(live), "{trashed} in the trash");
    assert!(trashed >= 8, "the objects deleted last");
    assert!(world.get("long").await.expect("read") == long);
    for (key, plain, _) in &objects {
        assert!(world.get(key).await.expect("read") == *plain, "{key}");
    }
    assert_eq!(timed.pieces().await, (pieces, trashed), "no piece was read from the trash");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_that_misses_a_filter_processes_the_next_one() {
    let timed = Timed::start().await;
    let world = &timed.world;
    let kept = bytes(1, 100_000);
    let kept_at = world.put("kept", &kept).await;
    world.put("deleted", &bytes(2, 100_000)).await;
    world.project.delete_object(BUCKET, "deleted").await.expect("deleted");
    timed.wait(OLD).await;
    let away = timed.network().node(3).expect("a node");
    away.kill().await.expect("killed");
    let report = timed.network().collect_garbage().await.expect("collected");
    assert_eq!((report.notified, report.failed), (9, 1));
    away.start().await.expect("started");
    timed.wait(0).await;
    timed.collect().await;
    assert_eq!(timed.pieces().await.0, timed.placed([&kept_at]));
    assert!(world.get("kept").await.expect("read") == kept);
}
