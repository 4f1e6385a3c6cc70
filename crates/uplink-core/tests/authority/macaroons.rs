//! F22: edits of API keys. A holder knows the bytes of a few restricted keys of one project, and
//! combines or edits them.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;
use uplink_core::encryption::PathScope;
use uplink_core::macaroon::{ApiKey, Caveat, Macaroon, OperationSet, Permission, Timestamp};

use super::edits::any_edit;
use super::samples::SECRET;

const HEAD: [u8; 32] = [0x61; 32];

/// All keys that the satellite accepts, whose bytes the attacker may know.
static KNOWN: LazyLock<Vec<ApiKey>> = LazyLock::new(known);

fn caveats() -> [Caveat; 4] {
    let path = PathScope { bucket: b"b".to_vec(), encrypted_path_prefix: b"p".to_vec() };
    let read = Permission::read_only().to_caveat(vec![path], [1; 4]).expect("a caveat");
    let end = Caveat { not_after: Some(Timestamp::new(5, 0)), ..Caveat::default() };
    let nothing = Caveat { disallowed: OperationSet::ALL, ..Caveat::default() };
    [read, end, nothing, Caveat::default()]
}

/// Returns keys with all chains of up to two caveats, and a longer one.
fn known() -> Vec<ApiKey> {
    let root = ApiKey::new(&SECRET, HEAD.to_vec());
    let restrict = |key: &ApiKey| {
        caveats().iter().map(|caveat| key.restrict(caveat).expect("a key")).collect::<Vec<_>>()
    };
    let first = restrict(&root);
    let second: Vec<ApiKey> = first.iter().flat_map(restrict).collect();
    let long = (0..10)
        .fold(first[0].clone(), |key, index| key.restrict(&caveats()[index % 4]).expect("a key"));
    [first, second, vec![long]].concat()
}

/// Encodes a key from parts that need not belong together.
fn assembled(caveats: &[Vec<u8>], tail: &[u8]) -> Vec<u8> {
    let signed = caveats.iter().fold(Macaroon::new(b"any", HEAD.to_vec()), |key, caveat| {
        key.with_caveat(caveat.clone()).expect("a macaroon")
    });
    let mut bytes = signed.encode();
    bytes.truncate(bytes.len() - 34);
    bytes.extend([6, u8::try_from(tail.len()).expect("a short tail")]);
    bytes.extend_from_slice(tail);
    bytes
}

/// Returns whether the satellite accepts the bytes as a key of the project.
fn is_accepted(bytes: &[u8]) -> bool {
    ApiKey::from_exact_bytes(bytes).is_ok_and(|key| key.is_authentic(&SECRET))
}

/// Returns all sequences of up to three of the four caveats.
fn sequences() -> Vec<Vec<Vec<u8>>> {
    let encoded = caveats().map(|caveat| caveat.encode());
    let mut all = vec![Vec::new()];
    let mut from = 0;
    for _ in 0..3 {
        let until = all.len();
        for index in from..until {
            for caveat in &encoded {
                let longer = [&all[index][..], std::slice::from_ref(caveat)].concat();
                all.push(longer);
            }
        }
        from = until;
    }
    all
}

/// Removes, reorders, duplicates and exchanges caveats in every way: 85 sequences with 21 tails.
#[test]
fn caveats_are_accepted_only_with_their_own_tail() {
    let sequences = sequences();
    assert_eq!(sequences.len(), 85);
    let mut seen = 0;
    let mut accepted = 0;
    for caveats in &sequences {
        for known in KNOWN.iter() {
            let is_own = known.caveats() == &caveats[..];
            let bytes = assembled(caveats, known.tail());
            assert_eq!(is_accepted(&bytes), is_own, "{caveats:?}");
            seen += 1;
            accepted += usize::from(is_own);
        }
    }
    // The key with eleven caveats is none of the sequences.
    assert_eq!((seen, accepted), (85 * 21, 20));
}

#[test]
fn shortened_or_extended_tail_is_rejected() {
    for known in KNOWN.iter() {
        for length in 0..32 {
            assert!(!is_accepted(&assembled(known.caveats(), &known.tail()[..length])));
        }
        let longer = [&known.tail()[..], &[0]].concat();
        assert!(!is_accepted(&assembled(known.caveats(), &longer)));
        assert!(is_accepted(&assembled(known.caveats(), known.tail())));
    }
}

/// Restricting is all that a holder can do: the satellite accepts the result, and it permits less.
#[test]
fn tail_of_a_descendant_opens_no_ancestor() {
    let tails: BTreeSet<[u8; 32]> = KNOWN.iter().map(|key| *key.tail()).collect();
    assert_eq!(tails.len(), KNOWN.len());
    for known in KNOWN.iter() {
        let caveats = known.caveats();
        for length in 0..caveats.len() {
            for tail in &tails {
                let bytes = assembled(&caveats[..length], tail);
                let ancestor = ApiKey::from_exact_bytes(&bytes).expect("well-formed");
                let is_known = KNOWN.contains(&ancestor);
                assert_eq!(ancestor.is_authentic(&SECRET), is_known, "{length} caveats");
            }
        }
    }
}

proptest! {
    #![proptest_config(super::cases(10_000))]

    #[test]
    fn edited_key_is_rejected(
        key in any::<Index>(),
        other in any::<Index>(),
        edits in prop::collection::vec(any_edit(), 1..4),
    ) {
        let key = key.get(&KNOWN[..]).to_bytes();
        let other = other.get(&KNOWN[..]).to_bytes();
        let edited = edits.iter().fold(key, |bytes, edit| edit.apply(&bytes, &other));
        if let Ok(edited) = ApiKey::from_exact_bytes(&edited) {
            // Location and verification id are accepted and dropped: what is left must be known.
            prop_assert_eq!(edited.is_authentic(&SECRET), KNOWN.contains(&edited));
        }
    }
}
