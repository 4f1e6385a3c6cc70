//! Formats, cryptography, arithmetic and policy of uplink.
//!
//! This crate knows no socket, file, clock, runtime or global random source: time and randomness
//! are arguments. Everything here is a function of its inputs.

pub mod access_grant;
pub mod base58;
pub mod encryption;
pub mod erasure;
pub mod id;
pub mod identity;
pub mod layout;
pub mod macaroon;
pub mod node_url;
pub mod order;
pub mod policy;
pub mod secret;
pub mod signature;

mod mac;
mod wire;

pub use wire::WireError;
