//! The inner loops of the code. Faster kernels belong behind these signatures.

use reed_solomon_erasure::galois_8::{mul_slice, mul_slice_xor};

/// Sets `out` to the sum of `factors[j] · runs[j]`, byte by byte.
///
/// Every run is as long as `out`; there is at least one.
pub(super) fn combine<'a>(
    factors: &[u8],
    runs: impl IntoIterator<Item = &'a [u8]>,
    out: &mut [u8],
) {
    let mut first = true;
    for (&factor, run) in factors.iter().zip(runs) {
        if first {
            mul_slice(factor, run, out);
            first = false;
        } else if factor != 0 {
            mul_slice_xor(factor, run, out);
        }
    }
}

/// Collects share `number` of each stripe of a window into one run.
///
/// `stripes` holds whole stripes of `stripe_size` bytes; `run` has room for one share of each.
pub(super) fn gather(
    stripes: &[u8],
    stripe_size: usize,
    share_size: usize,
    number: usize,
    run: &mut [u8],
) {
    let start = number * share_size;
    for (stripe, share) in stripes.chunks_exact(stripe_size).zip(run.chunks_exact_mut(share_size)) {
        share.copy_from_slice(&stripe[start..start + share_size]);
    }
}

/// Spreads a run of shares over the stripes of a window: the inverse of [`gather`].
pub(super) fn scatter(
    run: &[u8],
    stripe_size: usize,
    share_size: usize,
    number: usize,
    stripes: &mut [u8],
) {
    let start = number * share_size;
    for (stripe, share) in stripes.chunks_exact_mut(stripe_size).zip(run.chunks_exact(share_size)) {
        stripe[start..start + share_size].copy_from_slice(share);
    }
}
