//! The budgets of memory and transfers, and calls that move whole objects.

use std::time::Duration;

use tokio::time::timeout;
use uplink::{Config, DownloadOptions, Error, ErrorKind, Project, Upload, UploadOptions};
use uplink_testnet::Options;

use super::world::{BUCKET, SMALL_SEGMENT, World, bytes, config};

/// Uploads written in turn: each needs a segment of its own.
const UPLOADS: usize = 4;

async fn world(config: Config) -> World {
    World::start_with(Options::new(), &config.segment_size(SMALL_SEGMENT)).await
}

/// Writes a part of a segment to several uploads in turn, from one task.
async fn write_in_turn(world: &World) -> Result<Vec<Upload>, Error> {
    let mut uploads = Vec::new();
    for index in 0..UPLOADS {
        uploads.push(world.project.upload_object(BUCKET, format!("key {index}"))?);
    }
    for part in bytes(1, SMALL_SEGMENT).chunks(100_000) {
        for upload in &mut uploads {
            upload.write(part).await?;
        }
    }
    Ok(uploads)
}

#[tokio::test]
async fn uploads_written_in_turn_finish_with_memory_for_one_segment() {
    let world = world(config().memory(1)).await;
    let uploads = timeout(Duration::from_secs(60), write_in_turn(&world)).await;
    for upload in uploads.expect("no deadlock").expect("written") {
        upload.commit().await.expect("committed");
    }
    for index in 0..UPLOADS {
        let read = world.get(&format!("key {index}")).await.expect("read");
        assert!(read == bytes(1, SMALL_SEGMENT), "key {index}");
    }
}

#[tokio::test]
async fn strict_budget_fails_the_write_and_works_again_once_freed() {
    let world = world(config().memory(1).memory_strict(true)).await;
    let written = timeout(Duration::from_secs(60), write_in_turn(&world)).await;
    let error = written.expect("no deadlock").expect_err("exceeds the budget");
    assert_eq!(error.kind(), ErrorKind::MemoryBudgetExceeded, "{error}");
    world.put("key", &bytes(2, 3 * SMALL_SEGMENT)).await;
    assert!(world.get("key").await.expect("read") == bytes(2, 3 * SMALL_SEGMENT));
}

#[tokio::test]
async fn settings_of_zero_are_errors_at_open() {
    let world = world(config()).await;
    let opened = Project::open_with(&world.access, &Config::new().call_timeout(Duration::ZERO));
    assert_eq!(opened.unwrap_err().kind(), ErrorKind::ConfigInvalid);
    let opened = Project::open_with(&world.access, &Config::new().transfers(0));
    assert_eq!(opened.expect_err("no transfers").kind(), ErrorKind::ConfigInvalid);
}

#[tokio::test]
async fn whole_objects_are_put_with_metadata_and_got_within_a_limit() {
    let world = world(config()).await;
    let plain = bytes(3, 5000);
    let metadata = [("species".to_owned(), "cat".to_owned())].into();
    let options = UploadOptions::new().custom_metadata(metadata);
    let put = world.project.put_with(BUCKET, "cat", plain.clone(), &options).await;
    assert_eq!(put.expect("stored").object.custom_metadata["species"], "cat");
    assert!(world.project.get(BUCKET, "cat").await.expect("read") == plain);

    let mut download = world.project.download_object(BUCKET, "cat").await.expect("opened");
    let error = download.read_to_end(4999).await.expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::ObjectTooLarge, "{error}");
    assert!(download.read_to_end(5000).await.expect("nothing was read before") == plain);

    let invalid = UploadOptions::new().custom_metadata([(String::new(), String::new())].into());
    let error = world.project.put_with(BUCKET, "cat", plain, &invalid).await.expect_err("no key");
    assert_eq!(error.kind(), ErrorKind::CustomMetadataInvalid, "{error}");
}

#[tokio::test]
async fn range_and_suffix_together_are_an_error() {
    let world = world(config()).await;
    world.put("key", b"0123456789").await;
    let options = DownloadOptions::new().range(2..5);
    assert_eq!(world.get_with("key", options).await.expect("read"), b"234");
    let error = world.get_with("key", options.suffix(3)).await.expect_err("contradicts");
    assert_eq!(error.kind(), ErrorKind::RangeInvalid, "{error}");
}

#[tokio::test]
async fn messages_do_not_repeat_their_source() {
    let world = world(config()).await;
    let errors = [
        world.project.create_bucket("A_b").await.expect_err("invalid name"),
        world.project.get(BUCKET, "absent").await.expect_err("absent"),
        uplink::Access::parse("nonsense").expect_err("no grant"),
    ];
    for error in &errors {
        let message = error.to_string();
        let source = std::error::Error::source(error).map(ToString::to_string);
        assert!(
            source.as_ref().is_none_or(|source| !message.contains(source)),
            "{error}: {source:?}"
        );
    }
}
