//! Attenuation: a shared grant never has more permissions or keys than its parent.

use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::encryption::path::content_key;
use crate::macaroon::model::{self, Request, Restriction};
use crate::macaroon::{Action, ApiKeyVersion, Operation, OperationSet, Timestamp};

const SECRET: [u8; 32] = [1; 32];
const PATHS: [&str; 9] = ["", "x", "x/", "x/y", "x/y/z", "xy", "y", "/", "größe/x"];

fn root() -> AccessGrant {
    let store = EncryptionStore::with_default_key(Key::new([3; 32]), CipherSuite::AesGcm);
    AccessGrant::new("s:7777".into(), ApiKey::new(&SECRET, vec![2; 32]), &store).unwrap()
}

fn any_path() -> impl Strategy<Value = (String, Vec<u8>)> {
    let bucket = proptest::sample::select(vec!["a", "a", "b"]).prop_map(str::to_owned);
    let path = proptest::sample::select(&PATHS[..]).prop_map(|path| path.as_bytes().to_vec());
    (bucket, path)
}

fn any_share() -> impl Strategy<Value = (Permission, Vec<SharePrefix>, [u8; 4])> {
    let time = || proptest::option::weighted(0.2, (0i64..4).prop_map(|at| Timestamp::new(at, 0)));
    // Keep most operations, so that chains do not end early.
    let allowed = (any::<u16>(), any::<u16>()).prop_map(|(a, b)| {
        let is_in = |operation: &Operation| (a | b) >> *operation as u8 & 1 == 1;
        Operation::ALL.into_iter().filter(is_in).collect::<OperationSet>()
    });
    let permission = (allowed, time(), time(), proptest::option::of(-1i64..9)).prop_map(
        |(allowed, not_before, not_after, max_object_ttl_nanos)| Permission {
            allowed,
            not_before,
            not_after,
            max_object_ttl_nanos,
        },
    );
    let prefix = any_path().prop_map(|(bucket, prefix)| SharePrefix { bucket, prefix });
    let prefixes = prop_oneof![Just(Vec::new()), proptest::collection::vec(prefix, 1..4)];
    (permission, prefixes, any::<[u8; 4]>())
}

/// Returns the grants along a chain of shares, the unrestricted one first. Skips rejected shares, such
/// as those of paths outside the grant.
fn chain(shares: &[(Permission, Vec<SharePrefix>, [u8; 4])]) -> Vec<AccessGrant> {
    let mut grants = vec![root()];
    for (permission, prefixes, nonce) in shares {
        match grants.last().unwrap().restrict(permission, prefixes, *nonce) {
            Ok(child) => grants.push(child),
            Err(ShareError::Permission(_) | ShareError::MissingBase { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    grants
}

proptest! {
    #![proptest_config(crate::cases(10_000))]

    #[test]
    fn shared_grant_never_allows_more_than_its_parent(
        shares in proptest::collection::vec(any_share(), 0..=10),
        operation in prop_oneof![1u8..=4, 1u8..=15],
        (bucket, name) in any_path(),
        seconds in 0i64..4,
    ) {
        let encrypted = encrypt_path(root().encryption(), bucket.as_bytes(), &name).unwrap();
        let request = Request {
            operation,
            bucket: bucket.into_bytes(),
            path: encrypted,
            seconds,
            nanos: 0,
        };
        let action = Action {
            operation: Operation::from_number(operation).unwrap(),
            bucket: &request.bucket,
            encrypted_path: &request.path,
            time: Timestamp::new(seconds, 0),
        };
        let keys = |grant: &AccessGrant| {
            let key = content_key(grant.encryption(), &request.bucket, &name).ok()?;
            Some((key, encrypt_path(grant.encryption(), &request.bucket, &name).unwrap()))
        };
        let whole = keys(&root()).unwrap();
        let mut allowed = true;
        let mut opens = true;
        for grant in chain(&shares) {
            let restrictions: Vec<_> = grant
                .api_key()
                .caveats()
                .iter()
                .map(|caveat| Restriction::decode(&caveat[..]).unwrap())
                .collect();
            let decided = grant.api_key().check(&SECRET, ApiKeyVersion(7), &action).is_ok();
            prop_assert_eq!(decided, model::allows(&restrictions, 7, &request));
            prop_assert!(allowed || !decided, "child is allowed what its parent is not");
            allowed = decided;

            let held = keys(&grant);
            prop_assert!(opens || held.is_none(), "child has a key that its parent lacks");
            opens = held.is_some();
            if let Some(held) = held {
                prop_assert_eq!(&held, &whole);
            }
            // With encrypted names, every readable object can be opened.
            prop_assert!(opens || !decided || name.is_empty() || operation > 4);

            // Not through the text form, which would dominate the run time.
            prop_assert_eq!(AccessGrant::from_payload(&grant.encode()).unwrap(), grant);
        }
    }
}
