//! A satellite that lies about objects in which the reference client had a hand: the table of
//! attacks of `tests/lying`, on what either of the two clients wrote and the other copied, moved or
//! rewrote.
//!
//! Where no rule can refuse an attack because nothing under encryption tells it from the truth, the
//! reference client reads through the same lies, and must take the same bytes for the object. The
//! expected sets name all of those attacks.

mod lying {
    mod attacks;
    mod clients;
    mod expected;
    mod foreign;
    mod ours;
    mod subject;
    mod taken;
    mod verdict;

    #[path = "../../../lying/judging.rs"]
    mod judging;
    #[path = "../../../lying/material.rs"]
    mod material;
    #[path = "../../../lying/random.rs"]
    #[allow(dead_code, reason = "shared with the tests of our client alone")]
    mod random;
    #[path = "../../../lying/raw.rs"]
    mod raw;
    #[path = "../../../lying/reading.rs"]
    mod reading;
    #[path = "../../../lying/story.rs"]
    mod story;
    #[path = "../../../lying/table/mod.rs"]
    mod table;
    #[path = "../../../lying/ways.rs"]
    mod ways;
    #[path = "../../../lying/world.rs"]
    #[allow(dead_code, reason = "shared with the tests of our client alone")]
    mod world;
}
