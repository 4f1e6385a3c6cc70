//! Inputs of the fuzz targets, derived from the test vectors.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use uplink_core::base58;
use uplink_core::encryption::mark::ChainValue;
use uplink_core::encryption::metadata::{CustomMetadata, SegmentMeta, StreamInfo, StreamMeta};

type Seed = (&'static str, Vec<u8>);

/// Returns all seeds with the names of their targets.
pub(crate) fn all() -> Vec<Seed> {
    let access = vectors("access");
    let transport = vectors("transport");
    let mut seeds = Vec::new();
    seeds.extend(texts(&access, &transport));
    seeds.extend(authority(&access));
    seeds.extend(encrypted(&access));
    seeds.extend(arithmetic(&vectors("erasure")));
    seeds.extend(metadata());
    seeds.extend(signed(&transport));
    seeds.extend(filters(&transport["orders"]["retain_bloom_filter"]));
    seeds.extend(drpc(&transport["drpc"]));
    seeds
}

fn texts(access: &Value, transport: &Value) -> Vec<Seed> {
    let mut seeds = Vec::new();
    for pair in list(&access["base58"]["encode_text"]) {
        seeds.push(("base58", bytes(&pair[1])));
    }
    for triple in list(&access["base58check"]["version_text_encoded"]) {
        seeds.push(("base58", bytes(&triple[2])));
    }
    for url in list(&access["node_url"]["valid_round_trip"]) {
        seeds.push(("node_url", bytes(&url["text"])));
    }
    for text in list(&access["node_url"]["invalid"]) {
        seeds.push(("node_url", bytes(text)));
    }
    for url in list(&transport["identity"]["node_urls"]) {
        seeds.push(("node_url", bytes(&url["input"])));
    }
    for id in list(&transport["identity"]["node_id_strings"]) {
        seeds.push(("node_url", bytes(&id["string"])));
    }
    seeds
}

/// Combines the filter of the vectors with each of its pieces, and with one that it does not hold.
fn filters(vector: &Value) -> Vec<Seed> {
    let filter = hex(&vector["bytes"]);
    let pieces = list(&vector["piece_ids"]).iter().map(hex);
    let seed = |piece| ("bloom_filter", [piece, filter.clone()].concat());
    pieces.chain([vec![7; 32]]).map(seed).collect()
}

/// Grants as text and in decoded form, because a fuzzer does not guess checksums.
fn authority(access: &Value) -> Vec<Seed> {
    let mut seeds = Vec::new();
    for group in ["access_grants", "access_grant_parse_cases", "unknown_suite_grants"] {
        for case in list(&access[group]["cases"]) {
            let text = bytes(&case["grant"]);
            let decoded = std::str::from_utf8(&text).map(|text| base58::decode_check(text, 4096));
            if let Ok(Ok((_, payload))) = decoded {
                seeds.push(("grant", payload));
            }
            seeds.push(("grant", text));
        }
    }
    for group in ["api_keys", "macaroon_parse_cases", "macaroon_fuzz_seeds"] {
        seeds.extend(cases(access, group, "raw_hex").map(|raw| ("macaroon", raw)));
    }
    for caveat in cases(access, "caveat_encoding", "caveat_hex") {
        // As a caveat, and as the second caveat of a key with an action: a read of "b" without a path.
        seeds.push(("macaroon", caveat.clone()));
        let action = [&[0, 1, b'b', 0][..], &[0; 8], &[0]].concat();
        seeds.push(("macaroon", [action, caveat].concat()));
    }
    seeds
}

fn encrypted(access: &Value) -> Vec<Seed> {
    let mut seeds = Vec::new();
    for case in list(&access["path_encryption"]["cases"]) {
        // No entry, no bypass, bucket of the vectors.
        let head = [number(&case["cipher"]), 0, 0, 0, 0];
        for field in ["path_hex", "encrypted_hex"] {
            seeds.push(("path_decrypt", [&head[..], &hex(&case[field])].concat()));
        }
    }
    let entry = [2, 1, b'a', 1, b'x', 0, 1];
    seeds.push(("path_decrypt", [&entry[..], b"a/b/c"].concat()));
    seeds.push(("path_decrypt", [&entry[..], b"x/b"].concat()));

    let group = &access["content_encryption"];
    for case in list(&group["cases"]).iter().filter(|case| case["encrypted_hex"].is_string()) {
        let block_size = case["block_size"].as_u64().unwrap_or(0);
        let Ok(block_size) = u8::try_from(block_size) else { continue };
        let parameters = [hex(&group["key_hex"]), hex(&group["nonce_hex"])].concat();
        let sealed = hex(&case["encrypted_hex"]);
        let suite = [number(&case["cipher"])];
        let block = [&[0; 8][..], &[block_size]].concat();
        seeds.push(("content_block", [&suite[..], &parameters, &block, &sealed].concat()));
    }
    seeds
}

fn arithmetic(erasure: &Value) -> Vec<Seed> {
    let mut seeds = Vec::new();
    for case in list(&erasure["decode"]) {
        let k = number(&case["k"]);
        let n = number(&case["n"]);
        let shares = list(&case["shares"]);
        let numbers: Vec<u8> = shares.iter().map(|share| number(&share["number"])).collect();
        let data: Vec<Vec<u8>> = shares.iter().map(|share| hex(&share["data"])).collect();
        let few = usize::from(k).min(numbers.len());
        let head = [k, n - k, number(&case["share_size"])];
        let numbers = &numbers[..few];
        let data = data[..few].concat();
        seeds.push(("erasure_decode", [&head[..], numbers, &data].concat()));
    }
    for scheme in ["4/6/8/10-256", "29/35/80/110-256", "1/0/0/1-1", "2/1/0/3"] {
        seeds.push(("erasure_decode", scheme.as_bytes().to_vec()));
    }
    // Required pieces minus one, additional pieces, share size minus one; then a stripe and changes.
    for (code, changes) in [
        ([3, 6, 7], &[5, 2, 0x55, 9, 2, 0xaa][..]),
        ([3, 6, 7], &[0, 0, 1, 1, 1, 2, 2, 2, 3]),
        ([1, 2, 0], &[1, 0, 9]),
        ([20, 23, 3], &[]),
    ] {
        let stripe = vec![0x5a; usize::from(code[0] + 1) * usize::from(code[2] + 1)];
        let seed = [&code[..], &[0xff; 6], &stripe, changes].concat();
        seeds.push(("erasure_correct", seed));
    }
    let counts = [[29, 35, 80, 110], [4, 6, 8, 10], [1, 1, 1, 1]];
    for (counts, numbers) in counts.into_iter().zip([
        [256, 7424, 64 << 20, 64 << 20, 10_000, 20_000, 0x1d0002],
        [256, 7424, 1 << 20, 5 << 30, 0, 5 << 30, 0x1_0000_0000_0000],
        [1, 17, 1, u64::MAX, u64::MAX - 1, u64::MAX, u64::MAX],
    ]) {
        let numbers = numbers.map(u64::to_be_bytes).concat();
        seeds.push(("layout_ranges", [&counts[..], &numbers].concat()));
    }
    seeds
}

fn metadata() -> Vec<Seed> {
    let entries = [("content-type", "image/jpeg"), ("name", "cat")];
    let entries = entries.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let info = StreamInfo {
        number_of_segments: 2,
        segments_size: 64 << 20,
        last_segment_size: 1000,
        metadata: CustomMetadata::new(entries.into()),
        parts_seal: Some([5; 32]),
        chain_start: Some(ChainValue::new([5; 26])),
    };
    let stock =
        StreamInfo { number_of_segments: 0, parts_seal: None, chain_start: None, ..info.clone() };
    let segment = SegmentMeta { encrypted_key: vec![6; 48], key_nonce: vec![7; 24] };
    let meta = StreamMeta {
        encrypted_stream_info: vec![8; 60],
        encryption_type: 2,
        encryption_block_size: 7424,
        last_segment_meta: Some(segment),
        number_of_segments: 1,
    };
    let beside = [&[48][..], &[6; 48], &[24], &[7; 24], &[8; 60]].concat();
    let seeds = [info.encode(), stock.encode(), meta.encode(), beside];
    seeds.into_iter().map(|seed| ("metadata_envelope", seed)).collect()
}

fn signed(transport: &Value) -> Vec<Seed> {
    let mut seeds = Vec::new();
    for identity in list(&transport["identity"]["pregenerated"]) {
        let pem = identity["chain_pem"].as_str().expect("text");
        let bodies = pem.split("-----BEGIN CERTIFICATE-----").skip(1);
        let bodies = bodies.filter_map(|body| body.split("-----").next());
        let der = bodies.map(|body| {
            STANDARD.decode(body.split_whitespace().collect::<String>()).expect("base64")
        });
        seeds.push(("peer_identity", der.collect::<Vec<_>>().concat()));
        seeds.push(("peer_identity", hex(&identity["ca_spki_der"])));
    }
    let orders = &transport["orders"];
    for (group, fields) in [
        ("order_limits", &["wire", "signing_bytes"][..]),
        ("orders", &["wire"]),
        ("piece_hashes", &["node_wire", "uplink_wire"]),
    ] {
        for case in list(&orders[group]) {
            seeds.extend(fields.iter().map(|field| ("signed_message", hex(&case[*field]))));
        }
    }
    seeds
}

fn vectors(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    let text = fs::read_to_string(folder.join(format!("{name}.json"))).expect("vectors");
    serde_json::from_str(&text).expect("JSON")
}

/// Received bytes, and for the state machine of a call also the packets sent meanwhile.
fn drpc(vectors: &Value) -> Vec<Seed> {
    let mut seeds = Vec::new();
    for group in ["varints", "frames", "reader", "metadata_single_pair"] {
        for case in list(&vectors[group]) {
            seeds.push(("drpc_frames", hex(&case["bytes"])));
        }
    }
    let sends = [5, 2, 2, 6, 4, 3];
    for (side, field) in [(0, "server_bytes"), (1, "client_bytes")] {
        for case in list(&vectors["conversations"]) {
            if case[field].is_string() {
                let bytes = hex(&case[field]);
                seeds.push(("drpc_stream", [&[side], &sends[..], &bytes].concat()));
                seeds.push(("drpc_frames", bytes));
            }
        }
        for case in list(&vectors["reader"]) {
            seeds.push(("drpc_stream", [&[side, 0][..], &hex(&case["bytes"])].concat()));
        }
    }
    seeds
}

fn cases<'a>(
    file: &'a Value,
    group: &str,
    field: &'a str,
) -> impl Iterator<Item = Vec<u8>> + use<'a> {
    list(&file[group]["cases"]).iter().map(move |case| hex(&case[field]))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn bytes(value: &Value) -> Vec<u8> {
    value.as_str().expect("text").as_bytes().to_vec()
}

fn hex(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("text")).expect("hexadecimal")
}

fn number(value: &Value) -> u8 {
    value.as_u64().and_then(|number| u8::try_from(number).ok()).expect("a small number")
}
