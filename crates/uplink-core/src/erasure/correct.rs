//! From more than k pieces, some of them wrong, back to stripes.
//!
//! k of the pieces, the *base*, say what the shares of all others must be. In each byte column
//! there is at most one polynomial of degree below k from which no more than e = ⌊(r − k) / 2⌋ of
//! the r given shares differ: two of them would agree with each other in r − 2e ≥ k places. So a
//! base is right wherever at most e of the others differ from what it says, and those that differ
//! are wrong.
//!
//! ```text
//! base 0 2 3   says of pieces 5 6 8 9    in columns 0 1 2 3 4 …
//!                             differ                - - - ^ -      piece 6: wrong in column 3
//! ```
//!
//! Where more than e differ, the base itself is wrong: [`Locator`] solves that one column, and the
//! pieces it finds leave the base. Bytes that do not fit nearly always come from a few bad pieces, so
//! one or two columns are solved and the others only compared.
//!
//! A base serves a *run* of columns. Corrupt bytes may be scattered over so many pieces that no k
//! pieces are right in all columns. The columns compared so far then form a complete run, and the
//! next one begins with a base that leaves out only the pieces found in its own columns.

mod locate;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ops::Range;

use self::locate::Locator;
use super::{
    decode::{DecodeError, Decoder},
    field::Interpolation,
    kernel::{Kernel, Matrix},
    scheme::{Code, Scheme},
};

/// Restores windows of stripes from the same windows of k or more given pieces, and tells which
/// pieces are wrong.
///
/// With r pieces, up to ⌊(r − k) / 2⌋ wrong bytes in each byte column are corrected, also when they
/// belong to other pieces in each column. With k pieces
/// nothing can be noticed: this is then a [`Decoder`]. With k + 1 pieces wrong bytes are noticed and
/// not corrected. When more bytes of a column are wrong than can be corrected, the result may be an
/// error or wrong stripes, as with any such code: what comes out must be authenticated.
///
/// Preparing costs about r · k field operations and is done once for each set of pieces. Finding wrong
/// pieces prepares again, at most r − k times for a window and eight times more for each of its
/// stripes.
pub struct Corrector {
    code: Code,
    share_size: usize,
    pieces: Vec<u16>,
    locator: Locator,
    base: Base,
    /// What the base says of one piece.
    said: Vec<u8>,
    /// By column: how many pieces differ from what the base says of them.
    differing: Vec<u8>,
}

/// How often a window may change its base for each stripe, beyond r − k times in all: bounds the time
/// that colluding nodes can cost. Bit rot needs a change for each damaged byte at most.
const BASES_PER_STRIPE: usize = 8;

/// Consecutive columns in which the pieces of one base are right.
struct Run {
    columns: Range<usize>,
    base: Base,
}

/// The k pieces from which stripes are restored, and what they say of the others.
struct Base {
    decoder: Decoder,
    /// Where the pieces of the decoder are among all given ones.
    places: Vec<usize>,
    /// Places of all other pieces, each with a row of the factors of the base.
    others: Vec<(usize, Matrix)>,
}

impl Corrector {
    /// Prepares correction over `pieces`: k or more different numbers, in any order.
    ///
    /// # Errors
    ///
    /// When there are fewer than k pieces, a number is not below the total, or one occurs twice.
    pub fn new(scheme: &Scheme, pieces: &[u16]) -> Result<Self, DecodeError> {
        Self::with_code(scheme.code(), scheme.share_size() as usize, pieces)
    }

