//! The erasure code against vectors made by the network's reference library.
//!
//! | group of `erasure.json` | test |
//! |---|---|
//! | `stripes` | `stripes_encode_to_the_reference_shares` |
//! | `matrices` | `parity_rows_equal_the_reference_matrices` |
//! | `decode`, mode `rebuild` | `any_required_shares_rebuild_the_stripe` |
//! | `decode`, mode `decode` | `wrong_shares_are_corrected_and_named` |
//! | `segments` | `segments_encode_to_the_reference_pieces` |
//! | `piece_sizes` | `piece_sizes_equal_the_reference` |

use std::collections::BTreeSet;

use serde_json::Value;
use sha2::{Digest, Sha256};
use uplink_core::{
    erasure::{Code, CorrectError, Corrector, Decoder, Encoder, Scheme},
    layout,
};

fn group(name: &str) -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/erasure.json");
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    file[name].as_array().unwrap().clone()
}

fn number(case: &Value, field: &str) -> u64 {
    case[field].as_u64().unwrap_or_else(|| panic!("{field} in {case}"))
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn code(case: &Value) -> Code {
    Code::new(number(case, "k") as u16, number(case, "n") as u16).unwrap()
}

fn scheme(case: &Value) -> Scheme {
    let (k, n) = (number(case, "k") as u16, number(case, "n") as u16);
    Scheme::new(k, k, n, n, number(case, "share_size") as u32).unwrap()
}

fn pieces(encoder: &Encoder, code: Code, stripes: &[u8]) -> Vec<Vec<u8>> {
    let wanted: Vec<u16> = (0..code.total()).collect();
    let length = stripes.len() / usize::from(code.required());
    let mut pieces = vec![vec![0; length]; wanted.len()];
    encoder.encode(stripes, &wanted, &mut pieces).unwrap();
    pieces
}

#[test]
fn stripes_encode_to_the_reference_shares() {
    let cases = group("stripes");
    let mut shares = 0;
    for case in &cases {
        let code = code(case);
        let encoder = Encoder::with_code(code, number(case, "share_size") as usize);
        let made = pieces(&encoder, code, &bytes(&case["stripe"]));
        let expected: Vec<Vec<u8>> = case["shares"].as_array().unwrap().iter().map(bytes).collect();
        assert_eq!(made, expected, "({}, {})", code.required(), code.total());
        shares += made.len();
    }
    let total: u64 = cases.iter().map(|case| number(case, "n")).sum();
    assert_eq!((cases.len(), shares as u64), (14, total));
}

#[test]
fn parity_rows_equal_the_reference_matrices() {
    let cases = group("matrices");
    let mut rows = 0;
    for case in &cases {
        let code = code(case);
        let encoder = Encoder::with_code(code, 1);
        let expected = case["parity_rows"].as_array().unwrap();
        for (piece, row) in (code.required()..).zip(expected) {
            assert_eq!(encoder.parity_row(piece).unwrap(), bytes(row));
            rows += 1;
        }
        assert_eq!(encoder.parity_row(code.total()), None);
    }
    let total: u64 = cases.iter().map(|case| number(case, "n") - number(case, "k")).sum();
    assert_eq!((cases.len(), rows), (6, total));
}

/// Numbers and bytes of the shares of a case.
fn given(case: &Value) -> (Vec<u16>, Vec<Vec<u8>>) {
    let given = case["shares"].as_array().unwrap().iter();
    given.map(|share| (number(share, "number") as u16, bytes(&share["data"]))).unzip()
}

#[test]
fn any_required_shares_rebuild_the_stripe() {
    let cases = group("decode");
    let rebuild = cases.iter().filter(|case| case["mode"] == "rebuild");
    let mut checked = 0;
    for case in rebuild {
        let (numbers, shares) = given(case);
        let share_size = number(case, "share_size") as usize;
        let expected = bytes(&case["expected_stripe"]);
        let mut stripe = vec![0; expected.len()];
        let decoder = Decoder::with_code(code(case), share_size, &numbers).unwrap();
        decoder.decode(&shares, &mut stripe).unwrap();
        assert_eq!(stripe, expected);
        let mut corrector = Corrector::with_code(code(case), share_size, &numbers).unwrap();
        stripe.fill(0);
        assert_eq!(corrector.correct(&shares, &mut stripe), Ok(BTreeSet::new()));
        assert_eq!(stripe, expected);
        checked += 1;
    }
    assert_eq!((checked, cases.len()), (5, 12));
}

#[test]
fn wrong_shares_are_corrected_and_named() {
    let cases = group("decode");
    let (mut corrected, mut refused) = (0, 0);
    for case in cases.iter().filter(|case| case["mode"] == "decode") {
        let (numbers, shares) = given(case);
        let share_size = number(case, "share_size") as usize;
        let mut corrector = Corrector::with_code(code(case), share_size, &numbers).unwrap();
        let mut stripe = vec![0; usize::from(code(case).required()) * share_size];
        let outcome = corrector.correct(&shares, &mut stripe);
        match case["error"].as_str() {
            None => {
                let wrong = case["corrupt_shares"].as_array().unwrap().iter();
                let wrong = wrong.map(|piece| piece.as_u64().unwrap() as u16).collect();
                assert_eq!(outcome, Ok(wrong));
                assert_eq!(stripe, bytes(&case["expected_stripe"]));
                corrected += 1;
            }
            Some("not enough shares") => {
                assert!(
                    matches!(outcome, Err(CorrectError::NotEnoughShares { .. })),
                    "{outcome:?}"
                );
                refused += 1;
            }
            Some("too many errors to reconstruct") => {
                assert!(matches!(outcome, Err(CorrectError::TooManyErrors { .. })), "{outcome:?}");
                refused += 1;
            }
            Some(other) => panic!("a case expects {other:?}"),
        }
    }
    assert_eq!((corrected, refused), (4, 3));
}

/// The input of a segment that is given by its label only.
fn labelled(label: &str, size: usize) -> Vec<u8> {
    let blocks = (0..=size as u32 / 32).flat_map(|counter| {
        Sha256::new().chain_update(label).chain_update(counter.to_be_bytes()).finalize()
    });
    blocks.take(size).collect()
}

#[test]
fn segments_encode_to_the_reference_pieces() {
    let cases = group("segments");
    let mut checked = 0;
    for case in &cases {
        let (code, scheme) = (code(case), scheme(case));
        let size = number(case, "segment_size");
        let mut padded = match case["segment_label"].as_str() {
            Some(label) => labelled(label, size as usize),
            None => bytes(&case["segment"]),
        };
        assert_eq!(padded.len() as u64, size);
        if let Some(hash) = case["segment_sha256"].as_str() {
            assert_eq!(hex::encode(Sha256::digest(&padded)), hash);
        }
        let padding = layout::padding_length(size, scheme.stripe_size().into()).unwrap();
        assert_eq!(padding, number(case, "padding"));
        padded.resize(padded.len() + padding as usize - 4, 0);
        padded.extend((padding as u32).to_be_bytes());
        assert_eq!(padded.len() as u64, number(case, "padded_size"));
        if let Some(expected) = case.get("padded") {
            assert_eq!(padded, bytes(expected));
        }
        let made = pieces(&Encoder::new(&scheme), code, &padded);
        let length = layout::piece_size(size, &scheme).unwrap();
        assert_eq!(length, number(case, "piece_size"));
        assert!(made.iter().all(|piece| piece.len() as u64 == length));
        if let Some(expected) = case.get("pieces") {
            let expected: Vec<_> = expected.as_array().unwrap().iter().map(bytes).collect();
            assert_eq!(made, expected);
        } else {
            let expected: Vec<_> =
                case["piece_sha256"].as_array().unwrap().iter().map(bytes).collect();
            let hashes: Vec<_> = made.iter().map(|piece| Sha256::digest(piece).to_vec()).collect();
            assert_eq!(hashes, expected);
        }
        checked += 1;
    }
    assert_eq!((checked, cases.len()), (16, 16));
}

#[test]
fn piece_sizes_equal_the_reference() {
    let cases = group("piece_sizes");
    for case in &cases {
        let size = layout::piece_size(number(case, "segment_size"), &scheme(case)).unwrap();
        assert_eq!(size, number(case, "piece_size"), "{case}");
    }
    assert_eq!(cases.len(), 55);
}
