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
fn a_macaroon_at_its_limits_is_read_and_one_beyond_is_not() {
    let empty = Caveat::default();
    let mut key = unrestricted();
    for _ in 0..MAX_CAVEATS {
        key = key.restrict(&empty).unwrap();
    }
    let bytes = key.to_bytes();
    assert_eq!(ApiKey::from_exact_bytes(&bytes), Ok(key.clone()));
    assert_eq!(key.restrict(&empty), Err(MacaroonError::TooManyCaveats));
    // The same with the section of one more empty caveat inserted by hand.
    let header = 36;
    let longer = [&bytes[..header], &[2, 0, 0], &bytes[header..]].concat();
    assert_eq!(ApiKey::from_bytes(&longer), Err(MacaroonError::TooManyCaveats));

    let room = MAX_MACAROON_SIZE - unrestricted().to_bytes().len() - 10;
    let sized = |size| Caveat { nonce: vec![1; size], ..Caveat::default() };
    let largest = unrestricted().restrict(&sized(room)).unwrap();
    assert_eq!(largest.to_bytes().len(), MAX_MACAROON_SIZE);
    assert_eq!(ApiKey::from_exact_bytes(&largest.to_bytes()), Ok(largest.clone()));
    let refused = unrestricted().restrict(&sized(room + 1));
    assert_eq!(refused, Err(MacaroonError::TooLong { size: MAX_MACAROON_SIZE + 1 }));
    let longer = [largest.to_bytes(), vec![0]].concat();
    assert!(matches!(ApiKey::from_bytes(&longer), Err(MacaroonError::TooLong { .. })));
}

#[test]
fn a_key_changed_by_one_bit_is_not_authentic() {
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
fn a_caveat_taken_off_or_exchanged_breaks_the_chain() {
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
fn an_unknown_restriction_refuses_everything() {
    // Field 16, which does not exist, set to true.
    let macaroon = Macaroon::new(SECRET, vec![7; 32]).with_caveat(vec![0x80, 1, 1]).unwrap();
    let key = ApiKey(macaroon);
    let refused = key.check(SECRET, ALL, &read(b"p"));
    assert_eq!(refused, Err(CheckError::Caveat(crate::WireError::UnknownField { field: 16 })));
    // A flag that is neither 0 nor 1 counts as set.
    let macaroon = Macaroon::new(SECRET, vec![7; 32]).with_caveat(vec![0x08, 2]).unwrap();
    assert_eq!(ApiKey(macaroon).check(SECRET, ALL, &read(b"p")), Err(CheckError::Unauthorized));
}

#[test]
fn project_info_cannot_be_taken_away() {
    let mut disallowed = OperationSet::ALL;
    disallowed.set(Operation::ProjectInfo, true);
    assert_eq!(disallowed, OperationSet::ALL);
    assert!(!OperationSet::default().complement().contains(Operation::ProjectInfo));
    assert_eq!(OperationSet::ALL.iter().count(), 14);
}

#[test]
fn timestamps_compare_by_time_in_every_notation() {
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
fn a_lifetime_beyond_64_bits_saturates() {
    let mut message = Vec::new();
    crate::wire::put_int64(&mut message, 1, i64::MAX);
    let mut caveat = Vec::new();
    crate::wire::put_message(&mut caveat, 22, &message);
    assert_eq!(Caveat::decode(&caveat).unwrap().max_object_ttl_nanos, Some(i64::MAX));
}

#[test]
fn debug_shows_neither_head_nor_tail() {
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

fn any_action() -> impl Strategy<Value = (Operation, &'static str, &'static str, i64)> {
    let name = || proptest::sample::select(vec!["", "a", "b", "ab", "abc"]);
    (proptest::sample::select(&Operation::ALL[..]), name(), name(), 0i64..4)
}

proptest! {
    #[test]
    fn a_narrowed_key_never_allows_more(
        caveats in proptest::collection::vec(any_caveat(), 0..4),
        added in any_caveat(),
        (operation, bucket, path, seconds) in any_action(),
        version in 0u32..8,
    ) {
        let mut parent = unrestricted();
        for caveat in &caveats {
            parent = parent.restrict(caveat).unwrap();
        }
        let child = parent.restrict(&added).unwrap();
        let version = ApiKeyVersion(version);
        let action = Action {
            operation,
            bucket: bucket.as_bytes(),
            encrypted_path: path.as_bytes(),
            time: Timestamp::new(seconds, 0),
        };
        let may = |key: &ApiKey| key.check(SECRET, version, &action).is_ok();
        prop_assert!(!may(&child) || may(&parent));
        prop_assert_eq!(may(&child), may(&parent) && added.allows(&action));
        let buckets = |key: &ApiKey| key.allowed_buckets(SECRET, version, &action);
        if let (Ok(child), Ok(parent)) = (buckets(&child), buckets(&parent)) {
            for bucket in [&b""[..], b"a", b"b", b"ab"] {
                prop_assert!(!child.contains(bucket) || parent.contains(bucket));
            }
        }
        let ttl = |key: &ApiKey| key.max_object_ttl_nanos().unwrap().unwrap_or(i64::MAX);
        prop_assert!(ttl(&child) <= ttl(&parent));
    }

    #[test]
    fn caveats_are_read_as_written(caveat in any_caveat()) {
        prop_assert_eq!(Caveat::decode(&caveat.encode()), Ok(caveat.clone()));
        prop_assert_eq!(Caveat::decode_strict(&caveat.encode()), Ok(caveat));
    }

    #[test]
    fn any_bytes_are_a_macaroon_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(key) = ApiKey::from_bytes(&[&[2], &bytes[..]].concat()) {
            prop_assert_eq!(ApiKey::from_exact_bytes(&key.to_bytes()), Ok(key));
        }
        let _ = Caveat::decode(&bytes);
        let _ = Caveat::decode_strict(&bytes);
    }
}
