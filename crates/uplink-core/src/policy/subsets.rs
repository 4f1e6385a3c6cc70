//! Which subsets of the pieces to decode a block from before it counts as unreadable.
//!
//! Correction finds ⌊(r − k) / 2⌋ corrupt shares among r. An encryption block is authenticated, so
//! more can be found by trial: leave out some pieces, decode and correct the others, and accept the
//! choice that authenticates. Leaving out j pieces finds j + ⌊(r − j − k) / 2⌋ corrupt ones. Only
//! those j are tried that leave an even number of spare pieces, because an odd one corrects no
//! further share. The last level leaves exactly k.
//!
//! ```text
//! r = 5, k = 4   leave out 1 of 5:    5 tries    one corrupt piece of five
//! r = 8, k = 4   leave out 2 of 8:   28 tries    three of eight
//!                leave out 4 of 8:   36 of the 70 choices, up to the bound
//! ```
//!
//! Each stripe of a block may have corrupt shares of different pieces. [`Tries`] first leaves out the
//! same pieces everywhere, which handles malicious nodes and failing disks, and then different ones in
//! each *site*: one or a few stripes with inconsistent shares.

/// Maximum number of trials to decode a block from one set of pieces.
pub const MAX_TRIES: usize = 64;

/// Returns the sets of pieces to leave out, in the order to try them: at most [`MAX_TRIES`].
/// `required` of the `pieces` decode.
///
/// Pieces are identified by rank, 0 for the most suspect one. The first `suspects` ranks have been
/// corrupt before; leaving out exactly these comes first.
#[must_use]
pub fn left_out(pieces: usize, required: usize, suspects: usize) -> Vec<Vec<usize>> {
    let (_, covered) = complete_levels(pieces, required);
    // First the lowest level that leaves out all suspects, then lower ones: some may be correct.
    let mut likely_levels: Vec<usize> =
        levels(pieces, required).filter(|level| *level < suspects.saturating_add(2)).collect();
    likely_levels.reverse();
    likely_levels.truncate(MAX_TRIES - covered);
    let mut choices: Vec<Vec<usize>> =
        likely_levels.into_iter().map(|level| (0..level).collect()).collect();
    let likely = choices.len();

    for level in levels(pieces, required) {
        let mut next = Some((0..level).collect::<Vec<_>>());
        while let Some(choice) = next {
            if choices.len() == MAX_TRIES {
                return choices;
            }
            next = following(&choice, pieces);
            if !choices[..likely].contains(&choice) {
                choices.push(choice);
            }
        }
    }
    choices
}

/// Returns how many arbitrary pieces of `pieces` may be corrupt for a block to be certainly readable.
#[must_use]
pub fn tolerance(pieces: usize, required: usize) -> usize {
    let (complete, _) = complete_levels(pieces, required);
    pieces.saturating_sub(required) / 2 + complete
}

/// The numbers of pieces to leave out.
fn levels(pieces: usize, required: usize) -> impl Iterator<Item = usize> {
    let spare = pieces.saturating_sub(required);
    let first = if spare.is_multiple_of(2) { 2 } else { 1 };
    (first..=spare).step_by(2)
}

/// Number of levels whose choices all fit the bound, and the number of these choices.
fn complete_levels(pieces: usize, required: usize) -> (usize, usize) {
    let mut covered = 0_usize;
    let mut complete = 0;
    for level in levels(pieces, required) {
        let sum = covered.saturating_add(choose(pieces, level));
        if sum > MAX_TRIES {
            break;
        }
        covered = sum;
        complete += 1;
    }
    (complete, covered)
}

/// The number of ways to choose `some` of `all`; inexact above [`MAX_TRIES`].
fn choose(all: usize, some: usize) -> usize {
    let mut ways = 1_usize;
    for chosen in 0..some.min(all.saturating_sub(some)) {
        ways = ways.saturating_mul(all - chosen) / (chosen + 1);
        if ways > MAX_TRIES {
            break;
        }
    }
    ways
}

/// The next choice of the same size of ranks below `pieces`, in lexicographic order.
fn following(choice: &[usize], pieces: usize) -> Option<Vec<usize>> {
    let size = choice.len();
    let max = |index: usize| pieces - size + index;
    let index = (0..size).rev().find(|&index| choice[index] < max(index))?;
    let mut next = choice[..index].to_vec();
    next.extend((choice[index] + 1..).take(size - index));
    Some(next)
}

/// Iterates over combinations of one choice per site of a block: at most [`MAX_TRIES`] items.
#[derive(Clone, Debug)]
pub struct Tries {
    choices: usize,
    tried: usize,
    /// The last combination of different choices.
    mixed: Vec<usize>,
}

impl Tries {
    /// Starts with the first of `choices` at all of the `sites`.
    #[must_use]
    pub fn new(choices: usize, sites: usize) -> Self {
        Self { choices, tried: 0, mixed: vec![0; sites] }
    }

    /// Advances to the next combination, the last site fastest; returns whether there is one.
    fn advance(&mut self) -> bool {
        for choice in self.mixed.iter_mut().rev() {
            *choice += 1;
            if *choice < self.choices {
                return true;
            }
            *choice = 0;
        }
        false
    }

    fn is_uniform(&self) -> bool {
        self.mixed.windows(2).all(|pair| pair[0] == pair[1])
    }
}

impl Iterator for Tries {
    type Item = Vec<usize>;

