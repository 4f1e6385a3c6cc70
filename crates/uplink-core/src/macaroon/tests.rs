use proptest::prelude::*;

use super::*;

const SECRET: &[u8] = b"secret";
const ALL: ApiKeyVersion = ApiKeyVersion(7);

fn unrestricted() -> ApiKey {
    ApiKey::new(SECRET, vec![7; 32])
}

fn read(path: &[u8]) -> Action<'_> {
    Action {
        operation: Operation::Read,
        bucket: b"b",
        encrypted_path: path,
        time: Timestamp::new(0, 0),
    }
}

#[test]
fn macaroon_at_the_limits_decodes_and_one_beyond_does_not() {
    let empty = Caveat::default();
    let mut key = unrestricted();
    for _ in 0..MAX_CAVEATS {
        key = key.restrict(&empty).unwrap();
    }
    let bytes = key.to_bytes();
    assert_eq!(ApiKey::from_exact_bytes(&bytes), Ok(key.clone()));
    assert_eq!(key.restrict(&empty), Err(MacaroonError::TooManyCaveats));
    // The same with one more empty caveat inserted manually.
    let header = 36;
    let longer = [&bytes[..header], &[2, 0, 0], &bytes[header..]].concat();
    assert_eq!(ApiKey::from_bytes(&longer), Err(MacaroonError::TooManyCaveats));

    let room = MAX_MACAROON_SIZE - unrestricted().to_bytes().len() - 10;
    let sized = |size| Caveat { nonce: vec![1; size], ..Caveat::default() };
    let largest = unrestricted().restrict(&sized(room)).unwrap();
    assert_eq!(largest.to_bytes().len(), MAX_MACAROON_SIZE);
    assert_eq!(ApiKey::from_exact_bytes(&largest.to_bytes()), Ok(largest.clone()));
    let rejected = unrestricted().restrict(&sized(room + 1));
    assert_eq!(rejected, Err(MacaroonError::TooLong { size: MAX_MACAROON_SIZE + 1 }));
    let longer = [largest.to_bytes(), vec![0]].concat();
    assert!(matches!(ApiKey::from_bytes(&longer), Err(MacaroonError::TooLong { .. })));
}

#[test]
fn key_with_a_flipped_bit_is_not_authentic() {
    let caveat = Caveat { nonce: vec![1, 2, 3, 4], ..Caveat::default() };
    let bytes = unrestricted().restrict(&caveat).unwrap().to_bytes();
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        if let Ok(key) = ApiKey::from_exact_bytes(&changed) {
            assert_eq!(key.check(SECRET, ALL, &read(b"p")), Err(CheckError::Invalid), "bit {bit}");
        }
    }
    for length in 0..bytes.len() {
        assert!(ApiKey::from_bytes(&bytes[..length]).is_err(), "cut to {length}");
    }
}

#[test]
fn removed_or_replaced_caveat_breaks_the_chain() {
    let caveat = |nonce: u8| Caveat { nonce: vec![nonce], ..Caveat::default() };
    let one = unrestricted().restrict(&caveat(1)).unwrap();
    let two = one.restrict(&caveat(2)).unwrap();
    let tail_of_two = two.to_bytes().split_off(two.to_bytes().len() - 32);
    let mut forged = one.to_bytes();
    let start = forged.len() - 32;
    forged[start..].copy_from_slice(&tail_of_two);
    assert!(!ApiKey::from_bytes(&forged).unwrap().is_authentic(SECRET));
    assert!(two.is_authentic(SECRET));
    assert_eq!(two.tails(SECRET)[1], *one.tail());
}

