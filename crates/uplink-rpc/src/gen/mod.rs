//! Messages and services generated from `proto/` by `cargo xtask codegen`; committed, and checked
//! for drift. One module per protobuf package, as the generated code expects.
//!
//! Every `bytes` field is a reference-counted [`bytes::Bytes`].

#![allow(
    missing_docs,
    unnameable_types,
    unreachable_pub,
    unused_qualifications,
    missing_debug_implementations,
    clippy::pedantic,
    clippy::all,
    clippy::restriction,
    rustdoc::all
)]

pub mod encryption {
    include!("encryption.rs");
}
pub mod pointerdb {
    include!("pointerdb.rs");
}
pub mod node {
    include!("node.rs");
}
pub mod orders {
    include!("orders.rs");
}
pub mod piecestore {
    include!("piecestore.rs");
}
pub mod contact {
    include!("contact.rs");
}
pub mod metainfo {
    include!("metainfo.rs");
}
pub mod nodestats {
    include!("nodestats.rs");
}
pub mod heldamount {
    include!("heldamount.rs");
}
pub mod userinfo {
    include!("userinfo.rs");
}
pub mod edgeauth {
    include!("edgeauth.rs");
}
/// Tables for the bounded codec, of every message above.
mod shapes {
    #![allow(dead_code)]

    use crate::codec::{Bounded, Field, Item, Shape};

    include!("shapes.rs");
}
