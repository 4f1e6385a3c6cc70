use proptest::prelude::*;

use super::*;

/// Pads one byte at a time.
fn padded_bytes(data_len: u64, block: u64) -> u64 {
    let mut length = data_len + 4;
    while !length.is_multiple_of(block) {
        length += 1;
    }
    length
}

fn schemes() -> impl Strategy<Value = Scheme> {
    (1..6_u16, 0..4_u16, 1..9_u32).prop_map(|(k, parity, share_size)| {
        Scheme::new(k, k, k + parity, k + parity, share_size).unwrap()
    })
}

/// Brute force: maps every plaintext byte to its block, stripe and share.
struct Walk {
    blocks: Vec<u64>,
    stripes: Vec<u64>,
    shares: Vec<u64>,
}

impl Walk {
    fn new(block_size: u32, scheme: &Scheme, range: Range<u64>) -> Self {
        let mut walk = Self { blocks: vec![], stripes: vec![], shares: vec![] };
        let share = u64::from(scheme.share_size());
        for byte in range {
            let block = byte / u64::from(block_size - TAG);
            walk.blocks.push(block);
            for encrypted in block * u64::from(block_size)..(block + 1) * u64::from(block_size) {
                let stripe = encrypted / u64::from(scheme.stripe_size());
                walk.stripes.push(stripe);
                walk.shares.extend([stripe * share, stripe * share + share - 1]);
            }
        }
        walk
    }
}

/// Returns the range that covers all values; `None` without values.
fn hull(values: &[u64]) -> Option<Range<u64>> {
    Some(*values.iter().min()?..*values.iter().max()? + 1)
}

