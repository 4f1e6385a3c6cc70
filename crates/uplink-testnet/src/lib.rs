//! uplink-testnet
