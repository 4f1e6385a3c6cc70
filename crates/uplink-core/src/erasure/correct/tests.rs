use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::subsequence;

use super::*;
use crate::erasure::Encoder;

/// A window, the subset of its pieces that is given, and the errors added to them.
#[derive(Clone, Debug)]
struct Case {
    code: Code,
    share_size: usize,
    stripes: Vec<u8>,
    /// Numbers of the given pieces, in any order.
    given: Vec<u16>,
    /// By given piece: one byte for each column.
    errors: Vec<Vec<u8>>,
}

impl Case {
    fn shares(&self) -> Vec<Vec<u8>> {
        let length = self.stripes.len() / usize::from(self.code.required());
        let mut shares = vec![vec![0; length]; self.given.len()];
        let encoder = Encoder::with_code(self.code, self.share_size);
        encoder.encode(&self.stripes, &self.given, &mut shares).unwrap();
        for (share, errors) in shares.iter_mut().zip(&self.errors) {
            share.iter_mut().zip(errors).for_each(|(byte, error)| *byte ^= error);
        }
        shares
    }

    fn correct(&self) -> Result<(Vec<u8>, BTreeSet<u16>), CorrectError> {
        let mut corrector = Corrector::with_code(self.code, self.share_size, &self.given).unwrap();
        let mut stripes = vec![0xAA; self.stripes.len()];
        let wrong = corrector.correct(&self.shares(), &mut stripes);
        if wrong.is_err() {
            assert!(stripes.iter().all(|&byte| byte == 0xAA), "output written despite an error");
        }
        Ok((stripes, wrong?))
    }

    fn corrupt_pieces(&self) -> BTreeSet<u16> {
        let given = self.given.iter().zip(&self.errors);
        let wrong = given.filter(|(_, errors)| errors.iter().any(|&error| error != 0));
        wrong.map(|(&piece, _)| piece).collect()
    }

    /// Maximum number of corrupt bytes in one column.
    fn worst_column(&self) -> usize {
        let columns = self.errors.first().map_or(0, Vec::len);
        let wrong = |column| self.errors.iter().filter(|errors| errors[column] != 0).count();
        (0..columns).map(wrong).max().unwrap_or(0)
    }
}

/// Which given pieces are corrupt in which columns.
#[derive(Clone, Copy, Debug)]
enum Corruption {
    /// Up to as many pieces as can be corrected; not each is corrupt in every column.
    Pieces,
    /// Up to as many as can be corrected, different pieces in each column.
    Bytes,
    /// Any.
    Many,
}

fn cases(corruption: Corruption, max_required: u16, max_spare: u16) -> impl Strategy<Value = Case> {
    let code = (1..=max_required, 0..=max_spare, 1..=5_usize, 1..=3_usize);
    let given = code.prop_flat_map(|(k, parity, share_size, stripes)| {
        let code = Code::new(k, k + parity).unwrap();
        let all: Vec<u16> = (0..code.total()).collect();
        let given = subsequence(all, usize::from(k)..=usize::from(k + parity)).prop_shuffle();
        let stripes = vec(any::<u8>(), usize::from(k) * share_size * stripes);
        (Just(code), Just(share_size), stripes, given)
    });
    given.prop_flat_map(move |(code, share_size, stripes, given)| {
        let columns = stripes.len() / usize::from(code.required());
        let errors = errors(corruption, given.len(), usize::from(code.required()), columns);
        errors.prop_map(move |errors| Case {
            code,
            share_size,
            stripes: stripes.clone(),
            given: given.clone(),
            errors,
        })
    })
}

