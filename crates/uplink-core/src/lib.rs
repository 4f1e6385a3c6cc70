//! Formats, cryptography, erasure coding and transfer policies of uplink.
//!
//! This crate uses no sockets, files, clocks, async runtime or global random source. Time and
//! randomness are arguments; every result depends only on its inputs.
//!
//! # Targets
//!
//! AES-256-GCM and all signatures come from `aws-lc-rs`, which requires a C compiler for the target
//! and does not build for `wasm32`; neither does this crate. The cipher could be replaced by the
//! pure-Rust `aes-gcm`, which the tests compare it with, but identities and orders would also need
//! pure-Rust ECDSA, RSA-PSS and Ed25519.
//!
//! # Vectors
//!
//! The files in `tests/vectors/` hold inputs and outputs of the public network's own
//! implementations. Each group has a test unless noted:
//!
//! | file | groups | test |
//! |---|---|---|
//! | `erasure.json` | `stripes`, `matrices`, `decode`, `segments`, `piece_sizes` | `tests/erasure_vectors.rs` |
//! | `access.json` | `padding`, `encompassing_blocks`, `encrypted_size`, `encryption_parameters_packing` | `tests/layout_vectors.rs` |
//! | | `base58`, `base58check`, `node_url` | `tests/access_vectors/text.rs` |
//! | | `access_grants`, `access_grant_parse_cases`, `access_inspect`, `grant_from_passphrase`, `unknown_suite_grants` | `tests/access_vectors/grant.rs` |
//! | | `share`, `null_cipher_share`, `limit_to`, `override_encryption_key` | `tests/access_vectors/share.rs` |
//! | | `api_keys`, `macaroon_chain`, `macaroon_parse_cases`, `macaroon_fuzz_seeds`, `caveat_encoding` | `tests/access_vectors/macaroon.rs` |
//! | | `check_matrix`, `time_window`, `max_object_ttl`, `allowed_buckets` | `tests/access_vectors/check.rs` |
//! | | `root_key`, `derived_keys`, `nonce_from_entry_key` | `tests/access_vectors/key.rs` |
//! | | `path_components`, `segment_escape`, `path_encryption_example`, `path_encryption`, `list_cursor`, `path_bypass`, `path_errors` | `tests/access_vectors/path.rs` |
//! | | `store_lookup` | `tests/access_vectors/store.rs` |
//! | | `nonce_increment`, `content_encryption`, `segment_content_nonce`, `object_flow`, `encryption_parameters_packing`, `proposed_enc_chacha20poly1305` | `tests/access_vectors/content.rs` |
//! | | `join_share_url`, `join_share_url_more`, `shared_link_parse`, `edge_credentials_format` | `tests/access_vectors/edge.rs` |
//! | `transport.json` | `identity`, `orders`, order amounts of `piecestore` | `tests/transport_vectors.rs` |
//! | | `identity.node_urls` | `tests/access_vectors/transport.rs` |
//! | | `identity.revocation` | none: a certificate extension in Go's own encoding, which clients ignore |
//! | | `drpc` | `crates/uplink-rpc/src/drpc/tests.rs` |
//! | | messages of `piecestore`, `noise` | none yet: the public network's transports |
//! | `rpc-transcripts.json` | messages, signatures, names, metadata, content | `crates/uplink-rpc/tests/transcripts.rs` |

pub mod access_grant;
pub mod base58;
pub mod bloom_filter;
pub mod edge;
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

/// Runs `min` cases of a property, or `PROPTEST_CASES` if that is more.
#[cfg(test)]
fn cases(min: u32) -> proptest::test_runner::Config {
    let default = proptest::test_runner::Config::default();
    let cases = default.cases.max(min);
    println!("{cases} cases"); // parsed by `cargo xtask soak`
    proptest::test_runner::Config { cases, ..default }
}
