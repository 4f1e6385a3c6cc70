//! Encryption of object keys.

use serde_json::Value;
use uplink_core::encryption::escape::{escape, unescape};
use uplink_core::encryption::path::{
    PathError, PrefixInfo, content_key, decrypt_component, decrypt_path, encrypt_component,
    encrypt_path, encrypt_prefix, path_key,
};
use uplink_core::encryption::store::Components;
use uplink_core::encryption::{CipherSuite, EncryptionError, EncryptionStore, Key};

use super::{array, bytes, default_store, each, group, suite, text};

#[test]
fn paths_split_at_every_slash() {
    each("path_components", "cases", 8, |case| {
        let components: Vec<_> = Components::new(text(&case[0]).as_bytes()).collect();
        let expected: Vec<_> = array(&case[1]).iter().map(|c| text(c).as_bytes()).collect();
        assert_eq!(components, expected);
    });
}

#[test]
fn escaping_equals_the_reference() {
    each("segment_escape", "encode", 13, |case| {
        assert_eq!(escape(&bytes(&case["raw_hex"])), bytes(&case["encoded_hex"]));
        assert_eq!(unescape(&bytes(&case["encoded_hex"])), Some(bytes(&case["raw_hex"])));
    });
    each("segment_escape", "decode", 19, |case| {
        let expected = case["error"].is_null().then(|| bytes(&case["raw_hex"]));
        assert_eq!(unescape(&bytes(&case["encoded_hex"])), expected, "{case}");
    });
}

#[test]
fn published_example_is_reproduced() {
    each("path_encryption_example", "cases", 1, |case| {
        let key = super::key(&case["default_key_hex"]);
        let store = EncryptionStore::with_default_key(key, suite(&case["cipher"]));
        let bucket = text(&case["bucket"]).as_bytes();
        let encrypted = encrypt_path(&store, bucket, text(&case["path"]).as_bytes()).unwrap();
        assert_eq!(encrypted, bytes(&case["encrypted_hex"]));
    });
}

#[test]
fn encrypted_paths_equal_the_reference_and_round_trip() {
    each("path_encryption", "cases", 42, |case| {
        let cipher = suite(&case["cipher"]);
        let store = default_store("path_encryption", cipher);
        let bucket = text(&case["bucket"]).as_bytes();
        let name = bytes(&case["path_hex"]);
        let info = &case["prefix_info"];
        let path_key = path_key(&store, bucket, &name).unwrap();
        assert_eq!(path_key.expose().to_vec(), bytes(&info["path_key_hex"]));
        let encrypted = encrypt_path(&store, bucket, &name).unwrap();
        assert_eq!(encrypted, bytes(&case["encrypted_hex"]));
        assert_eq!(decrypt_path(&store, bucket, &encrypted), Ok(name.clone()));
        let prefix = encrypt_prefix(&store, bucket, &name).unwrap();
        assert_eq!(prefix, bytes(&case["encrypted_prefix_hex"]));
        check_prefix_info(&PrefixInfo::new(&store, bucket, &name).unwrap(), info);
    });
}

fn check_prefix_info(found: &PrefixInfo, expected: &Value) {
    assert_eq!(found.encrypted_path, bytes(&expected["path_enc_hex"]));
    assert_eq!(found.path_key.expose().to_vec(), bytes(&expected["path_key_hex"]));
    assert_eq!(found.unencrypted_parent, bytes(&expected["parent_unenc_hex"]));
    assert_eq!(found.encrypted_parent, bytes(&expected["parent_enc_hex"]));
    assert_eq!(found.parent_key.expose().to_vec(), bytes(&expected["parent_key_hex"]));
}

#[test]
fn listing_prefix_and_cursor_equal_the_reference() {
    let group = group("list_cursor");
    let store = default_store("list_cursor", CipherSuite::AesGcm);
    let bucket = text(&group["bucket"]).as_bytes();
    let info = PrefixInfo::new(&store, bucket, text(&group["prefix"]).as_bytes()).unwrap();
    assert_eq!(info.encrypted_parent, bytes(&group["wire_prefix_hex"]));
    let cursor = info.encrypt_relative(text(&group["cursor"]).as_bytes()).unwrap();
    assert_eq!(cursor, bytes(&group["wire_cursor_hex"]));
    assert_eq!(info.decrypt_relative(&cursor).unwrap(), text(&group["cursor"]).as_bytes());
    let item = [cursor.split(|byte| *byte == b'/').next().unwrap(), b"/"].concat();
    assert_eq!(info.decrypt_relative(&item).unwrap(), b"fold2/");
}

