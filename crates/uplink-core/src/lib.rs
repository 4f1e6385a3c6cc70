//! Formats, cryptography, arithmetic and policy of uplink.
//!
//! This crate knows no socket, file, clock, runtime or global random source: time and randomness
//! are arguments. Everything here is a function of its inputs.
//!
//! # Targets
//!
//! AES-256-GCM and all signatures come from `aws-lc-rs`, which needs a C compiler for the target and
//! does not build for `wasm32`; neither does this crate. The cipher could be exchanged for the
//! pure-Rust `aes-gcm`, which the tests hold it against, but identities and orders would need
//! pure-Rust ECDSA, RSA-PSS and Ed25519 beside it.
//!
//! # Vectors
//!
//! The files in `tests/vectors/` hold inputs and outputs of the public network's own
//! implementations. Every group in them has a test, or waits for a later one:
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
//! | | `identity.revocation` | none: an extension of certificates in Go's own encoding, which no client looks at |
//! | | `drpc` | `crates/uplink-rpc/src/drpc/tests.rs` |
//! | | messages of `piecestore`, `noise` | later: the public network's transports |
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

/// So many cases of a property, or more if `PROPTEST_CASES` asks for more.
#[cfg(test)]
fn cases(at_least: u32) -> proptest::test_runner::Config {
    let default = proptest::test_runner::Config::default();
    let cases = default.cases.max(at_least);
    println!("{cases} cases"); // `cargo xtask soak` reads it
    proptest::test_runner::Config { cases, ..default }
}
