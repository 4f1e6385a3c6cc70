//! Storage nodes of the public network, unmodified, as judges.
//!
//! They serve a satellite of ours, for our client and the reference client. `docs/INTEROP.md` says
//! which version, and how they are set up.

mod network {
    mod nodes;
    mod ours;
    mod process;
    mod stock;
    #[path = "../go/world.rs"]
    #[allow(dead_code, reason = "shared with the tests of the reference client")]
    mod world;
}
