//! Decoding from more than k pieces, some of them corrupt.
//!
//! k of the pieces, the *base*, determine the shares of all others. In each byte column there is at
//! most one polynomial of degree below k from which no more than e = ⌊(r − k) / 2⌋ of the r given
//! shares differ: two of them would agree with each other at r − 2e ≥ k points. A base is therefore
//! correct wherever at most e of the other shares differ from its prediction, and those that differ
//! are corrupt.
//!
//! ```text
//! base 0 2 3   predicts pieces 5 6 8 9   in columns 0 1 2 3 4 …
//!                             differ                - - - ^ -      piece 6: corrupt in column 3
//! ```
//!
//! Where more than e differ, the base itself is corrupt: [`Locator`] solves that one column, and the
//! pieces it finds are removed from the base. Corrupt bytes nearly always belong to a few pieces, so
//! one or two columns are solved and the others only compared.
//!
//! A base serves a *run* of columns. Corrupt bytes may be scattered over so many pieces that no k
//! pieces are correct in all columns. The columns compared so far then form a complete run, and the
//! next run starts with a base that excludes only the pieces found in its own columns.

mod locate;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ops::Range;

use self::locate::Locator;
use super::decode::{DecodeError, Decoder};
use super::field::Interpolation;
use super::kernel::{Kernel, Matrix};
use super::scheme::{Code, Scheme};

/// Restores windows of stripes from the same windows of k or more given pieces, and reports corrupt
/// pieces.
///
/// With r pieces, up to ⌊(r − k) / 2⌋ corrupt bytes in each byte column are corrected, even if they
/// belong to different pieces in each column. With k pieces corruption is undetected, as with a
/// [`Decoder`]. With k + 1 pieces it is detected but not corrected. If more bytes of a column are
/// corrupt than can be corrected, the result may be an error or wrong stripes, as with any such code:
/// the caller must authenticate the output.
///
/// Construction costs about r · k field operations, once for each set of pieces. Finding corrupt
/// pieces repeats it, at most r − k times per window plus eight times per stripe.
pub struct Corrector {
    code: Code,
    share_size: usize,
    pieces: Vec<u16>,
    locator: Locator,
    base: Base,
    /// The base's prediction for one piece.
    predicted: Vec<u8>,
    /// By column: how many pieces differ from the base's prediction.
    mismatches: Vec<u8>,
}

/// Maximum base changes per stripe, in addition to r − k per window: bounds the CPU time that
/// colluding nodes can cause. Bit rot needs at most one change for each corrupt byte.
const BASES_PER_STRIPE: usize = 8;

/// Consecutive columns in which all pieces of one base are correct.
struct Run {
    columns: Range<usize>,
    base: Base,
}

/// The k pieces from which stripes are restored, and the factors that predict the others.
struct Base {
    decoder: Decoder,
    /// Indexes of the decoder's pieces among all given ones.
    indexes: Vec<usize>,
    /// Indexes of all other pieces, each with its row of factors.
    others: Vec<(usize, Matrix)>,
}

impl Corrector {
    /// Creates a corrector for `pieces`: k or more distinct numbers, in any order.
    ///
    /// # Errors
    ///
    /// When there are fewer than k pieces, a number is not below the total, or one occurs twice.
    pub fn new(scheme: &Scheme, pieces: &[u16]) -> Result<Self, DecodeError> {
        Self::with_code(scheme.code(), scheme.share_size() as usize, pieces)
    }

    /// Creates a corrector for a bare code and shares of `share_size` bytes.
    ///
    /// # Errors
    ///
    /// Same as [`Corrector::new`].
    pub fn with_code(code: Code, share_size: usize, pieces: &[u16]) -> Result<Self, DecodeError> {
        let required = code.required();
        if pieces.len() < usize::from(required) {
            return Err(DecodeError::PieceCount { given: pieces.len(), required });
        }
        let mut seen = BTreeSet::new();
        for &piece in pieces {
            if piece >= code.total() {
                return Err(DecodeError::PieceNumber { piece, total: code.total() });
            }
            if !seen.insert(piece) {
                return Err(DecodeError::RepeatedPiece { piece });
            }
        }
        Ok(Self {
            code,
            share_size,
            pieces: pieces.to_vec(),
            locator: Locator::new(pieces, required),
            base: Base::new(code, share_size, pieces, &BTreeSet::new())?,
            predicted: Vec::new(),
            mismatches: Vec::new(),
        })
    }

    /// Returns the piece numbers in the order in which their shares are expected.
    pub fn pieces(&self) -> &[u16] {
        &self.pieces
    }

    /// Returns the number of corrupt bytes that can be corrected in each byte column.
    pub fn correctable(&self) -> usize {
        (self.pieces.len() - usize::from(self.code.required())) / 2
    }

