//! Fuzz targets: one function per format of untrusted input.
//!
//! Each target takes arbitrary bytes and panics if an invariant is violated: valid input must round
//! trip, and invalid input must return an error. The programs of `fuzz_targets/` run the targets
//! with the fuzzer's inputs, and `tests/fuzz_corpus.rs` of the main workspace with the committed
//! corpus.

#![forbid(unsafe_code)]

mod base58;
mod bloom_filter;
mod content_block;
mod drpc_frames;
mod drpc_stream;
mod erasure_correct;
mod erasure_decode;
mod grant;
mod input;
mod layout_ranges;
mod macaroon;
mod metadata_envelope;
mod node_url;
mod path_decrypt;
mod peer_identity;
mod signed_message;

pub use self::base58::base58;
pub use self::bloom_filter::bloom_filter;
pub use self::content_block::content_block;
pub use self::drpc_frames::drpc_frames;
pub use self::drpc_stream::drpc_stream;
pub use self::erasure_correct::erasure_correct;
pub use self::erasure_decode::erasure_decode;
pub use self::grant::grant;
pub use self::layout_ranges::layout_ranges;
pub use self::macaroon::macaroon;
pub use self::metadata_envelope::metadata_envelope;
pub use self::node_url::node_url;
pub use self::path_decrypt::path_decrypt;
pub use self::peer_identity::peer_identity;
pub use self::signed_message::signed_message;

/// A function that processes the bytes of an input.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Target); 15] = [
    ("base58", base58),
    ("bloom_filter", bloom_filter),
    ("content_block", content_block),
    ("drpc_frames", drpc_frames),
    ("drpc_stream", drpc_stream),
    ("erasure_correct", erasure_correct),
    ("erasure_decode", erasure_decode),
    ("grant", grant),
    ("layout_ranges", layout_ranges),
    ("macaroon", macaroon),
    ("metadata_envelope", metadata_envelope),
    ("node_url", node_url),
    ("path_decrypt", path_decrypt),
    ("peer_identity", peer_identity),
    ("signed_message", signed_message),
];
