//! Windows of shares: input and output buffers, and instruction sets.

/// Processor instruction sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Instructions {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx2Gfni,
    #[cfg(target_arch = "x86_64")]
    Avx512Gfni,
}

/// The dimensions of a window: one share per stripe.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub(super) share_size: usize,
    pub(super) stripes: usize,
}

/// Input shares of a window: one run for each column.
pub(super) struct Source<'a> {
    runs: Vec<&'a [u8]>,
    /// Bytes from a share to that of the next stripe.
    step: usize,
}

impl<'a> Source<'a> {
    /// The `columns` data shares of whole stripes.
    pub(super) fn stripes(stripes: &'a [u8], columns: usize, window: Window) -> Self {
        let step = columns * window.share_size;
        let runs = (0..columns).map(|column| &stripes[column * window.share_size..]).collect();
        Self { runs, step }
    }

    /// Windows of pieces.
    pub(super) fn pieces<S: AsRef<[u8]>>(pieces: &'a [S], window: Window) -> Self {
        Self { runs: pieces.iter().map(S::as_ref).collect(), step: window.share_size }
    }

    pub(super) fn runs(&self) -> (&[&'a [u8]], usize) {
        (&self.runs, self.step)
    }

    pub(super) fn share(&self, window: Window, column: usize, stripe: usize) -> &'a [u8] {
        &self.runs[column][stripe * self.step..][..window.share_size]
    }
}

/// Output buffers; rows without a buffer are not computed.
pub(super) enum Sink<'a> {
    /// Windows of pieces.
    Pieces(Vec<Option<&'a mut [u8]>>),
    /// Data shares, by number, of whole stripes; some are only copied.
    Stripes {
        stripes: &'a mut [u8],
        stripe_size: usize,
        numbers: &'a [usize],
        copies: &'a [Copied],
    },
}

/// A column of the source that is a data share and is copied to the output.
#[derive(Clone, Copy)]
pub(super) struct Copied {
    pub(super) column: usize,
    pub(super) number: usize,
}

impl Sink<'_> {
    pub(super) fn share_mut(
        &mut self,
        window: Window,
        row: usize,
        stripe: usize,
    ) -> Option<&mut [u8]> {
        let size = window.share_size;
        Some(match self {
            Self::Pieces(pieces) => &mut pieces.get_mut(row)?.as_mut()?[stripe * size..][..size],
            Self::Stripes { stripes, stripe_size, numbers, .. } => {
                &mut stripes[stripe * *stripe_size + numbers.get(row)? * size..][..size]
            }
        })
    }
}
