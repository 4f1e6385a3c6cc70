//! Objects that our client wrote.

use uplink_core::encryption::content::append_padding;

use super::attacks::cut_off;
use super::clients::Clients;
use super::fixture::{IN_BLOCK, Shape};
use super::outcomes::Outcomes;
use super::reader::{Reader, TRUTH};
use super::subject::{Change, Cut, Origin, Subject, Writer};
use super::world::SEGMENT;
use super::{expected, table};

const COPIED: [Shape; 3] = [Shape::new(1, 20_000), Shape::new(2, 100), Shape::new(3, SEGMENT)];
const MOVED: [Shape; 3] = [Shape::new(1, 0), Shape::new(1, 4096), Shape::new(3, 30_000)];
/// All shapes except those of full segments only.
const UPDATED: [Shape; 5] = [
    Shape::new(1, 0),
    Shape::new(1, 4096),
    Shape::new(1, 20_000),
    Shape::new(2, 100),
    Shape::new(3, 30_000),
];
const REWRITTEN: Origin = Origin { by: Writer::Ours, then: Change::Updated };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn attacks_on_copied_or_moved_sealed_objects_are_refused() {
    let clients = Clients::start().await;
    let copied = COPIED.map(|shape| (Change::Copied, shape));
    let moved = MOVED.map(|shape| (Change::Moved, shape));
    let mut reader = Reader::new(&clients.world);
    let mut findings = Vec::new();
    for (then, shape) in copied.into_iter().chain(moved) {
        let origin = Origin { by: Writer::Ours, then };
        let subject = Subject::create(&clients, origin, Cut::Stream(shape)).await;
        let fixture = &subject.fixture;
        let truth = fixture.attack(TRUTH, vec![fixture.b.clone()]);
        for attack in std::iter::once(truth).chain(table::all(fixture).await) {
            findings.extend(reader.check(fixture, &attack).await);
        }
    }
    println!("{} reads under attack", reader.reads());
    assert!(findings.is_empty(), "differs from objects that were never moved: {findings:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn attacks_on_our_streams_with_replaced_metadata_are_refused() {
    let clients = Clients::start().await;
    let mut outcomes = Outcomes::default();
    for shape in UPDATED {
        let subject = Subject::create(&clients, REWRITTEN, Cut::Stream(shape)).await;
        outcomes.attack(&clients, &subject).await;
    }
    outcomes.finish(expected::REWRITTEN);
}

/// The documented limit of R5: the end of every full segment looks like the end of the object.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn replaced_metadata_hides_only_cuts_between_full_segments() {
    let clients = Clients::start().await;
    let mut outcomes = Outcomes::default();
    let full = Cut::Stream(Shape::new(3, SEGMENT));
    let subject = Subject::create(&clients, REWRITTEN, full).await;
    outcomes.attack(&clients, &subject).await;
    outcomes.finish(expected::REWRITTEN_FULL);
}

/// The other limit: chosen content can contain a padding where a truncation needs one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn replaced_metadata_lets_chosen_content_imitate_the_end() {
    let clients = Clients::start().await;
    let mut outcomes = Outcomes::default();
    let shape = Shape::new(2, 30_000);
    let mut padding = Vec::new();
    append_padding(&mut padding, shape.last, IN_BLOCK as u64).expect("a padding");
    let imitate = |content: &mut Vec<u8>| {
        content[shape.last as usize..][..padding.len()].copy_from_slice(&padding);
    };
    let subject = Subject::create_with(&clients, REWRITTEN, Cut::Stream(shape), imitate).await;
    let attacks = cut_off(&subject.fixture, shape.last).await;
    outcomes.run(&clients, &subject.fixture, attacks).await;
    outcomes.finish(expected::IMITATED);
}
