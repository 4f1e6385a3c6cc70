//! The arithmetic of the code: a matrix times the shares of a window, all rows in one pass.
//!
//! Encoding multiplies the data shares by the rows of the wanted pieces, decoding the given shares
//! by the rows of the missing ones. Coding piece by piece over a long buffer is bound by memory and
//! up to ten times slower than all rows over one window.

use std::fmt;

use reed_solomon_erasure::galois_8::{mul_slice, mul_slice_xor};

#[cfg(target_arch = "x86_64")]
use super::simd;
use super::toeplitz::Toeplitz;
use super::window::{Instructions, Sink, Source, Window};

/// Processor instructions that the code's arithmetic runs on.
///
/// Values exist only for instructions that this processor has. [`Encoder`](super::Encoder) and
/// [`Decoder`](super::Decoder) take the fastest unless told otherwise; results are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kernel(Instructions);

impl Kernel {
    /// Returns the fastest kernel of this processor.
    pub fn fastest() -> Self {
        Self::available().pop().unwrap_or(Self(Instructions::Portable))
    }

    /// Returns every kernel that this processor can run, the slowest first.
    pub fn available() -> Vec<Self> {
        #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut))]
        let mut all = vec![Instructions::Portable];
        #[cfg(target_arch = "x86_64")]
        all.extend(simd::detected());
        all.into_iter().map(Self).collect()
    }

    /// Returns whether this is the kernel without processor-specific instructions.
    pub fn is_portable(&self) -> bool {
        self.0 == Instructions::Portable
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Instructions::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2Gfni => "AVX2+GFNI",
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512Gfni => "AVX-512+GFNI",
        })
    }
}

/// The factors of some rows, prepared for a kernel.
pub(super) struct Matrix {
    kernel: Kernel,
    columns: usize,
    /// Row by row.
    factors: Vec<u8>,
    /// The same in the form that the kernel multiplies by.
    #[cfg(target_arch = "x86_64")]
    table: Vec<u64>,
    /// A cheaper way to the same products, where the matrix is that of the code itself.
    #[cfg(target_arch = "x86_64")]
    toeplitz: Option<simd::Stacks>,
}

impl Matrix {
    /// Prepares rows of `columns` factors each, at least one, for a kernel.
    pub(super) fn new(kernel: Kernel, columns: usize, factors: Vec<u8>) -> Self {
        Self {
            kernel,
            columns,
            #[cfg(target_arch = "x86_64")]
            table: simd::table(kernel.0, &factors),
            #[cfg(target_arch = "x86_64")]
            toeplitz: None,
            factors,
        }
    }

    /// Lets the kernel use the structure of these rows; ignored by the portable kernel.
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables))]
    pub(super) fn with_structure(self, structure: Option<Toeplitz>) -> Self {
        #[cfg(target_arch = "x86_64")]
        let toeplitz = structure.map(|structure| simd::Stacks::new(self.kernel.0, &structure));
        Self {
            #[cfg(target_arch = "x86_64")]
            toeplitz,
            ..self
        }
    }

    pub(super) fn kernel(&self) -> Kernel {
        self.kernel
    }

    pub(super) fn row(&self, number: usize) -> Option<&[u8]> {
        self.factors.chunks_exact(self.columns).nth(number)
    }

    /// Sets every wanted row of `sink` to its product with `source`.
    ///
    /// `source` has one run for each column and `sink` one place for each row. Shares that `sink`
    /// wants as they are get there on the way.
    pub(super) fn multiply(&self, window: Window, source: &Source<'_>, sink: &mut Sink<'_>) {
        if window.stripes == 0 {
            return;
        }
        #[cfg(target_arch = "x86_64")]
        let done = simd::multiply(
            self.kernel.0,
            &self.table,
            self.toeplitz.as_ref(),
            window,
            source,
            sink,
        );
        #[cfg(not(target_arch = "x86_64"))]
        let done = 0;
        if done < window.share_size {
            copy_rest(window, done, source, sink);
            self.multiply_rest(window, done, source, sink);
        }
    }

    /// Sets `out` to the product of the only row with `runs`, each as long as `out`.
    pub(super) fn combine(&self, runs: &[&[u8]], out: &mut [u8]) {
        let window = Window { share_size: out.len(), stripes: 1 };
        let mut sink = Sink::Pieces(vec![Some(out)]);
        self.multiply(window, &Source::pieces(runs, window), &mut sink);
    }

    /// The portable kernel, for what is left of each share from byte `from` on.
    fn multiply_rest(&self, window: Window, from: usize, source: &Source<'_>, sink: &mut Sink<'_>) {
        for (row, factors) in self.factors.chunks_exact(self.columns).enumerate() {
            for stripe in 0..window.stripes {
                let Some(out) = sink.share_mut(window, row, stripe) else { break };
                let out = &mut out[from..];
                for (column, &factor) in factors.iter().enumerate() {
                    let share = &source.share(window, column, stripe)[from..];
                    match column {
                        0 => mul_slice(factor, share, out),
                        _ if factor == 0 => {}
                        _ => mul_slice_xor(factor, share, out),
                    }
                }
            }
        }
    }
}

/// Copies what is left of each share that is wanted as it is, from byte `from` on. Stripe by
/// stripe: writing in order is quicker than reading in order.
fn copy_rest(window: Window, from: usize, source: &Source<'_>, sink: &mut Sink<'_>) {
    let Sink::Stripes { stripes, stripe_size, copies, .. } = sink else { return };
    let size = window.share_size;
    for (number, stripe) in stripes.chunks_exact_mut(*stripe_size).enumerate() {
        for copy in copies.iter() {
            let share = source.share(window, copy.column, number);
            stripe[copy.number * size..][from..size].copy_from_slice(&share[from..]);
        }
    }
}