#[test]
fn key_revokes_only_its_descendants() {
    let narrow = |key: &ApiKey, nonce: u8| {
        key.restrict(&Caveat { nonce: vec![nonce], ..Caveat::default() }).unwrap()
    };
    // 0 ─ 1 ─ 2 ─ 3; 4 is another child of 1.
    let mut keys = vec![unrestricted()];
    for nonce in 1..=3 {
        keys.push(narrow(keys.last().unwrap(), nonce));
    }
    keys.push(narrow(&keys[1], 4));
    let descendants = [&[1, 2, 3, 4][..], &[2, 3, 4], &[3], &[], &[]];
    for (ancestor, descendants) in descendants.into_iter().enumerate() {
        for (other, target) in keys.iter().enumerate() {
            let revoked = keys[ancestor].revoke(SECRET, target);
            if descendants.contains(&other) {
                assert_eq!(revoked, Ok(*target.tail()));
            } else {
                assert_eq!(revoked, Err(RevocationError::NotAnAncestor), "{ancestor} {other}");
            }
        }
        // Exactly a revoked key and its descendants contain its tail.
        let revoked = keys[ancestor].tail();
        for (other, key) in keys.iter().enumerate() {
            let is_revoked = key.tails(SECRET).contains(revoked);
            assert_eq!(is_revoked, other == ancestor || descendants.contains(&other));
        }
    }
    let foreign = narrow(&ApiKey::new(b"another secret", vec![7; 32]), 1);
    let rejected = Err(RevocationError::NotAuthentic);
    assert_eq!(keys[0].revoke(SECRET, &foreign), rejected);
    assert_eq!(keys[0].revoke(b"another secret", &keys[1]), rejected);
    let mut forged = keys[3].to_bytes();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(keys[0].revoke(SECRET, &ApiKey::from_bytes(&forged).unwrap()), rejected);
}

#[test]
fn repeated_fields_replace_and_only_one_is_true() {
    let two = |seconds: i64, nanos: i64| {
        let mut message = Vec::new();
        crate::wire::put_int64(&mut message, 1, seconds);
        crate::wire::put_int64(&mut message, 2, nanos);
        message
    };
    let mut caveat = Vec::new();
    for field in [20, 21, 22] {
        crate::wire::put_message(&mut caveat, field, &two(5, 6));
        crate::wire::put_message(&mut caveat, field, &two(0, 7));
    }
    let read = Caveat::decode(&caveat).unwrap();
    assert_eq!(read.not_after, Some(Timestamp::new(0, 7)));
    assert_eq!(read.not_before, Some(Timestamp::new(0, 7)));
    assert_eq!(read.max_object_ttl_nanos, Some(7));
    for (value, is_true) in [(0, false), (1, true), (2, false), (255, false), (257, false)] {
        let mut caveat = vec![0x08, 1];
        crate::wire::put_int64(&mut caveat, 2, value);
        caveat.extend([0x08, 0]);
        let read = Caveat::decode(&caveat).unwrap();
        assert_eq!(read.disallowed.contains(Operation::Write), is_true, "{value}");
        assert!(!read.disallowed.contains(Operation::Read), "the last one counts");
    }
}

#[test]
fn unknown_caveat_field_disallows_everything() {
    // Unknown field 16, set to true.
    let macaroon = Macaroon::new(SECRET, vec![7; 32]).with_caveat(vec![0x80, 1, 1]).unwrap();
    let key = ApiKey(macaroon);
    let rejected = key.check(SECRET, ALL, &read(b"p"));
    assert_eq!(rejected, Err(CheckError::Caveat(crate::WireError::UnknownField { field: 16 })));
    // A flag that is neither 0 nor 1 counts as set.
    let macaroon = Macaroon::new(SECRET, vec![7; 32]).with_caveat(vec![0x08, 2]).unwrap();
    assert_eq!(ApiKey(macaroon).check(SECRET, ALL, &read(b"p")), Err(CheckError::Unauthorized));
}

#[test]
fn project_info_cannot_be_disallowed() {
    let mut disallowed = OperationSet::ALL;
    disallowed.set(Operation::ProjectInfo, true);
    assert_eq!(disallowed, OperationSet::ALL);
    assert!(!OperationSet::default().complement().contains(Operation::ProjectInfo));
    assert_eq!(OperationSet::ALL.iter().count(), 14);
}

