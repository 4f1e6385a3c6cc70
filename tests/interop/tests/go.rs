//! The reference client, `storj.io/uplink` in Go, against a network of ours, and beside our client.
//!
//! Whatever one of the two writes, the other reads; what our client does not offer is judged with
//! the reference client on both sides. `docs/INTEROP.md` says what is judged by whom.

mod go {
    mod batches;
    mod bench;
    mod buckets;
    mod contents;
    mod copies;
    mod expiry;
    mod grants;
    mod limits;
    mod listings;
    mod multipart;
    mod nodes;
    mod ranges;
    mod refusals;
    mod world;
}
