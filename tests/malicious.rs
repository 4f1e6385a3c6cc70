//! The client against a malicious satellite: a read returns the exact bytes or fails before the first
//! wrong one, an upload stores what was written or fails, both in bounded time and memory.
//!
//! A proxy of the test network rewrites responses. `fields` and `mutation` mutate every field of every
//! response, found by reflection; `attacks`, `changed`, `copying` and `commits` hold the hand-written
//! attacks: on objects, on changed objects, on changes, and on commits of multipart uploads.

use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

mod malicious {
    mod attacks;
    mod calls;
    mod changed;
    mod changes;
    mod checks;
    mod commits;
    mod copying;
    mod deletions;
    mod fields;
    mod fixture;
    mod forgery;
    mod making;
    mod messages;
    mod multiparts;
    mod mutation;
    mod operations;
    mod random;
    mod raw;
    mod read_modes;
    mod reader;
    mod reading;
    mod report;
    mod runner;
    mod subjects;
    mod sweep;
    mod table;
    mod versions;
    mod world;
}
