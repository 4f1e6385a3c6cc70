//! From stripes to pieces.

use std::sync::Arc;

use super::{
    field::Interpolation,
    kernel,
    scheme::{Code, Scheme},
};

/// Makes pieces of windows of stripes.
///
/// Build one per segment. Clones share the code's matrix; each keeps scratch space as large as the
/// largest window it has seen, so that no call allocates after the first.
///
/// ```
/// use uplink_core::erasure::Encoder;
///
/// let scheme = "2/2/3/4-8".parse()?;
/// let mut encoder = Encoder::new(&scheme);
/// let stripe = *b"sixteen bytes!!!";
/// let mut pieces = [[0; 8]; 2];
/// encoder.encode(&stripe, &[0, 3], &mut pieces)?;
/// assert_eq!(&pieces[0], b"sixteen ");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Encoder {
    code: Code,
    share_size: usize,
    /// Row r, k bytes each, of the parity share `k + r`.
    parity_rows: Arc<[u8]>,
    /// The k data runs of a window, one after the other.
    runs: Vec<u8>,
}

impl Encoder {
    /// Prepares encoding with a scheme.
    pub fn new(scheme: &Scheme) -> Self {
        Self::with_code(scheme.code(), scheme.share_size() as usize)
    }

    /// Prepares encoding with a bare code and shares of `share_size` bytes.
    pub fn with_code(code: Code, share_size: usize) -> Self {
        let data = Interpolation::new(0..code.required());
        let parity_rows = (code.required()..code.total()).flat_map(|i| data.row(i)).collect();
        Self { code, share_size, parity_rows, runs: Vec::new() }
    }

    /// The factors of the k data shares in share `piece`; none for a data share, which is a copy.
    pub fn parity_row(&self, piece: u16) -> Option<&[u8]> {
        let k = usize::from(self.code.required());
        let row = usize::from(piece.checked_sub(self.code.required())?);
        self.parity_rows.chunks_exact(k).nth(row)
    }

    /// Encodes a window for all `wanted` pieces in one pass.
    ///
    /// `stripes` holds whole stripes; `outputs[i]` takes the window of piece `wanted[i]`, one share
    /// for each stripe, and must have exactly that length.
    ///
    /// # Errors
    ///
    /// When a length or a piece number does not fit; nothing is written then.
    pub fn encode<B: AsMut<[u8]>>(
        &mut self,
        stripes: &[u8],
        wanted: &[u16],
        outputs: &mut [B],
    ) -> Result<(), EncodeError> {
        if wanted.len() != outputs.len() {
            let (wanted, outputs) = (wanted.len(), outputs.len());
            return Err(EncodeError::OutputCount { wanted, outputs });
        }
        let run_size = self.run_size(stripes)?;
        for (&piece, output) in wanted.iter().zip(&mut *outputs) {
            self.check_output(piece, output.as_mut().len(), run_size)?;
        }
        if run_size == 0 {
            return Ok(());
        }
        let parity = wanted.iter().any(|&piece| piece >= self.code.required());
        if parity {
            self.gather_all(stripes, run_size);
        }
        for (&piece, output) in wanted.iter().zip(outputs) {
            self.write_piece(stripes, piece, output.as_mut());
        }
        Ok(())
    }

    /// Encodes a window for one piece: for replacements and transfers left behind.
    ///
    /// # Errors
    ///
    /// As [`Encoder::encode`].
    pub fn encode_piece(
        &mut self,
        stripes: &[u8],
        piece: u16,
        output: &mut [u8],
    ) -> Result<(), EncodeError> {
        self.encode(stripes, &[piece], &mut [output])
    }

    /// Writes one piece; its parity is computed from runs gathered before.
    fn write_piece(&self, stripes: &[u8], piece: u16, output: &mut [u8]) {
        if let Some(row) = self.parity_row(piece) {
            let runs = self.runs.chunks_exact(output.len());
            kernel::combine(row, runs, output);
        } else {
            let number = usize::from(piece);
            kernel::gather(stripes, self.stripe_size(), self.share_size, number, output);
        }
    }

    fn gather_all(&mut self, stripes: &[u8], run_size: usize) {
        let (stripe_size, share_size) = (self.stripe_size(), self.share_size);
        self.runs.resize(stripes.len(), 0);
        for (number, run) in self.runs.chunks_exact_mut(run_size).enumerate() {
            kernel::gather(stripes, stripe_size, share_size, number, run);
        }
    }

    /// Bytes of the window of one piece.
    fn run_size(&self, stripes: &[u8]) -> Result<usize, EncodeError> {
        let chunks = stripes.chunks_exact(self.stripe_size());
        if chunks.remainder().is_empty() {
            Ok(chunks.len() * self.share_size)
        } else {
            Err(EncodeError::PartialStripe {
                length: stripes.len(),
                stripe_size: self.stripe_size(),
            })
        }
    }

    fn check_output(&self, piece: u16, length: usize, expected: usize) -> Result<(), EncodeError> {
        let total = self.code.total();
        if piece >= total {
            return Err(EncodeError::PieceNumber { piece, total });
        }
        if length != expected {
            return Err(EncodeError::OutputLength { piece, length, expected });
        }
        Ok(())
    }

    fn stripe_size(&self) -> usize {
        usize::from(self.code.required()) * self.share_size
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder")
            .field("code", &self.code)
            .field("share_size", &self.share_size)
            .finish_non_exhaustive()
    }
}

/// Why a window was not encoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// There are more or fewer buffers than wanted pieces.
    #[error("{outputs} buffers for {wanted} wanted pieces")]
    OutputCount {
        /// Wanted pieces.
        wanted: usize,
        /// Buffers.
        outputs: usize,
    },
    /// A buffer has not the length of the window of one piece.
    #[error("buffer of piece {piece} has {length} bytes instead of {expected}")]
    OutputLength {
        /// The piece number.
        piece: u16,
        /// Length of the buffer.
        length: usize,
        /// One share for each stripe.
        expected: usize,
    },
    /// The window ends within a stripe.
    #[error("{length} bytes are not a whole number of stripes of {stripe_size} bytes")]
    PartialStripe {
        /// Length of the window.
        length: usize,
        /// Length of a stripe.
        stripe_size: usize,
    },
    /// The code has no such piece.
    #[error("piece number {piece} of a code with {total} pieces")]
    PieceNumber {
        /// The piece number.
        piece: u16,
        /// Pieces of the code.
        total: u16,
    },
}
