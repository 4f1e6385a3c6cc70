//! Sharing and limiting of grants, and overriding of keys.

use serde_json::Value;
use uplink_core::access_grant::{AccessGrant, ShareError, SharePrefix};
use uplink_core::encryption::{CipherSuite, EncryptionStore, Key, PathScope, path};
use uplink_core::macaroon::{Action, ApiKeyVersion, Caveat, Operation, Permission, Timestamp};

use super::grant::{check_grant, check_store};
use super::{array, bytes, each, group, key, text};

#[test]
fn shared_grants_equal_the_reference() {
    each("share", "cases", 17, |case| {
        let from = AccessGrant::parse(text(&case["from"])).unwrap();
        let prefixes: Vec<_> = array(&case["prefixes"]).iter().map(share_prefix).collect();
        let caveat = case.get("new_caveat_hex").map(bytes);
        let nonce = caveat.as_deref().map_or([0; 4], |caveat| *caveat.last_chunk().unwrap());
        let shared = from.restrict(&permission(case), &prefixes, nonce);
        if let Some(error) = case["error"].as_str() {
            check_share_error(&shared.unwrap_err(), error);
            return;
        }
        let shared = shared.unwrap();
        assert_eq!(shared.api_key().caveats().last(), caveat.as_ref());
        assert_eq!(shared.api_key().tail().to_vec(), bytes(&case["tail_hex"]));
        check_store(shared.encryption(), &case["store"]);
        let reference = AccessGrant::parse(text(&case["grant"])).unwrap();
        assert_eq!(shared, reference);
        if case["grant_bytes_deterministic"] == true {
            assert_eq!(shared.serialize().unwrap(), text(&case["grant"]));
        }
    });
}

fn share_prefix(prefix: &Value) -> SharePrefix {
    SharePrefix {
        bucket: text(&prefix["bucket"]).to_owned(),
        prefix: text(&prefix["prefix"]).as_bytes().to_vec(),
    }
}

/// Returns the permission of a case. Times and lifetimes are implied by the name of the case.
fn permission(case: &Value) -> Permission {
    let allowed = [
        ("download", Operation::Read),
        ("upload", Operation::Write),
        ("list", Operation::List),
        ("delete", Operation::Delete),
        ("lock", Operation::Lock),
    ];
    let allowed = allowed.into_iter().filter(|(name, _)| case["permission"][name] == true);
    let mut permission = Permission::of(allowed.map(|(_, operation)| operation));
    match text(&case["name"]) {
        "invalid time range" => {
            permission.not_before = Some(Timestamp::new(2, 0));
            permission.not_after = Some(Timestamp::new(1, 999_999_999));
        }
        "ttl zero" => permission.max_object_ttl_nanos = Some(0),
        "only ttl given, no allow flags" => {
            permission.max_object_ttl_nanos = Some(36 * 3_600_000_000_000 + 5);
        }
        _ => {}
    }
    permission
}

fn check_share_error(error: &ShareError, reference: &str) {
    if reference.starts_with("missing encryption base") {
        assert!(matches!(error, ShareError::MissingBase { .. }), "{error:?}");
    } else {
        assert_eq!(error.to_string(), reference);
    }
}

#[test]
fn null_cipher_share_allows_siblings_at_the_satellite() {
    let group = group("null_cipher_share");
    let root = AccessGrant::parse(text(&group["root_grant"])).unwrap();
    let shared = AccessGrant::parse(text(&group["shared_grant"])).unwrap();
    check_grant(&group["shared"]);
    let caveat = Caveat::decode(shared.api_key().caveats().last().unwrap()).unwrap();
    let prefix = SharePrefix {
        bucket: text(&group["bucket"]).to_owned(),
        prefix: text(&group["prefix"]).as_bytes().to_vec(),
    };
    let nonce = *caveat.nonce.last_chunk().unwrap();
    assert_eq!(root.restrict(&Permission::full(), &[prefix], nonce), Ok(shared.clone()));
    each("null_cipher_share", "results", 5, |case| {
        let name = text(&case["path"]).as_bytes();
        let lookup = shared.encryption().lookup_unencrypted(b"bucket", name);
        assert_eq!(lookup.base.is_some(), case["client_has_key"] == true, "{case}");
        let action = Action {
            operation: Operation::Read,
            bucket: b"bucket",
            encrypted_path: name,
            time: Timestamp::new(1_750_000_000, 0),
        };
        assert_eq!(caveat.allows(&action), case["satellite_allows"] == true, "{case}");
    });
    assert!(shared.api_key().check(b"", ApiKeyVersion(0), &action_read()).is_err());
}

fn action_read() -> Action<'static> {
    Action {
        operation: Operation::Read,
        bucket: b"bucket",
        encrypted_path: b"a",
        time: Timestamp::new(0, 0),
    }
}

#[test]
fn limiting_keeps_paths_covered_by_every_caveat() {
    each("limit_to", "cases", 5, |case| {
        let store = EncryptionStore::with_default_key(Key::new([0; 32]), CipherSuite::Null);
        let groups: Vec<Vec<_>> = array(&case["groups"])
            .iter()
            .map(|group| array(group).iter().map(scope).collect())
            .collect();
        let groups: Vec<_> = groups.iter().map(Vec::as_slice).collect();
        let limited = store.limit_to(&groups);
        let finds = |case: &Value| {
            let PathScope { bucket, encrypted_path_prefix } = scope(case);
            limited.lookup_encrypted(&bucket, &encrypted_path_prefix).base.is_some()
        };
        assert!(array(&case["valid"]).iter().all(finds), "{case}");
        assert!(!array(&case["invalid"]).iter().any(finds), "{case}");
    });
}

fn scope(pair: &Value) -> PathScope {
    PathScope {
        bucket: text(&pair[0]).as_bytes().to_vec(),
        encrypted_path_prefix: text(&pair[1]).as_bytes().to_vec(),
    }
}

#[test]
fn overriding_a_key_affects_paths_below_the_prefix() {
    each("override_encryption_key", "cases", 7, |case| {
        let mut grant = AccessGrant::parse(text(&case["grant"])).unwrap();
        let bucket = text(&case["bucket"]);
        let prefix = text(&case["prefix"]).as_bytes();
        let result = grant.override_encryption_key(bucket, prefix, key(&case["override_key_hex"]));
        if let Some(error) = case["error"].as_str() {
            check_share_error(&result.unwrap_err(), error);
            return;
        }
        result.unwrap();
        check_store(grant.encryption(), &case["store_after"]);
        for probe in array(&case["probe"]) {
            let name = text(&probe["path"]).as_bytes();
            let encrypted = path::encrypt_path(grant.encryption(), bucket.as_bytes(), name);
            assert_eq!(encrypted.is_ok(), probe["error"].is_null(), "{probe}");
            if let Ok(encrypted) = encrypted {
                assert_eq!(encrypted, bytes(&probe["encrypted_hex"]));
                let key = path::content_key(grant.encryption(), bucket.as_bytes(), name).unwrap();
                assert_eq!(key.expose().to_vec(), bytes(&probe["content_key_hex"]));
            }
        }
        let again = AccessGrant::parse(&grant.serialize().unwrap()).unwrap();
        check_store(again.encryption(), &case["after_reparse"]["store"]);
        check_grant(&case["after_reparse"]);
    });
}
