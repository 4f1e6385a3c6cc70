//! One segment: from plain bytes to pieces on nodes, and back.
//!
//! ```text
//!   upload    plain ─ split: seal block by block ─► Held (encrypted, once)
//!                                                     │ window by window, all wanted pieces at once
//!                                                     ▼
//!                                            Ring (a few windows) ─► one transfer per piece
//!   download  one transfer per piece ─► shares by stripe ─► any k of them ─ decode ─ open ─► plain
//! ```

pub(crate) mod download;
pub(crate) mod ring;
pub(crate) mod split;
pub(crate) mod upload;

#[cfg(test)]
mod tests;

use uplink_core::erasure::Scheme;
use uplink_rpc::piece::CHUNK_SIZE;

/// Most bytes of one piece in a window: one message.
const PIECE_WINDOW: u64 = CHUNK_SIZE as u64;
/// Most bytes of stripes in a window, so that a window stays in a core's cache.
const STRIPES_WINDOW: u64 = 512 << 10;

/// Stripes that are coded in one pass: a power of two, as the hash of a piece likes it.
pub(crate) fn window_stripes(scheme: &Scheme) -> u64 {
    let by_piece = PIECE_WINDOW / u64::from(scheme.share_size());
    let by_stripes = STRIPES_WINDOW / u64::from(scheme.stripe_size());
    1 << by_piece.min(by_stripes).max(1).ilog2()
}

/// Bytes of one piece in a window.
fn piece_window(scheme: &Scheme) -> usize {
    usize::try_from(window_stripes(scheme) * u64::from(scheme.share_size())).unwrap_or(usize::MAX)
}

/// Bytes of all stripes of a window.
fn stripes_window(scheme: &Scheme) -> usize {
    piece_window(scheme).saturating_mul(scheme.required().into())
}
