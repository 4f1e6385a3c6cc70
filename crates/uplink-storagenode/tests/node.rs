//! A storage node over real ports and disks.
//!
//! A satellite appears here only as an identity that signs order limits and a port that shows it.

#[path = "node/world.rs"]
mod world;

#[path = "node/checks.rs"]
mod checks;
#[path = "node/transfer.rs"]
mod transfer;
