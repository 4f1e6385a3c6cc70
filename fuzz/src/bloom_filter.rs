use uplink_core::bloom_filter::BloomFilter;
use uplink_core::id::PieceId;

use super::input::Input;

/// Input: a piece id, then the bytes of a filter.
pub fn bloom_filter(data: &[u8]) {
    let mut input = Input::new(data);
    let piece = PieceId::new(input.array());
    let bytes = input.rest();
    let Ok(mut filter) = BloomFilter::parse(bytes.to_vec()) else { return };
    assert_eq!(filter.as_bytes(), bytes);
    let found = filter.contains(&piece);
    filter.add(&piece);
    assert!(filter.contains(&piece));
    // Adding an element changes the filter only if it was not found before.
    assert_eq!(found, filter.as_bytes() == bytes);
    assert_eq!(BloomFilter::parse(filter.as_bytes().to_vec()), Ok(filter));
}
