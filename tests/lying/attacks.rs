//! The table of attacks on the layout of an object, for objects that this client wrote: as whole
//! read, range, suffix, seek and stat, over both transports.

use std::collections::BTreeMap;

use uplink::{Config, Project};

use super::material::{Material, Shape, put};
use super::reading::{Attack, Finding, Reader, TRUTH};
use super::table;
use super::table::envelopes::{etag_alone, other_keys, strip, without_envelope};
use super::table::numbers::false_numbers;
use super::table::segments::{block_as_inline, first_blocks_cut_off, keyless, missing, relabelled};
use super::table::versions::{another_key_when_repeated, mixed};
use super::world::{SEGMENT, World, known};

/// Objects of one, two and three segments, whose last segment is empty, inline at its limit, inline,
/// remote or full.
const SHAPES: [Shape; 5] = [
    Shape::new(1, 0),
    Shape::new(1, 4096),
    Shape::new(1, 20_000),
    Shape::new(2, 100),
    Shape::new(3, SEGMENT),
];

/// Other combinations of them, for the slow tier.
const MORE_SHAPES: [Shape; 6] = [
    Shape::new(1, 1),
    Shape::new(1, 4097),
    Shape::new(1, SEGMENT),
    Shape::new(2, 30_000),
    Shape::new(3, 4096),
    Shape::new(3, 30_000),
];

/// More segments than fit into a page of a listing, each as small as a remote one can be.
const MANY: Shape = Shape { segment: 4097, count: 1001, last: 4097 };

/// Makes a test of each row of the table, over the usual shapes, and one of all rows over the others.
macro_rules! rows {
    ($($test:ident: $row:ident;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                check_rows(&SHAPES, async |material| $row(material).await).await;
            }
        )*

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        #[ignore = "slow: every attack on objects of more shapes"]
        async fn every_attack_on_more_shapes_is_refused() {
            check_rows(&MORE_SHAPES, async |material| table::all(material).await).await;
        }
    };
}

rows! {
    object_without_its_envelope_is_refused: without_envelope;
    object_with_an_etag_alone_is_refused: etag_alone;
    keyless_segments_are_refused: keyless;
    relabelled_segments_are_refused: relabelled;
    segments_without_their_first_blocks_are_refused: first_blocks_cut_off;
    block_served_as_inline_segment_is_refused: block_as_inline;
    segments_of_two_versions_are_refused: mixed;
    missing_segments_are_refused: missing;
    keys_of_another_kind_are_refused: other_keys;
    false_sizes_and_schemes_are_refused_or_harmless: false_numbers;
    another_key_on_a_repeated_request_is_refused: another_key_when_repeated;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: objects of 1001 segments"]
async fn attacks_on_1001_segments_are_refused() {
    check_rows(&[MANY], many_segments).await;
}

/// Reads every object under every attack, and fails with those that succeeded.
async fn check_rows(shapes: &[Shape], rows: impl AsyncFn(&Material) -> Vec<Attack>) {
    let world = World::start().await;
    let (mut reader, mut findings) = (Reader::new(&world), Vec::new());
    for shape in shapes {
        let material = make(&world, *shape).await;
        let truth = material.attack(TRUTH, vec![material.b.clone()]);
        findings.extend(reader.check(&material, &truth).await);
        for attack in rows(&material).await {
            findings.extend(reader.check(&material, &attack).await);
        }
    }
    println!("{} reads under attack", reader.reads());
    fail_with(findings);
}

/// Writes an object, and what is taken for it, with our client.
async fn make(world: &World, shape: Shape) -> Material {
    let known = known(&format!("object-{}-{}", shape.count, shape.last), shape.size());
    let config = Config::new().segment_size(shape.segment);
    let project = Project::open_with(&world.honest_access, &config).expect("a project");
    let title = format!("{} segments, last {}", shape.count, shape.last);
    let write = async |key: &str, version| put(&project, &known, key, version).await;
    let made = Material::written(world, title, known.clone(), write).await;
    assert_eq!(made.b.segments.len() as u64, shape.count);
    made
}

/// Ways to read that are told of each finding.
const SHOWN: usize = 4;

/// Prints what was found, and fails if that is something.
fn fail_with(findings: Vec<Finding>) {
    let mut succeeded: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    for Finding { attack, object, read, transport, wrong } in findings {
        let attack = format!("{attack} ({object})");
        let outcomes = succeeded.entry(attack).or_default();
        let reads = outcomes.entry(wrong.to_string()).or_default();
        reads.push(format!("{read:?} over {transport:?}"));
    }
    for (attack, outcomes) in &succeeded {
        for (wrong, reads) in outcomes {
            let shown = reads[..reads.len().min(SHOWN)].join(", ");
            println!("  {attack}: {wrong}: {} reads, such as {shown}", reads.len());
        }
    }
    let count = succeeded.len();
    assert!(count == 0, "{count} attacks succeeded, such as {:?}", succeeded.iter().next());
}

/// More segments than a page of a listing holds.
async fn many_segments(material: &Material) -> Vec<Attack> {
    let mut attacks = mixed(material).await;
    for kept in [0, 1, 999, 1000] {
        for stripped in [false, true] {
            let name = format!("{kept} segments kept, stripped: {stripped}");
            let attack = material.edit(name, |story| {
                story.segments.truncate(kept);
                story.settle();
                if stripped {
                    strip(story);
                }
            });
            // Without a segment no size is said, and stat tells the one that the writer recorded.
            let tells_size = kept == 0 && !stripped;
            attacks.push(if tells_size { attack.refused_reads() } else { attack.refused() });
        }
    }
    attacks
}
