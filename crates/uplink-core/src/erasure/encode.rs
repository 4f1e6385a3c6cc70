//! Encoding: computes pieces from stripes.

use std::sync::Arc;

use super::field::Interpolation;
use super::kernel::{Kernel, Matrix};
use super::scheme::{Code, Scheme};
use super::toeplitz::Toeplitz;
use super::window::{Sink, Source, Window};

/// Encodes windows of stripes into pieces.
///
/// Create one per segment: construction takes tens of microseconds, and clones share the tables.
/// Encoding writes to the caller's buffers and allocates only a few kilobytes of bookkeeping.
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
    /// Row r computes parity share `k + r`.
    parity: Arc<Matrix>,
}

impl Encoder {
    /// Creates an encoder for a scheme.
    pub fn new(scheme: &Scheme) -> Self {
        Self::with_code(scheme.code(), scheme.share_size() as usize)
    }

    /// Creates an encoder for a bare code and shares of `share_size` bytes.
    pub fn with_code(code: Code, share_size: usize) -> Self {
        Self::with_kernel(code, share_size, Kernel::fastest())
    }

    /// Creates an encoder like [`Encoder::with_code`] that uses a given kernel.
    pub fn with_kernel(code: Code, share_size: usize, kernel: Kernel) -> Self {
        let data = Interpolation::new(0..code.required());
        let rows = (code.required()..code.total()).flat_map(|i| data.row(i)).collect();
        let parity = Matrix::new(kernel, code.required().into(), rows);
        let structure = (!kernel.is_portable()).then(|| Toeplitz::new(code)).flatten();
        Self { code, share_size, parity: Arc::new(parity.with_structure(structure)) }
    }

    /// Returns the kernel in use.
    pub fn kernel(&self) -> Kernel {
        self.parity.kernel()
    }

    /// Returns the factors of the k data shares in parity share `piece`; `None` for a data share.
    pub fn parity_row(&self, piece: u16) -> Option<&[u8]> {
        self.parity.row(usize::from(piece.checked_sub(self.code.required())?))
    }

    /// Encodes a window for all `wanted` pieces in one pass.
    ///
    /// `stripes` holds whole stripes. `outputs[i]` receives the window of piece `wanted[i]` and must
    /// have exactly the length of one share per stripe.
    ///
    /// # Errors
    ///
    /// When a length or a piece number is invalid or a piece is requested twice; nothing is written
    /// then.
    pub fn encode<B: AsMut<[u8]>>(
        &self,
        stripes: &[u8],
        wanted: &[u16],
        outputs: &mut [B],
    ) -> Result<(), EncodeError> {
        if wanted.len() != outputs.len() {
            return Err(EncodeError::OutputCount { wanted: wanted.len(), outputs: outputs.len() });
        }
        let window = self.window(stripes)?;
        let mut by_piece: Vec<Option<&mut [u8]>> = Vec::new();
        by_piece.resize_with(self.code.total().into(), || None);
        for (&piece, output) in wanted.iter().zip(outputs) {
            let output = output.as_mut();
            self.check_output(piece, output.len(), window.stripes * self.share_size)?;
            if by_piece[usize::from(piece)].replace(output).is_some() {
                return Err(EncodeError::RepeatedPiece { piece });
            }
        }

        let required = usize::from(self.code.required());
        let parity = by_piece.split_off(required);
        self.copy_shares(stripes, by_piece);
        if window.stripes > 0 && parity.iter().any(Option::is_some) {
            let source = Source::stripes(stripes, required, window);
            self.parity.multiply(window, &source, &mut Sink::Pieces(parity));
        }
        Ok(())
    }

    /// Encodes a window for one piece, for replacements and transfers that lag behind.
    ///
    /// # Errors
    ///
    /// Same as [`Encoder::encode`].
    pub fn encode_piece(
        &self,
        stripes: &[u8],
        piece: u16,
        output: &mut [u8],
    ) -> Result<(), EncodeError> {
        self.encode(stripes, &[piece], &mut [output])
    }

    /// Copies the wanted data shares, stripe by stripe, because sequential reads are fastest.
    fn copy_shares(&self, stripes: &[u8], data: Vec<Option<&mut [u8]>>) {
        let mut outputs = Vec::with_capacity(data.len());
        for (number, output) in data.into_iter().enumerate() {
            if let Some(output) = output {
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
        let length = stripes.len();
        let stripe_size = self.stripe_size();
        // A share size of zero is an error too.
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
    /// The number of buffers differs from the number of requested pieces.
    #[error("{outputs} buffers given for {wanted} pieces")]
    OutputCount {
        /// Requested pieces.
        wanted: usize,
        /// Buffers.
        outputs: usize,
    },
    /// A buffer has the wrong length.
    #[error("buffer of piece {piece} has {length} bytes, expected {expected}")]
    OutputLength {
        /// The piece number.
        piece: u16,
        /// Length of the buffer.
        length: usize,
        /// Expected length: one share per stripe.
        expected: usize,
    },
    /// The window ends within a stripe.
    #[error("{length} bytes are not a multiple of the stripe size {stripe_size}")]
    PartialStripe {
        /// Length of the window.
        length: usize,
        /// Length of a stripe.
        stripe_size: usize,
    },
    /// The piece number is not below the code's total.
    #[error("invalid piece number {piece}: the code has {total} pieces")]
    PieceNumber {
        /// The piece number.
        piece: u16,
        /// Pieces of the code.
        total: u16,
    },
    /// A piece is requested twice.
    #[error("piece number {piece} is requested twice")]
    RepeatedPiece {
        /// The piece number.
        piece: u16,
    },
}
