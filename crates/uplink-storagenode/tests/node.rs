//! A storage node over real ports and disks.
//!
//! A satellite appears here only as an identity that signs order limits and a port that shows it.

#[path = "node/files.rs"]
mod files;
#[path = "node/world.rs"]
mod world;

#[path = "node/checks.rs"]
mod checks;
#[path = "node/faults.rs"]
mod faults;
#[path = "node/transfer.rs"]
mod transfer;
