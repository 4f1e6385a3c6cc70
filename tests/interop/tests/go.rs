//! Our network and our client with the reference client, `storj.io/uplink` in Go.
//!
//! Each client reads what the other writes. Operations that our client does not offer are tested
//! with the reference client on both sides. `docs/INTEROP.md` lists what each client tests.

mod go {
    mod batches;
    mod bench;
    mod buckets;
    mod contents;
    mod copies;
    mod errors;
    mod expiry;
    mod grants;
    mod limits;
    mod listings;
    mod multipart;
    mod nodes;
    mod ranges;
    mod world;
}
