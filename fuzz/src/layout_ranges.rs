use uplink_core::erasure::Scheme;
use uplink_core::layout::{
    Extent, SegmentRead, TAG, encrypted_size, pack_encryption_parameters, padded_size, piece_size,
    ranges_in_segments, segments, stripes_to_fetch, unpack_encryption_parameters,
};

use super::input::Input;

/// Input: scheme, share size, block size, segment size, object size and range.
pub fn layout_ranges(data: &[u8]) {
    let mut input = Input::new(data);
    let counts: [u8; 4] = input.array();
    let [required, repair, optimal, total] = counts.map(i32::from);
    let share_size = input.number() as u32;
    let block_size = input.number() as u32;
    let segment_size = input.number();
    let size = input.number();
    let range = input.number()..input.number();
    assert_parameters(required as u8, block_size, input.number().cast_signed());
    assert_segments(size, segment_size, &range);
    let scheme = Scheme::from_wire(required, repair, optimal, total, share_size.cast_signed());
    let Ok(scheme) = scheme else { return };
    let Ok(read) = SegmentRead::new(size, block_size, &scheme, range.clone()) else {
        let outside = range.start > range.end || range.end > size;
        let encrypted = encrypted_size(size, block_size);
        // With one required piece, its padding must also fit into 64 bits.
        assert!(outside || encrypted.and_then(|encrypted| piece_size(encrypted, &scheme)).is_err());
        return;
    };
    assert_read(size, block_size, &scheme, &range, &read);
}

/// Asserts that the read covers the range with the minimum of blocks and stripes.
fn assert_read(
    size: u64,
    block_size: u32,
    scheme: &Scheme,
    range: &std::ops::Range<u64>,
    read: &SegmentRead,
) {
    if range.is_empty() {
        assert!(read.blocks.is_empty() && read.stripes.is_empty() && read.shares.is_empty());
        return;
    }
    let in_block = u128::from(block_size - TAG);
    let block = u128::from(block_size);
    let stripe = u128::from(scheme.stripe_size());
    let share = u128::from(scheme.share_size());
    let wide = |range: &std::ops::Range<u64>| (u128::from(range.start), u128::from(range.end));
    let (start, end) = wide(range);
    let (first, last) = wide(&read.blocks);
    assert_eq!(first * in_block + u128::from(read.skip_plain), start);
    assert!(u128::from(read.skip_plain) < in_block);
    assert!((last - 1) * in_block < end && end <= last * in_block);
    assert_eq!(wide(&read.encrypted), (first * block, last * block));
    let (first, last) = wide(&read.stripes);
    assert_eq!(first * stripe + u128::from(read.skip_encrypted), read.encrypted.start.into());
    assert!(u128::from(read.skip_encrypted) < stripe);
    let end = u128::from(read.encrypted.end);
    assert!((last - 1) * stripe < end && end <= last * stripe);
    assert_eq!(wide(&read.shares), (first * share, last * share));
    let encrypted = encrypted_size(size, block_size).expect("the size of a valid read");
    assert!(read.encrypted.end <= encrypted);
    assert!(read.stripes.end <= stripes_to_fetch(encrypted, scheme));
    if let Ok(piece) = piece_size(encrypted, scheme) {
        assert!(read.shares.end <= piece);
    }
    let padded = padded_size(size, u64::from(block_size - TAG)).expect("the same size");
    assert!(padded - size >= 4 && u128::from(padded - size) < in_block + 4);
}

/// Asserts that the parts of a range are consecutive and cover it exactly.
fn assert_segments(size: u64, segment_size: u64, range: &std::ops::Range<u64>) {
    let Ok(extents) = segments(size, segment_size) else {
        assert!(segment_size == 0 || size / segment_size >= u32::MAX.into());
        return;
    };
    let extents = extents.clone().take(1000).collect::<Vec<Extent>>();
    let covered = extents.last().map_or(0, |last| last.offset + last.size);
    assert!(covered == size || extents.len() == 1000);
    let mut next = range.start;
    for (index, part) in ranges_in_segments(extents.iter().copied(), range.clone()) {
        assert!(part.start < part.end && part.end <= extents[index].size);
        assert_eq!(extents[index].offset + part.start, next);
        next = extents[index].offset + part.end;
    }
    let whole = range.start..range.end.min(covered);
    assert!(next == whole.end || whole.is_empty());
}

fn assert_parameters(suite: u8, block_size: u32, packed: i64) {
    let pair = (suite, block_size);
    assert_eq!(
        unpack_encryption_parameters(pack_encryption_parameters(suite, block_size)),
        Ok(pair)
    );
    if let Ok((suite, block_size)) = unpack_encryption_parameters(packed) {
        assert_eq!(pack_encryption_parameters(suite, block_size), packed);
    }
}