    /// Decodes a window and returns the numbers of the pieces with corrupt bytes in it.
    ///
    /// `shares[i]` is the window of piece `pieces()[i]`: whole shares, all of the same length.
    /// `stripes` must have exactly the length of that many stripes.
    ///
    /// # Errors
    ///
    /// When a length does not match, more bytes of one column are corrupt than
    /// [`correctable`](Self::correctable), or the corrupt pieces differ between columns so often that
    /// the number of base changes exceeds its limit. Nothing is written then.
    pub fn correct<S: AsRef<[u8]>>(
        &mut self,
        shares: &[S],
        stripes: &mut [u8],
    ) -> Result<BTreeSet<u16>, CorrectError> {
        let shares: Vec<&[u8]> = shares.iter().map(S::as_ref).collect();
        let run_size = self.run_size(&shares, stripes.len())?;
        let (runs, corrupt) = self.runs(&shares, run_size)?;
        let end = runs.last().map_or(0, |run| run.columns.end);
        if runs.is_empty() {
            self.base.decoder.decode(&self.base.pick(&shares), stripes)?;
        } else {
            for run in &runs {
                self.decode_run(&run.base, run.columns.clone(), &shares, stripes)?;
            }
            self.decode_run(&self.base, end..run_size, &shares, stripes)?;
        }
        Ok(corrupt.into_iter().map(|index| self.pieces[index]).collect())
    }

    /// Divides the columns into runs and finds the indexes of all corrupt pieces. The last run is not
    /// returned: it uses `self.base`, which is kept for the next window.
    fn runs(
        &mut self,
        shares: &[&[u8]],
        run_size: usize,
    ) -> Result<(Vec<Run>, BTreeSet<usize>), CorrectError> {
        let spare = self.base.others.len();
        let mut bases_left = spare.saturating_add(BASES_PER_STRIPE * (run_size / self.share_size));
        let mut runs = Vec::new();
        let mut all_corrupt = BTreeSet::new();
        let mut run_start = 0;
        let mut from = 0;
        // Pieces that are corrupt in the current run. The base contains none of them.
        let mut corrupt = BTreeSet::new();
        // Each mismatching column removes at least one piece from the base.
        while let Some(column) = self.compare(shares, from..run_size, &mut corrupt) {
            bases_left = bases_left.checked_sub(1).ok_or_else(|| self.too_many())?;
            let found: BTreeSet<usize> = self.locate(shares, column)?.into_iter().collect();
            let both: BTreeSet<usize> = corrupt.union(&found).copied().collect();
            all_corrupt.append(&mut corrupt);

            let is_full = both.len() > spare;
            corrupt = if is_full { found } else { both };
            let base = Base::new(self.code, self.share_size, &self.pieces, &corrupt)?;
            let previous = std::mem::replace(&mut self.base, base);
            if is_full {
                runs.push(Run { columns: run_start..column, base: previous });
                run_start = column;
            }
            from = column;
        }
        all_corrupt.append(&mut corrupt);
        Ok((runs, all_corrupt))
    }

    /// Decodes some columns of a window: decodes the stripes that contain them and copies the columns.
    fn decode_run(
        &self,
        base: &Base,
        columns: Range<usize>,
        shares: &[&[u8]],
        stripes: &mut [u8],
    ) -> Result<(), DecodeError> {
        let share_size = self.share_size;
        let required = usize::from(self.code.required());
        let first = columns.start / share_size;
        let whole = first * share_size..columns.end.next_multiple_of(share_size);
        let picked: Vec<&[u8]> =
            base.pick(shares).into_iter().map(|share| &share[whole.clone()]).collect();
        let mut decoded = vec![0; whole.len() * required];
        base.decoder.decode(&picked, &mut decoded)?;

        let target = stripes[whole.start * required..].chunks_exact_mut(share_size);
        for (index, (to, from)) in target.zip(decoded.chunks_exact(share_size)).enumerate() {
            let stripe_start = (first + index / required) * share_size;
            let begin = columns.start.saturating_sub(stripe_start).min(share_size);
            let end = columns.end.saturating_sub(stripe_start).min(share_size);
            to[begin..end].copy_from_slice(&from[begin..end]);
        }
        Ok(())
    }

