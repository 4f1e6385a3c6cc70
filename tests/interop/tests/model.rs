//! The reference client, ours over gRPC and ours over DRPC run the same random operations on our
//! network, each in a project of its own, and must see the same outcome of each: result or error kind.
//!
//! A sequence follows from its seed. Every one starts with an empty project. When outcomes differ, the
//! sequence is shrunk and printed.
//!
//! ```text
//!   generate ─► Step ─┬─► theirs ─► Driver ─► storj.io/uplink (DRPC) ─┐
//!                     ├─► ours ───► gRPC ─────────────────────────────┼─► Outcome, compared
//!                     └─► ours ───► DRPC ─────────────────────────────┘   (differences.rs)
//! ```
//!
//! `UPLINK_MODEL_SEED` and `UPLINK_MODEL_OPERATIONS` choose the first seed and the number of operations
//! of the soak test.

mod model {
    mod clock;
    mod differences;
    mod generate;
    mod grant;
    mod kinds;
    mod operation;
    mod ours;
    mod outcome;
    mod parties;
    #[path = "../../../malicious/random.rs"]
    #[allow(dead_code, reason = "shared with the tests of malicious satellites")]
    mod random;
    mod report;
    mod run;
    mod sequences;
    mod shrink;
    mod slots;
    mod theirs;
    #[path = "../go/world.rs"]
    #[allow(dead_code, reason = "shared with the tests of the reference client")]
    mod world;
}
