//! Access grants, API keys, encryption keys, paths and content against vectors of the public network.
//!
//! `access.json` contains inputs and outputs of the reference implementation. Each test declares its
//! group and number of cases. A different number of cases, or a group without a test, is a failure.
//!
//! | group | test |
//! |---|---|
//! | `base58`, `base58check`, `node_url` | `text` |
//! | `access_grants`, `access_grant_parse_cases`, `access_inspect`, `grant_from_passphrase`, `unknown_suite_grants` | `grant` |
//! | `share`, `null_cipher_share`, `limit_to`, `override_encryption_key` | `share` |
//! | `api_keys`, `macaroon_chain`, `macaroon_parse_cases`, `macaroon_fuzz_seeds`, `caveat_encoding` | `macaroon` |
//! | `check_matrix`, `time_window`, `max_object_ttl`, `allowed_buckets` | `check` |
//! | `root_key`, `derived_keys`, `nonce_from_entry_key` | `key` |
//! | `path_components`, `segment_escape`, `path_encryption_example`, `path_encryption`, `list_cursor`, `path_bypass`, `path_errors` | `path` |
//! | `store_lookup` | `store` |
//! | `nonce_increment`, `content_encryption`, `segment_content_nonce`, `object_flow`, `encryption_parameters_packing`, `proposed_enc_chacha20poly1305` | `content` |
//! | `join_share_url`, `join_share_url_more`, `shared_link_parse`, `edge_credentials_format` | `edge` |
//! | `padding`, `encompassing_blocks`, `encrypted_size` | the tests of `uplink_core::layout` |
//!
//! In addition, `transport` tests the identifiers of `transport.json`, and `recorded` the grants of
//! `rpc-transcripts.json`.

mod access_vectors {
    mod check;
    mod content;
    mod edge;
    mod grant;
    mod key;
    mod macaroon;
    mod path;
    mod recorded;
    mod share;
    mod store;
    mod text;
    mod transport;

    use std::sync::LazyLock;

    use serde_json::Value;
    use uplink_core::encryption::{CipherSuite, EncryptionStore, Key};

    static ACCESS: LazyLock<Value> = LazyLock::new(|| {
        let text = include_str!("../../../tests/vectors/access.json");
        serde_json::from_str(text).expect("vectors are JSON")
    });

    static TRANSPORT: LazyLock<Value> = LazyLock::new(|| {
        let text = include_str!("../../../tests/vectors/transport.json");
        serde_json::from_str(text).expect("vectors are JSON")
    });

    /// Groups tested by this binary through [`group`].
    const GROUPS: [&str; 42] = [
        "access_grant_parse_cases",
        "access_grants",
        "access_inspect",
        "allowed_buckets",
        "api_keys",
        "base58",
        "base58check",
        "caveat_encoding",
        "check_matrix",
        "content_encryption",
        "derived_keys",
        "edge_credentials_format",
        "encryption_parameters_packing",
        "grant_from_passphrase",
        "join_share_url",
        "join_share_url_more",
        "limit_to",
        "list_cursor",
        "macaroon_chain",
        "macaroon_fuzz_seeds",
        "macaroon_parse_cases",
        "max_object_ttl",
        "node_url",
        "nonce_from_entry_key",
        "nonce_increment",
        "null_cipher_share",
        "object_flow",
        "override_encryption_key",
        "path_bypass",
        "path_components",
        "path_encryption",
        "path_encryption_example",
        "path_errors",
        "proposed_enc_chacha20poly1305",
        "root_key",
        "segment_content_nonce",
        "segment_escape",
        "share",
        "shared_link_parse",
        "store_lookup",
        "time_window",
        "unknown_suite_grants",
    ];

    const ELSEWHERE: [&str; 3] = ["encompassing_blocks", "encrypted_size", "padding"];

    #[test]
    fn every_group_of_the_file_has_a_test() {
        let mut named: Vec<_> = [&GROUPS[..], &ELSEWHERE].concat();
        named.sort_unstable();
        let mut present: Vec<_> = ACCESS.as_object().unwrap().keys().map(String::as_str).collect();
        present.retain(|name| *name != "about");
        present.sort_unstable();
        assert_eq!(named, present);
    }

    fn group(name: &str) -> &'static Value {
        assert!(GROUPS.contains(&name), "{name} is not in the table");
        &ACCESS[name]
    }

    /// Runs every case of one list and asserts their number.
    fn each(group_name: &str, list: &str, count: usize, check: impl FnMut(&'static Value)) {
        let cases = array(&group(group_name)[list]);
        assert_eq!(cases.len(), count, "{group_name}.{list}: cases in the file");
        cases.iter().for_each(check);
    }

    fn array(value: &Value) -> &Vec<Value> {
        value.as_array().expect("a list")
    }

    fn text(value: &Value) -> &str {
        value.as_str().expect("a text")
    }

    fn number(value: &Value) -> u64 {
        value.as_u64().expect("a number")
    }

    fn bytes(value: &Value) -> Vec<u8> {
        hex::decode(text(value)).expect("hexadecimal")
    }

    fn key(value: &Value) -> Key {
        Key::from_slice(&bytes(value)).expect("32 bytes")
    }

    fn suite(value: &Value) -> CipherSuite {
        CipherSuite::from_number(number(value))
    }

    /// Returns a store with the default key of a group.
    fn default_store(group_name: &str, cipher: CipherSuite) -> EncryptionStore {
        EncryptionStore::with_default_key(key(&group(group_name)["default_key_hex"]), cipher)
    }
}
