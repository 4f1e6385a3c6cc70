//! Decoding, recovery and opening of one segment's shares, without a network.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use uplink_core::erasure::{Encoder, Scheme};

use super::{BlockDecryptor, Decoded, Decoder, Opened};
use crate::tests::{cases, cipher, in_runtime, piece, plain, seal, stripes};
use crate::upload::SealedSegment;

/// Stripes that divide a block, that do not, and that are larger than one.
const SCHEMES: [&str; 3] = ["4/6/8/10-256", "3/4/5/7-100", "2/3/4/6-8192"];

fn decoder(scheme: Scheme, size: u64, range: Range<u64>) -> (Decoder, Range<usize>) {
    let decryptor = BlockDecryptor::new(cipher(), scheme, size, range).unwrap();
    let shares = decryptor.shares();
    (Decoder::new(scheme, decryptor), shares.start as usize..shares.end as usize)
}

fn sealed(plain: &[u8], parts: &[usize], scheme: &Scheme) -> Arc<SealedSegment> {
    in_runtime(seal(plain, parts, scheme))
}

fn shares(pieces: &[Vec<u8>], range: Range<usize>) -> Vec<Bytes> {
    pieces.iter().map(|piece| Bytes::copy_from_slice(&piece[range.clone()])).collect()
}

/// One download: windows from the first k pieces, and blocks from all of them where a window fails.
struct Reading {
    decoder: Decoder,
    required: usize,
    pieces: Vec<Vec<u8>>,
    shares: Range<usize>,
    read: Vec<u8>,
    blamed: BTreeSet<u16>,
}

impl Reading {
    /// Reads everything, or returns the shares of the block that cannot be recovered.
    fn run(&mut self, windows: &[usize]) -> Result<(), Range<usize>> {
        let mut settled = self.shares.start;
        let mut at = self.shares.start;
        for window in windows.iter().cycle() {
            if at == self.shares.end {
                break;
            }
            let end = self.shares.end.min(at + window);
            let numbers: Vec<u16> = (0..self.required as u16).collect();
            let given = shares(&self.pieces[..self.required], at..end);
            match self.decoder.decode(&numbers, &given).unwrap() {
                Decoded::Opened(opened) => {
                    settled = self.take(opened);
                    at = end;
                }
                _ => {
                    while settled < end {
                        settled = self.recover()?;
                    }
                    at = settled;
                }
            }
        }
        assert_eq!(settled, self.shares.end);
        Ok(())
    }

    fn recover(&mut self) -> Result<usize, Range<usize>> {
        let block = self.decoder.block_shares().unwrap();
        let block = block.start as usize..block.end as usize;
        let numbers: Vec<u16> = (0..self.pieces.len() as u16).collect();
        let given = shares(&self.pieces, block.clone());
        match self.decoder.recover(&numbers, &given, 0).unwrap() {
            Decoded::Opened(opened) => Ok(self.take(opened)),
            _ => Err(block),
        }
    }

    fn take(&mut self, opened: Opened) -> usize {
        self.read.extend_from_slice(&opened.plain);
        self.blamed.extend(opened.corrupt.keys());
        self.shares.end.min(opened.next_block_at as usize)
    }
}

