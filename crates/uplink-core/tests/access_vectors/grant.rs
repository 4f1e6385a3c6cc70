//! Parsing and serialization of access grants.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use uplink_core::access_grant::{AccessGrant, AccessGrantError, SharePrefix};
use uplink_core::encryption::key::root_key;
use uplink_core::encryption::{CipherSuite, EncryptionError, EncryptionStore, path};
use uplink_core::macaroon::{ApiKey, Caveat, Permission};

use super::{array, bytes, each, number, text};

#[test]
fn grants_of_the_public_network_round_trip() {
    each("access_grants", "cases", 12, check_grant);
}

/// Compares a parsed grant with its description, and its serialization with the original text.
pub(super) fn check_grant(case: &Value) {
    let grant = AccessGrant::parse(text(&case["grant"])).unwrap();
    check_decoded(&grant, case);
    let again = grant.serialize().unwrap();
    let entries = array(&case["store"]["entries"]).len();
    // The reference writes entries in random order, ours are sorted.
    if case["reserialized_equal"] == true && entries < 2 {
        assert_eq!(again, text(&case["grant"]));
    }
    assert_eq!(AccessGrant::parse(&again).unwrap(), grant);
}

fn check_decoded(grant: &AccessGrant, case: &Value) {
    assert_eq!(grant.satellite_address(), text(&case["satellite_addr"]));
    if let Some(api_key) = case.get("api_key") {
        assert_eq!(grant.api_key().serialize(), text(api_key));
    }
    if let Some(caveats) = case.get("caveats_hex") {
        let expected: Vec<_> = array(caveats).iter().map(bytes).collect();
        assert_eq!(grant.api_key().caveats(), expected);
    }
    if let Some(head) = case.get("head_hex") {
        assert_eq!(grant.api_key().head(), bytes(head));
        assert_eq!(grant.api_key().tail().to_vec(), bytes(&case["tail_hex"]));
    }
    check_store(grant.encryption(), &case["store"]);
}

pub(super) fn check_store(store: &EncryptionStore, expected: &Value) {
    let default_key = store.default_key().map(|key| hex::encode(key.expose()));
    assert_eq!(default_key.as_deref(), expected["default_key_hex"].as_str());
    let cipher = u64::from(store.default_path_cipher().number());
    assert_eq!(cipher, number(&expected["default_path_cipher"]));
    let mut expected: Vec<_> = array(&expected["entries"]).iter().collect();
    expected.sort_by_key(|entry| (text(&entry["bucket"]), text(&entry["unencrypted_path"])));
    let entries: Vec<_> = store.entries();
    assert_eq!(entries.len(), expected.len());
    for (entry, expected) in entries.into_iter().zip(expected) {
        assert_eq!(entry.bucket, text(&expected["bucket"]).as_bytes());
        assert_eq!(entry.unencrypted_path, text(&expected["unencrypted_path"]).as_bytes());
        assert_eq!(entry.encrypted_path, bytes(&expected["encrypted_path_hex"]));
        assert_eq!(entry.key.expose().to_vec(), bytes(&expected["key_hex"]));
        assert_eq!(u64::from(entry.path_cipher.number()), number(&expected["path_cipher"]));
    }
}

#[test]
fn malformed_grants_fail_with_the_expected_error() {
    each("access_grant_parse_cases", "cases", 28, |case| {
        let parsed = AccessGrant::parse(text(&case["grant"]));
        match (parsed, case["must_fail"].as_bool().unwrap()) {
            (Ok(grant), false) => {
                let decoded = &case["decoded"];
                check_decoded(&grant, decoded);
                let again = grant.serialize().unwrap();
                let is_equal = again == text(&case["grant"]);
                assert_eq!(Some(is_equal), decoded["reserialized_equal"].as_bool(), "{case}");
            }
            (Err(error), true) => check_parse_error(&error, case),
            (parsed, _) => panic!("{}: {parsed:?}", case["name"]),
        }
    });
}

fn check_parse_error(error: &AccessGrantError, case: &Value) {
    use AccessGrantError as E;
    let reference = case.get("reference_error").map_or("missing encryption access", text);
    let is_expected = match error {
        E::Text(_) | E::Version(_) => reference == "invalid access grant format",
        E::Message(_) => reference.starts_with("unable to unmarshal access grant"),
        E::MissingAddress => reference == "access grant is missing satellite address",
        E::MissingEncryption => reference == "missing encryption access",
        E::ApiKey(error) => {
            let (kind, inner) = reference.split_once(": api key format: ").unwrap_or_default();
            let inner_is_equal = error.to_string().starts_with(inner);
            kind == "access grant has malformed api key" && inner_is_equal
        }
        E::DefaultKey(length) => {
            reference.ends_with("invalid default key in encryption access") && *length == 31
        }
        E::EntryKey(_) => reference.ends_with("invalid key in encryption access entry"),
        E::Entry(error) => reference.contains(&error.to_string()),
        _ => false,
    };
    assert!(is_expected, "{}: {error:?} against {reference}", case["name"]);
}

