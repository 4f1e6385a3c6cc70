//! Objects of sizes around every limit, read whole and in ranges, with missing holders.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use uplink::ErrorKind;
use uplink_testnet::Options;

use super::world::{BUCKET, SMALL_SEGMENT, World, bytes, config};

const INLINE_LIMIT: u64 = 4096;
const STRIPE: u64 = 4 * 256;
/// Plain bytes of an encryption block, and the maximum in the last block, which holds the padding.
const BLOCK: u64 = 7408;
const LAST_IN_BLOCK: u64 = 7404;

/// Returns sizes around every limit of the formats.
fn sizes() -> Vec<u64> {
    let around = |size: u64| [size - 1, size, size + 1];
    let limits = [
        INLINE_LIMIT,
        7 * STRIPE,
        BLOCK,
        LAST_IN_BLOCK,
        2 * BLOCK,
        29 * BLOCK,
        SMALL_SEGMENT,
        SMALL_SEGMENT + INLINE_LIMIT,
        2 * SMALL_SEGMENT,
    ];
    let mut sizes = vec![0, 1, 3 * SMALL_SEGMENT, 3 * SMALL_SEGMENT + 77];
    sizes.extend(limits.into_iter().flat_map(around));
    sizes
}

/// Returns the offsets at the boundaries of blocks, stripes and segments.
fn edges(size: u64) -> Vec<u64> {
    let units = [1, STRIPE, BLOCK, INLINE_LIMIT, SMALL_SEGMENT, 2 * SMALL_SEGMENT];
    let around = units.into_iter().flat_map(|unit| [unit - 1, unit, unit + 1]);
    let from_end = [size, size.saturating_sub(1), size / 2];
    let edges: BTreeSet<u64> = around.chain(from_end).filter(|edge| *edge <= size).collect();
    edges.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_size_reads_back_with_up_to_four_nodes_stopped() {
    let world = World::start().await;
    for size in sizes() {
        let uploaded = world.put(&size.to_string(), &bytes(size as u8, size)).await;
        assert_eq!(uploaded.object.size, size);
    }
    // Four of ten pieces are required and at least eight are stored: any four nodes may fail.
    for stopped in 0..=4 {
        if stopped > 0 {
            world.network.nodes()[2 * stopped - 1].kill().await.expect("stopped");
        }
        for size in sizes() {
            let whole = world.get(&size.to_string()).await;
            let whole = whole.unwrap_or_else(|error| panic!("{size}, {stopped} stopped: {error}"));
            assert!(whole == bytes(size as u8, size), "{size} bytes with {stopped} nodes stopped");
        }
        if stopped == 0 || stopped == 4 {
            ranges(&world).await;
        }
    }
}

async fn ranges(world: &World) {
    for size in [1, INLINE_LIMIT + 1, 2 * BLOCK + 1, 2 * SMALL_SEGMENT + 1] {
        let whole = bytes(size as u8, size);
        let edges = edges(size);
        for (index, start) in edges.iter().enumerate() {
            // The next boundaries and the last one: all pairs would take too long.
            let ends = edges.iter().skip(index).take(3).chain(edges.last());
            for end in ends {
                let read = world.get_range(&size.to_string(), *start..*end).await;
                let read = read.unwrap_or_else(|error| panic!("{start}..{end} of {size}: {error}"));
                let wanted = &whole[*start as usize..*end as usize];
                assert!(read == wanted, "{start}..{end} of {size} bytes");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_holder_too_few_gives_an_error_with_both_numbers() {
    let world = World::start().await;
    let plain = bytes(5, 300_000);
    let uploaded = world.put("key", &plain).await;
    assert!(uploaded.placement[0].holders.len() >= 8);
    world.stop_holders(&uploaded, 4).await;
    assert!(world.get("key").await.expect("four are enough") == plain);
    world.stop_holders(&uploaded, 3).await;
    let error = world.get("key").await.expect_err("three are too few");
    assert_eq!(error.kind(), ErrorKind::NotEnoughNodes);
    assert!(error.to_string().contains("3 of 4 required pieces available"), "{error}");
}

/// Decoding needs a whole share of every piece, even if that exceeds the read-ahead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_larger_than_the_read_ahead_read_back_equal() {
    let scheme = "2/2/3/4-655360".parse().expect("a scheme");
    let world = World::start_with(Options::new().scheme(scheme), &config()).await;
    let plain = bytes(9, 3_000_001);
    world.put("key", &plain).await;
    let read = tokio::time::timeout(Duration::from_secs(60), world.get("key")).await;
    assert!(read.expect("completes in time").expect("read") == plain);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_size_segments_read_back_equal() {
    let world = World::start_with(Options::new(), &config()).await;
    let size = (128 << 20) + 5000;
    let uploaded = world.put("three segments", &bytes(3, size)).await;
    let sizes: Vec<u64> = uploaded.placement.iter().map(|segment| segment.size).collect();
    assert_eq!(sizes, [64 << 20, 64 << 20, 5000]);
    world.network.nodes()[3].kill().await.expect("stopped");
    assert!(world.get("three segments").await.expect("read") == bytes(3, size));
}

/// Returns bytes of a large object without storing all of it: every MiB starts with its number.
fn numbered(range: std::ops::Range<u64>) -> Vec<u8> {
    const MIB: u64 = 1 << 20;
    static REST: LazyLock<Vec<u8>> =
        LazyLock::new(|| (0..MIB).map(|index| (index * 131 + (index >> 8) * 17) as u8).collect());
    let mut bytes = Vec::new();
    let mut offset = range.start;
    while offset < range.end {
        let number = offset / MIB;
        let start = (offset % MIB) as usize;
        let end = (range.end - number * MIB).min(MIB) as usize;
        let digits = number.to_be_bytes();
        bytes.extend(digits.iter().take(end).skip(start));
        bytes.extend_from_slice(&REST[start.max(digits.len()).min(end)..end]);
        offset = number * MIB + end as u64;
    }
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: a gigabyte"]
async fn gigabyte_reads_back_with_up_to_four_nodes_stopped() {
    const SIZE: u64 = 1 << 30;
    const SEGMENT: u64 = 64 << 20;
    let world = World::start_with(Options::new(), &config()).await;
    let mut upload = world.project.upload_object(BUCKET, "gigabyte").expect("an upload");
    for part in 0..SIZE >> 20 {
        let part = numbered(part << 20..(part + 1) << 20);
        upload.write(&part).await.expect("written");
    }
    assert_eq!(upload.commit().await.expect("committed").object.size, SIZE);
    for stopped in 0..=4 {
        if stopped > 0 {
            world.network.nodes()[2 * stopped - 1].kill().await.expect("stopped");
        }
        whole(&world, SIZE).await;
        let edges = [0, SEGMENT, 5 * SEGMENT, SIZE - SEGMENT, SIZE];
        for edge in edges.into_iter().flat_map(|edge| [edge.saturating_sub(1), edge, edge + 1]) {
            for length in [1, 2, 70_000] {
                let range = edge.min(SIZE)..(edge + length).min(SIZE);
                let read = world.get_range("gigabyte", range.clone()).await.expect("read");
                assert!(read == numbered(range.clone()), "{range:?}, {stopped} stopped");
            }
        }
    }
}

async fn whole(world: &World, size: u64) {
    let download = world.project.download_object(BUCKET, "gigabyte").await;
    let mut download = download.expect("opened");
    let mut offset = 0;
    while let Some(read) = download.chunk().await.expect("read") {
        let range = offset..offset + read.len() as u64;
        offset = range.end;
        assert!(read == numbered(range.clone()), "{range:?}");
    }
    assert_eq!(offset, size);
}
