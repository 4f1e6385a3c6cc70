//! The client against a complete network in this process: satellite, storage nodes, sockets and
//! disks. With `UPLINK_TEST_TRANSPORT=drpc` they run over DRPC.

mod api {
    mod blocking;
    mod buckets;
    mod cancellation;
    mod clocks;
    mod copies;
    mod corrupt_nodes;
    mod edge;
    mod examples;
    mod faults;
    mod garbage;
    mod handles;
    mod listing;
    mod memory;
    mod multipart;
    mod nonces;
    mod outcomes;
    mod overwrite;
    mod pages;
    mod pending;
    mod progress;
    mod proxy;
    mod races;
    mod relay;
    mod rot;
    mod round_trips;
    mod settlement;
    #[path = "../shared/clocks.rs"]
    mod shared_clocks;
    mod shares;
    mod sizes;
    mod tenants;
    mod threads;
    #[path = "../shared/transport.rs"]
    mod transport;
    mod world;
    mod wrong_keys;
}
