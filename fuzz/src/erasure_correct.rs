use std::collections::BTreeSet;

use uplink_core::erasure::{Code, Corrector, Encoder};

use super::input::Input;

/// A code, which pieces are given, a stripe, and bytes of the pieces to change.
pub fn erasure_correct(data: &[u8]) {
    let mut input = Input::new(data);
    let (required, more) = (u16::from(input.byte() % 24) + 1, u16::from(input.byte() % 24));
    let share_size = usize::from(input.byte() % 8) + 1;
    let code = Code::new(required, required + more).expect("a code");
    let numbers = given(code, input.array());
    let mut stripe = input.bytes(share_size * usize::from(required)).to_vec();
    stripe.resize(share_size * usize::from(required), 0);

    let mut right = vec![vec![0; share_size]; numbers.len()];
    let encoder = Encoder::with_code(code, share_size);
    encoder.encode(&stripe, &numbers, &mut right).expect("pieces of the code");
    let mut shares = right.clone();
    for change in input.rest().chunks_exact(3) {
        let place = usize::from(change[0]) % shares.len();
        shares[place][usize::from(change[1]) % share_size] ^= change[2];
    }

    let mut corrector = Corrector::with_code(code, share_size, &numbers).expect("enough pieces");
    let mut restored = vec![0; stripe.len()];
    let outcome = corrector.correct(&shares, &mut restored);
    if within_bound(&right, &shares, &corrector) {
        let changed = numbers.iter().zip(right.iter().zip(&shares));
        let wrong: BTreeSet<u16> = changed
            .filter(|(_, (right, share))| right != share)
            .map(|(number, _)| *number)
            .collect();
        assert_eq!(outcome, Ok(wrong));
        assert_eq!(restored, stripe);
    }
}

/// The pieces whose bit is set, and the first others up to the required number.
fn given(code: Code, bits: [u8; 6]) -> Vec<u16> {
    let set = |number: &u16| bits[usize::from(number / 8)] >> (number % 8) & 1 == 1;
    let (mut given, others): (Vec<u16>, Vec<u16>) = (0..code.total()).partition(set);
    let missing = usize::from(code.required()).saturating_sub(given.len());
    given.extend(others.into_iter().take(missing));
    given
}

/// Whether no column has more wrong bytes than can be corrected. A stripe of at most eight columns
/// needs no more bases than its corrector may use.
fn within_bound(right: &[Vec<u8>], shares: &[Vec<u8>], corrector: &Corrector) -> bool {
    let pairs = || right.iter().zip(shares);
    let columns = right.first().map_or(0, Vec::len);
    let wrong_in =
        |column: usize| pairs().filter(|(right, share)| right[column] != share[column]).count();
    (0..columns).all(|column| wrong_in(column) <= corrector.correctable())
}
