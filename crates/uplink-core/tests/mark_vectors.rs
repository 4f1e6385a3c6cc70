//! Marked keys, chains, seals and envelopes against `marks.json`.

use serde_json::Value;
use uplink_core::encryption::Key;
use uplink_core::encryption::mark::{Chain, ChainValue, KeyKind, PartDigest, parts_seal};
use uplink_core::encryption::metadata::StreamInfo;

fn vectors(group: &str) -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/marks.json");
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    file[group].clone()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn number(value: &Value) -> u32 {
    u32::try_from(value.as_u64().unwrap()).unwrap()
}

fn first(value: &Value) -> ChainValue {
    ChainValue::from_slice(&bytes(value)).unwrap()
}

fn key(value: &Value) -> Key {
    Key::from_slice(&bytes(value)).unwrap()
}

#[test]
fn chains_equal_the_vectors() {
    let chains = vectors("streams");
    let mut keys = 0;
    for case in list(&chains) {
        let kind = match number(&case["kind"]) {
            1 => KeyKind::Stream,
            2 => KeyKind::Part,
            other => panic!("kind {other}"),
        };
        let mut chain = Chain::new(kind, number(&case["part"]), first(&case["t0"]));
        for segment in list(&case["segments"]) {
            let wanted = key(&segment["content_key"]);
            assert_eq!(chain.key(number(&segment["index"])), wanted, "{segment}");
            assert_eq!(KeyKind::of(&wanted), Some(kind));
            keys += 1;
        }
        for far in list(&case["far"]) {
            let found = chain.key(number(&far["index"]));
            assert_eq!(ChainValue::of(&found), first(&far["t"]), "{far}");
            keys += 1;
        }
    }
    assert_eq!((list(&chains).len(), keys), (4, 32));
}

#[test]
fn marks_of_metadata_keys_equal_the_vectors() {
    let cases = vectors("metadata_keys");
    for case in list(&cases) {
        let marked = first(&case["t"]).key(KeyKind::Metadata);
        assert_eq!(marked.expose()[26..], bytes(&case["mark"])[..]);
    }
    assert_eq!(list(&cases).len(), 3);
    assert_eq!(KeyKind::of(&key(&vectors("metadata_key"))), Some(KeyKind::Metadata));
    let foreign = vectors("foreign_keys");
    for case in list(&foreign) {
        assert_eq!(KeyKind::of(&key(&case["key"])), None);
    }
    assert_eq!(list(&foreign).len(), 3);
}

#[test]
fn part_digests_and_seals_equal_the_vectors() {
    let parts = vectors("parts");
    let digests = list(&parts).iter().map(|case| {
        let part = number(&case["part"]);
        let mut chain = Chain::new(KeyKind::Part, part, first(&case["t0"]));
        let mut digest = PartDigest::new(part);
        let sizes = list(&case["sizes"]).iter().zip(list(&case["content_keys"]));
        for ((size, content_key), index) in sizes.zip(0..) {
            assert_eq!(chain.key(index), key(content_key));
            digest.add(index, size.as_u64().unwrap(), &key(content_key));
        }
        assert_eq!(digest.finish()[..], bytes(&case["digest"])[..]);
        (part, digest.finish())
    });
    assert_eq!(parts_seal(digests)[..], bytes(&vectors("parts_seal"))[..]);
    assert_eq!(list(&parts).len(), 2);
    assert_eq!(parts_seal([])[..], bytes(&vectors("empty_parts_seal"))[..]);
}

#[test]
fn envelopes_equal_the_vectors() {
    let cases = vectors("envelopes");
    for case in list(&cases) {
        let size = |name: &str| case[name].as_i64().unwrap_or(0);
        let info = StreamInfo {
            number_of_segments: size("n"),
            segments_size: size("s"),
            last_segment_size: size("l"),
            parts_seal: case.get("seal").map(|seal| bytes(seal).try_into().unwrap()),
            chain_start: case.get("t0").map(first),
            ..StreamInfo::default()
        };
        let message = bytes(&case["stream_info"]);
        assert_eq!(info.encode(), message, "{case}");
        assert_eq!(StreamInfo::decode(&message), Ok(info));
    }
    assert_eq!(list(&cases).len(), 3);
}
