//! The identifiers of `transport.json`.

use uplink_core::id::{NodeId, PieceId};
use uplink_core::node_url::NodeUrl;

use super::{TRANSPORT, array, bytes, number, text};

#[test]
fn node_ids_round_trip() {
    let cases = array(&TRANSPORT["identity"]["node_id_strings"]);
    assert_eq!(cases.len(), 6);
    for case in cases {
        let id = NodeId::from_slice(&bytes(&case["hex"])).unwrap();
        assert_eq!(id.to_string(), text(&case["string"]));
        assert_eq!(text(&case["string"]).parse(), Ok(id));
    }
    let invalid = array(&TRANSPORT["identity"]["node_id_strings_invalid"]);
    assert_eq!(invalid.len(), 3);
    for case in invalid {
        assert!(text(&case["string"]).parse::<NodeId>().is_err(), "{case}");
    }
}

#[test]
fn node_urls_parse_and_normalize() {
    let cases = array(&TRANSPORT["identity"]["node_urls"]);
    assert_eq!(cases.len(), 13);
    for case in cases {
        let parsed = text(&case["input"]).parse::<NodeUrl>();
        if case.get("error").is_some() {
            assert!(parsed.is_err(), "{case}");
            continue;
        }
        let url = parsed.unwrap();
        assert_eq!(url.to_string(), text(&case["string"]));
        assert_eq!(url.address, text(&case["address"]));
        assert_eq!(url.id.unwrap_or_default().as_bytes().to_vec(), bytes(&case["id_hex"]));
        assert_eq!(url.debounce as u64, number(&case["debounce"]));
        assert_eq!(url.features, number(&case["features"]));
        assert_eq!(url.noise_protocol as u64, number(&case["noise_proto"]));
        assert_eq!(url.noise_public_key, bytes(&case["noise_pub"]));
    }
}

#[test]
fn piece_ids_are_derived_per_node_and_number() {
    let cases = array(&TRANSPORT["orders"]["piece_id_derivation"]);
    assert_eq!(cases.len(), 5);
    for case in cases {
        let root = PieceId::from_slice(&bytes(&case["root_piece_id"])).unwrap();
        let node = NodeId::from_slice(&bytes(&case["node_id"])).unwrap();
        let piece = root.derive(&node, number(&case["piece_num"]) as u32);
        assert_eq!(piece.as_bytes().to_vec(), bytes(&case["piece_id"]));
        assert_eq!(piece.to_string(), text(&case["piece_id_string"]));
    }
}
