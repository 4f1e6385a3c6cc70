//! Key derivation.

use uplink_core::encryption::key::{derive_encryption_key, derive_key, path_nonce, root_key};
use uplink_core::encryption::{CipherSuite, Key, path};

use super::{bytes, default_store, each, group, key, number, text};

#[test]
fn root_keys_equal_the_reference() {
    each("root_key", "cases", 12, |case| {
        let passphrase = bytes(&case["passphrase_utf8_hex"]);
        let salt = bytes(&case["salt_hex"]);
        let in_path = text(&case["path"]).as_bytes();
        let lanes = number(&case["threads"]) as u32;
        let root = root_key(&passphrase, &salt, in_path, lanes).unwrap();
        assert_eq!(root.expose().to_vec(), bytes(&case["key_hex"]), "{case}");
        if lanes == 1 && in_path.is_empty() {
            assert_eq!(derive_encryption_key(&passphrase, &salt), Ok(root));
        }
    });
}

#[test]
fn path_and_content_keys_equal_the_reference() {
    let store = default_store("derived_keys", CipherSuite::AesGcm);
    each("derived_keys", "cases", 10, |case| {
        let bucket = text(&case["bucket"]).as_bytes();
        let name = bytes(&case["path_hex"]);
        let path_key = path::path_key(&store, bucket, &name).unwrap();
        let content_key = path::content_key(&store, bucket, &name).unwrap();
        assert_eq!(path_key.expose().to_vec(), bytes(&case["path_key_hex"]));
        assert_eq!(content_key.expose().to_vec(), bytes(&case["content_key_hex"]));
    });
    let default_key = key(&group("derived_keys")["default_key_hex"]);
    each("derived_keys", "derive_key", 2, |case| {
        let derived = derive_key(&default_key, text(&case["message"]).as_bytes());
        assert_eq!(derived.expose().to_vec(), bytes(&case["key_hex"]));
    });
}

#[test]
fn nonce_of_a_shared_prefix_derives_from_its_key() {
    each("nonce_from_entry_key", "cases", 1, |case| {
        let key: Key = key(&case["key_hex"]);
        let nonce = path_nonce(&key);
        assert_eq!(nonce.as_bytes()[..12].to_vec(), bytes(&case["nonce_hex"]));
        let encrypted = bytes(&case["encrypted_path_hex"]);
        let last = encrypted.rsplit(|byte| *byte == b'/').next().unwrap();
        let raw = uplink_core::encryption::escape::unescape(last).unwrap();
        assert_eq!(raw[..12].to_vec(), bytes(&case["nonce_hex"]));
    });
}