proptest! {
    #![proptest_config(crate::cases(10_000))]

    #[test]
    fn segments_tile_the_object(size in 0..5_000_u64, segment in 1..600_u64) {
        let extents: Vec<Extent> = segments(size, segment).unwrap().collect();
        prop_assert_eq!(extents.len(), segments(size, segment).unwrap().len());
        let mut next = 0;
        for (index, extent) in extents.iter().enumerate() {
            prop_assert_eq!(extent.offset, next);
            next += extent.size;
            if index + 1 < extents.len() {
                prop_assert_eq!(extent.size, segment);
            }
        }
        prop_assert_eq!(next, size);
        prop_assert!(size == 0 || extents.iter().all(|extent| extent.size > 0));
        prop_assert!(!extents.is_empty());
    }

    #[test]
    fn split_ranges_cover_the_same_bytes(
        sizes in proptest::collection::vec(0..20_u64, 0..8),
        first in 0..30_u64,
        start in 0..150_u64,
        length in 0..150_u64,
    ) {
        let mut offset = first;
        let extents: Vec<Extent> = sizes
            .iter()
            .map(|&size| {
                let extent = Extent { offset, size };
                offset += size;
                extent
            })
            .collect();
        let expected: Vec<u64> = (start..start + length).filter(|b| (first..offset).contains(b)).collect();
        let mut found = Vec::new();
        for (index, range) in ranges_in_segments(extents.clone(), start..start + length) {
            prop_assert!(!range.is_empty() && range.end <= extents[index].size);
            found.extend(range.map(|b| b + extents[index].offset));
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn sizes_equal_counted_bytes(plain in 0..3_000_u64, block in 17..300_u32, scheme in schemes()) {
        let in_block = u64::from(block - TAG);
        prop_assert_eq!(padded_size(plain, in_block).unwrap(), padded_bytes(plain, in_block));
        let encrypted = padded_bytes(plain, in_block) / in_block * u64::from(block);
        prop_assert_eq!(encrypted_size(plain, block).unwrap(), encrypted);
        let stripe = u64::from(scheme.stripe_size());
        let padded = padded_bytes(encrypted, stripe);
        prop_assert_eq!(stripe_count(encrypted, &scheme).unwrap(), padded / stripe);
        let piece = padded / u64::from(scheme.required());
        prop_assert_eq!(piece_size(encrypted, &scheme).unwrap(), piece);
        let fetched = stripes_to_fetch(encrypted, &scheme);
        prop_assert!(fetched * stripe >= encrypted && (fetched == 0 || (fetched - 1) * stripe < encrypted));
    }

    #[test]
    fn reads_fetch_what_each_byte_needs(
        plain in 1..400_u64,
        block in 17..60_u32,
        scheme in schemes(),
        from in 0..400_u64,
        length in 0..60_u64,
    ) {
        let start = from % plain;
        let range = start..(start + length).min(plain);
        let read = SegmentRead::new(plain, block, &scheme, range.clone()).unwrap();
        let walk = Walk::new(block, &scheme, range.clone());
        if range.is_empty() {
            prop_assert!(read.blocks.is_empty() && read.stripes.is_empty() && read.shares.is_empty());
        } else {
            prop_assert_eq!(Some(read.blocks.clone()), hull(&walk.blocks));
            prop_assert_eq!(Some(read.stripes.clone()), hull(&walk.stripes));
            prop_assert_eq!(Some(read.shares.clone()), hull(&walk.shares));
            let encrypted = encrypted_size(plain, block).unwrap();
            prop_assert!(read.encrypted.end <= encrypted);
            prop_assert!(read.stripes.end <= stripes_to_fetch(encrypted, &scheme));
            prop_assert!(read.shares.end <= piece_size(encrypted, &scheme).unwrap());
            let first = read.blocks.start * u64::from(block - TAG) + read.skip_plain;
            prop_assert_eq!(first, range.start);
            let first = read.stripes.start * u64::from(scheme.stripe_size()) + read.skip_encrypted;
            prop_assert_eq!(first, read.encrypted.start);
        }
    }

    #[test]
    fn any_input_does_not_panic(
        a in any::<u64>(),
        b in any::<u64>(),
        c in prop_oneof![any::<u64>(), (0..100_u64).prop_map(|low| u64::MAX - low)],
        block in any::<u32>(),
        scheme in schemes(),
    ) {
        let _ = segments(c, a);
        let _ = ranges_in_segments([Extent { offset: a, size: c }], b..c).count();
        let _ = padded_size(c, b);
        let _ = encrypted_size(c, block % 64);
        let _ = inline_encrypted_size(c);
        let _ = unencrypted_size(c);
        let _ = encompassing_blocks(a, b, c);
        let _ = piece_size(c, &scheme);
        let _ = stripes_to_fetch(c, &scheme);
        let _ = SegmentRead::new(c, block, &scheme, a..b);
        let _ = SegmentRead::new(c, block % 64, &scheme, c - 1..c);
        prop_assert_eq!(
            unpack_encryption_parameters(pack_encryption_parameters(a as u8, block)),
            Ok((a as u8, block))
        );
    }
}

#[test]
fn sizes_beyond_64_bits_are_rejected() {
    let scheme: Scheme = "29/35/80/110-256".parse().unwrap();
    assert_eq!(padding_length(u64::MAX, 7), Err(LayoutError::TooLarge { size: u64::MAX }));
    assert_eq!(padded_size(u64::MAX - 4, 7408), Err(LayoutError::TooLarge { size: u64::MAX - 4 }));
    assert!(encrypted_size(u64::MAX - 8000, BLOCK_SIZE).is_err());
    assert!(piece_size(u64::MAX - 4, &scheme).is_err());
    assert!(segments(u64::MAX, SEGMENT_SIZE).is_err());
    assert!(segments(1, 0).is_err());
    for block_size in [0, 15, 16, MAX_BLOCK_SIZE + 1] {
        let rejected = LayoutError::BlockSize { block_size: block_size.into() };
        assert_eq!(encrypted_size(1, block_size), Err(rejected));
    }
    assert!(encrypted_size(1, 17).is_ok() && encrypted_size(1, MAX_BLOCK_SIZE).is_ok());
}

#[test]
fn segments_at_the_inline_limit_are_inline() {
    let sizes = |object| segments(object, SEGMENT_SIZE).unwrap().collect::<Vec<_>>();
    assert_eq!(sizes(0), [Extent { offset: 0, size: 0 }]);
    assert!(sizes(0)[0].is_inline());
    assert!(sizes(INLINE_LIMIT)[0].is_inline());
    assert!(!sizes(INLINE_LIMIT + 1)[0].is_inline());
    assert_eq!(sizes(SEGMENT_SIZE).len(), 1);
    let two = sizes(SEGMENT_SIZE + 1);
    assert_eq!(two[1], Extent { offset: SEGMENT_SIZE, size: 1 });
    assert!(!two[0].is_inline() && two[1].is_inline());
}

#[test]
fn ranges_beyond_the_segment_are_rejected() {
    let scheme: Scheme = "4/6/8/10-256".parse().unwrap();
    let read = |range| SegmentRead::new(100, BLOCK_SIZE, &scheme, range);
    assert!(read(0..100).is_ok());
    assert!(matches!(read(0..101), Err(LayoutError::Range { .. })));
    #[allow(clippy::reversed_empty_ranges)]
    let reversed = read(5..4);
    assert!(matches!(reversed, Err(LayoutError::Range { .. })));
}
