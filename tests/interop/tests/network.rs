//! Storage nodes and the satellite of the public network, unmodified, as judges.
//!
//! Their nodes serve a satellite of ours, for our client and the reference client; our client uses
//! their satellite. `docs/INTEROP.md` says which version, and how each is set up.

mod network {
    mod nodes;
    mod ours;
    mod postgres;
    mod process;
    mod satellite;
    mod settlement;
    mod stock;
    mod theirs;
    #[path = "../go/world.rs"]
    #[allow(dead_code, reason = "shared with the tests of the reference client")]
    mod world;
}
