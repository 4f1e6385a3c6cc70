//! uplink-satellite
