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

/// Most bytes of one piece in a window: a good message size.
const PIECE_WINDOW: u64 = 64 << 10;
/// Most bytes of stripes in a window, so that a window stays in a core's cache.
const STRIPES_WINDOW: u64 = 512 << 10;

/// Stripes that are coded in one pass.
pub(crate) fn window_stripes(scheme: &Scheme) -> u64 {
    let by_piece = PIECE_WINDOW / u64::from(scheme.share_size());
    let by_stripes = STRIPES_WINDOW / u64::from(scheme.stripe_size());
    by_piece.min(by_stripes).max(1)
}
