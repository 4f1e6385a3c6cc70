use proptest::prelude::*;

use super::*;

fn chain(kind: KeyKind, part: u32) -> Chain {
    Chain::new(kind, part, ChainValue::new([7; 26]))
}

#[test]
fn marked_key_has_exactly_the_mark_of_its_kind() {
    let value = ChainValue::new([1; 26]);
    for kind in KeyKind::ALL {
        let key = value.key(kind);
        assert_eq!(KeyKind::of(&key), Some(kind));
        assert_eq!(ChainValue::of(&key), value);
        for bit in 0..256 {
            let mut bytes = *key.expose();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(KeyKind::of(&Key::new(bytes)), None, "bit {bit} of {kind:?}");
        }
    }
}

#[test]
fn chains_of_different_parts_share_only_the_first_key() {
    let mut one = chain(KeyKind::Part, 1);
    let mut two = chain(KeyKind::Part, 2);
    assert_eq!(one.key(0), two.key(0));
    assert_ne!(one.key(1), two.key(1));
}

#[test]
fn chain_values_are_redacted_in_debug() {
    let shown = format!("{:?} {:?}", chain(KeyKind::Stream, 0), ChainValue::new([0xab; 26]));
    for bytes in ["ab", "171", "[7", "7,"] {
        assert!(!shown.contains(bytes), "{shown}");
    }
}

#[test]
fn random_keys_are_never_marked() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    for _ in 0..20_000 {
        let mut bytes = [0; 32];
        bytes.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&random()));
        assert_eq!(KeyKind::of(&Key::new(bytes)), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn keys_do_not_depend_on_the_order_of_access(
        indexes in prop::collection::vec(0_u32..3000, 1..20),
        part in 0_u32..3,
    ) {
        let mut values = vec![ChainValue::new([7; 26])];
        for index in 1..3000 {
            let next = values[index - 1].next(part, index as u32);
            values.push(next);
        }
        let mut chain = chain(KeyKind::Part, part);
        for index in indexes {
            prop_assert_eq!(chain.key(index), values[index as usize].key(KeyKind::Part));
        }
        prop_assert!(chain.milestones.len() <= 3000 / 256 + 1);
    }
}