    fn next(&mut self) -> Option<Vec<usize>> {
        if self.tried == MAX_TRIES || self.choices == 0 || self.mixed.is_empty() {
            return None;
        }
        self.tried += 1;
        if self.tried <= self.choices {
            return Some(vec![self.tried - 1; self.mixed.len()]);
        }
        loop {
            if !self.advance() {
                self.tried = MAX_TRIES;
                return None;
            }
            if !self.is_uniform() {
                return Some(self.mixed.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_corrupt_piece_of_five_is_found_by_leaving_out_each() {
        assert_eq!(left_out(5, 4, 0), [[0], [1], [2], [3], [4]]);
        assert_eq!((tolerance(5, 4), tolerance(4, 4), tolerance(3, 4)), (1, 0, 0));
        assert!(left_out(4, 4, 4).is_empty() && left_out(3, 4, 0).is_empty());
    }

    #[test]
    fn known_suspects_are_left_out_first() {
        let choices = left_out(80, 29, 30);
        assert_eq!(choices[0], (0..31).collect::<Vec<_>>());
        assert_eq!(left_out(8, 4, 3)[..2], [vec![0, 1, 2, 3], vec![0, 1]]);
    }

    #[test]
    fn tolerance_grows_by_each_level_that_fits_the_bound() {
        let cases = [(6, 4, 2), (7, 4, 3), (8, 4, 3), (10, 4, 4), (30, 29, 1), (31, 29, 1)];
        for (pieces, required, corrupt) in cases {
            assert_eq!(tolerance(pieces, required), corrupt, "{pieces} of {required}");
        }
        assert_eq!((tolerance(32, 29), tolerance(80, 29), tolerance(66, 29)), (2, 25, 18));
    }

    /// Corrupt pieces of each site, by rank.
    fn scenario() -> impl Strategy<Value = (usize, usize, Vec<BTreeSet<usize>>, usize)> {
        (1..6_usize, 0..5_usize, 1..4_usize, 0..9_usize).prop_flat_map(
            |(required, spare, sites, suspects)| {
                let ranks = prop::collection::btree_set(0..required + spare, 0..=spare + 1);
                let corrupt = prop::collection::vec(ranks, sites);
                (Just(required + spare), Just(required), corrupt, Just(suspects))
            },
        )
    }

    /// The first try that corrects all sites.
    fn right_try(
        pieces: usize,
        required: usize,
        corrupt: &[BTreeSet<usize>],
        choices: &[Vec<usize>],
    ) -> Option<usize> {
        Tries::new(choices.len(), corrupt.len()).position(|tried| {
            corrupt.iter().zip(tried).all(|(corrupt, choice)| {
                let left = corrupt.iter().filter(|rank| !choices[choice].contains(rank)).count();
                left <= (pieces - choices[choice].len() - required) / 2
            })
        })
    }

    proptest! {
        #![proptest_config(crate::cases(10_000))]

        /// Compared with brute force over all subsets of k pieces at each site: if all choices fit the
        /// bound, a block is readable exactly if each site has k correct pieces.
        #[test]
        fn block_is_readable_exactly_if_k_correct_pieces_exist(
            (pieces, required, corrupt, suspects) in scenario(),
        ) {
            let choices = left_out(pieces, required, suspects);
            let all: usize = levels(pieces, required).map(|level| choose(pieces, level)).sum();
            prop_assert_eq!(choices.len(), all.min(MAX_TRIES));
            let found = right_try(pieces, required, &corrupt, &choices);
            let subset = |corrupt: &BTreeSet<usize>| {
                (0_u32..1 << pieces).any(|subset| {
                    subset.count_ones() as usize == required
                        && corrupt.iter().all(|rank| subset & (1 << rank) == 0)
                })
            };
            let readable = corrupt.iter().all(subset);
            let combinations = choices.len().saturating_pow(corrupt.len() as u32);
            if pieces > required && all <= MAX_TRIES && combinations <= MAX_TRIES {
                prop_assert_eq!(found.is_some(), readable);
            }
            prop_assert!(found.is_none() || readable);
        }

        /// Tries stay within the bound and do not repeat, and any `tolerance` corrupt pieces are
        /// found.
        #[test]
        fn tolerated_corrupt_pieces_are_found_within_the_bound(
            (pieces, required, corrupt, suspects) in scenario(),
        ) {
            let choices = left_out(pieces, required, suspects);
            let distinct: BTreeSet<&Vec<usize>> = choices.iter().collect();
            prop_assert_eq!(distinct.len(), choices.len());
            let ascending = |choice: &Vec<usize>| choice.windows(2).all(|pair| pair[0] < pair[1]);
            prop_assert!(choices.iter().all(ascending));
            prop_assert!(choices.iter().flatten().all(|rank| *rank < pieces));
            let tries: Vec<_> = Tries::new(choices.len(), corrupt.len()).collect();
            let distinct: BTreeSet<_> = tries.iter().collect();
            prop_assert!(tries.len() <= MAX_TRIES && distinct.len() == tries.len());
            let together: BTreeSet<usize> = corrupt.iter().flatten().copied().collect();
            if pieces > required && together.len() <= tolerance(pieces, required) {
                prop_assert!(right_try(pieces, required, &corrupt, &choices).is_some());
            }
        }

        /// For any code, the bound holds and known suspects are left out first, unless leaving out
        /// each piece alone takes all tries.
        #[test]
        fn known_suspects_are_found_first_in_any_code(
            required in 1..100_usize, spare in 1..150_usize, suspects in 0..150_usize,
        ) {
            let pieces = required + spare;
            let choices = left_out(pieces, required, suspects);
            prop_assert!((1..=MAX_TRIES).contains(&choices.len()) || spare < 2);
            prop_assert!(tolerance(pieces, required) >= spare / 2);
            let (_, covered) = complete_levels(pieces, required);
            if (1..=spare).contains(&suspects) && covered < MAX_TRIES {
                let corrupt = [(0..suspects).collect()];
                prop_assert_eq!(right_try(pieces, required, &corrupt, &choices), Some(0));
            }
        }
    }
}
