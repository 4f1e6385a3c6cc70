//! Encoding of API keys and caveats.

use serde_json::Value;
use uplink_core::WireError;
use uplink_core::macaroon::{ApiKey, Caveat, MacaroonError, Timestamp};

use super::{array, bytes, each, group, text};

fn check_parts(api_key: &ApiKey, case: &Value) {
    assert_eq!(api_key.head(), bytes(&case["head_hex"]));
    let caveats: Vec<_> = array(&case["caveats_hex"]).iter().map(bytes).collect();
    assert_eq!(api_key.caveats(), caveats);
    assert_eq!(api_key.tail().to_vec(), bytes(&case["tail_hex"]));
}

#[test]
fn api_keys_of_the_public_network_round_trip() {
    each("api_keys", "cases", 6, |case| {
        let api_key = ApiKey::parse(text(&case["api_key"])).unwrap();
        check_parts(&api_key, case);
        assert_eq!(api_key.to_bytes(), bytes(&case["raw_hex"]));
        assert_eq!(api_key.serialize(), text(&case["api_key"]));
        assert_eq!(ApiKey::from_exact_bytes(&bytes(&case["raw_hex"])), Ok(api_key));
    });
}

#[test]
fn each_caveat_adds_one_tail_to_the_chain() {
    let group = group("macaroon_chain");
    let secret = bytes(&group["secret_hex"]);
    let mut previous: Option<ApiKey> = None;
    each("macaroon_chain", "steps", 7, |step| {
        let api_key = match &previous {
            None => ApiKey::new(&secret, bytes(&group["head_hex"])),
            Some(key) => {
                let bytes = bytes(&step["caveat_hex"]);
                let caveat = Caveat::decode(&bytes).unwrap();
                assert_eq!(caveat.encode(), bytes);
                key.restrict(&caveat).unwrap()
            }
        };
        assert_eq!(api_key.serialize(), text(&step["api_key"]));
        assert_eq!(api_key.to_bytes(), bytes(&step["raw_hex"]));
        assert_eq!(api_key.tail().to_vec(), bytes(&step["tail_hex"]));
        let tails: Vec<_> = array(&step["tails_hex"]).iter().map(bytes).collect();
        assert_eq!(api_key.tails(&secret).map_to_vecs(), tails);
        assert_eq!(api_key.is_authentic(&secret), step["valid"] == true);
        assert!(!api_key.is_authentic(b"another secret"));
        previous = Some(api_key);
    });
}

trait MapToVecs {
    fn map_to_vecs(self) -> Vec<Vec<u8>>;
}

impl MapToVecs for Vec<[u8; 32]> {
    fn map_to_vecs(self) -> Vec<Vec<u8>> {
        self.into_iter().map(|tail| tail.to_vec()).collect()
    }
}

#[test]
fn macaroon_parsing_equals_the_reference() {
    each("macaroon_parse_cases", "cases", 18, |case| {
        let raw = bytes(&case["raw_hex"]);
        let parsed = ApiKey::from_bytes(&raw);
        match case["error"].as_str() {
            None => {
                let api_key = parsed.unwrap();
                check_parts(&api_key, case);
                assert_eq!(api_key.to_bytes(), bytes(&case["reserialized_hex"]));
            }
            Some(error) => assert!(
                parsed.clone().unwrap_err().to_string().starts_with(error),
                "{}: {parsed:?}",
                case["name"]
            ),
        }
        if case["name"] == "trailing bytes ignored" {
            assert_eq!(ApiKey::from_exact_bytes(&raw), Err(MacaroonError::TrailingBytes));
        }
    });
    each("macaroon_fuzz_seeds", "cases", 3, |case| {
        let api_key = ApiKey::from_exact_bytes(&bytes(&case["raw_hex"])).unwrap();
        check_parts(&api_key, case);
        assert_eq!(api_key.to_bytes(), bytes(&case["raw_hex"]));
    });
}

#[test]
fn caveat_encoding_equals_the_reference() {
    each("caveat_encoding", "cases", 14, |case| {
        let raw = bytes(&case["caveat_hex"]);
        let decoded = Caveat::decode(&raw);
        if case.get("decode_error").is_some_and(|error| !error.is_null()) {
            assert!(decoded.is_err(), "{case}");
            return;
        }
        let decoded = decoded.unwrap();
        let shown: Value = serde_json::from_str(text(&case["decoded_json"])).unwrap();
        assert_eq!(decoded, caveat_from_json(&shown), "{case}");
        // Cases with a `decode_error` field test decoding only; the others are outputs of the reference.
        if case.get("decode_error").is_none() {
            assert_eq!(decoded.encode(), raw, "{case}");
        }
        match text(&case["name"]) {
            "bool varint 2 decodes as false" => {
                assert!(!Caveat::decode_strict(&raw).unwrap().disallowed.is_empty());
            }
            "unknown field 16 ignored" | "unknown field 16 with disallow_reads" => {
                let rejected = Err(WireError::UnknownField { field: 16 });
                assert_eq!(Caveat::decode_strict(&raw), rejected);
            }
            _ => assert_eq!(Caveat::decode_strict(&raw), Ok(decoded)),
        }
    });
    let year_1 = Caveat { not_before: Some(Timestamp::YEAR_1), ..Caveat::default() };
    assert!(year_1.encode().is_empty());
}

/// Parses the subset of the JSON form used by these vectors.
fn caveat_from_json(shown: &Value) -> Caveat {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use uplink_core::encryption::PathScope;
    use uplink_core::macaroon::Operation;

    let mut caveat = Caveat::default();
    for (name, value) in shown.as_object().unwrap() {
        match name.as_str() {
            "not_after" if value == "1970-01-01T00:00:00Z" => {
                caveat.not_after = Some(Timestamp::new(0, 0));
            }
            "not_after" if value == "1970-01-01T00:00:09Z" => {
                caveat.not_after = Some(Timestamp::new(9, 0));
            }
            "not_before" if value == "1969-12-31T23:59:55.0000005Z" => {
                caveat.not_before = Some(Timestamp::new(-5, 500));
            }
            "max_object_ttl" => caveat.max_object_ttl_nanos = value.as_i64(),
            "nonce" => caveat.nonce = STANDARD.decode(text(value)).unwrap(),
            "allowed_paths" => {
                let path = |path: &Value| PathScope {
                    bucket: path.get("bucket").map_or_else(Vec::new, |b| text(b).into()),
                    encrypted_path_prefix: path
                        .get("encrypted_path_prefix")
                        .map_or_else(Vec::new, |prefix| STANDARD.decode(text(prefix)).unwrap()),
                };
                caveat.allowed_paths = array(value).iter().map(path).collect();
            }
            flag => {
                let operation = Operation::ALL
                    .into_iter()
                    .find(|operation| operation.disallow_name() == Some(flag));
                caveat.disallowed.set(operation.expect(flag), value == true);
            }
        }
    }
    caveat
}