    /// Compares all other pieces with the base's predictions.
    ///
    /// Returns the first column with more mismatches than can be corrected. Adds the indexes of the
    /// pieces that differ before it to `corrupt`.
    fn compare(
        &mut self,
        shares: &[&[u8]],
        columns: Range<usize>,
        corrupt: &mut BTreeSet<usize>,
    ) -> Option<usize> {
        if columns.is_empty() {
            return None;
        }
        let limit = self.correctable();
        self.predicted.resize(columns.len(), 0);
        self.mismatches.clear();
        self.mismatches.resize(columns.len(), 0);
        let base: Vec<&[u8]> =
            self.base.pick(shares).into_iter().map(|share| &share[columns.clone()]).collect();

        let mut first_mismatches = Vec::new();
        for (index, row) in &self.base.others {
            row.combine(&base, &mut self.predicted);
            let given = &shares[*index][columns.clone()];
            if self.predicted == given {
                continue;
            }
            let mut first = None;
            let compared = self.mismatches.iter_mut().zip(self.predicted.iter().zip(given));
            for (column, (count, _)) in compared.enumerate().filter(|(_, (_, (a, b)))| a != b) {
                // Cannot overflow: at most 255 pieces are not in the base.
                *count += 1;
                first.get_or_insert(column);
            }
            first_mismatches.extend(first.map(|first| (first, *index)));
        }

        let uncorrectable = self.mismatches.iter().position(|&count| usize::from(count) > limit);
        let end = uncorrectable.unwrap_or_else(|| columns.len());
        let before = first_mismatches.into_iter().filter(|(first, _)| *first < end);
        corrupt.extend(before.map(|(_, index)| index));
        uncorrectable.map(|column| columns.start + column)
    }

    /// Finds the indexes of all corrupt shares of one column.
    fn locate(&self, shares: &[&[u8]], column: usize) -> Result<Vec<usize>, CorrectError> {
        if self.correctable() == 0 {
            return Err(CorrectError::NotEnoughShares {
                given: self.pieces.len(),
                required: self.code.required(),
            });
        }
        let base: Vec<u8> = self.base.indexes.iter().map(|&index| shares[index][column]).collect();
        let differences = self.base.others.iter().map(|(index, row)| {
            let predicted = locate::sum_of_products(row.row(0).unwrap_or_default(), &base);
            (*index, predicted ^ shares[*index][column])
        });
        self.locator.locate(differences).ok_or_else(|| self.too_many())
    }

    fn too_many(&self) -> CorrectError {
        CorrectError::TooManyErrors { given: self.pieces.len(), correctable: self.correctable() }
    }

    /// Returns the common length of all shares, after checking it against `stripes` output bytes.
    fn run_size(&self, shares: &[&[u8]], stripes: usize) -> Result<usize, DecodeError> {
        if shares.len() != self.pieces.len() {
            let required = self.code.required();
            return Err(DecodeError::PieceCount { given: shares.len(), required });
        }
        let length = shares.first().map_or(0, |first| first.len());
        for (&piece, share) in self.pieces.iter().zip(shares) {
            if share.len() != length {
                return Err(DecodeError::ShareLength {
                    piece,
                    length: share.len(),
                    expected: length,
                });
            }
        }
        let share_size = self.share_size;
        if share_size == 0 || !length.is_multiple_of(share_size) {
            return Err(DecodeError::PartialShare { length, share_size });
        }
        let expected = length.saturating_mul(self.code.required().into());
        if stripes != expected {
            return Err(DecodeError::OutputLength { length: stripes, expected });
        }
        Ok(length)
    }
}

impl Base {
    /// Uses the lowest piece numbers that are not `excluded`: data shares decode by copying.
    fn new(
        code: Code,
        share_size: usize,
        pieces: &[u16],
        excluded: &BTreeSet<usize>,
    ) -> Result<Self, DecodeError> {
        let required = usize::from(code.required());
        let mut indexes: Vec<usize> = (0..pieces.len()).collect();
        indexes.sort_unstable_by_key(|index| (excluded.contains(index), pieces[*index]));
        let others = indexes.split_off(required);

        let numbers: Vec<u16> = indexes.iter().map(|&index| pieces[index]).collect();
        let rows = Interpolation::new(numbers.iter().copied());
        let row = |index: usize| Matrix::new(Kernel::fastest(), required, rows.row(pieces[index]));
        let others = others.into_iter().map(|index| (index, row(index))).collect();
        let decoder = Decoder::with_code(code, share_size, &numbers)?;
        Ok(Self { decoder, indexes, others })
    }

    /// Returns the shares of the base, in the order of its factors.
    fn pick<'a>(&self, shares: &[&'a [u8]]) -> Vec<&'a [u8]> {
        self.indexes.iter().map(|&index| shares[index]).collect()
    }
}

impl std::fmt::Debug for Corrector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Corrector")
            .field("code", &self.code)
            .field("share_size", &self.share_size)
            .field("pieces", &self.pieces)
            .finish_non_exhaustive()
    }
}

/// Why a window was not corrected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CorrectError {
    /// The shares do not match the code or each other.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Corruption was detected, and there are too few shares to correct even one.
    #[error("{given} pieces are inconsistent: locating a corrupt one requires {}", .required + 2)]
    NotEnoughShares {
        /// Given pieces.
        given: usize,
        /// Pieces required to restore a stripe.
        required: u16,
    },
    /// More shares are corrupt than can be corrected.
    #[error("more than {correctable} of {given} pieces are corrupt")]
    TooManyErrors {
        /// Given pieces.
        given: usize,
        /// Corrupt pieces that could have been corrected.
        correctable: usize,
    },
}
