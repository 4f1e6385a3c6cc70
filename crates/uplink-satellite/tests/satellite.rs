//! Tests of running satellites over real ports. With `UPLINK_TEST_TRANSPORT=drpc` their clients use
//! DRPC.

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
#[path = "satellite/contact.rs"]
mod contact;
#[path = "satellite/copy.rs"]
mod copy;
#[path = "satellite/drpc_node.rs"]
mod drpc_node;
#[path = "satellite/features.rs"]
mod features;
#[path = "satellite/garbage.rs"]
mod garbage;
#[path = "satellite/kill.rs"]
mod kill;
#[path = "satellite/network.rs"]
mod network;
#[path = "satellite/node_stats.rs"]
mod node_stats;
#[path = "satellite/objects.rs"]
mod objects;
#[path = "satellite/pending.rs"]
mod pending;
#[path = "satellite/plain_client.rs"]
mod plain_client;
#[path = "satellite/program.rs"]
mod program;
#[path = "satellite/random.rs"]
mod random;
#[path = "satellite/rates.rs"]
mod rates;
#[path = "satellite/revocation.rs"]
mod revocation;
#[path = "satellite/settlement.rs"]
mod settlement;
#[path = "satellite/snapshot.rs"]
mod snapshot;
#[path = "satellite/times.rs"]
mod times;
#[path = "../../../tests/shared/transport.rs"]
mod transport;
#[path = "satellite/updates.rs"]
mod updates;
#[path = "satellite/usage.rs"]
mod usage;

use transport::transport;
