//! The tests of `api.rs`, over the transport of the public network.

use uplink::Transport;

const TRANSPORT: Transport = Transport::Drpc;

mod api {
    mod buckets;
    mod copies;
    mod corrupt_nodes;
    mod faults;
    mod garbage;
    mod handles;
    mod listing;
    mod multipart;
    mod outcomes;
    mod overwrite;
    mod pages;
    mod pending;
    mod proxy;
    mod rot;
    mod shares;
    mod sizes;
    mod world;
}
