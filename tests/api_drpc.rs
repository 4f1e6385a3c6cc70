//! The tests of `api.rs`, over the transport of the public network.

use uplink::Transport;

const TRANSPORT: Transport = Transport::Drpc;

mod api {
    mod buckets;
    mod cancellation;
    mod copies;
    mod corrupt_nodes;
    mod faults;
    mod garbage;
    mod handles;
    mod listing;
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
    mod shares;
    mod sizes;
    mod tenants;
    mod world;
    mod wrong_keys;
}
