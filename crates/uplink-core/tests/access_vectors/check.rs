//! Authorization with API keys.

use std::collections::BTreeSet;

use serde_json::Value;
use uplink_core::encryption::PathScope;
use uplink_core::macaroon::{
    Action, AllowedBuckets, ApiKey, ApiKeyVersion, Caveat, CheckError, Operation, Timestamp,
};

use super::{array, bytes, each, group, number, text};

/// Checks 48 keys with 26 actions each.
#[test]
fn decisions_equal_the_reference_for_the_whole_matrix() {
    let group = group("check_matrix");
    let secret = bytes(&group["secret_hex"]);
    let actions = array(&group["actions"]);
    assert_eq!(actions.len(), 26);
    let mut decisions = 0;
    each("check_matrix", "cases", 48, |case| {
        let api_key = ApiKey::parse(text(&case["api_key"])).unwrap();
        let version = ApiKeyVersion(number(&case["key_version"]) as u32);
        let time = Timestamp::new(number(&case["time_unix"]) as i64, 0);
        let expected = text(&case["allowed"]);
        assert_eq!(expected.len(), actions.len());
        for (action, expected) in actions.iter().zip(expected.chars()) {
            // Operation 16 does not exist and cannot be expressed. The reference rejects it only if
            // there are caveats.
            let allowed = Operation::from_number(number(&action[0]) as u8).map(|operation| {
                let action = Action {
                    operation,
                    bucket: text(&action[1]).as_bytes(),
                    encrypted_path: text(&action[2]).as_bytes(),
                    time,
                };
                api_key.check(&secret, version, &action)
            });
            match (allowed, expected) {
                (Some(Ok(())), '1') | (Some(Err(CheckError::Unauthorized)), '0') => {}
                (None, _) => assert_eq!(expected == '1', api_key.caveats().is_empty()),
                (decided, _) => panic!("{} {action}: {decided:?}", case["caveats"]),
            }
            decisions += 1;
        }
        check_buckets(&api_key, &secret, version, time, &case["allowed_buckets"]);
    });
    assert_eq!(decisions, 48 * 26);
}

fn check_buckets(
    api_key: &ApiKey,
    secret: &[u8],
    version: ApiKeyVersion,
    time: Timestamp,
    expected: &Value,
) {
    let action = Action { operation: Operation::Read, bucket: b"", encrypted_path: b"", time };
    let allowed = api_key.allowed_buckets(secret, version, &action);
    if !expected["error"].is_null() {
        assert_eq!(allowed, Err(CheckError::Unauthorized));
    } else if expected["all"] == true {
        assert_eq!(allowed, Ok(AllowedBuckets::All));
    } else {
        assert_eq!(allowed, Ok(AllowedBuckets::Only(names(&expected["buckets"]))));
    }
}

fn names(list: &Value) -> BTreeSet<Vec<u8>> {
    array(list).iter().map(|name| text(name).as_bytes().to_vec()).collect()
}

#[test]
fn allowed_buckets_are_those_in_every_caveat() {
    each("allowed_buckets", "cases", 1, |case| {
        let mut api_key = ApiKey::new(b"secret", b"head".to_vec());
        for buckets in array(&case["caveat_buckets"]) {
            let scope = |bucket| PathScope { bucket, encrypted_path_prefix: Vec::new() };
            let allowed_paths = names(buckets).into_iter().map(scope).collect();
            api_key = api_key.restrict(&Caveat { allowed_paths, ..Caveat::default() }).unwrap();
        }
        let version = ApiKeyVersion::default();
        let time = Timestamp::new(0, 0);
        let mut expected = case.clone();
        expected["error"] = Value::Null;
        check_buckets(&api_key, b"secret", version, time, &expected);
    });
}

#[test]
fn actions_outside_the_time_window_are_rejected() {
    const NOW: i64 = 1_750_000_000;
    each("time_window", "cases", 9, |case| {
        let moment = |offset: &Value| offset.as_i64().map(|offset| Timestamp::new(NOW + offset, 0));
        let caveat = Caveat {
            not_before: moment(&case["not_before"]),
            not_after: moment(&case["not_after"]),
            ..Caveat::default()
        };
        let api_key = ApiKey::new(b"secret", b"head".to_vec()).restrict(&caveat).unwrap();
        let action = Action {
            operation: Operation::Read,
            bucket: b"bucket",
            encrypted_path: b"path",
            time: moment(&case["action"]).unwrap(),
        };
        let allowed = api_key.check(b"secret", ApiKeyVersion::default(), &action);
        assert_eq!(allowed.is_ok(), case["allowed"] == true, "{case}");
    });
}

#[test]
fn smallest_max_object_ttl_wins() {
    const SECOND: i64 = 1_000_000_000;
    each("max_object_ttl", "cases", 5, |case| {
        let mut api_key = ApiKey::new(b"secret", b"head".to_vec());
        for seconds in array(&case["caveat_ttls"]) {
            let max_object_ttl_nanos = seconds.as_i64().map(|seconds| seconds * SECOND);
            let caveat = Caveat { max_object_ttl_nanos, ..Caveat::default() };
            api_key = api_key.restrict(&caveat).unwrap();
        }
        let expected = case["result"].as_i64().map(|seconds| seconds * SECOND);
        assert_eq!(api_key.max_object_ttl_nanos(), Ok(expected));
    });
}
