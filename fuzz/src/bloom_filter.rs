use uplink_core::bloom_filter::BloomFilter;
use uplink_core::id::PieceId;

use super::input::Input;

/// A piece id, then bytes as a filter.
pub fn bloom_filter(data: &[u8]) {
    let mut input = Input::new(data);
    let piece = PieceId::new(input.array());
    let bytes = input.rest();
    let Ok(mut filter) = BloomFilter::parse(bytes.to_vec()) else { return };
    assert_eq!(filter.as_bytes(), bytes);
    let found = filter.contains(&piece);
    filter.add(&piece);
    assert!(filter.contains(&piece));
    // What is found already changes nothing when it is added; everything else does.
    assert_eq!(found, filter.as_bytes() == bytes);
    assert_eq!(BloomFilter::parse(filter.as_bytes().to_vec()), Ok(filter));
}