proptest! {
    #![proptest_config(cases(64))]

    /// Bit rot in any of k + 2 pieces: a block is read if k pieces are correct in it, never with wrong
    /// bytes, and no correct piece is reported as corrupt.
    #[test]
    fn range_is_exact_if_each_block_has_k_right_pieces(
        scheme in prop::sample::select(&SCHEMES[..]), size in 1..60_000_u64,
        (a, b) in any::<(prop::sample::Index, prop::sample::Index)>(),
        windows in prop::collection::vec(1..20_usize, 1..5),
        flips in prop::collection::vec((0..4_usize, any::<prop::sample::Index>(), 0..8_u8), 0..8),
    ) {
        let scheme: Scheme = scheme.parse().unwrap();
        let a = a.index(size as usize + 1);
        let b = b.index(size as usize + 1);
        let range = a.min(b)..a.max(b);
        let whole = plain(size as usize);
        let held = sealed(&whole, &[7000], &scheme);
        let right: Vec<Vec<u8>> =
            (0..scheme.required() + 2).map(|number| piece(&held, &scheme, number)).collect();
        let mut pieces = right.clone();
        for (number, at, bit) in flips {
            let at = at.index(pieces[number].len());
            pieces[number][at] ^= 1 << bit;
        }
        let (decoder, shares) = decoder(scheme, size, range.start as u64..range.end as u64);
        let required = scheme.required().into();
        let read = Vec::new();
        let blamed = BTreeSet::new();
        let mut reading = Reading { decoder, required, pieces, shares, read, blamed };
        let share_size = scheme.share_size() as usize;
        let windows: Vec<usize> = windows.iter().map(|window| window * share_size).collect();
        let pairs = || right.iter().zip(0..);
        match reading.run(&windows) {
            Ok(()) => prop_assert!(reading.read == whole[range]),
            Err(block) => {
                prop_assert!(whole[range].starts_with(&reading.read));
                let intact = pairs().filter(|(right, number)| {
                    right[block.clone()] == reading.pieces[*number][block.clone()]
                });
                prop_assert!(intact.count() < required, "not read: {block:?}");
            }
        }
        let corrupt = pairs().filter(|(right, number)| **right != reading.pieces[*number]);
        let corrupt: BTreeSet<u16> = corrupt.map(|(_, number)| number as u16).collect();
        prop_assert!(reading.blamed.is_subset(&corrupt), "{:?}", reading.blamed);
    }
}

#[test]
fn one_corrupt_of_five_is_told_and_blamed() {
    let scheme: Scheme = "4/6/8/10-256".parse().unwrap();
    let whole = plain(40_000);
    let held = sealed(&whole, &[7000], &scheme);
    for corrupt in 0..5 {
        let mut pieces: Vec<Vec<u8>> = (0..5).map(|number| piece(&held, &scheme, number)).collect();
        pieces[corrupt][1000] ^= 1;
        let (decoder, shares) = decoder(scheme, 40_000, 0..40_000);
        let read = Vec::new();
        let blamed = BTreeSet::new();
        let mut reading = Reading { decoder, required: 4, pieces, shares, read, blamed };
        reading.run(&[4096]).unwrap();
        assert!(reading.read == whole);
        // The first four decode without the fifth, whose corrupt share is never used.
        let expected = if corrupt < 4 { vec![corrupt as u16] } else { vec![] };
        assert_eq!(reading.blamed.into_iter().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn pieces_that_all_agree_on_other_bytes_are_not_believed() {
    let scheme: Scheme = "4/6/8/10-256".parse().unwrap();
    let mut forged = stripes(&sealed(&plain(20_000), &[7000], &scheme));
    forged[5000] ^= 1;
    let numbers: Vec<u16> = (0..10).collect();
    let mut pieces = vec![vec![0; forged.len() / 4]; 10];
    Encoder::new(&scheme).encode(&forged, &numbers, &mut pieces).unwrap();

    let (mut decoder, all) = decoder(scheme, 20_000, 0..20_000);
    let decoded = decoder.decode(&numbers[..4], &shares(&pieces[..4], all)).unwrap();
    assert!(matches!(decoded, Decoded::Corrupt));
    let block = decoder.block_shares().unwrap();
    let block = block.start as usize..block.end as usize;
    for count in 4..=10 {
        let given = shares(&pieces[..count], block.clone());
        let decoded = decoder.recover(&numbers[..count], &given, 0).unwrap();
        // With only the required pieces corruption cannot be located.
        assert!(matches!(decoded, Decoded::Corrupt) == (count == 4));
        assert!(matches!(decoded, Decoded::Forged) == (count > 4));
    }
}
