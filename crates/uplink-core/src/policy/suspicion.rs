//! Which pieces of a segment a download prefers.
//!
//! A corrupt share may be a flipped bit on a disk or one of many returned by a malicious node. Either
//! way the piece stays usable: its other shares may be needed to restore a stripe. The piece becomes
//! a *suspect*, used only if other pieces do not suffice. It stays a suspect for one window per
//! corrupt share found so far. A flipped bit expires after one window; a piece that is corrupt
//! throughout fails ever fewer windows.
//!
//! Positions count bytes of a piece's share range.

use std::collections::BTreeMap;

/// Number of corrupt shares that makes a storage node *unreliable*: its pieces are opened last.
pub const UNRELIABLE: u32 = 8;

/// The corrupt shares found in the pieces of one segment.
#[derive(Clone, Debug)]
pub struct Suspicion {
    window: u64,
    pieces: BTreeMap<u16, Suspect>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Suspect {
    corrupt: u32,
    until: u64,
}

impl Suspicion {
    /// Creates an empty record for windows of `window` bytes per piece.
    #[must_use]
    pub const fn new(window: u64) -> Self {
        Self { window, pieces: BTreeMap::new() }
    }

    /// Records `shares` corrupt shares of a piece, found before `position`. Returns the piece's total.
    pub fn found(&mut self, piece: u16, shares: u32, position: u64) -> u32 {
        let suspect = self.pieces.entry(piece).or_default();
        suspect.corrupt = suspect.corrupt.saturating_add(shares);
        let duration = self.window.saturating_mul(suspect.corrupt.into());
        suspect.until = suspect.until.max(position.saturating_add(duration));
        suspect.corrupt
    }

    /// Returns whether the piece is a suspect at `position`.
    #[must_use]
    pub fn is_suspect(&self, piece: u16, position: u64) -> bool {
        self.pieces.get(&piece).is_some_and(|suspect| position < suspect.until)
    }

    /// Returns the sort rank of a piece: 0 unless it is a suspect at `position`, else the number of its
    /// corrupt shares.
    #[must_use]
    pub fn rank(&self, piece: u16, position: u64) -> u32 {
        let suspect = self.pieces.get(&piece).filter(|suspect| position < suspect.until);
        suspect.map_or(0, |suspect| suspect.corrupt)
    }

    /// Returns how many pieces had corrupt shares, including expired ones.
    #[must_use]
    pub fn corrupt_pieces(&self) -> usize {
        self.pieces.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn flipped_bit_expires_after_one_window() {
        let mut suspicion = Suspicion::new(100);
        assert!(!suspicion.is_suspect(3, 0));
        assert_eq!(suspicion.found(3, 1, 50), 1);
        assert!(suspicion.is_suspect(3, 149) && !suspicion.is_suspect(3, 150));
        assert_eq!(
            (suspicion.rank(3, 149), suspicion.rank(3, 150), suspicion.rank(2, 0)),
            (1, 0, 0)
        );
        assert_eq!(suspicion.corrupt_pieces(), 1);
    }

    proptest! {
        #![proptest_config(crate::cases(10_000))]

        /// A piece whose every share is corrupt fails few windows of a long segment.
        #[test]
        fn fully_corrupt_piece_fails_ever_fewer_windows(
            window_shares in 1..100_u32, windows in 1..10_000_u64,
        ) {
            let window = u64::from(window_shares);
            let mut suspicion = Suspicion::new(window);
            let mut position = 0;
            let mut failed = 0_u32;
            while position < windows * window {
                if !suspicion.is_suspect(0, position) {
                    failed += 1;
                    suspicion.found(0, window_shares, position + window);
                }
                position += window;
            }
            let before = u64::from(failed - 1);
            let spared = before * u64::from(failed) / 2 * window;
            prop_assert!(before + spared < windows, "{failed} of {windows} windows");
        }

        /// Compared with a list of all findings.
        #[test]
        fn piece_is_suspect_while_any_finding_covers_the_position(
            found in prop::collection::vec((0..3_u16, 1..5_u32, 0..1_000_u64), 0..10),
            piece in 0..3_u16, position in 0..3_000_u64,
        ) {
            let mut suspicion = Suspicion::new(50);
            for (piece, shares, at) in &found {
                suspicion.found(*piece, *shares, *at);
            }
            let mut corrupt = 0;
            let mut suspect = false;
            for (_, shares, at) in found.iter().filter(|(found, _, _)| *found == piece) {
                corrupt += shares;
                suspect |= position < at + 50 * u64::from(corrupt);
            }
            prop_assert_eq!(suspicion.is_suspect(piece, position), suspect);
            prop_assert_eq!(suspicion.rank(piece, position), if suspect { corrupt } else { 0 });
        }
    }
}
