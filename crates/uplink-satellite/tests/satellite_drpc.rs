//! The tests of calls of `satellite.rs`, over the transport of the public network.

use uplink_rpc::dial::Transport;

const TRANSPORT: Transport = Transport::Drpc;

#[path = "satellite/authority.rs"]
mod authority;
#[path = "satellite/batch.rs"]
mod batch;
#[path = "satellite/bucket_content.rs"]
mod bucket_content;
#[path = "satellite/calls.rs"]
mod calls;
#[path = "satellite/commit_segment.rs"]
mod commit_segment;
#[path = "satellite/compressed.rs"]
mod compressed;
#[path = "satellite/copy.rs"]
mod copy;
#[path = "satellite/features.rs"]
mod features;
#[path = "satellite/network.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod network;
#[path = "satellite/node_stats.rs"]
mod node_stats;
#[path = "satellite/objects.rs"]
mod objects;
#[path = "satellite/pending.rs"]
mod pending;
#[path = "satellite/rates.rs"]
mod rates;
#[path = "satellite/settlement.rs"]
mod settlement;
#[path = "satellite/snapshot.rs"]
mod snapshot;
#[path = "satellite/updates.rs"]
mod updates;
#[path = "satellite/usage.rs"]
mod usage;
