//! Attenuation: restricting a key never adds permissions. Compares the code with the model.

use proptest::prelude::*;
use prost::Message as _;

use super::model::{self, Path, Request, Restriction};
use super::*;

const SECRET: &[u8] = b"secret of the key";
const BUCKETS: [&str; 4] = ["", "a", "b", "ab"];

fn any_name() -> impl Strategy<Value = Vec<u8>> {
    proptest::sample::select(vec!["", "", "x", "xy", "x/y", "x/", "y", "\u{0}"])
        .prop_map(|name| name.as_bytes().to_vec())
}

fn any_bucket() -> impl Strategy<Value = Vec<u8>> {
    proptest::sample::select(&BUCKETS[..]).prop_map(|name| name.as_bytes().to_vec())
}

fn any_time() -> impl Strategy<Value = Option<prost_types::Timestamp>> {
    let time = (-2i64..3, prop_oneof![Just(0), 0..3, Just(999_999_999)])
        .prop_map(|(seconds, nanos)| prost_types::Timestamp { seconds, nanos });
    proptest::option::weighted(0.2, time)
}

fn any_restriction() -> impl Strategy<Value = Restriction> {
    let path = (any_bucket(), any_name())
        .prop_map(|(bucket, encrypted_path_prefix)| Path { bucket, encrypted_path_prefix });
    let paths = prop_oneof![Just(Vec::new()), proptest::collection::vec(path, 1..5)];
    // Few flags, so that several restrictions still allow something.
    let flags = (any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(a, b, c)| a & b & c);
    let ttl =
        (-3i64..3, -5..5).prop_map(|(seconds, nanos)| prost_types::Duration { seconds, nanos });
    let ttl = proptest::option::of(ttl);
    let nonce = proptest::collection::vec(any::<u8>(), 0..5);
    (flags, paths, any_time(), any_time(), ttl, nonce).prop_map(
        |(flags, allowed_paths, not_after, not_before, max_object_ttl, nonce)| Restriction {
            allowed_paths,
            not_after,
            not_before,
            max_object_ttl,
            nonce,
            ..Restriction::of_flags(flags)
        },
    )
}

fn any_request() -> impl Strategy<Value = Request> {
    // Prefer the common operations.
    let operation = prop_oneof![1u8..=5, 1u8..=15];
    (operation, any_bucket(), any_name(), -2i64..3, prop_oneof![Just(0), 0..3]).prop_map(
        |(operation, bucket, path, seconds, nanos)| Request {
            operation,
            bucket,
            path,
            seconds,
            nanos,
        },
    )
}

fn action(request: &Request) -> Action<'_> {
    Action {
        operation: Operation::from_number(request.operation).unwrap(),
        bucket: &request.bucket,
        encrypted_path: &request.path,
        time: Timestamp::new(request.seconds, request.nanos as u32),
    }
}

/// Returns the keys along a chain, the unrestricted one first.
fn keys(chain: &[Restriction]) -> Vec<ApiKey> {
    let mut keys = vec![ApiKey::new(SECRET, vec![7; 32])];
    for restriction in chain {
        let narrowed = keys.last().unwrap().0.with_caveat(restriction.encode_to_vec()).unwrap();
        keys.push(ApiKey(narrowed));
    }
    keys
}

proptest! {
    #![proptest_config(crate::cases(10_000))]

    #[test]
    fn decisions_match_the_model_and_never_widen(
        chain in proptest::collection::vec(any_restriction(), 0..=10),
        request in any_request(),
        version in prop_oneof![Just(7u32), 0u32..8],
    ) {
        let action = action(&request);
        let version_bits = ApiKeyVersion(version);
        let mut parent = true;
        for (length, key) in keys(&chain).iter().enumerate() {
            let chain = &chain[..length];
            let decided = key.check(SECRET, version_bits, &action);
            let allowed = model::allows(chain, version, &request);
            prop_assert_eq!(decided.is_ok(), allowed, "{:?}", decided);
            prop_assert!(parent || !allowed);
            parent = allowed;
            prop_assert_eq!(key.check(b"other", version_bits, &action), Err(CheckError::Invalid));

            let buckets = key.allowed_buckets(SECRET, version_bits, &action);
            prop_assert_eq!(buckets.is_ok(), allowed);
            for bucket in BUCKETS.map(str::as_bytes) {
                if let Ok(buckets) = &buckets {
                    prop_assert_eq!(buckets.contains(bucket), model::shows_bucket(chain, bucket));
                }
            }
            let ttl = key.max_object_ttl_nanos().unwrap().map(i128::from);
            prop_assert_eq!(ttl, model::max_object_ttl(chain));
        }
    }

    #[test]
    fn caveats_encode_and_decode_like_prost(
        restriction in any_restriction(),
        request in any_request(),
    ) {
        let bytes = restriction.encode_to_vec();
        let caveat = Caveat::decode(&bytes).unwrap();
        prop_assert_eq!(&Caveat::decode_strict(&bytes).unwrap(), &caveat);
        let again = Restriction::decode(&caveat.encode()[..]).unwrap();
        prop_assert_eq!(Caveat::decode(&again.encode_to_vec()).unwrap(), caveat);
        let is_allowed = |restriction| model::allows(&[restriction], 7, &request);
        prop_assert_eq!(is_allowed(again), is_allowed(restriction));
    }
}
