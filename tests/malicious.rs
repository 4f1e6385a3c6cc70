//! The client against a malicious satellite: a read returns the exact bytes or fails before the first
//! wrong one, an upload stores what was written or fails, both in bounded time and memory.
//!
//! A proxy of the test network rewrites responses. `fields` and `mutation` mutate every field of every
//! response, found by reflection; `attacks` holds the hand-written attacks.

use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

mod malicious {
    mod attacks;
    mod calls;
    mod checks;
    mod fields;
    mod fixture;
    mod forgery;
    mod messages;
    mod mutation;
    mod operations;
    mod random;
    mod raw;
    mod read_modes;
    mod reader;
    mod report;
    mod runner;
    mod sweep;
    mod table;
    mod world;
}
