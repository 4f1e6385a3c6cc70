//! Evaluation points and interpolation in GF(2⁸).

use reed_solomon_erasure::galois_8::{div, exp, mul};

/// Returns the evaluation point of share `number`: 0, then the powers of two.
///
/// # Panics
///
/// Never for numbers below 256, the largest code.
pub(super) fn point(number: u16) -> u8 {
    match number {
        0 => 0,
        n => exp(2, usize::from(n) - 1),
    }
}

/// Polynomials of degree below k, given by their values at k points.
///
/// Lagrange's form with precomputed weights: construction costs k² multiplications, each
/// further row k.
pub(super) struct Interpolation {
    points: Vec<u8>,
    /// 1 / ∏ (xₐ + x_b) over b ≠ a.
    weights: Vec<u8>,
}

impl Interpolation {
    /// Creates an interpolation over the shares `numbers`, which must be distinct and below 256.
    pub(super) fn new(numbers: impl IntoIterator<Item = u16>) -> Self {
        let points: Vec<u8> = numbers.into_iter().map(point).collect();
        let weights = points
            .iter()
            .map(|&a| {
                let others = points.iter().filter(|&&b| b != a);
                div(1, others.fold(1, |product, &b| mul(product, a ^ b)))
            })
            .collect();
        Self { points, weights }
    }

    /// Returns the weight of each given share, in their order.
    pub(super) fn into_weights(self) -> Vec<u8> {
        self.weights
    }

    /// Returns the factor of each given share in share `number`, in the order of the given shares.
    pub(super) fn row(&self, number: u16) -> Vec<u8> {
        let x = point(number);
        if let Some(present) = self.points.iter().position(|&a| a == x) {
            let mut unit = vec![0; self.points.len()];
            unit[present] = 1;
            return unit;
        }
        let product = self.points.iter().fold(1, |product, &a| mul(product, x ^ a));
        self.points
            .iter()
            .zip(&self.weights)
            .map(|(&a, &weight)| mul(product, div(weight, x ^ a)))
            .collect()
    }
}