    /// Prepares correction with a bare code and shares of `share_size` bytes.
    ///
    /// # Errors
    ///
    /// As [`Corrector::new`].
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
            said: Vec::new(),
            differing: Vec::new(),
        })
    }

    /// The piece numbers the corrector was prepared for, in the order their shares are expected.
    pub fn pieces(&self) -> &[u16] {
        &self.pieces
    }

    /// Wrong bytes that can be corrected in each byte column.
    pub fn correctable(&self) -> usize {
        (self.pieces.len() - usize::from(self.code.required())) / 2
    }

    /// Decodes a window and returns the numbers of the pieces that are wrong anywhere in it.
    ///
    /// `shares[i]` is the window of piece `pieces()[i]`: whole shares, all of one length. `stripes`
    /// takes as many stripes and must have exactly that length.
    ///
    /// # Errors
    ///
    /// When a length does not fit, more bytes of one column are wrong than
    /// [`correctable`](Self::correctable), or the corrupt pieces change from column to column so often
    /// that preparing for them would take too long. Nothing is written then.
    pub fn correct<S: AsRef<[u8]>>(
        &mut self,
        shares: &[S],
        stripes: &mut [u8],
    ) -> Result<BTreeSet<u16>, CorrectError> {
        let shares: Vec<&[u8]> = shares.iter().map(S::as_ref).collect();
        let run_size = self.run_size(&shares, stripes.len())?;
        let (runs, wrong) = self.runs(&shares, run_size)?;
        let end = runs.last().map_or(0, |run| run.columns.end);
        if runs.is_empty() {
            self.base.decoder.decode(&self.base.pick(&shares), stripes)?;
        } else {
            for run in &runs {
                self.decode_run(&run.base, run.columns.clone(), &shares, stripes)?;
            }
            self.decode_run(&self.base, end..run_size, &shares, stripes)?;
        }
        Ok(wrong.into_iter().map(|place| self.pieces[place]).collect())
    }

    /// Divides the columns into runs and finds the places of all wrong pieces. The last run, from the
    /// end of the others on, is left to the base that is kept for the next window.
    fn runs(
        &mut self,
        shares: &[&[u8]],
        run_size: usize,
    ) -> Result<(Vec<Run>, BTreeSet<usize>), CorrectError> {
        let spare = self.base.others.len();
        let mut bases = spare.saturating_add(BASES_PER_STRIPE * (run_size / self.share_size));
        let (mut runs, mut all) = (Vec::new(), BTreeSet::new());
        let (mut begin, mut from) = (0, 0);
        // Places that are wrong in the present run. The base holds none of them.
        let mut wrong = BTreeSet::new();
        // Each column that does not fit takes at least one piece out of the base.
        while let Some(column) = self.compare(shares, from..run_size, &mut wrong) {
            bases = bases.checked_sub(1).ok_or_else(|| self.too_many())?;
            let found: BTreeSet<usize> = self.locate(shares, column)?.into_iter().collect();
            let both: BTreeSet<usize> = wrong.union(&found).copied().collect();
            all.append(&mut wrong);
            let is_full = both.len() > spare;
            wrong = if is_full { found } else { both };
            let base = Base::new(self.code, self.share_size, &self.pieces, &wrong)?;
            let base = std::mem::replace(&mut self.base, base);
            if is_full {
                runs.push(Run { columns: begin..column, base });
                begin = column;
            }
            from = column;
        }
        all.append(&mut wrong);
        Ok((runs, all))
    }

    /// Decodes some columns of a window, by way of the stripes that they lie in.
    fn decode_run(
        &self,
        base: &Base,
        columns: Range<usize>,
        shares: &[&[u8]],
        stripes: &mut [u8],
    ) -> Result<(), DecodeError> {
        let (share_size, required) = (self.share_size, usize::from(self.code.required()));
        let first = columns.start / share_size;
        let whole = first * share_size..columns.end.next_multiple_of(share_size);
        let picked = base.pick(shares).into_iter();
        let picked: Vec<&[u8]> = picked.map(|share| &share[whole.clone()]).collect();
        let mut decoded = vec![0; whole.len() * required];
        base.decoder.decode(&picked, &mut decoded)?;
        let target = stripes[whole.start * required..].chunks_exact_mut(share_size);
        for (place, (to, from)) in target.zip(decoded.chunks_exact(share_size)).enumerate() {
            let stripe_start = (first + place / required) * share_size;
            let begin = columns.start.saturating_sub(stripe_start).min(share_size);
            let end = columns.end.saturating_sub(stripe_start).min(share_size);
            to[begin..end].copy_from_slice(&from[begin..end]);
        }
        Ok(())
    }

    /// Compares all other pieces with what the base says of them.
    ///
    /// Returns the first column in which more differ than can be wrong. Those that differ before it
    /// are put into `wrong`, by their places.
    fn compare(
        &mut self,
        shares: &[&[u8]],
        columns: Range<usize>,
        wrong: &mut BTreeSet<usize>,
    ) -> Option<usize> {
        if columns.is_empty() {
            return None;
        }
        let limit = self.correctable();
        self.said.resize(columns.len(), 0);
        self.differing.clear();
        self.differing.resize(columns.len(), 0);
        let base = self.base.pick(shares).into_iter();
        let base: Vec<&[u8]> = base.map(|share| &share[columns.clone()]).collect();
        let mut first_differences = Vec::new();
        for (place, row) in &self.base.others {
            row.combine(&base, &mut self.said);
            let given = &shares[*place][columns.clone()];
            if self.said == given {
                continue;
            }
            let mut first = None;
            let said = self.differing.iter_mut().zip(self.said.iter().zip(given));
            for (column, (count, _)) in said.enumerate().filter(|(_, (_, (a, b)))| a != b) {
                // At most 255 pieces are not in the base.
                *count += 1;
                first.get_or_insert(column);
            }
            first_differences.extend(first.map(|first| (first, *place)));
        }
        let misfit = self.differing.iter().position(|&count| usize::from(count) > limit);
        let end = misfit.unwrap_or_else(|| columns.len());
        let before = first_differences.into_iter().filter(|(first, _)| *first < end);
        wrong.extend(before.map(|(_, place)| place));
        misfit.map(|misfit| columns.start + misfit)
    }

    /// Finds the places of all wrong shares of one column.
    fn locate(&self, shares: &[&[u8]], column: usize) -> Result<Vec<usize>, CorrectError> {
        if self.correctable() == 0 {
            let (given, required) = (self.pieces.len(), self.code.required());
            return Err(CorrectError::NotEnoughShares { given, required });
        }
        let base: Vec<u8> = self.base.places.iter().map(|&place| shares[place][column]).collect();
        let differences = self.base.others.iter().map(|(place, row)| {
            let said = locate::sum_of_products(row.row(0).unwrap_or_default(), &base);
            (*place, said ^ shares[*place][column])
        });
        self.locator.locate(differences).ok_or_else(|| self.too_many())
    }

    fn too_many(&self) -> CorrectError {
        let (given, correctable) = (self.pieces.len(), self.correctable());
        CorrectError::TooManyErrors { given, correctable }
    }

    /// The length all shares have: whole shares, that fit `stripes` bytes of stripes.
    fn run_size(&self, shares: &[&[u8]], stripes: usize) -> Result<usize, DecodeError> {
        if shares.len() != self.pieces.len() {
            let required = self.code.required();
            return Err(DecodeError::PieceCount { given: shares.len(), required });
        }
        let length = shares.first().map_or(0, |first| first.len());
        for (&piece, share) in self.pieces.iter().zip(shares) {
            if share.len() != length {
                let (length, expected) = (share.len(), length);
                return Err(DecodeError::ShareLength { piece, length, expected });
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
    /// Takes the lowest numbers that are not `excluded`: data shares are only copied.
    fn new(
        code: Code,
        share_size: usize,
        pieces: &[u16],
        excluded: &BTreeSet<usize>,
    ) -> Result<Self, DecodeError> {
        let required = usize::from(code.required());
        let mut places: Vec<usize> = (0..pieces.len()).collect();
        places.sort_unstable_by_key(|place| (excluded.contains(place), pieces[*place]));
        let others = places.split_off(required);
        let numbers: Vec<u16> = places.iter().map(|&place| pieces[place]).collect();
        let rows = Interpolation::new(numbers.iter().copied());
        let row = |place: usize| Matrix::new(Kernel::fastest(), required, rows.row(pieces[place]));
        let others = others.into_iter().map(|place| (place, row(place))).collect();
        let decoder = Decoder::with_code(code, share_size, &numbers)?;
        Ok(Self { decoder, places, others })
    }

    /// The shares of the base, in the order its factors are in.
    fn pick<'a>(&self, shares: &[&'a [u8]]) -> Vec<&'a [u8]> {
        self.places.iter().map(|&place| shares[place]).collect()
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
    /// The shares do not fit the code or each other.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Wrong bytes are noticed, and there are too few shares to correct even one.
    #[error("{given} pieces disagree; to tell which is wrong takes {}", .required + 2)]
    NotEnoughShares {
        /// Given pieces.
        given: usize,
        /// Pieces required to restore a stripe.
        required: u16,
    },
    /// More shares are wrong than can be told from right ones.
    #[error("more than {correctable} of {given} pieces disagree with the others")]
    TooManyErrors {
        /// Given pieces.
        given: usize,
        /// Wrong pieces that could have been corrected.
        correctable: usize,
    },
}
