//! The arithmetic of the code: a matrix times the shares of a window, all rows in one pass.
//!
//! Encoding multiplies the data shares by the rows of the wanted pieces, decoding the given shares
//! by the rows of the missing ones. Coding piece by piece over a long buffer is memory-bound and up
//! to ten times slower than all rows over one window.

use std::fmt;

use reed_solomon_erasure::galois_8::{mul_slice, mul_slice_xor};

#[cfg(target_arch = "x86_64")]
use super::simd;
use super::toeplitz::Toeplitz;
use super::window::{Instructions, Sink, Source, Window};

/// Processor instructions used for the code's arithmetic.
///
/// Values exist only for instructions that this processor supports. [`Encoder`](super::Encoder) and
/// [`Decoder`](super::Decoder) use the fastest by default; all kernels give the same results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kernel(Instructions);

impl Kernel {
    /// Returns the fastest kernel of this processor.
    pub fn fastest() -> Self {
        Self::available().pop().unwrap_or(Self(Instructions::Portable))
    }

    /// Returns all kernels that this processor supports, the slowest first.
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

/// The factors of some rows, with the tables of a kernel.
pub(super) struct Matrix {
    kernel: Kernel,
    columns: usize,
    /// Row-major.
    factors: Vec<u8>,
    /// The factors in the kernel's representation.
    #[cfg(target_arch = "x86_64")]
    table: Vec<u64>,
    /// A cheaper form of the same products, if the matrix is that of the code itself.
    #[cfg(target_arch = "x86_64")]
    toeplitz: Option<simd::Stacks>,
}

impl Matrix {
    /// Creates a matrix of rows of `columns` factors each, at least one, for a kernel.
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

    /// Adds a cheaper form of these rows; the portable kernel ignores it.
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
    /// `source` has one run for each column and `sink` one output for each row. Shares that `sink`
    /// only copies are copied in the same pass.
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

    /// The portable kernel, for the remainder of each share from byte `from`.
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

/// Copies the remainder of each copied share from byte `from`, stripe by stripe: sequential writes
/// matter more than sequential reads.
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
