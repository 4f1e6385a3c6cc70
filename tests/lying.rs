//! The client against a satellite that lies: every read is exact or refused before a wrong byte, every
//! upload is what was written or an error, in bounded time and memory.
//!
//! A proxy of the test network rewrites answers. `fields` and `mutation` make a lie of every field of
//! every answer, found by reflection; `attacks` holds those that were thought out.

use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

mod lying {
    mod attacks;
    mod calls;
    mod fields;
    mod judging;
    mod material;
    mod messages;
    mod mutation;
    mod operations;
    mod random;
    mod raw;
    mod reading;
    mod report;
    mod runner;
    mod story;
    mod sweep;
    mod table;
    mod ways;
    mod world;
}
