//! Decoding: restores stripes from any k pieces.

use super::field::Interpolation;
use super::kernel::{Kernel, Matrix};
use super::scheme::{Code, Scheme};
use super::window::{Copied, Sink, Source, Window};

/// Restores windows of stripes from the same windows of k given pieces.
///
/// Construction costs about k² field operations, once for each set of pieces. Corrupt shares are not
/// detected: the caller must authenticate the output.
pub struct Decoder {
    code: Code,
    share_size: usize,
    pieces: Vec<u16>,
    /// Data shares that are not among the pieces.
    missing: Vec<usize>,
    /// One row for each missing data share.
    matrix: Matrix,
    /// Pieces that are data shares.
    present: Vec<Copied>,
}

impl Decoder {
    /// Creates a decoder for `pieces`: exactly k distinct numbers, in any order.
    ///
    /// # Errors
    ///
    /// When the number of pieces is not k, a number is not below the total, or one occurs twice.
    pub fn new(scheme: &Scheme, pieces: &[u16]) -> Result<Self, DecodeError> {
        Self::with_code(scheme.code(), scheme.share_size() as usize, pieces)
    }

    /// Creates a decoder for a bare code and shares of `share_size` bytes.
    ///
    /// # Errors
    ///
    /// Same as [`Decoder::new`].
    pub fn with_code(code: Code, share_size: usize, pieces: &[u16]) -> Result<Self, DecodeError> {
        Self::with_kernel(code, share_size, pieces, Kernel::fastest())
    }

    /// Creates a decoder like [`Decoder::with_code`] that uses a given kernel.
    ///
    /// # Errors
    ///
    /// Same as [`Decoder::new`].
    pub fn with_kernel(
        code: Code,
        share_size: usize,
        pieces: &[u16],
        kernel: Kernel,
    ) -> Result<Self, DecodeError> {
        let required = code.required();
        if pieces.len() != usize::from(required) {
            return Err(DecodeError::PieceCount { given: pieces.len(), required });
        }
        for (i, &piece) in pieces.iter().enumerate() {
            if piece >= code.total() {
                return Err(DecodeError::PieceNumber { piece, total: code.total() });
            }
            if pieces[..i].contains(&piece) {
                return Err(DecodeError::RepeatedPiece { piece });
            }
        }
        let given = Interpolation::new(pieces.iter().copied());
        let missing: Vec<u16> = (0..required).filter(|data| !pieces.contains(data)).collect();
        let rows = missing.iter().flat_map(|&data| given.row(data)).collect();
        let numbers = pieces.iter().copied().map(usize::from).enumerate();
        let present = numbers.filter(|(_, number)| *number < usize::from(required));
        Ok(Self {
            code,
            share_size,
            pieces: pieces.to_vec(),
            missing: missing.into_iter().map(usize::from).collect(),
            matrix: Matrix::new(kernel, required.into(), rows),
            present: present.map(|(column, number)| Copied { column, number }).collect(),
        })
    }

    /// Returns the piece numbers in the order in which their shares are expected.
    pub fn pieces(&self) -> &[u16] {
        &self.pieces
    }

    /// Decodes a window.
    ///
    /// `shares[i]` is the window of piece `pieces()[i]`: whole shares, all of the same length.
    /// `stripes` must have exactly the length of that many stripes.
    ///
    /// # Errors
    ///
    /// When a length does not match; nothing is written then.
    pub fn decode<S: AsRef<[u8]>>(
        &self,
        shares: &[S],
        stripes: &mut [u8],
    ) -> Result<(), DecodeError> {
        let run_size = self.run_size(shares)?;
        let expected = run_size.saturating_mul(usize::from(self.code.required()));
        if stripes.len() != expected {
            return Err(DecodeError::OutputLength { length: stripes.len(), expected });
        }
        let stripe_size = usize::from(self.code.required()) * self.share_size;
        let window = Window { share_size: self.share_size, stripes: run_size / self.share_size };
        let mut sink =
            Sink::Stripes { stripes, stripe_size, numbers: &self.missing, copies: &self.present };
        self.matrix.multiply(window, &Source::pieces(shares, window), &mut sink);
        Ok(())
    }

    /// Returns the common length of all shares.
    fn run_size<S: AsRef<[u8]>>(&self, shares: &[S]) -> Result<usize, DecodeError> {
        if shares.len() != self.pieces.len() {
            let required = self.code.required();
            return Err(DecodeError::PieceCount { given: shares.len(), required });
        }
        let expected = shares.first().map_or(0, |first| first.as_ref().len());
        for (&piece, share) in self.pieces.iter().zip(shares) {
            let length = share.as_ref().len();
            if length != expected {
                return Err(DecodeError::ShareLength { piece, length, expected });
            }
        }
        if self.share_size == 0 || !expected.is_multiple_of(self.share_size) {
            return Err(DecodeError::PartialShare {
                length: expected,
                share_size: self.share_size,
            });
        }
        Ok(expected)
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder")
            .field("code", &self.code)
            .field("share_size", &self.share_size)
            .field("pieces", &self.pieces)
            .field("kernel", &self.matrix.kernel())
            .finish_non_exhaustive()
    }
}

/// Why a window was not decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The output buffer has the wrong length.
    #[error("buffer for stripes has {length} bytes, expected {expected}")]
    OutputLength {
        /// Length of the buffer.
        length: usize,
        /// Length of the window.
        expected: usize,
    },
    /// A window of a piece ends within a share.
    #[error("{length} bytes are not a multiple of the share size {share_size}")]
    PartialShare {
        /// Length of the window of each piece.
        length: usize,
        /// Length of a share.
        share_size: usize,
    },
    /// The number of given pieces is wrong.
    #[error("{given} pieces given, {required} required")]
    PieceCount {
        /// Given pieces.
        given: usize,
        /// Required pieces.
        required: u16,
    },
    /// The piece number is not below the code's total.
    #[error("invalid piece number {piece}: the code has {total} pieces")]
    PieceNumber {
        /// The piece number.
        piece: u16,
        /// Pieces of the code.
        total: u16,
    },
    /// A piece is given twice.
    #[error("piece number {piece} is given twice")]
    RepeatedPiece {
        /// The piece number.
        piece: u16,
    },
    /// The windows of the pieces have different lengths.
    #[error("window of piece {piece} has {length} bytes, expected {expected}")]
    ShareLength {
        /// The piece number.
        piece: u16,
        /// Its length.
        length: usize,
        /// The length of the first.
        expected: usize,
    },
}
