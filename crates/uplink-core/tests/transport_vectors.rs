//! Identities, signed messages and order amounts against the reference implementation.
//!
//! | group of `transport.json` | test |
//! |---|---|
//! | `identity.pregenerated`, `identity.fresh_uplink_identity` | `certificate_chains_give_the_reference_identities` |
//! | `identity.default_peer_ca_whitelist_pem` | `network_authority_certificate_parses` |
//! | `identity.node_id_strings` | `node_ids_read_and_write_as_the_reference` |
//! | `identity.node_id_strings_invalid` | `malformed_node_ids_are_rejected` |
//! | `identity.node_urls` | not here: see `access_vectors/transport.rs` |
//! | `identity.revocation` | none: a certificate extension in Go's own encoding, which clients ignore |
//! | `orders.order_limits` | `order_limit_payloads_and_signatures_equal_the_reference` |
//! | `orders.order_limits_from_common_tests` | `older_order_limits_verify` |
//! | `orders.orders`, `orders.piece_private_key`, `orders.piece_public_key` | `orders_sign_to_the_reference_bytes` |
//! | `orders.piece_hashes` | `piece_hashes_sign_and_verify_as_the_reference` |
//! | `orders.piece_id_derivation` | `piece_ids_derive_as_the_reference` |
//! | `orders.satellite`, `orders.storage_node` | the keys used by the tests above |
//! | `orders.retain_bloom_filter` | `bloom_filters_equal_the_reference` |
//! | `piecestore`, order amounts | `order_amounts_grow_as_the_reference` |
//! | `drpc` | not here: tested in `uplink-rpc` |
//! | `piecestore`, the rest; `noise` | not here: they belong to the transports |

use prost::Message;
use serde_json::Value;
use sha2::{Digest, Sha256};
use uplink_core::bloom_filter::BloomFilter;
use uplink_core::id::{NodeId, PieceId};
use uplink_core::identity::{self, PeerIdentity};
use uplink_core::order::{
    Order, OrderError, OrderLimit, PieceHash, PiecePrivateKey, PiecePublicKey, Signed,
    signing_payload,
};
use uplink_core::policy::order_step::{DownloadOrders, UploadOrders};
use uplink_core::signature::{SigningKey, VerifyingKey};
use x509_parser::pem::Pem;

