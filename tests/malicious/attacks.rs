//! The table of attacks on the layout of objects that this client wrote: whole read, range, suffix,
//! seek and stat, over both transports.

use std::collections::BTreeMap;

use super::fixture::{Fixture, Shape};
use super::making::Then;
use super::reader::{Attack, Finding, Reader, TRUTH};
use super::subjects::Subject;
use super::table;
use super::table::envelopes::{begun, etag_alone, other_keys, strip, without_envelope};
use super::table::numbers::false_numbers;
use super::table::segments::{block_as_inline, first_blocks_cut_off, keyless, missing, relabelled};
use super::table::versions::{changed_key_on_repeat, mixed};
use super::world::{SEGMENT, World};

/// Objects of one, two and three segments. The last segment is empty, inline, inline at the limit,
/// remote or full.
const SHAPES: [Shape; 5] = [
    Shape::new(1, 0),
    Shape::new(1, 4096),
    Shape::new(1, 20_000),
    Shape::new(2, 100),
    Shape::new(3, SEGMENT),
];

/// Further combinations, for the slow tests.
const MORE_SHAPES: [Shape; 6] = [
    Shape::new(1, 1),
    Shape::new(1, 4097),
    Shape::new(1, SEGMENT),
    Shape::new(2, 30_000),
    Shape::new(3, 4096),
    Shape::new(3, 30_000),
];

/// More segments than fit into one page of a listing, each as small as a remote segment can be.
const MANY: Shape = Shape { segment: 4097, count: 1001, last: 4097 };

/// Defines a test per row of the table over `SHAPES`, and one test of all rows over `MORE_SHAPES`.
macro_rules! rows {
    ($($test:ident: $row:ident;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                check_rows(&streams(&SHAPES), async |fixture| $row(fixture).await).await;
            }
        )*

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        #[ignore = "slow: every attack on objects of more shapes"]
        async fn every_attack_on_more_shapes_is_refused() {
            check_rows(&streams(&MORE_SHAPES), async |fixture| table::all(fixture).await).await;
        }
    };
}

rows! {
    object_without_its_envelope_is_refused: without_envelope;
    object_with_an_etag_alone_is_refused: etag_alone;
    envelope_of_a_begun_upload_is_refused: begun;
    keyless_segments_are_refused: keyless;
    relabelled_segments_are_refused: relabelled;
    segments_without_their_first_blocks_are_refused: first_blocks_cut_off;
    block_served_as_inline_segment_is_refused: block_as_inline;
    segments_of_two_versions_are_refused: mixed;
    missing_segments_are_refused: missing;
    keys_of_another_kind_are_refused: other_keys;
    false_sizes_and_schemes_are_refused_or_harmless: false_numbers;
    changed_key_on_a_repeated_request_is_refused: changed_key_on_repeat;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: objects of 1001 segments"]
async fn attacks_on_1001_segments_are_refused() {
    check_rows(&streams(&[MANY]), many_segments).await;
}

fn streams(shapes: &[Shape]) -> Vec<Subject> {
    shapes.iter().map(|shape| Subject::stream(*shape, Then::Nothing)).collect()
}

/// Reads every object under every attack and fails with the attacks that succeeded.
pub(crate) async fn check_rows(subjects: &[Subject], rows: impl AsyncFn(&Fixture) -> Vec<Attack>) {
    let world = World::start().await;
    let mut reader = Reader::new(&world);
    let mut findings = Vec::new();
    for subject in subjects {
        let fixture = subject.create(&world).await;
        let truth = fixture.attack(TRUTH, vec![fixture.b.clone()]);
        findings.extend(reader.check(&fixture, &truth).await);
        for attack in rows(&fixture).await {
            findings.extend(reader.check(&fixture, &attack).await);
        }
    }
    println!("{} reads under attack", reader.reads());
    fail_with(findings);
}

/// Reads printed for each finding.
const MAX_PRINTED: usize = 4;

/// Prints the findings, and fails if there are any.
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
            let shown = reads[..reads.len().min(MAX_PRINTED)].join(", ");
            println!("  {attack}: {wrong}: {} reads, such as {shown}", reads.len());
        }
    }
    let count = succeeded.len();
    assert!(count == 0, "{count} attacks succeeded, such as {:?}", succeeded.iter().next());
}

/// Attacks on an object with more segments than one page of a listing holds.
async fn many_segments(fixture: &Fixture) -> Vec<Attack> {
    let mut attacks = mixed(fixture).await;
    for kept in [0, 1, 999, 1000] {
        for stripped in [false, true] {
            let name = format!("{kept} segments kept, stripped: {stripped}");
            let attack = fixture.edit(name, |forgery| {
                forgery.segments.truncate(kept);
                forgery.make_consistent();
                if stripped {
                    strip(forgery);
                }
            });
            // Without segments the response has no size, and stat returns the size that the writer recorded.
            let reports_size = kept == 0 && !stripped;
            attacks.push(if reports_size { attack.refused_reads() } else { attack.refused() });
        }
    }
    attacks
}
