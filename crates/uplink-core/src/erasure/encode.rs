//! From stripes to pieces.

use std::sync::Arc;

use super::{
    field::Interpolation,
    kernel::{Kernel, Matrix},
    scheme::{Code, Scheme},
    toeplitz::Toeplitz,
    window::{Sink, Source, Window},
};

/// Makes pieces of windows of stripes.
///
/// Build one per segment: preparing takes some ten microseconds. Clones share what was prepared.
/// Encoding needs no memory for data of its own, only some kilobytes to note what goes where.
///
/// ```
/// use uplink_core::erasure::Encoder;
///
/// let scheme = "2/2/3/4-8".parse()?;
/// let encoder = Encoder::new(&scheme);
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
    /// Row r makes the parity share `k + r`.
    parity: Arc<Matrix>,
}

impl Encoder {
    /// Prepares encoding with a scheme.
    pub fn new(scheme: &Scheme) -> Self {
        Self::with_code(scheme.code(), scheme.share_size() as usize)
    }

    /// Prepares encoding with a bare code and shares of `share_size` bytes.
    pub fn with_code(code: Code, share_size: usize) -> Self {
        Self::with_kernel(code, share_size, Kernel::fastest())
    }

    /// Prepares encoding as [`Encoder::with_code`], on a given kernel.
    pub fn with_kernel(code: Code, share_size: usize, kernel: Kernel) -> Self {
        let data = Interpolation::new(0..code.required());
        let rows = (code.required()..code.total()).flat_map(|i| data.row(i)).collect();
        let parity = Matrix::new(kernel, code.required().into(), rows);
        let structure = (!kernel.is_portable()).then(|| Toeplitz::new(code)).flatten();
        Self { code, share_size, parity: Arc::new(parity.with_structure(structure)) }
    }

    /// The kernel that does the arithmetic.
    pub fn kernel(&self) -> Kernel {
        self.parity.kernel()
    }

    /// The factors of the k data shares in share `piece`; none for a data share, which is a copy.
    pub fn parity_row(&self, piece: u16) -> Option<&[u8]> {
        self.parity.row(usize::from(piece.checked_sub(self.code.required())?))
    }

    /// Encodes a window for all `wanted` pieces in one pass.
    ///
    /// `stripes` holds whole stripes; `outputs[i]` takes the window of piece `wanted[i]`, one share
    /// for each stripe, and must have exactly that length.
    ///
    /// # Errors
    ///
    /// When a length or a piece number does not fit or a piece is wanted twice; nothing is written
    /// then.
    pub fn encode<B: AsMut<[u8]>>(
        &self,
        stripes: &[u8],
        wanted: &[u16],
        outputs: &mut [B],
    ) -> Result<(), EncodeError> {
        if wanted.len() != outputs.len() {
            let (wanted, outputs) = (wanted.len(), outputs.len());
            return Err(EncodeError::OutputCount { wanted, outputs });
        }
        let window = self.window(stripes)?;
        let mut places: Vec<Option<&mut [u8]>> = Vec::new();
        places.resize_with(self.code.total().into(), || None);
        for (&piece, output) in wanted.iter().zip(outputs) {
            let output = output.as_mut();
            self.check_output(piece, output.len(), window.stripes * self.share_size)?;
            if places[usize::from(piece)].replace(output).is_some() {
                return Err(EncodeError::RepeatedPiece { piece });
            }
        }
        let required = usize::from(self.code.required());
        let parity = places.split_off(required);
        self.copy_shares(stripes, places);
        if window.stripes > 0 && parity.iter().any(Option::is_some) {
            let source = Source::stripes(stripes, required, window);
            self.parity.multiply(window, &source, &mut Sink::Pieces(parity));
        }
        Ok(())
    }

    /// Encodes a window for one piece: for replacements and transfers left behind.
    ///
    /// # Errors
    ///
    /// As [`Encoder::encode`].
    pub fn encode_piece(
        &self,
        stripes: &[u8],
        piece: u16,
        output: &mut [u8],
    ) -> Result<(), EncodeError> {
        self.encode(stripes, &[piece], &mut [output])
    }

    /// Collects the data shares that have a place: stripe by stripe, because memory is read fastest
    /// in its order.
    fn copy_shares(&self, stripes: &[u8], places: Vec<Option<&mut [u8]>>) {
        let mut outputs = Vec::with_capacity(places.len());
        for (number, place) in places.into_iter().enumerate() {
            if let Some(output) = place {
                outputs.push((number * self.share_size, output.chunks_exact_mut(self.share_size)));
            }
        }
        if outputs.is_empty() {
            return;
        }
        for stripe in stripes.chunks_exact(self.stripe_size()) {
            for (from, shares) in &mut outputs {
                if let Some(share) = shares.next() {
                    share.copy_from_slice(&stripe[*from..*from + self.share_size]);
                }
            }
        }
    }

    fn window(&self, stripes: &[u8]) -> Result<Window, EncodeError> {
        let (length, stripe_size) = (stripes.len(), self.stripe_size());
        // Shares without bytes have no stripes either.
        match length.checked_div(stripe_size) {
            Some(stripes) if stripes * stripe_size == length => {
                Ok(Window { share_size: self.share_size, stripes })
            }
            _ => Err(EncodeError::PartialStripe { length, stripe_size }),
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
        usize::from(self.code.required()).saturating_mul(self.share_size)
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder")
            .field("code", &self.code)
            .field("share_size", &self.share_size)
            .field("kernel", &self.kernel())
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
    /// A piece is wanted twice.
    #[error("piece number {piece} is wanted twice")]
    RepeatedPiece {
        /// The piece number.
        piece: u16,
    },
}