fn file() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/transport.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn cases(value: &Value, count: usize) -> Vec<Value> {
    let cases = value.as_array().unwrap().clone();
    assert_eq!(cases.len(), count);
    cases
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn pem(text: &str) -> Vec<Vec<u8>> {
    Pem::iter_from_buffer(text.as_bytes()).map(|pem| pem.unwrap().contents).collect()
}

fn key(value: &Value) -> VerifyingKey {
    VerifyingKey::from_spki_der(&bytes(value)).unwrap()
}

/// Verifies the chain of an identity and the other fields of its case.
fn verify(case: &Value) -> PeerIdentity {
    let chain = pem(text(&case["chain_pem"]));
    let peer = identity::verify_chain(&chain).unwrap();
    assert_eq!(peer.node_id().as_bytes()[..], bytes(&case["node_id_hex"]));
    assert_eq!(peer.node_id().to_string(), text(&case["node_id"]));
    let leaf = SigningKey::from_der(&bytes(&case["leaf_key_pkcs8_der"])).unwrap();
    assert_eq!(leaf.public_key_der(), peer.leaf_key().public_key_der());
    let signature = leaf.sign(b"message").unwrap();
    peer.leaf_key().verify(b"message", &signature).unwrap();
    assert_eq!(identity::split_chain(&peer.joined_chain()).unwrap(), chain);
    peer
}

#[test]
fn certificate_chains_give_the_reference_identities() {
    let file = file();
    let mut lengths = Vec::new();
    for case in cases(&file["identity"]["pregenerated"], 6) {
        let peer = verify(&case);
        assert_eq!(peer.chain().len() as u64, case["chain_length"].as_u64().unwrap());
        assert_eq!(identity::node_id(&bytes(&case["ca_spki_der"]), 0), peer.node_id());
        lengths.push(peer.chain().len());
    }
    assert!(lengths.contains(&2) && lengths.contains(&3));
    assert_eq!(verify(&file["identity"]["fresh_uplink_identity"]).chain().len(), 2);
}

#[test]
fn network_authority_certificate_parses() {
    let file = file();
    let chain = pem(text(&file["identity"]["default_peer_ca_whitelist_pem"]));
    assert_eq!(identity::split_chain(&chain.concat()).unwrap(), chain);
}

#[test]
fn node_ids_read_and_write_as_the_reference() {
    for case in cases(&file()["identity"]["node_id_strings"], 6) {
        let id = NodeId::from_slice(&bytes(&case["hex"])).unwrap();
        assert_eq!(id.to_string(), text(&case["string"]));
        assert_eq!(text(&case["string"]).parse(), Ok(id));
    }
}

#[test]
fn malformed_node_ids_are_rejected() {
    for case in cases(&file()["identity"]["node_id_strings_invalid"], 3) {
        assert!(text(&case["string"]).parse::<NodeId>().is_err(), "{case}");
    }
}

#[test]
fn order_limit_payloads_and_signatures_equal_the_reference() {
    let orders = &file()["orders"];
    let satellite = key(&orders["satellite"]["leaf_spki_der"]);
    for case in cases(&orders["order_limits"], 4) {
        let wire = bytes(&case["wire"]);
        let payload = signing_payload(&wire, Signed::OrderLimit).unwrap();
        assert_eq!(payload, bytes(&case["signing_bytes"]), "{}", case["name"]);
        assert_eq!(hex::encode(Sha256::digest(&payload)), text(&case["sha256"]));
        let limit = OrderLimit::verify(&wire, &satellite).unwrap();
        assert_eq!(limit.satellite_signature, bytes(&case["satellite_signature_der"]));
        let node = key(&orders["storage_node"]["leaf_spki_der"]);
        assert!(matches!(OrderLimit::verify(&wire, &node), Err(OrderError::Signature(_))));
    }
}

#[test]
fn older_order_limits_verify() {
    let group = &file()["orders"]["order_limits_from_common_tests"];
    let signer = key(&group["signer_spki_der"]);
    for case in cases(&group["cases"], 3) {
        let wire = bytes(&case["wire"]);
        let payload = signing_payload(&wire, Signed::OrderLimit).unwrap();
        assert_eq!(payload, bytes(&case["signing_bytes"]), "{}", case["name"]);
        let limit = OrderLimit::verify(&wire, &signer).unwrap();
        assert_eq!(limit.satellite_signature, bytes(&case["signature_der"]));
    }
}

#[test]
fn orders_sign_to_the_reference_bytes() {
    let orders = &file()["orders"];
    let private = PiecePrivateKey::from_bytes(&bytes(&orders["piece_private_key"])).unwrap();
    let public = PiecePublicKey::from_bytes(&bytes(&orders["piece_public_key"])).unwrap();
    assert_eq!(private.public(), public);
    assert_eq!(private.to_bytes().expose()[..], bytes(&orders["piece_private_key"]));
    for case in cases(&orders["orders"], 4) {
        let wire = bytes(&case["wire"]);
        let payload = signing_payload(&wire, Signed::Order).unwrap();
        assert_eq!(payload, bytes(&case["signing_bytes"]));
        let order = Order::verify(&wire, &public).unwrap();
        assert_eq!(order.amount, case["amount"].as_i64().unwrap());
        assert_eq!(order.serial_number, bytes(&case["serial_number"]));
        let mut own = Order { uplink_signature: vec![], ..order };
        own.sign(&private).unwrap();
        assert_eq!(own.uplink_signature, bytes(&case["uplink_signature"]));
        assert_eq!(own.encode_to_vec(), wire);
    }
}

#[test]
fn piece_hashes_sign_and_verify_as_the_reference() {
    let orders = &file()["orders"];
    let private = PiecePrivateKey::from_bytes(&bytes(&orders["piece_private_key"])).unwrap();
    let node = key(&orders["storage_node"]["leaf_spki_der"]);
    for case in cases(&orders["piece_hashes"], 2) {
        let from_uplink = bytes(&case["uplink_wire"]);
        let from_node = bytes(&case["node_wire"]);
        for wire in [&from_uplink, &from_node] {
            let payload = signing_payload(wire, Signed::PieceHash).unwrap();
            assert_eq!(payload, bytes(&case["signing_bytes"]));
        }
        let hash = PieceHash::verify_from_node(&from_node, &node).unwrap();
        assert_eq!(hash.signature, bytes(&case["node_signature_der"]));
        let hash = PieceHash::verify_from_uplink(&from_uplink, &private.public()).unwrap();
        assert_eq!(hash.piece_id, bytes(&case["piece_id"]));
        let content = text(&case["content_utf8"]);
        let expected = match hash.hash_algorithm {
            0 => Sha256::digest(content).to_vec(),
            _ => blake3::hash(content.as_bytes()).as_bytes().to_vec(),
        };
        assert_eq!(hash.hash, expected);
        let mut own = PieceHash { signature: vec![], ..hash };
        own.sign_as_uplink(&private).unwrap();
        assert_eq!(own.signature, bytes(&case["uplink_signature"]));
    }
}

#[test]
fn bloom_filters_equal_the_reference() {
    let case = &file()["orders"]["retain_bloom_filter"];
    let number = |name: &str| case[name].as_u64().unwrap();
    let seed = number("seed") as u8;
    let hash_count = number("hash_count") as u8;
    let mut filter = BloomFilter::new(seed, hash_count, number("table_bytes") as usize);
    let read = BloomFilter::parse(bytes(&case["bytes"])).unwrap();
    for id in cases(&case["piece_ids"], 3) {
        let piece = PieceId::from_slice(&bytes(&id)).unwrap();
        assert!(read.contains(&piece) && !filter.contains(&piece));
        filter.add(&piece);
    }
    assert_eq!(hex::encode(filter.as_bytes()), text(&case["bytes"]));
    assert_eq!(filter, read);
    let other = |byte: u8| PieceId::new(Sha256::digest([byte]).into());
    assert!((0..=255).all(|byte| !read.contains(&other(byte))));
}

#[test]
fn piece_ids_derive_as_the_reference() {
    for case in cases(&file()["orders"]["piece_id_derivation"], 5) {
        let root = PieceId::from_slice(&bytes(&case["root_piece_id"])).unwrap();
        let node = NodeId::from_slice(&bytes(&case["node_id"])).unwrap();
        let number = case["piece_num"].as_u64().unwrap() as u32;
        let piece = root.derive(&node, number);
        assert_eq!(piece.as_bytes()[..], bytes(&case["piece_id"]));
        assert_eq!(piece.to_string(), text(&case["piece_id_string"]));
    }
}

/// Returns the order amounts and the chunk lengths of the client's messages.
fn amounts(case: &Value) -> (Vec<u64>, Vec<u64>) {
    let messages = case["messages_from_client"].as_array().unwrap();
    let all = |field: &str| messages.iter().filter_map(|m| m[field].as_u64()).collect();
    (all("order_amount"), all("chunk_len"))
}

#[test]
fn order_amounts_grow_as_the_reference() {
    let mut uploads = 0;
    let mut downloads = 0;
    for case in cases(&file()["piecestore"], 5) {
        let (expected, chunks) = amounts(&case);
        let first = &case["messages_from_client"][0];
        if let Some(size) = first["chunk_size"].as_u64() {
            let mut orders = DownloadOrders::new(size);
            let mut made = Vec::new();
            for _ in 0..=size.div_ceil(16 << 10) {
                made.extend(std::iter::from_fn(|| orders.next_order()));
                orders.received(16 << 10);
            }
            assert_eq!(made, expected, "{}", case["name"]);
            downloads += 1;
        } else {
            let mut orders = UploadOrders::new(chunks.iter().sum());
            let made: Vec<u64> =
                chunks.iter().filter_map(|&chunk| orders.send(chunk).unwrap()).collect();
            assert_eq!(made, expected, "{}", case["name"]);
            uploads += 1;
        }
    }
    assert_eq!((uploads, downloads), (3, 2));
}
