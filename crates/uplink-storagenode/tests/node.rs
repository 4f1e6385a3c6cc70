//! A storage node with real ports and disks.
//!
//! The satellite is only an identity that signs order limits and a port that presents it. With
//! `UPLINK_TEST_TRANSPORT=drpc` the clients use DRPC.

#[path = "node/files.rs"]
mod files;
#[path = "node/world.rs"]
mod world;

#[path = "node/checks.rs"]
mod checks;
#[path = "node/contact.rs"]
mod contact;
#[path = "node/faults.rs"]
mod faults;
#[path = "node/forged.rs"]
mod forged;
#[path = "node/marker.rs"]
mod marker;
#[path = "node/program.rs"]
mod program;
#[path = "node/prompt.rs"]
mod prompt;
#[path = "node/retain.rs"]
mod retain;
#[path = "node/settlement.rs"]
mod settlement;
#[path = "node/start.rs"]
mod start;
#[path = "node/transfer.rs"]
mod transfer;
#[path = "../../../tests/shared/transport.rs"]
mod transport;
#[path = "node/vectors.rs"]
mod vectors;

use transport::transport;
