//! A cheaper form of the parity rows.
//!
//! The points of the code are powers of two, so with `w_c = 1 / ∏ (x_c + x_j)` over the other data
//! points and `M(x) = ∏ (x + x_j)` over all of them, parity share r is
//!
//! ```text
//! p_r = M(x_r) · ( w_0 d_0 / x_r + Σ (w_c d_c / x_c) · t(r − c) ),   t(d) = 1 / (2^d + 1)
//! ```
//!
//! The sum is a Toeplitz matrix times the scaled data shares. Its rows are cut into stacks of four
//! blocks and its columns into four blocks of the same side; two levels of
//! `[T0 T₋₁; T1 T0]·[a; b] = [T0(a+b) + (T₋₁+T0)b; T0(a+b) + (T1+T0)a]` leave nine products of
//! blocks where the plain form has sixteen.

use reed_solomon_erasure::galois_8::{div, exp, mul};

use super::field::point;
use super::scheme::Code;

/// Blocks per stack and per row of columns.
pub(super) const BLOCKS: usize = 4;
/// Block products per stack.
pub(super) const PRODUCTS: usize = 9;
/// Maximum side of a block: a strip of all blocks must fit the L1 cache.
pub(super) const MAX_SIDE: usize = 16;

/// The factors of the form in the module documentation.
pub(super) struct Toeplitz {
    /// Rows and columns of a block.
    pub(super) side: usize,
    /// The factor of each data share except the first.
    pub(super) scale: Vec<u8>,
    /// One stack for every `4 · side` rows.
    pub(super) stacks: Vec<[Vec<u8>; PRODUCTS]>,
    /// For each row, the factors of its sum and of data share 0.
    pub(super) ends: Vec<[u8; 2]>,
}

impl Toeplitz {
    /// Computes the form for a code's parity rows; `None` if the plain form is as fast.
    pub(super) fn new(code: Code) -> Option<Self> {
        let k = usize::from(code.required());
        let n = usize::from(code.total());
        let side = k.saturating_sub(1).div_ceil(BLOCKS);
        if k < 20 || n - k < BLOCKS * side || side > MAX_SIDE {
            return None;
        }
        let points: Vec<u8> = (0..code.required()).map(point).collect();
        let weight = |x: u8| {
            let others = points.iter().filter(|&&other| other != x);
            div(1, others.fold(1, |product, &other| mul(product, x ^ other)))
        };
        let scale = points.iter().skip(1).map(|&x| div(weight(x), x)).collect();
        let end = |row: u16| {
            let x = point(row);
            let product = points.iter().fold(1, |product, &other| mul(product, x ^ other));
            [product, mul(product, div(weight(0), x))]
        };
        let first_rows = (k..n).step_by(BLOCKS * side);
        let stacks = first_rows.map(|row| stack(row - 1, side)).collect();
        Some(Self { side, scale, stacks, ends: (code.required()..code.total()).map(end).collect() })
    }
}

/// Returns the nine blocks of the stack in which row and column 0 are `distance` apart, in
/// multiplication order: those of the whole stack, of its upper half and of its lower half, each
/// group starting with the product shared by both halves.
fn stack(distance: usize, side: usize) -> [Vec<u8>; PRODUCTS] {
    let block = |difference: isize| -> Vec<u8> {
        let cells = (0..side as isize).flat_map(|i| (0..side as isize).map(move |j| i - j));
        cells.map(|cell| t(distance as isize + difference * side as isize + cell)).collect()
    };
    let sum = |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(a, b)| a ^ b).collect::<Vec<u8>>();
    let [d0, d1, d2, d3, d4, d5, d6] = [-3, -2, -1, 0, 1, 2, 3].map(block);
    let whole = [d2.clone(), d3.clone(), d4.clone()];
    let upper = [sum(&d0, &d2), sum(&d1, &d3), sum(&d2, &d4)];
    let lower = [sum(&d4, &d2), sum(&d5, &d3), sum(&d6, &d4)];
    let three = |[below, at, above]: [Vec<u8>; 3]| {
        let first = sum(&below, &at);
        let second = sum(&above, &at);
        [at, first, second]
    };
    let [[a, b, c], [d, e, f], [g, h, i]] = [whole, upper, lower].map(three);
    [a, b, c, d, e, f, g, h, i]
}

/// Returns `1 / (2^distance + 1)`; arbitrary for columns that do not exist.
fn t(distance: isize) -> u8 {
    let power = exp(2, distance.rem_euclid(255) as usize);
    if power == 1 { 0 } else { div(1, power ^ 1) }
}
