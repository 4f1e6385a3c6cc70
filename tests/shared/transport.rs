//! The transport under test.

use std::env;

use uplink_rpc::dial::Transport;

/// Returns the transport of the clients: gRPC, negotiated between our own peers, or with
/// `UPLINK_TEST_TRANSPORT=drpc` that of the public network.
pub(crate) fn transport() -> Transport {
    match env::var("UPLINK_TEST_TRANSPORT").as_deref() {
        Ok("drpc") => Transport::Drpc,
        Ok(other) => panic!("UPLINK_TEST_TRANSPORT={other}: expected drpc"),
        Err(_) => Transport::Negotiated,
    }
}
