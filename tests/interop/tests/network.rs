//! Unmodified storage nodes and satellite of the public network.
//!
//! Their nodes serve our satellite, for our client and the reference client; our client uses their
//! satellite. `docs/INTEROP.md` lists their versions and setup.

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
