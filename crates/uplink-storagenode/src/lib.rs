//! uplink-storagenode
