use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*, sample::subsequence};

use super::*;
use crate::erasure::Encoder;

/// A window whose pieces are partly given, and what is added to the given ones.
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
            assert!(stripes.iter().all(|&byte| byte == 0xAA), "written in spite of an error");
        }
        Ok((stripes, wrong?))
    }

    fn wrong(&self) -> BTreeSet<u16> {
        let given = self.given.iter().zip(&self.errors);
        let wrong = given.filter(|(_, errors)| errors.iter().any(|&error| error != 0));
        wrong.map(|(&piece, _)| piece).collect()
    }

    /// The most wrong bytes in one column.
    fn worst_column(&self) -> usize {
        let columns = self.errors.first().map_or(0, Vec::len);
        let wrong = |column| self.errors.iter().filter(|errors| errors[column] != 0).count();
        (0..columns).map(wrong).max().unwrap_or(0)
    }
}

/// Which given pieces are wrong in which columns.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    /// Up to as many as can be corrected, in all columns the same, though not all in each.
    Pieces,
    /// Up to as many as can be corrected, others in each column.
    Bytes,
    /// Any.
    Many,
}

fn cases(wrong: Wrong, most_required: u16, most_spare: u16) -> impl Strategy<Value = Case> {
    let code = (1..=most_required, 0..=most_spare, 1..=5_usize, 1..=3_usize);
    let given = code.prop_flat_map(|(k, parity, share_size, stripes)| {
        let code = Code::new(k, k + parity).unwrap();
        let all: Vec<u16> = (0..code.total()).collect();
        let given = subsequence(all, usize::from(k)..=usize::from(k + parity)).prop_shuffle();
        let stripes = vec(any::<u8>(), usize::from(k) * share_size * stripes);
        (Just(code), Just(share_size), stripes, given)
    });
    given.prop_flat_map(move |(code, share_size, stripes, given)| {
        let columns = stripes.len() / usize::from(code.required());
        let errors = errors(wrong, given.len(), usize::from(code.required()), columns);
        errors.prop_map(move |errors| {
            let (stripes, given) = (stripes.clone(), given.clone());
            Case { code, share_size, stripes, given, errors }
        })
    })
}

