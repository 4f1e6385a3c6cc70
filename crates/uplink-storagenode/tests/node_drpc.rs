//! The transfer tests of `node.rs` over DRPC, the transport of the public network.

use uplink_rpc::dial::Transport;

const TRANSPORT: Transport = Transport::Drpc;

#[path = "node/files.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod files;
#[path = "node/world.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod world;

#[path = "node/checks.rs"]
mod checks;
#[path = "node/faults.rs"]
mod faults;
#[path = "node/prompt.rs"]
mod prompt;
#[path = "node/retain.rs"]
mod retain;
#[path = "node/transfer.rs"]
mod transfer;
