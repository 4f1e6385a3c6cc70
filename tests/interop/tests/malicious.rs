//! A malicious satellite against objects that the reference client wrote or changed: the table of
//! attacks of `tests/malicious` on objects written by one client and copied, moved or updated by
//! the other.
//!
//! Where nothing authenticated distinguishes an attack from the truth, the reference client reads
//! through the same attack and must return the same bytes. The expected sets name all of these
//! attacks.

mod malicious {
    mod attacks;
    mod clients;
    mod expected;
    mod foreign;
    mod observed;
    mod ours;
    mod outcomes;
    mod subject;

    #[path = "../../../malicious/checks.rs"]
    mod checks;
    #[path = "../../../malicious/fixture.rs"]
    mod fixture;
    #[path = "../../../malicious/forgery.rs"]
    mod forgery;
    #[path = "../../../malicious/random.rs"]
    #[allow(dead_code, reason = "shared with the tests of our client alone")]
    mod random;
    #[path = "../../../malicious/raw.rs"]
    mod raw;
    #[path = "../../../malicious/read_modes.rs"]
    mod read_modes;
    #[path = "../../../malicious/reader.rs"]
    mod reader;
    #[path = "../../../malicious/table/mod.rs"]
    mod table;
    #[path = "../../../malicious/world.rs"]
    #[allow(dead_code, reason = "shared with the tests of our client alone")]
    mod world;
}
