//! Objects that our client wrote.

use uplink_core::encryption::content::append_padding;

use super::attacks::cut_off;
use super::clients::Clients;
use super::expected;
use super::material::{IN_BLOCK, Shape};
use super::reading::{Reader, TRUTH};
use super::subject::{Cut, Deed, Origin, Subject, Writer};
use super::table;
use super::verdict::Outcomes;
use super::world::SEGMENT;

const COPIED: [Shape; 3] = [Shape::new(1, 20_000), Shape::new(2, 100), Shape::new(3, SEGMENT)];
const MOVED: [Shape; 3] = [Shape::new(1, 0), Shape::new(1, 4096), Shape::new(3, 30_000)];
/// All but those of full segments alone.
const UPDATED: [Shape; 5] = [
    Shape::new(1, 0),
    Shape::new(1, 4096),
    Shape::new(1, 20_000),
    Shape::new(2, 100),
    Shape::new(3, 30_000),
];
const REWRITTEN: Origin = Origin { by: Writer::Ours, then: Deed::Updated };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn every_attack_on_sealed_objects_that_it_copied_or_moved_is_refused() {
    let clients = Clients::start().await;
    let copied = COPIED.map(|shape| (Deed::Copied, shape));
    let moved = MOVED.map(|shape| (Deed::Moved, shape));
    let mut reader = Reader::new(&clients.world);
    let mut findings = Vec::new();
    for (then, shape) in copied.into_iter().chain(moved) {
        let origin = Origin { by: Writer::Ours, then };
        let subject = Subject::make(&clients, origin, Cut::Stream(shape)).await;
        let material = &subject.material;
        let truth = material.attack(TRUTH, vec![material.b.clone()]);
        for attack in std::iter::once(truth).chain(table::all(material).await) {
            findings.extend(reader.check(material, &attack).await);
        }
    }
    println!("{} reads under attack", reader.reads());
    assert!(findings.is_empty(), "not as for objects at their first place: {findings:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn attacks_on_our_streams_whose_metadata_it_replaced_are_refused() {
    let clients = Clients::start().await;
    let mut outcomes = Outcomes::default();
    for shape in UPDATED {
        let subject = Subject::make(&clients, REWRITTEN, Cut::Stream(shape)).await;
        outcomes.attack(&clients, &subject).await;
    }
    outcomes.finish(expected::REWRITTEN);
}

/// The documented limit of R5: the end of every full segment looks like the end of the object.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn cut_between_full_segments_is_all_that_is_invisible_once_it_replaced_metadata() {
    let clients = Clients::start().await;
    let mut outcomes = Outcomes::default();
    let full = Cut::Stream(Shape::new(3, SEGMENT));
    let subject = Subject::make(&clients, REWRITTEN, full).await;
    outcomes.attack(&clients, &subject).await;
    outcomes.finish(expected::REWRITTEN_FULL);
}

/// The other one: a chosen content can hold a padding where a cut needs one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn chosen_content_can_imitate_the_end_of_a_stream_whose_metadata_it_replaced() {
    let clients = Clients::start().await;
    let mut outcomes = Outcomes::default();
    let shape = Shape::new(2, 30_000);
    let mut padding = Vec::new();
    append_padding(&mut padding, shape.last, IN_BLOCK as u64).expect("a padding");
    let imitate = |content: &mut Vec<u8>| {
        content[shape.last as usize..][..padding.len()].copy_from_slice(&padding);
    };
    let subject = Subject::holding(&clients, REWRITTEN, Cut::Stream(shape), imitate).await;
    let attacks = cut_off(&subject.material, shape.last).await;
    outcomes.make(&clients, &subject.material, attacks).await;
    outcomes.finish(expected::IMITATED);
}
