//! The table of attacks on the layout of objects in parts, and of objects that were copied, moved or
//! updated.

use super::attacks::check_rows;
use super::fixture::{Fixture, Shape};
use super::making::{ONE_PART, PARTS, Parts, Then, Way};
use super::subjects::Subject;
use super::table;
use super::world::SEGMENT;

/// Two segments, the last one inline.
const INLINE_END: Shape = Shape::new(2, 100);
/// A part of two segments whose last one is inline, and a remote last part.
const INLINE_MIDDLE: Parts = &[(0, SEGMENT + 100), (2, 20_000)];
/// A remote part and an inline last one.
const INLINE_LAST: Parts = &[(1, 20_000), (7, 100)];
const CHANGES: [Then; 4] = [Then::Nothing, Then::Copied, Then::Moved, Then::Updated];

async fn all(fixture: &Fixture) -> Vec<super::reader::Attack> {
    table::all(fixture).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attacks_on_objects_in_parts_are_refused() {
    let subjects = [
        Subject::parts(Way::Parts(INLINE_LAST), Then::Nothing),
        Subject::parts(Way::Receipts(ONE_PART), Then::Nothing),
    ];
    check_rows(&subjects, all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attacks_on_changed_objects_are_refused() {
    let subjects = [
        Subject::stream(INLINE_END, Then::Copied),
        Subject::parts(Way::Parts(ONE_PART), Then::Moved),
        Subject::parts(Way::Parts(ONE_PART), Then::Updated),
    ];
    check_rows(&subjects, all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "soak: every attack on objects of every way to write and change them"]
async fn attacks_on_objects_of_all_ways_and_changes_soak() {
    let streams = [Shape::new(1, 0), INLINE_END, Shape::new(3, SEGMENT)];
    let parts = [PARTS, ONE_PART, INLINE_MIDDLE];
    let of_change = |then: Then| {
        let streams = streams.map(|shape| Subject::stream(shape, then));
        let by_list = parts.map(|parts| Subject::parts(Way::Parts(parts), then));
        let by_receipts = parts.map(|parts| Subject::parts(Way::Receipts(parts), then));
        [streams, by_list, by_receipts].concat()
    };
    let subjects: Vec<Subject> = CHANGES.into_iter().flat_map(of_change).collect();
    check_rows(&subjects, all).await;
}
