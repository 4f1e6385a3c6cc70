//! Windows: the stripes of a segment that are coded in one pass.

use uplink_core::erasure::Scheme;
use uplink_rpc::piece::CHUNK_SIZE;

/// Maximum bytes of one piece in a window: one message.
const PIECE_WINDOW: u64 = CHUNK_SIZE as u64;
/// Maximum bytes of stripes in a window, so that it stays in a core's cache.
const STRIPES_WINDOW: u64 = 512 << 10;

/// Returns the stripes of a window: a power of two, because BLAKE3 is fastest on power-of-two inputs.
pub(crate) fn stripes_per_window(scheme: &Scheme) -> u64 {
    let by_piece = PIECE_WINDOW / u64::from(scheme.share_size());
    let by_stripes = STRIPES_WINDOW / u64::from(scheme.stripe_size());
    1 << by_piece.min(by_stripes).max(1).ilog2()
}

/// Returns the bytes of one piece in a window.
pub(crate) fn piece_window_size(scheme: &Scheme) -> usize {
    usize::try_from(stripes_per_window(scheme) * u64::from(scheme.share_size()))
        .unwrap_or(usize::MAX)
}

/// Returns the bytes of all stripes of a window.
pub(crate) fn window_size(scheme: &Scheme) -> usize {
    piece_window_size(scheme).saturating_mul(scheme.required().into())
}
