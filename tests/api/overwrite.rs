//! Objects that are replaced during reads: every read returns one complete version.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use uplink::{ErrorKind, Project};

use super::world::{BUCKET, SMALL_SEGMENT, World};

/// Sizes of the versions that two writers store under one key.
const INLINE: [u64; 2] = [100, 2_000];
const ONE_SEGMENT: [u64; 2] = [20_000, 70_000];
const THREE_SEGMENTS: [u64; 2] = [2 * SMALL_SEGMENT + 50_000, 2 * SMALL_SEGMENT + 5_000];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_during_overwrites_are_whole_versions() {
    read_during_overwrites(INLINE, 60).await;
    read_during_overwrites(ONE_SEGMENT, 60).await;
    read_during_overwrites(THREE_SEGMENTS, 10).await;
}

/// `UPLINK_OVERWRITE_READS` sets the number of reads of each object, 2,000 by default.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: thousands of reads beside writers"]
async fn thousands_of_reads_during_overwrites_are_whole_versions() {
    let reads = std::env::var("UPLINK_OVERWRITE_READS").ok();
    let reads = reads.map_or(2_000, |reads| reads.parse().expect("a number of reads"));
    for sizes in [INLINE, ONE_SEGMENT] {
        read_during_overwrites(sizes, reads * 9 / 20).await;
    }
    read_during_overwrites(THREE_SEGMENTS, reads / 10).await;
}

/// Two writers overwrite one key while two readers read it, `reads` times in total.
async fn read_during_overwrites(sizes: [u64; 2], reads: u64) {
    let world = World::start().await;
    let project = world.project.clone();
    let done = Arc::new(AtomicBool::new(false));
    write(&project, sizes[0], 1).await;
    let changed = Arc::new(AtomicU64::new(0));
    let left = Arc::new(AtomicU64::new(reads));
    let writers: Vec<_> = (0..2_u8)
        .map(|writer| {
            let project = project.clone();
            let done = Arc::clone(&done);
            tokio::spawn(async move {
                let mut version = writer;
                while !done.load(Ordering::Relaxed) {
                    write(&project, sizes[usize::from(version % 4 / 2)], version).await;
                    version = version.wrapping_add(2);
                }
            })
        })
        .collect();
    let readers = (0..2).map(|_| {
        let project = project.clone();
        let changed = Arc::clone(&changed);
        let left = Arc::clone(&left);
        tokio::spawn(async move {
            while left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                .is_ok()
            {
                changed.fetch_add(u64::from(!read(&project).await), Ordering::Relaxed);
            }
        })
    });
    for reader in readers.collect::<Vec<_>>() {
        reader.await.expect("a reader");
    }
    done.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.expect("a writer");
    }
    let changed = changed.load(Ordering::Relaxed);
    println!("sizes {sizes:?}: {reads} reads, {changed} of them ended by a replacement");
    assert!(changed == 0 || sizes == THREE_SEGMENTS, "{changed} reads of {sizes:?} failed");
}

async fn write(project: &Project, size: u64, version: u8) {
    let mut upload = project.upload_object(BUCKET, "key").expect("started");
    upload.write(&vec![version; usize::try_from(size).expect("a size")]).await.expect("written");
    upload.commit().await.expect("committed");
}

/// Reads the object. Returns whether the read was completed, which a replacement may prevent.
async fn read(project: &Project) -> bool {
    let mut download = project.download_object(BUCKET, "key").await.expect("opened");
    let size = download.object().size;
    let mut read = Vec::new();
    loop {
        match download.chunk().await {
            Ok(Some(bytes)) => read.extend_from_slice(&bytes),
            Ok(None) => break,
            Err(error) if error.kind() == ErrorKind::ObjectChanged => return false,
            Err(error) => panic!("{error:?} after {} of {size} bytes", read.len()),
        }
    }
    assert_eq!(read.len() as u64, size, "a short read looks complete");
    assert!(read.iter().all(|byte| *byte == read[0]), "a mixture of versions");
    true
}
