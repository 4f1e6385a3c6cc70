//! Base58 and node URLs.

use uplink_core::base58;
use uplink_core::id::NodeId;
use uplink_core::node_url::NodeUrl;

use super::{array, bytes, each, number, text};

#[test]
fn base58_equals_the_reference() {
    each("base58", "encode_text", 12, |case| {
        assert_eq!(base58::encode(text(&case[0]).as_bytes()), text(&case[1]));
        assert_eq!(base58::decode(text(&case[1]), 100).unwrap(), text(&case[0]).as_bytes());
    });
    each("base58", "hex_pairs", 14, |case| {
        assert_eq!(base58::encode(&bytes(&case[0])), text(&case[1]));
        assert_eq!(base58::decode(text(&case[1]), 400).unwrap(), bytes(&case[0]));
    });
    each("base58", "decode_invalid_gives_empty", 10, |case| {
        assert!(base58::decode(text(case), 100).is_err(), "{case}");
    });
}

#[test]
fn base58check_equals_the_reference() {
    let check = |version: u64, payload: &[u8], encoded: &str| {
        assert_eq!(base58::encode_check(version as u8, payload), encoded);
        assert_eq!(base58::decode_check(encoded, 100), Ok((version as u8, payload.to_vec())));
    };
    each("base58check", "version_text_encoded", 12, |case| {
        check(number(&case[0]), text(&case[1]).as_bytes(), text(&case[2]));
    });
    each("base58check", "version_hex_encoded", 1, |case| {
        check(number(&case[0]), &bytes(&case[1]), text(&case[2]));
    });
    each("base58check", "checksum_error", 1, |case| {
        assert_eq!(base58::decode_check(text(case), 100), Err(base58::Base58Error::Checksum));
    });
    each("base58check", "format_error", 5, |case| {
        assert!(base58::decode_check(text(case), 100).is_err(), "{case}");
    });
}

#[test]
fn node_urls_round_trip() {
    each("node_url", "valid_round_trip", 9, |case| {
        let url: NodeUrl = text(&case["text"]).parse().unwrap();
        assert_eq!(url.to_string(), text(&case["text"]));
        if let Some(id) = case.get("id") {
            assert_eq!(url.id, id.as_str().map(|id| id.parse().unwrap()), "{case}");
        }
        if let Some(address) = case.get("address") {
            assert_eq!(url.address, text(address));
        }
        let expected = |name: &str| case.get(name).map_or(0, number);
        assert_eq!(url.debounce as u64, expected("debounce"));
        assert_eq!(url.features, expected("features"));
        assert_eq!(url.noise_protocol as u64, expected("noise_proto"));
        if case.get("noise_pub_is_id").is_some() {
            assert_eq!(NodeId::from_slice(&url.noise_public_key).ok(), url.id);
        }
    });
    each("node_url", "invalid", 5, |case| {
        assert!(text(case).parse::<NodeUrl>().is_err(), "{case}");
    });
    each("node_url", "known_addresses_without_id", 5, |case| {
        for address in array(&case[1]) {
            let url: NodeUrl = text(address).parse().unwrap();
            let id = url.with_known_id().unwrap().id.unwrap();
            assert_eq!(id.to_string(), text(&case[0]));
        }
    });
}
