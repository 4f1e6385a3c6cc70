//! Sizes of padding, blocks and ciphertexts against the reference implementation.
//!
//! | group of `access.json` | test |
//! |---|---|
//! | `padding` | `padding_lengths_equal_the_reference` |
//! | `encompassing_blocks` | `encompassing_blocks_equal_the_reference` |
//! | `encrypted_size` | `encrypted_sizes_equal_the_reference` |
//! | `encryption_parameters_packing` | `packed_encryption_parameters_equal_the_reference` |
//! | all others | contain no sizes; see the tests of access grants and encryption |

use serde_json::Value;
use uplink_core::layout;

fn cases(group: &str) -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/access.json");
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    file[group]["cases"].as_array().unwrap().clone()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

#[test]
fn padding_lengths_equal_the_reference() {
    let cases = cases("padding");
    for case in &cases {
        let length = layout::padding_length(number(&case["data_len"]), number(&case["block_size"]));
        assert_eq!(length.unwrap(), number(&case["padding"]), "{case}");
    }
    assert_eq!(cases.len(), 14);
}

#[test]
fn encompassing_blocks_equal_the_reference() {
    let cases = cases("encompassing_blocks");
    for case in &cases {
        let blocks =
            layout::encompassing_blocks(number(&case[0]), number(&case[1]), number(&case[2]));
        assert_eq!(blocks.unwrap(), (number(&case[3]), number(&case[4])), "{case}");
    }
    assert_eq!(cases.len(), 36);
}

#[test]
fn encrypted_sizes_equal_the_reference() {
    let cases = cases("encrypted_size");
    for case in &cases {
        let plain = number(&case["plain"]);
        let size = match number(&case["cipher"]) {
            1 => layout::unencrypted_size(plain),
            _ => layout::encrypted_size(plain, number(&case["block_size"]) as u32),
        };
        assert_eq!(size.unwrap(), number(&case["encrypted"]), "{case}");
    }
    assert_eq!(cases.len(), 16);
}

#[test]
fn packed_encryption_parameters_equal_the_reference() {
    let cases = cases("encryption_parameters_packing");
    for case in &cases {
        let suite = number(&case["cipher"]) as u8;
        let block_size = number(&case["block_size"]) as u32;
        let packed = case["int64"].as_i64().unwrap();
        assert_eq!(layout::pack_encryption_parameters(suite, block_size), packed);
        assert_eq!(layout::unpack_encryption_parameters(packed), Ok((suite, block_size)));
    }
    assert_eq!(layout::unpack_encryption_parameters(-1).ok(), None);
    assert_eq!(cases.len(), 4);
}
