//! Lookups in the encryption store.

use serde_json::{Value, json};
use uplink_core::encryption::store::{Lookup, StoreEntry};
use uplink_core::encryption::{CipherSuite, EncryptionStore, Key};

use super::{array, each, group, text};

fn entry(fields: &Value) -> StoreEntry {
    let bytes = |index: usize| text(&fields[index]).as_bytes().to_vec();
    StoreEntry {
        bucket: bytes(0),
        unencrypted_path: bytes(1),
        encrypted_path: bytes(2),
        key: Key::from_raw(fields.get(3).map_or(b"", |key| text(key).as_bytes())),
        path_cipher: CipherSuite::AesGcm,
    }
}

fn store(description: &Value) -> EncryptionStore {
    let mut store = EncryptionStore::new();
    let default_key = description["default_key_text"].as_str();
    store.set_default_key(default_key.map(|key| Key::from_raw(key.as_bytes())));
    for fields in array(&description["entries"]) {
        store.add(entry(fields)).unwrap();
    }
    store
}

fn shown(lookup: Lookup<'_>) -> Value {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let remaining: Vec<_> = lookup.remaining.map(text).collect();
    let revealed: Vec<_> =
        lookup.revealed.into_iter().map(|(other, this)| (text(other), text(this))).collect();
    let base = lookup.base.map(|base| {
        json!({
            "unencrypted": text(base.unencrypted_path),
            "encrypted": text(base.encrypted_path),
            "key_text": text(base.key.expose()).trim_end_matches('\0'),
            "default": base.is_default,
        })
    });
    json!({
        "revealed": revealed.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        "remaining": remaining,
        "base": base,
    })
}

#[test]
fn lookups_find_the_longest_prefix() {
    let mut lookups = 0;
    for name in ["store_a", "store_b"] {
        let description = &group("store_lookup")[name];
        let store = store(description);
        for case in array(&description["by_unencrypted"]) {
            let path = text(&case[1]).as_bytes();
            let found = store.lookup_unencrypted(text(&case[0]).as_bytes(), path);
            assert_eq!(shown(found), case[2], "{case}");
            lookups += 1;
        }
        for case in array(&description["by_encrypted"]) {
            let path = text(&case[1]).as_bytes();
            let found = store.lookup_encrypted(text(&case[0]).as_bytes(), path);
            assert_eq!(shown(found), case[2], "{case}");
            lookups += 1;
        }
    }
    assert_eq!(lookups, 24);
}

#[test]
fn conflicting_entries_are_rejected_without_effect() {
    each("store_lookup", "add_errors", 4, |case| {
        let mut store = EncryptionStore::new();
        for fields in array(&case["existing"]) {
            store.add(entry(fields)).unwrap();
        }
        let before = store.clone();
        assert!(store.add(entry(&case["add"])).is_err(), "{case}");
        assert!(store == before);
    });
}
