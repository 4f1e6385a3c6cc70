//! Locates the corrupt shares of one byte column.
//!
//! With weights wᵢ = 1 / ∏ (xᵢ + xⱼ) over the r points, the sums S_m = Σ wᵢ·xᵢᵐ·cᵢ for
//! m < r − k are zero for the values c of every polynomial of degree below k. What remains of a
//! column with errors eᵢ is S_m = Σ wᵢ·eᵢ·xᵢᵐ, a sequence whose shortest linear recurrence has the
//! points of the corrupt shares as its roots, provided they are at most half as many as the sums.
//! The Berlekamp–Massey algorithm finds the recurrence.

use reed_solomon_erasure::galois_8::{div, mul};

use crate::erasure::field::{Interpolation, point};

/// Finds corrupt shares among those of given pieces.
pub(super) struct Locator {
    points: Vec<u8>,
    weights: Vec<u8>,
    /// Number of sums that are zero without errors: r − k.
    sums: usize,
}

impl Locator {
    /// Creates a locator for `pieces`: at least `required` distinct numbers below 256.
    pub(super) fn new(pieces: &[u16], required: u16) -> Self {
        Self {
            points: pieces.iter().copied().map(point).collect(),
            weights: Interpolation::new(pieces.iter().copied()).into_weights(),
            sums: pieces.len().saturating_sub(required.into()),
        }
    }

    /// Returns the indexes of the corrupt shares, if a polynomial differs in at most ⌊(r − k) / 2⌋
    /// shares.
    ///
    /// `differences` are between the given shares, by index, and the values of an arbitrary
    /// polynomial; zero differences may be omitted.
    pub(super) fn locate(
        &self,
        differences: impl IntoIterator<Item = (usize, u8)>,
    ) -> Option<Vec<usize>> {
        let mut sums = vec![0; self.sums];
        for (index, difference) in differences {
            let x = *self.points.get(index)?;
            let mut term = mul(*self.weights.get(index)?, difference);
            for sum in &mut sums {
                *sum ^= term;
                term = mul(term, x);
            }
        }
        let recurrence = shortest_recurrence(&sums);
        let errors = recurrence.len() - 1;
        if errors > self.sums / 2 {
            return None;
        }

        let is_root = |x: u8| recurrence.iter().fold(0, |value, &c| mul(value, x) ^ c) == 0;
        let points = (0..).zip(&self.points);
        let roots: Vec<usize> =
            points.filter(|(_, x)| is_root(**x)).map(|(index, _)| index).collect();
        // Fewer roots than the recurrence's length: uncorrectable.
        (roots.len() == errors).then_some(roots)
    }
}

/// Returns the sum of `a[j] · b[j]`.
pub(super) fn sum_of_products(a: &[u8], b: &[u8]) -> u8 {
    a.iter().zip(b).fold(0, |sum, (&a, &b)| sum ^ mul(a, b))
}

/// Returns the shortest c with c₀ = 1 and c₀·s_n + c₁·s_{n−1} + … + c_L·s_{n−L} = 0 for all n ≥ L.
///
/// The notation is that of J. Massey, Shift-register synthesis and BCH decoding, 1969.
fn shortest_recurrence(sequence: &[u8]) -> Vec<u8> {
    let mut current = vec![1];
    let mut before = vec![1];
    let mut discrepancy_before = 1;
    let mut distance = 1;
    for n in 0..sequence.len() {
        let length = current.len() - 1;
        let latest = sequence.iter().take(n + 1).rev();
        let discrepancy = current.iter().zip(latest).fold(0, |sum, (&c, &s)| sum ^ mul(c, s));
        if discrepancy == 0 {
            distance += 1;
            continue;
        }
        let lengthened = 2 * length <= n;
        let mut next = current.clone();
        if lengthened {
            next.resize(n + 1 - length + 1, 0);
        }
        let factor = div(discrepancy, discrepancy_before);
        for (c, &b) in next.iter_mut().skip(distance).zip(&before) {
            *c ^= mul(factor, b);
        }
        if lengthened {
            before = current;
            discrepancy_before = discrepancy;
            distance = 0;
        }
        current = next;
        distance += 1;
    }
    current
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn recurrences_of_known_sequences() {
        assert_eq!(shortest_recurrence(&[]), [1]);
        assert_eq!(shortest_recurrence(&[0, 0, 0]), [1]);
        // A corrupt share at point 0 affects the first sum only.
        assert_eq!(shortest_recurrence(&[7, 0, 0, 0]), [1, 0]);
        // s_n = 2 · s_{n−1}.
        assert_eq!(shortest_recurrence(&[1, 2, 4, 8]), [1, 2]);
        assert_eq!(shortest_recurrence(&[0, 0, 0, 9]).len(), 5);
    }

    proptest! {
        #![proptest_config(crate::cases(2_000))]

        #[test]
        fn recurrence_holds_and_is_not_longer_than_needed(
            sequence in prop::collection::vec(prop_oneof![Just(0), Just(1), any::<u8>()], 0..12),
        ) {
            let found = shortest_recurrence(&sequence);
            let length = found.len() - 1;
            prop_assert!(length <= sequence.len());
            for n in length..sequence.len() {
                let sum = (0..=length).fold(0, |sum, i| sum ^ mul(found[i], sequence[n - i]));
                prop_assert_eq!(sum, 0);
            }
            // Length 1: try every factor.
            let is_geometric = |c: u8| sequence.windows(2).all(|s| s[1] == mul(c, s[0]));
            if (0..=255).any(is_geometric) {
                prop_assert!(length <= 1);
            }
        }
    }
}
