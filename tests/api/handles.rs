//! The public handles: traits, drop, streaming.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use uplink::{
    Access, Authenticity, Download, DownloadOptions, ErrorKind, ListItem, ListOptions, ObjectList,
    Project, Upload,
};
use uplink_testnet::Options;

use super::world::{BUCKET, SMALL_SEGMENT, World, bytes, config};

#[test]
fn handles_can_be_sent_between_threads() {
    fn sendable<T: Send>() {}
    sendable::<Access>();
    sendable::<Project>();
    sendable::<Upload>();
    sendable::<Download>();
    sendable::<ObjectList>();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_written_and_read_through_the_traits_of_tokio() {
    let world = World::start().await;
    let plain = bytes(7, SMALL_SEGMENT + 100_000);
    let mut upload = world.project.upload_object(BUCKET, "key").unwrap();
    upload.write_all(&plain).await.expect("written");
    upload.shutdown().await.expect("shut down");
    let hidden = world.get("key").await.unwrap_err();
    assert_eq!(hidden.kind(), ErrorKind::ObjectNotFound, "shutting down does not commit");
    upload.commit().await.expect("committed");

    let download = world.project.download_object(BUCKET, "key").await;
    let mut download = download.expect("opened");
    let mut read = Vec::new();
    AsyncReadExt::read_to_end(&mut download, &mut read).await.expect("read");
    assert!(read == plain);
    for offset in [0, 1, SMALL_SEGMENT - 1, SMALL_SEGMENT + 1, 5000] {
        let at = download.seek(std::io::SeekFrom::Start(offset)).await.expect("sought");
        assert_eq!(at, offset);
        let mut part = vec![0; 9000];
        download.read_exact(&mut part).await.expect("read");
        assert!(
            part == plain[offset as usize..offset as usize + 9000],
            "after seeking to {offset}"
        );
    }

    let options = DownloadOptions::new().suffix(10);
    let download = world.project.download_object_with(BUCKET, "key", &options);
    let parts: Vec<_> = download.await.expect("opened").collect().await;
    let last: Vec<u8> = parts.into_iter().flat_map(|part| part.expect("read")).collect();
    assert_eq!(last, plain[plain.len() - 10..]);
    let error =
        world.get_with("key", DownloadOptions::new().range(u64::MAX / 4..)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RangeInvalid, "{error}");
    let end = DownloadOptions::new().range(plain.len() as u64..);
    assert!(world.get_with("key", end).await.expect("the end is a valid offset").is_empty());
    let all = DownloadOptions::new().suffix(u64::from(u32::MAX));
    assert!(world.get_with("key", all).await.expect("a long suffix is the object") == plain);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_or_aborted_upload_leaves_no_object() {
    let world = World::start().await;
    for (key, write) in [("inline", 100), ("remote", 300_000), ("segments", 2_500_000)] {
        let mut upload = world.project.upload_object(BUCKET, key).unwrap();
        upload.write(&bytes(1, write)).await.expect("written");
        drop(upload);
        let mut upload = world.project.upload_object(BUCKET, key).unwrap();
        upload.write(&bytes(1, write)).await.expect("written");
        upload.abort().await.expect("aborted");
        assert_eq!(world.get(key).await.unwrap_err().kind(), ErrorKind::ObjectNotFound);
    }
    let mut list = world.project.list_objects(BUCKET).unwrap();
    assert_eq!(list.try_next().await.unwrap(), None);
    world.put("after", b"the project still works").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_write_ends_the_upload_without_an_object() {
    let world = World::start().await;
    let mut upload = world.project.upload_object(BUCKET, "key").unwrap();
    let plain = bytes(1, SMALL_SEGMENT);
    let mut write = Box::pin(upload.write(&plain));
    assert!(futures_util::poll!(&mut write).is_pending(), "a segment is being started");
    drop(write);
    assert_eq!(upload.write(b"more").await.unwrap_err().kind(), ErrorKind::UploadDone);
    assert_eq!(upload.commit().await.unwrap_err().kind(), ErrorKind::UploadDone);
    assert_eq!(world.get("key").await.unwrap_err().kind(), ErrorKind::ObjectNotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_methods_can_be_mixed_in_call_order() {
    let world = World::start().await;
    let mut upload = world.project.upload_object(BUCKET, "key").unwrap();
    let plain = bytes(3, SMALL_SEGMENT + 700_000);
    let (first, rest) = plain.split_at(600_000);
    let (second, third) = rest.split_at(500_000);
    upload.write_all(first).await.expect("written");
    upload.write(second).await.expect("written");
    upload.write_all(third).await.expect("written");
    upload.commit().await.expect("committed");
    assert!(world.get("key").await.expect("read") == plain);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_of_the_first_segment_are_stored_before_the_input_ends() {
    let world = World::start().await;
    let mut upload = world.project.upload_object(BUCKET, "key").unwrap();
    upload.write(&bytes(1, SMALL_SEGMENT)).await.expect("written");
    let stored = async {
        loop {
            let mut pieces = 0;
            for node in world.network.nodes() {
                pieces += node.usage().await.expect("running").pieces;
            }
            if pieces >= 8 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), stored).await.expect("eight pieces are stored");
    upload.write(b"more").await.expect("written");
    assert_eq!(upload.commit().await.expect("committed").object.size, SMALL_SEGMENT + 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_bytes_arrive_before_a_tenth_of_the_segment_is_read() {
    const SIZE: u64 = 64 << 20;
    let world = World::start_with(Options::new(), &config()).await;
    world.put("key", &bytes(1, SIZE)).await;
    let download = world.project.download_object(BUCKET, "key").await;
    let mut download = download.expect("opened");
    let first = download.next().await.expect("read").expect("bytes");
    let mut served = 0;
    for node in world.network.nodes() {
        served += node.served().await;
    }
    assert!(!first.is_empty() && served < SIZE / 10, "{served} bytes were read");
    let rest = download.read_to_end(u64::MAX).await.expect("read");
    assert!([&first[..], &rest].concat() == bytes(1, SIZE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overwrite_replaces_and_delete_removes_the_object() {
    let world = World::start().await;
    world.put("key", &bytes(1, 400_000)).await;
    world.put("key", &bytes(2, 10)).await;
    assert_eq!(world.get("key").await.unwrap(), bytes(2, 10));
    world.put("key", &bytes(3, 200_000)).await;
    assert!(world.get("key").await.unwrap() == bytes(3, 200_000));
    assert!(world.project.delete_object(BUCKET, "key").await.expect("deleted"));
    assert!(!world.project.delete_object(BUCKET, "key").await.expect("nothing to delete"));
    assert_eq!(world.get("key").await.unwrap_err().kind(), ErrorKind::ObjectNotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sealed_objects_are_readable_if_a_seal_is_required() {
    let config = config().segment_size(SMALL_SEGMENT).require_seal(true);
    let world = World::start_with(Options::new(), &config).await;
    let plain = bytes(4, 3 * SMALL_SEGMENT + 10);
    world.put("key", &plain).await;
    assert!(world.get("key").await.expect("whole") == plain);
    let part = world.get_range("key", SMALL_SEGMENT - 5..2 * SMALL_SEGMENT + 5).await;
    let start = SMALL_SEGMENT as usize - 5;
    let end = 2 * SMALL_SEGMENT as usize + 5;
    assert!(part.expect("a range") == plain[start..end]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn object_replaced_during_read_is_object_changed_error() {
    let world = World::start().await;
    // More segments than the read-ahead.
    let plain = bytes(5, 6 * SMALL_SEGMENT);
    for replace in [true, false] {
        world.put("key", &plain).await;
        let mut download = world.project.download_object(BUCKET, "key").await.unwrap();
        let mut read = download.next().await.expect("read").expect("bytes").to_vec();
        if replace {
            world.put("key", b"another one").await;
        } else {
            world.project.delete_object(BUCKET, "key").await.expect("deleted");
        }
        let error = loop {
            match download.chunk().await {
                Ok(Some(more)) => read.extend_from_slice(&more),
                Ok(None) => panic!("a short read looks complete"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::ObjectChanged, "{error}");
        assert!(error.is_retryable());
        assert!(plain.starts_with(&read), "bytes of another version");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_are_sealed_if_metadata_is_returned() {
    let world = World::start().await;
    let plain = bytes(6, SMALL_SEGMENT + 10);
    let uploaded = world.put("key", &plain).await;
    assert_eq!(uploaded.object.authenticity, Authenticity::Sealed);
    let found = world.project.stat_object(BUCKET, "key").await.expect("exists");
    assert_eq!(found, uploaded.object);
    for (custom, expected) in [(true, Authenticity::Sealed), (false, Authenticity::Claimed)] {
        let options = ListOptions::new().custom_metadata(custom);
        let mut list = world.project.list_objects_with(BUCKET, &options).expect("a list");
        let Some(ListItem::Object(listed)) = list.try_next().await.expect("an item") else {
            panic!("an object");
        };
        assert_eq!((listed.size, listed.authenticity), (found.size, expected));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_any_bytes_round_trip() {
    let world = World::start().await;
    let keys: [&[u8]; 5] = [b"\0", b"\xff\xfe/\x80", b"a//b/", b"/", &[b'k'; 1000]];
    for key in keys {
        let mut upload = world.project.upload_object(BUCKET, key).unwrap();
        upload.write(key).await.unwrap();
        upload.commit().await.expect("committed");
    }
    let mut seen = 0;
    let mut list =
        world.project.list_objects_with(BUCKET, &ListOptions::new().recursive(true)).unwrap();
    while let Some(item) = list.try_next().await.unwrap() {
        let ListItem::Object(object) = item else { panic!("an object") };
        assert!(keys.contains(&&*object.key));
        let download = world.project.download_object(BUCKET, &object.key);
        let read = download.await.unwrap().read_to_end(u64::MAX).await.unwrap();
        assert_eq!(object.key, &read[..]);
        seen += 1;
    }
    assert_eq!(seen, keys.len());
}
