//! The number of calls to the satellite that each operation makes.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use uplink::{DownloadOptions, ListOptions, Project};

use super::proxy::Proxy;
use super::world::{BUCKET, World, bytes, config};

/// Checks that an operation makes this many calls.
macro_rules! assert_calls {
    ($proxy:expr, $count:expr, $operation:expr) => {{
        $proxy.take_calls();
        let result = $operation.await.expect("done");
        assert_eq!($proxy.take_calls(), $count, stringify!($operation));
        result
    }};
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opening_a_project_makes_no_call_and_small_objects_one() {
    let world = World::start().await;
    let proxy = Proxy::start(&world).await;
    proxy.take_calls();
    let project = Project::open_with(&proxy.access, &config()).expect("a project");
    let upload = project.upload_object(BUCKET, "unused").expect("an upload");
    drop((upload, project.list_objects(BUCKET).expect("a listing")));
    assert_eq!(proxy.take_calls(), 0);
    for size in [0, 1024, 4096] {
        let plain = bytes(1, size);
        assert_calls!(proxy, 1, project.put(BUCKET, "inline", plain.clone()));
        let read = assert_calls!(proxy, 1, project.get(BUCKET, "inline"));
        assert!(read == plain);
    }
    assert_calls!(proxy, 1, project.stat_object(BUCKET, "inline"));
    assert_calls!(proxy, 1, project.delete_object(BUCKET, "inline"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn object_of_one_segment_is_written_with_two_calls_and_read_with_one() {
    let world = World::start().await;
    let proxy = Proxy::start(&world).await;
    let project = &proxy.project;
    for size in [4097, 100_000, 1 << 20] {
        let plain = bytes(1, size);
        assert_calls!(proxy, 2, project.put(BUCKET, "remote", plain.clone()));
        let read = assert_calls!(proxy, 1, project.get(BUCKET, "remote"));
        assert!(read == plain);
        let options = DownloadOptions::new().range(1000..2000);
        let range = async {
            let mut download = project.download_object_with(BUCKET, "remote", &options).await?;
            download.read_to_end(1000).await
        };
        assert_calls!(proxy, 1, range);
    }
    assert_calls!(proxy, 1, project.stat_object(BUCKET, "remote"));
    // The object, the offer of its keys, and the new keys.
    assert_calls!(proxy, 3, project.copy_object(BUCKET, "remote", BUCKET, "copy"));
    assert_calls!(proxy, 3, project.move_object(BUCKET, "copy", BUCKET, "moved"));
    // The old metadata, and the new one.
    assert_calls!(proxy, 2, project.update_object_metadata(BUCKET, "moved", BTreeMap::new()));
    assert_calls!(proxy, 1, project.delete_object(BUCKET, "moved"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn multipart_upload_makes_two_calls_per_part() {
    let world = World::start().await;
    let proxy = Proxy::start(&world).await;
    let project = &proxy.project;
    let id = assert_calls!(proxy, 1, project.begin_upload(BUCKET, "key"));
    let part = |number, size| {
        let id = id.clone();
        async move {
            let mut part = project.upload_part(BUCKET, "key", &id, number)?;
            part.write(&bytes(1, size)).await?;
            part.commit().await
        }
    };
    assert_calls!(proxy, 2, part(1, 5 << 20));
    assert_calls!(proxy, 1, part(2, 100));
    let parts = async { project.list_parts(BUCKET, "key", &id)?.try_collect::<Vec<_>>().await };
    assert_calls!(proxy, 1, parts);
    // The parts, the metadata of the beginning, and the commit.
    assert_calls!(proxy, 3, project.commit_upload(BUCKET, "key", &id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_page_of_a_listing_is_one_call() {
    let world = World::start().await;
    let proxy = Proxy::start(&world).await;
    let project = &proxy.project;
    for number in 0..20 {
        project.put(BUCKET, format!("photos/{number}"), "small").await.expect("stored");
    }
    let options = ListOptions::new().prefix("photos/").custom_metadata(true);
    let list = async { project.list_objects_with(BUCKET, &options)?.try_collect::<Vec<_>>().await };
    assert_eq!(assert_calls!(proxy, 1, list).len(), 20);
    let top = async { project.list_objects(BUCKET)?.try_collect::<Vec<_>>().await };
    assert_eq!(assert_calls!(proxy, 1, top).len(), 1);
    let buckets = async { project.list_buckets().try_collect::<Vec<_>>().await };
    assert_eq!(assert_calls!(proxy, 1, buckets).len(), 1);
}