#[test]
fn timestamps_are_normalized_for_comparison() {
    assert_eq!(Timestamp::new(0, 1_500_000_000), Timestamp::new(1, 500_000_000));
    assert!(Timestamp::new(-1, 999_999_999) < Timestamp::new(0, 0));
    // Negative nanoseconds on the wire belong to the second before.
    let mut message = Vec::new();
    crate::wire::put_int64(&mut message, 1, 5);
    crate::wire::put_int64(&mut message, 2, -1);
    let mut caveat = Vec::new();
    crate::wire::put_message(&mut caveat, 20, &message);
    let not_after = Caveat::decode(&caveat).unwrap().not_after;
    assert_eq!(not_after, Some(Timestamp::new(4, 999_999_999)));
}

#[test]
fn lifetime_beyond_64_bits_saturates() {
    let mut message = Vec::new();
    crate::wire::put_int64(&mut message, 1, i64::MAX);
    let mut caveat = Vec::new();
    crate::wire::put_message(&mut caveat, 22, &message);
    assert_eq!(Caveat::decode(&caveat).unwrap().max_object_ttl_nanos, Some(i64::MAX));
}

#[test]
fn head_and_tail_are_redacted_in_debug() {
    let key = unrestricted();
    let shown = format!("{key:?} {:?}", key.0);
    assert_eq!(shown, "ApiKey { caveats: 0, .. } Macaroon { caveats: 0, .. }");
}

fn any_caveat() -> impl Strategy<Value = Caveat> {
    let name = || proptest::sample::select(vec!["", "a", "b", "ab"]);
    let path = (name(), name()).prop_map(|(bucket, prefix)| PathScope {
        bucket: bucket.into(),
        encrypted_path_prefix: prefix.into(),
    });
    let time = || proptest::option::of((0i64..4).prop_map(|seconds| Timestamp::new(seconds, 0)));
    let operations = proptest::sample::subsequence(&Operation::ALL[..], 0..=4);
    let paths = proptest::collection::vec(path, 0..3);
    let ttl = proptest::option::of(-1i64..5);
    (operations, paths, time(), time(), ttl).prop_map(
        |(operations, allowed_paths, not_after, not_before, max_object_ttl_nanos)| Caveat {
            disallowed: operations.into_iter().collect(),
            allowed_paths,
            not_after,
            not_before,
            max_object_ttl_nanos,
            nonce: vec![1, 2, 3, 4],
        },
    )
}

proptest! {
    #![proptest_config(crate::cases(10_000))]

    #[test]
    fn caveats_round_trip(caveat in any_caveat()) {
        prop_assert_eq!(Caveat::decode(&caveat.encode()), Ok(caveat.clone()));
        prop_assert_eq!(Caveat::decode_strict(&caveat.encode()), Ok(caveat));
    }

    #[test]
    fn decoding_any_bytes_does_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(key) = ApiKey::from_bytes(&[&[2], &bytes[..]].concat()) {
            prop_assert_eq!(ApiKey::from_exact_bytes(&key.to_bytes()), Ok(key));
        }
        let _ = Caveat::decode(&bytes);
        let _ = Caveat::decode_strict(&bytes);
    }

    #[test]
    fn keys_round_trip_in_both_forms(
        secret in proptest::collection::vec(any::<u8>(), 0..40),
        head in proptest::collection::vec(any::<u8>(), 0..200),
        caveats in proptest::collection::vec(any_caveat(), 0..5),
        trailing in proptest::collection::vec(any::<u8>(), 1..5),
    ) {
        let mut key = ApiKey::new(&secret, head.clone());
        for caveat in &caveats {
            key = key.restrict(caveat).unwrap();
        }
        prop_assert_eq!(key.head(), head);
        prop_assert!(key.is_authentic(&secret));
        prop_assert_eq!(&ApiKey::parse(&key.serialize()).unwrap(), &key);
        prop_assert_eq!(&ApiKey::from_exact_bytes(&key.to_bytes()).unwrap(), &key);
        let longer = [key.to_bytes(), trailing].concat();
        prop_assert_eq!(ApiKey::from_exact_bytes(&longer), Err(MacaroonError::TrailingBytes));
        prop_assert_eq!(ApiKey::from_bytes(&longer).unwrap(), key);
    }
}
