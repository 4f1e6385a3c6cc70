use std::collections::BTreeSet;

use uplink_core::erasure::{Code, Corrector, Encoder};

use super::input::Input;

/// Input: a code, the available pieces, a stripe, and bytes of the pieces to change.
pub fn erasure_correct(data: &[u8]) {
    let mut input = Input::new(data);
    let required = u16::from(input.byte() % 24) + 1;
    let redundant = u16::from(input.byte() % 24);
    let share_size = usize::from(input.byte() % 8) + 1;
    let code = Code::new(required, required + redundant).expect("a code");
    let numbers = available(code, input.array());
    let mut stripe = input.bytes(share_size * usize::from(required)).to_vec();
    stripe.resize(share_size * usize::from(required), 0);

    let mut correct = vec![vec![0; share_size]; numbers.len()];
    let encoder = Encoder::with_code(code, share_size);
    encoder.encode(&stripe, &numbers, &mut correct).expect("pieces of the code");
    let mut shares = correct.clone();
    for change in input.rest().chunks_exact(3) {
        let index = usize::from(change[0]) % shares.len();
        shares[index][usize::from(change[1]) % share_size] ^= change[2];
    }

    let mut corrector = Corrector::with_code(code, share_size, &numbers).expect("enough pieces");
    let mut restored = vec![0; stripe.len()];
    let outcome = corrector.correct(&shares, &mut restored);
    if within_bound(&correct, &shares, &corrector) {
        let pairs = numbers.iter().zip(correct.iter().zip(&shares));
        let corrupt: BTreeSet<u16> = pairs
            .filter(|(_, (correct, share))| correct != share)
            .map(|(number, _)| *number)
            .collect();
        assert_eq!(outcome, Ok(corrupt));
        assert_eq!(restored, stripe);
    }
}

/// Returns the pieces whose bit is set, and the first others up to the required number.
fn available(code: Code, bits: [u8; 6]) -> Vec<u16> {
    let set = |number: &u16| bits[usize::from(number / 8)] >> (number % 8) & 1 == 1;
    let (mut available, others): (Vec<u16>, Vec<u16>) = (0..code.total()).partition(set);
    let missing = usize::from(code.required()).saturating_sub(available.len());
    available.extend(others.into_iter().take(missing));
    available
}

/// Returns whether every column has at most as many corrupt bytes as can be corrected. A stripe of
/// at most eight columns needs no more bases than its corrector may use.
fn within_bound(correct: &[Vec<u8>], shares: &[Vec<u8>], corrector: &Corrector) -> bool {
    let pairs = || correct.iter().zip(shares);
    let columns = correct.first().map_or(0, Vec::len);
    let corrupt_in =
        |column: usize| pairs().filter(|(correct, share)| correct[column] != share[column]).count();
    (0..columns).all(|column| corrupt_in(column) <= corrector.correctable())
}
