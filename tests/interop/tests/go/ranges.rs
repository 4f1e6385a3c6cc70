//! Ranges of objects of either client, read by both.

use serde_json::json;
use uplink::DownloadOptions;

use super::world::{BUCKET, SMALL_SEGMENT, World, b64, bytes, pattern};

const STRIPE: u64 = 4 * 256;
const BLOCK: u64 = 7408;

/// Returns the offsets at the boundaries of blocks, stripes and segments.
fn edges(size: u64) -> Vec<u64> {
    let units = [1, STRIPE, BLOCK, SMALL_SEGMENT, 2 * SMALL_SEGMENT];
    let mut edges: Vec<u64> = units.iter().flat_map(|unit| [unit - 1, *unit, unit + 1]).collect();
    edges.extend([size / 2, size.saturating_sub(1), size]);
    edges.retain(|edge| *edge <= size);
    edges.sort_unstable();
    edges.dedup();
    edges
}

/// Returns ranges from each boundary to the next three and to the last.
fn ranges(size: u64) -> Vec<(u64, u64)> {
    let edges = edges(size);
    let mut ranges = Vec::new();
    for (index, start) in edges.iter().enumerate() {
        let ends = edges.iter().skip(index).take(4).chain(edges.last());
        ranges.extend(ends.map(|end| (*start, *end)));
    }
    ranges
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn ranges_at_every_edge_are_equal_in_both_clients() {
    let mut world = World::start().await;
    for size in [1, 4096, 4097, 2 * BLOCK + 1, 2 * SMALL_SEGMENT + 100, 2 * SMALL_SEGMENT + 5000] {
        for (writer, seed) in [("go", 1_u8), ("rust", 2)] {
            match writer {
                "go" => drop(world.go_put(writer, seed, size).await),
                _ => drop(world.rust_put(writer, seed, size).await),
            }
            for (start, end) in ranges(size) {
                let expected = pattern(seed, start..end);
                let shown = format!("{start}..{end} of {size} bytes by {writer}");
                let range = json!({
                    "key": b64(writer), "offset": start, "length": end - start, "bytes": true,
                });
                let read = world.call("download", range).await;
                assert!(bytes(&read["bytes"]) == expected, "{shown}, read by the reference client");
                let options = DownloadOptions::new().range(start..end);
                let download = world.project.download_object_with(BUCKET, writer, &options).await;
                let read = download.expect("opened").read_to_end(u64::MAX).await.expect("read");
                assert!(read == expected, "{shown}, read by ours");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn open_ranges_and_suffixes_are_clamped_to_the_object() {
    let mut world = World::start().await;
    for size in [100, 10_001, SMALL_SEGMENT + 5000] {
        world.rust_put("key", 3, size).await;
        let signed = i64::try_from(size).expect("small");
        for (offset, length, expected) in [
            (0, None, 0..size),
            (signed / 2, None, size / 2..size),
            (signed, None, size..size),
            (-1, None, size - 1..size),
            (-99, None, size - 99..size),
            (-signed, None, 0..size),
            (-signed - 1000, None, 0..size),
            (10, Some(0), 10..10),
            (50, Some(i64::from(u32::MAX)), 50..size),
        ] {
            let mut range = json!({"key": b64("key"), "offset": offset, "bytes": true});
            if let Some(length) = length {
                range["length"] = length.into();
            }
            let read = world.call("download", range).await;
            let expected = pattern(3, expected);
            assert_eq!(read["length"], expected.len() as u64, "{offset} of {size}");
            assert!(bytes(&read["bytes"]) == expected, "{offset} of {size}");
        }
        let beyond = json!({"key": b64("key"), "offset": size + 1});
        assert_eq!(world.call_err("download", beyond).await.code, 3);
    }
}