fn errors(
    corruption: Corruption,
    given: usize,
    required: usize,
    columns: usize,
) -> impl Strategy<Value = Vec<Vec<u8>>> {
    let bound = match corruption {
        Corruption::Many => given,
        Corruption::Pieces | Corruption::Bytes => (given - required) / 2,
    };
    let indexes = |bound| subsequence((0..given).collect::<Vec<_>>(), 0..=bound);
    let by_column = match corruption {
        Corruption::Bytes => vec(indexes(bound), columns).boxed(),
        _ => indexes(bound).prop_map(move |indexes| vec![indexes; columns]).boxed(),
    };
    let bytes = vec(vec(prop_oneof![2 => any::<u8>(), 1 => Just(0)], columns), given);
    (by_column, bytes).prop_map(|(by_column, mut bytes)| {
        for (index, bytes) in bytes.iter_mut().enumerate() {
            for (byte, indexes) in bytes.iter_mut().zip(&by_column) {
                *byte *= u8::from(indexes.contains(&index));
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(crate::cases(3_000))]

    #[test]
    fn corrupt_pieces_within_the_bound_are_corrected(case in cases(Corruption::Pieces, 30, 24)) {
        prop_assert_eq!(case.correct(), Ok((case.stripes.clone(), case.corrupt_pieces())));
    }

    #[test]
    fn corrupt_bytes_within_each_columns_bound_are_corrected(
        case in cases(Corruption::Bytes, 12, 16),
    ) {
        prop_assert_eq!(case.correct(), Ok((case.stripes.clone(), case.corrupt_pieces())));
    }

    /// Compared with brute force over all polynomials through k of the shares.
    #[test]
    fn result_is_the_nearest_polynomial_or_an_error(
        case in cases(Corruption::Many, 3, 4),
    ) {
        let shares = case.shares();
        let nearest: Option<Vec<_>> =
            (0..shares[0].len()).map(|column| nearest(&case, &shares, column)).collect();
        let given = case.given.len();
        let required = case.code.required();
        let spare = given - usize::from(required);
        let expected = nearest.map(|columns| {
            let wrong: BTreeSet<u16> = columns.iter().flat_map(|(_, wrong)| wrong.clone()).collect();
            (columns.into_iter().map(|(data, _)| data).collect::<Vec<_>>(), wrong)
        });
        match case.correct() {
            Ok((stripes, wrong)) => {
                let columns = (0..shares[0].len()).map(|column| data(&case, &stripes, column));
                prop_assert_eq!(Some((columns.collect(), wrong)), expected);
            }
            Err(CorrectError::NotEnoughShares { given: g, required: r }) => {
                prop_assert!(spare == 1 && (g, r) == (given, required) && expected.is_none());
            }
            Err(CorrectError::TooManyErrors { given: g, correctable }) => {
                prop_assert!(spare > 1 && (g, correctable) == (given, spare / 2));
                prop_assert!(expected.is_none());
                prop_assert!(case.worst_column() > 0);
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    #[test]
    fn one_corrupt_piece_is_located_with_two_spare_pieces(
        case in cases(Corruption::Pieces, 30, 0), pick in any::<prop::sample::Index>(), error in 1..=255_u8,
    ) {
        let code = Code::new(case.code.required(), case.code.required() + 2).unwrap();
        let given: Vec<u16> = (0..code.total()).collect();
        let columns = case.stripes.len() / usize::from(code.required());
        let mut errors = vec![vec![0; columns]; given.len()];
        *errors[pick.index(given.len())].last_mut().unwrap() = error;
        let wrong = [pick.index(given.len()) as u16].into();
        let case = Case { code, given, errors, ..case };
        prop_assert_eq!(case.correct(), Ok((case.stripes.clone(), wrong)));
    }
}

/// Returns the data bytes of one column.
fn data(case: &Case, stripes: &[u8], column: usize) -> Vec<u8> {
    let stripe = column / case.share_size;
    let offset = column % case.share_size;
    let start = stripe * case.share_size * usize::from(case.code.required()) + offset;
    let bytes = stripes[start..].iter().step_by(case.share_size);
    bytes.take(case.code.required().into()).copied().collect()
}

/// Returns the data of the polynomial from which at most the correctable number of shares differ, and
/// the pieces that do.
fn nearest(case: &Case, shares: &[Vec<u8>], column: usize) -> Option<(Vec<u8>, BTreeSet<u16>)> {
    let r = case.given.len();
    let k = usize::from(case.code.required());
    let subsets = (0_u32..1 << r).filter(|subset| subset.count_ones() as usize == k);
    subsets.into_iter().find_map(|subset| {
        let indexes: Vec<usize> = (0..r).filter(|index| subset & (1 << index) != 0).collect();
        let numbers: Vec<u16> = indexes.iter().map(|&index| case.given[index]).collect();
        let bytes: Vec<[u8; 1]> = indexes.iter().map(|&index| [shares[index][column]]).collect();
        let mut data = vec![0; k];
        Decoder::with_code(case.code, 1, &numbers).unwrap().decode(&bytes, &mut data).unwrap();
        let mut all = vec![[0]; r];
        Encoder::with_code(case.code, 1).encode(&data, &case.given, &mut all).unwrap();
        let differing = (0..r).filter(|&index| all[index][0] != shares[index][column]);
        let corrupt: BTreeSet<u16> = differing.map(|index| case.given[index]).collect();
        (corrupt.len() <= (r - k) / 2).then_some((data, corrupt))
    })
}

#[test]
fn consecutive_windows_are_corrected_for_any_corrupt_pieces() {
    let code = Code::new(4, 10).unwrap();
    let given: Vec<u16> = (0..10).rev().collect();
    let mut corrector = Corrector::with_code(code, 2, &given).unwrap();
    assert_eq!((corrector.correctable(), corrector.pieces()), (3, &given[..]));
    for round in 0..20_u8 {
        let stripes: Vec<u8> = (0..16).map(|i| i * 7 + round).collect();
        let mut shares = vec![vec![0; 4]; 10];
        Encoder::with_code(code, 2).encode(&stripes, &given, &mut shares).unwrap();
        let corrupt: BTreeSet<u16> = (0..3).map(|i| u16::from(round * 3 + i * i) % 10).collect();
        for piece in &corrupt {
            shares[9 - usize::from(*piece)][1] ^= 0x80;
        }
        let mut restored = vec![0; 16];
        assert_eq!(corrector.correct(&shares, &mut restored), Ok(corrupt));
        assert_eq!(restored, stripes);
    }
}

/// Bit rot: one flipped bit in each of five of six pieces, each in a different stripe.
#[test]
fn more_corrupt_pieces_than_spare_are_corrected_by_stripe() {
    let code = Code::new(4, 6).unwrap();
    let given: Vec<u16> = (0..6).collect();
    let stripes: Vec<u8> = (0..6 * 4 * 3).map(|i| (i * 11) as u8).collect();
    let mut shares = vec![vec![0; 18]; 6];
    Encoder::with_code(code, 3).encode(&stripes, &given, &mut shares).unwrap();
    for piece in 0..5 {
        shares[piece][piece * 3 + 1] ^= 1 << piece;
    }
    let mut corrector = Corrector::with_code(code, 3, &given).unwrap();
    let mut restored = vec![0; stripes.len()];
    assert_eq!(corrector.correct(&shares, &mut restored), Ok((0..5).collect()));
    assert_eq!(restored, stripes);
}

/// A different pair of five pieces is corrupt in each column, so that every column needs a new base.
#[test]
fn alternating_corrupt_pieces_exceed_the_base_limit() {
    let code = Code::new(1, 5).unwrap();
    let given: Vec<u16> = (0..5).collect();
    let columns = 10 * BASES_PER_STRIPE;
    let stripe = vec![7; columns];
    let mut shares = vec![stripe.clone(); 5];
    for column in 0..columns {
        shares[2 * column % 5][column] ^= 1;
        shares[(2 * column + 1) % 5][column] ^= 1;
    }
    let mut restored = vec![0; columns];
    let mut corrector = Corrector::with_code(code, columns, &given).unwrap();
    let too_many = CorrectError::TooManyErrors { given: 5, correctable: 2 };
    assert_eq!(corrector.correct(&shares, &mut restored), Err(too_many));
    // Ten stripes of as many columns allow ten times as many changes.
    let mut corrector = Corrector::with_code(code, BASES_PER_STRIPE, &given).unwrap();
    assert_eq!(corrector.correct(&shares, &mut restored), Ok((0..5).collect()));
    assert_eq!(restored, stripe);
}

#[test]
fn corruption_is_undetected_with_the_required_pieces_only() {
    let mut corrector = Corrector::with_code(Code::new(2, 4).unwrap(), 1, &[3, 1]).unwrap();
    let mut stripe = [0; 2];
    assert_eq!(corrector.correct(&[[1], [2]], &mut stripe), Ok(BTreeSet::new()));
    assert_eq!(stripe[1], 2);
}

#[test]
fn empty_windows_are_corrected() {
    let mut corrector = Corrector::with_code(Code::new(2, 4).unwrap(), 1, &[0, 1, 2, 3]).unwrap();
    assert_eq!(corrector.correct(&[[]; 4], &mut []), Ok(BTreeSet::new()));
}

#[test]
fn largest_code_is_corrected_up_to_its_bound() {
    let code = Code::new(2, 256).unwrap();
    let given: Vec<u16> = (0..256).collect();
    let mut shares = vec![vec![0; 3]; 256];
    Encoder::with_code(code, 3).encode(b"abcdef", &given, &mut shares).unwrap();
    for (index, share) in shares.iter_mut().enumerate().take(127) {
        share[index % 3] ^= 1 + index as u8;
        share[0] ^= 0xF0;
    }
    let mut corrector = Corrector::with_code(code, 3, &given).unwrap();
    let mut stripe = [0; 6];
    let wrong = corrector.correct(&shares, &mut stripe).unwrap();
    assert_eq!((&stripe, wrong.len()), (b"abcdef", 127));
}

#[test]
fn mismatched_pieces_and_lengths_are_rejected() {
    let code = Code::new(2, 4).unwrap();
    let new = |pieces: &[u16]| Corrector::with_code(code, 4, pieces).map(drop);
    assert_eq!(new(&[0]), Err(DecodeError::PieceCount { given: 1, required: 2 }));
    assert_eq!(new(&[0, 1, 4]), Err(DecodeError::PieceNumber { piece: 4, total: 4 }));
    assert_eq!(new(&[3, 1, 3]), Err(DecodeError::RepeatedPiece { piece: 3 }));
    let mut corrector = Corrector::with_code(code, 4, &[0, 2, 3]).unwrap();
    let mut stripe = [0; 8];
    for (lengths, error) in [
        (&[4, 4][..], DecodeError::PieceCount { given: 2, required: 2 }),
        (&[4, 8, 4], DecodeError::ShareLength { piece: 2, length: 8, expected: 4 }),
        (&[5, 5, 5], DecodeError::PartialShare { length: 5, share_size: 4 }),
        (&[8, 8, 8], DecodeError::OutputLength { length: 8, expected: 16 }),
    ] {
        let shares: Vec<Vec<u8>> = lengths.iter().map(|&length| vec![0; length]).collect();
        assert_eq!(corrector.correct(&shares, &mut stripe), Err(CorrectError::Decode(error)));
    }
}
