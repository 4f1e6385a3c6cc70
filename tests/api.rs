//! The client against a whole network in this process: satellite, storage nodes, sockets and disks.

mod api {
    mod buckets;
    mod examples;
    mod faults;
    mod handles;
    mod liars;
    mod listing;
    mod sizes;
    mod world;
}