#[test]
fn bypass_presents_encrypted_names_as_base64() {
    let mut bypass = default_store("path_bypass", CipherSuite::AesGcm);
    bypass.set_encryption_bypass(true);
    let store = default_store("path_bypass", CipherSuite::AesGcm);
    each("path_bypass", "cases", 4, |case| {
        let encrypted = bytes(&case["encrypted_hex"]);
        let name = text(&case["path"]).as_bytes();
        assert_eq!(encrypt_path(&store, b"bucket", name).unwrap(), encrypted);
        let view = decrypt_path(&bypass, b"bucket", &encrypted).unwrap();
        assert_eq!(view, text(&case["bypass_view"]).as_bytes());
        assert_eq!(case["bypass_back_equal"], true);
        assert_eq!(encrypt_path(&bypass, b"bucket", &view), Ok(encrypted));
    });
    assert_eq!(encrypt_path(&bypass, b"bucket", b"not base64!"), Err(PathError::Base64));
}

#[test]
fn invalid_paths_have_specific_errors() {
    let key = Key::new([1; 32]);
    let wrong = Key::new([2; 32]);
    let unsupported = |number| {
        let suite = CipherSuite::from_number(number);
        (suite, Err(PathError::from(EncryptionError::Unsupported(suite))))
    };
    let sealed = encrypt_component(CipherSuite::AesGcm, b"name", &key).unwrap();
    let nonce_only = encrypt_component(CipherSuite::AesGcm, b"", &key).unwrap();
    let open = |component: &[u8], key| decrypt_component(CipherSuite::AesGcm, component, key);
    let empty = EncryptionStore::new();
    each("path_errors", "cases", 13, |case| match text(&case["name"]) {
        "unknown cipher 0 component" => {
            let (suite, rejected) = unsupported(0);
            assert_eq!(encrypt_component(suite, b"name", &key), rejected);
        }
        "unknown cipher 5 component" => {
            let (suite, rejected) = unsupported(5);
            assert_eq!(encrypt_component(suite, b"name", &key), rejected);
        }
        "unknown cipher 5 path / result" => {
            let encrypted = bytes(&case["hex"]);
            let parts: Vec<_> = encrypted.split(|byte| *byte == b'/').collect();
            assert_eq!(parts.len(), 2);
            for part in parts {
                assert_eq!(unescape(part).unwrap().len(), 24, "a whole nonce and nothing else");
                let (suite, _) = unsupported(5);
                assert_eq!(decrypt_component(suite, part, &key), Ok(Vec::new()));
            }
        }
        "unknown cipher 5 empty component" => {
            let (suite, _) = unsupported(5);
            assert!(encrypt_component(suite, b"", &key).is_ok());
        }
        "decrypt wrong key" => {
            let error = open(&sealed, &wrong).unwrap_err();
            assert!(error.is_decryption_failure());
        }
        "decrypt plaintext component" => {
            let error = open(b"plain", &key).unwrap_err();
            assert!(error.is_decryption_failure());
        }
        "decrypt short component (not ErrDecryptFailed)" => {
            assert_eq!(open(b"\x02abc", &key), Err(PathError::Short));
            assert!(!PathError::Short.is_decryption_failure());
        }
        "decrypt \\x01 component" => assert_eq!(open(b"\x01", &key), Err(PathError::Short)),
        "nonce-only component decrypts to" => {
            assert_eq!(open(&nonce_only, &wrong).unwrap(), text(&case["value"]).as_bytes());
        }
        "decrypt nonce-only component" => assert!(open(&nonce_only, &key).is_ok()),
        "missing base" => {
            assert_eq!(encrypt_path(&empty, b"b", b"x/y"), Err(PathError::EncryptionBase));
            assert!(content_key(&empty, b"b", b"x/y").unwrap_err().is_missing_base());
        }
        "missing decryption base" => {
            assert_eq!(decrypt_path(&empty, b"b", b"x"), Err(PathError::DecryptionBase));
        }
        "empty path, empty store" => {
            assert_eq!(encrypt_path(&empty, b"b", b""), Ok(Vec::new()));
            assert_eq!(decrypt_path(&empty, b"b", b""), Ok(Vec::new()));
        }
        name => panic!("case {name} has no check"),
    });
}
