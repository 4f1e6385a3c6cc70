//! uplink-rpc