#[test]
fn inspection_output_equals_the_reference() {
    each("access_inspect", "cases", 2, |case| {
        let grant = AccessGrant::parse(text(&case["grant"])).unwrap();
        let caveats: Vec<_> = grant.api_key().caveats().iter().map(|c| caveat_json(c)).collect();
        let default_key = grant.encryption().default_key().unwrap().expose();
        assert!(grant.encryption().entries().is_empty());
        let url_safe = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE.encode(bytes);
        let shown = json!({
            "satellite_addr": grant.satellite_address(),
            "encryption_access": {
                "default_key": STANDARD.encode(default_key),
                "default_path_cipher": "ENC_AESGCM",
            },
            "api_key": grant.api_key().serialize(),
            "macaroon": {
                "head": url_safe(grant.api_key().head()),
                "caveats": caveats,
                "tail": url_safe(grant.api_key().tail()),
            },
        });
        assert_eq!(shown, case["json"]);
    });
}

/// Returns the JSON form of a caveat without times, which `caveat_encoding` covers.
fn caveat_json(caveat: &[u8]) -> Value {
    let caveat = Caveat::decode(caveat).unwrap();
    let mut shown = Map::new();
    for name in caveat.disallowed.iter().filter_map(|operation| operation.disallow_name()) {
        shown.insert(name.to_owned(), true.into());
    }
    if !caveat.nonce.is_empty() {
        shown.insert("nonce".to_owned(), STANDARD.encode(&caveat.nonce).into());
    }
    shown.into()
}

#[test]
fn grant_from_a_passphrase_equals_the_reference() {
    each("grant_from_passphrase", "cases", 1, |case| {
        let salt = STANDARD.decode(text(&case["salt_base64"])).unwrap();
        let passphrase = text(&case["passphrase"]).as_bytes();
        let root = root_key(passphrase, &salt, b"", number(&case["threads"]) as u32).unwrap();
        let cipher = CipherSuite::from_number(number(&case["path_cipher"]));
        let grant = AccessGrant::new(
            text(&case["satellite_addr"]).to_owned(),
            ApiKey::parse(text(&case["api_key"])).unwrap(),
            &EncryptionStore::with_default_key(root, cipher),
        );
        assert_eq!(grant.unwrap().serialize().unwrap(), text(&case["grant"]));
    });
}

/// The reference does not support suite 100 and rejects encryption with it; this implementation
/// supports it. Otherwise both agree.
#[test]
fn grants_with_unknown_suites_and_fields_parse() {
    each("unknown_suite_grants", "cases", 7, |case| {
        let is_supported_here = case["encrypt_a_x_error"]
            .as_str()
            .is_some_and(|error| error.ends_with("encryption type 100 is not supported"));
        let parsed = AccessGrant::parse(text(&case["grant"])).unwrap();
        check_decoded(&parsed, case);
        let is_equal = parsed.serialize().unwrap() == text(&case["grant"]);
        assert_eq!(Some(is_equal), case["reserialized_equal"].as_bool(), "{case}");
        let encrypted = path::encrypt_path(parsed.encryption(), b"bucket", b"a/x");
        let is_fine = case["encrypt_a_x_error"].is_null() || is_supported_here;
        assert_eq!(encrypted.is_ok(), is_fine, "{case}");
        let share = |prefix: &[u8]| {
            let prefix = SharePrefix { bucket: "bucket".to_owned(), prefix: prefix.to_vec() };
            parsed.restrict(&Permission::full(), &[prefix], [1; 4])
        };
        assert_eq!(share(b"").is_ok(), case["share_bucket_error"].is_null());
        let is_supported_here = case["share_prefix_a_error"]
            .as_str()
            .is_some_and(|error| error.ends_with("encryption type 100 is not supported"));
        assert_eq!(
            share(b"a").is_ok(),
            case["share_prefix_a_error"].is_null() || is_supported_here
        );
    });
}

/// Uses an unassigned suite number.
#[test]
fn encrypting_with_an_unknown_suite_is_rejected() {
    let key = uplink_core::encryption::Key::new([7; 32]);
    let store = EncryptionStore::with_default_key(key, CipherSuite::Unknown(101));
    let rejected = path::encrypt_path(&store, b"bucket", b"a");
    let unsupported = EncryptionError::Unsupported(CipherSuite::Unknown(101));
    assert_eq!(rejected, Err(unsupported.into()));
}