fn errors(
    wrong: Wrong,
    given: usize,
    required: usize,
    columns: usize,
) -> impl Strategy<Value = Vec<Vec<u8>>> {
    let bound = if matches!(wrong, Wrong::Many) { given } else { (given - required) / 2 };
    let places = |bound| subsequence((0..given).collect::<Vec<_>>(), 0..=bound);
    let by_column = match wrong {
        Wrong::Bytes => vec(places(bound), columns).boxed(),
        _ => places(bound).prop_map(move |places| vec![places; columns]).boxed(),
    };
    let bytes = vec(vec(prop_oneof![2 => any::<u8>(), 1 => Just(0)], columns), given);
    (by_column, bytes).prop_map(|(by_column, mut bytes)| {
        for (place, bytes) in bytes.iter_mut().enumerate() {
            for (byte, places) in bytes.iter_mut().zip(&by_column) {
                *byte *= u8::from(places.contains(&place));
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(crate::cases(3_000))]

    #[test]
    fn wrong_pieces_up_to_the_bound_are_named_and_corrected(case in cases(Wrong::Pieces, 30, 24)) {
        prop_assert_eq!(case.correct(), Ok((case.stripes.clone(), case.wrong())));
    }

    #[test]
    fn wrong_bytes_up_to_the_bound_of_each_column_are_corrected(
        case in cases(Wrong::Bytes, 12, 16),
    ) {
        prop_assert_eq!(case.correct(), Ok((case.stripes.clone(), case.wrong())));
    }

    /// Against all polynomials through k of the shares, one after the other.
    #[test]
    fn result_is_the_nearest_polynomial_within_the_bound_or_an_error(
        case in cases(Wrong::Many, 3, 4),
    ) {
        let shares = case.shares();
        let nearest: Option<Vec<_>> =
            (0..shares[0].len()).map(|column| nearest(&case, &shares, column)).collect();
        let (given, required) = (case.given.len(), case.code.required());
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
    fn one_wrong_piece_is_located_with_two_more_than_required(
        case in cases(Wrong::Pieces, 30, 0), pick in any::<prop::sample::Index>(), error in 1..=255_u8,
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

/// The data bytes of one column.
fn data(case: &Case, stripes: &[u8], column: usize) -> Vec<u8> {
    let (stripe, place) = (column / case.share_size, column % case.share_size);
    let start = stripe * case.share_size * usize::from(case.code.required()) + place;
    let bytes = stripes[start..].iter().step_by(case.share_size);
    bytes.take(case.code.required().into()).copied().collect()
}

/// The data of the polynomial from which no more shares differ than can be corrected, and which do.
fn nearest(case: &Case, shares: &[Vec<u8>], column: usize) -> Option<(Vec<u8>, BTreeSet<u16>)> {
    let (r, k) = (case.given.len(), usize::from(case.code.required()));
    let subsets = (0_u32..1 << r).filter(|subset| subset.count_ones() as usize == k);
    subsets.into_iter().find_map(|subset| {
        let places: Vec<usize> = (0..r).filter(|place| subset & (1 << place) != 0).collect();
        let numbers: Vec<u16> = places.iter().map(|&place| case.given[place]).collect();
        let bytes: Vec<[u8; 1]> = places.iter().map(|&place| [shares[place][column]]).collect();
        let mut data = vec![0; k];
        Decoder::with_code(case.code, 1, &numbers).unwrap().decode(&bytes, &mut data).unwrap();
        let mut all = vec![[0]; r];
        Encoder::with_code(case.code, 1).encode(&data, &case.given, &mut all).unwrap();
        let differing = (0..r).filter(|&place| all[place][0] != shares[place][column]);
        let differing: BTreeSet<u16> = differing.map(|place| case.given[place]).collect();
        (differing.len() <= (r - k) / 2).then_some((data, differing))
    })
}

#[test]
fn one_window_after_another_is_corrected_whoever_is_wrong() {
    let code = Code::new(4, 10).unwrap();
    let given: Vec<u16> = (0..10).rev().collect();
    let mut corrector = Corrector::with_code(code, 2, &given).unwrap();
    assert_eq!((corrector.correctable(), corrector.pieces()), (3, &given[..]));
    for round in 0..20_u8 {
        let stripes: Vec<u8> = (0..16).map(|i| i * 7 + round).collect();
        let mut shares = vec![vec![0; 4]; 10];
        Encoder::with_code(code, 2).encode(&stripes, &given, &mut shares).unwrap();
        let liars: BTreeSet<u16> = (0..3).map(|i| u16::from(round * 3 + i * i) % 10).collect();
        for liar in &liars {
            shares[9 - usize::from(*liar)][1] ^= 0x80;
        }
        let mut restored = vec![0; 16];
        assert_eq!(corrector.correct(&shares, &mut restored), Ok(liars));
        assert_eq!(restored, stripes);
    }
}

/// Bit rot: one flipped bit in each of five of six pieces, one in each stripe.
#[test]
fn more_pieces_corrupt_than_spare_are_corrected_in_other_stripes() {
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

/// Another two of five pieces are corrupt in each column, in turn: every column needs another base.
#[test]
fn corrupt_pieces_that_take_turns_end_at_the_bound_of_bases() {
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
    let refused = CorrectError::TooManyErrors { given: 5, correctable: 2 };
    assert_eq!(corrector.correct(&shares, &mut restored), Err(refused));
    // Ten stripes of as many columns allow ten times as many changes.
    let mut corrector = Corrector::with_code(code, BASES_PER_STRIPE, &given).unwrap();
    assert_eq!(corrector.correct(&shares, &mut restored), Ok((0..5).collect()));
    assert_eq!(restored, stripe);
}

#[test]
fn with_the_required_pieces_alone_nothing_is_noticed() {
    let mut corrector = Corrector::with_code(Code::new(2, 4).unwrap(), 1, &[3, 1]).unwrap();
    let mut stripe = [0; 2];
    assert_eq!(corrector.correct(&[[1], [2]], &mut stripe), Ok(BTreeSet::new()));
    assert_eq!(stripe[1], 2);
}

#[test]
fn empty_windows_are_right() {
    let mut corrector = Corrector::with_code(Code::new(2, 4).unwrap(), 1, &[0, 1, 2, 3]).unwrap();
    assert_eq!(corrector.correct(&[[]; 4], &mut []), Ok(BTreeSet::new()));
}

#[test]
fn largest_code_is_corrected_up_to_its_bound() {
    let code = Code::new(2, 256).unwrap();
    let given: Vec<u16> = (0..256).collect();
    let mut shares = vec![vec![0; 3]; 256];
    Encoder::with_code(code, 3).encode(b"abcdef", &given, &mut shares).unwrap();
    for (liar, share) in shares.iter_mut().enumerate().take(127) {
        share[liar % 3] ^= 1 + liar as u8;
        share[0] ^= 0xF0;
    }
    let mut corrector = Corrector::with_code(code, 3, &given).unwrap();
    let mut stripe = [0; 6];
    let wrong = corrector.correct(&shares, &mut stripe).unwrap();
    assert_eq!((&stripe, wrong.len()), (b"abcdef", 127));
}

#[test]
fn pieces_and_lengths_that_do_not_fit_are_refused() {
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
