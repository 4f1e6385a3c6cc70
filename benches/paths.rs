//! Object keys and access grants: `cargo xtask bench paths`.
//!
//! Costs per item of a listing (a component decrypted below a prefix with known key), per whole key
//! in other calls, and of parsing a grant.

use measure::{Candidate, Table, measure, report};
use uplink_core::access_grant::AccessGrant;
use uplink_core::encryption::path::{PrefixInfo, decrypt_path, encrypt_path};
use uplink_core::encryption::{CipherSuite, EncryptionStore, Key};

mod measure;

const BUCKET: &[u8] = b"photos";
const KEY: &[u8] = b"2026/summer/sea/boat-0001.jpg";
const PREFIX: &[u8] = b"2026/summer/sea";
const NAME: &[u8] = b"boat-0001.jpg";

fn main() {
    let mut table = Table::new(&["case", "suite", "µs"]);
    for suite in [CipherSuite::AesGcm, CipherSuite::SecretBox] {
        let store = EncryptionStore::with_default_key(Key::new([5; 32]), suite);
        let encrypted = encrypt_path(&store, BUCKET, KEY).expect("encrypted");
        assert_eq!(decrypt_path(&store, BUCKET, &encrypted).expect("decrypted"), KEY);
        let below = PrefixInfo::new(&store, BUCKET, PREFIX).expect("a prefix");
        let name = below.encrypt_relative(NAME).expect("encrypted");
        assert_eq!(below.decrypt_relative(&name).expect("decrypted"), NAME);
        let figures = measure(vec![
            Candidate::new("encrypt a key of four components", || {
                drop(std::hint::black_box(encrypt_path(&store, BUCKET, KEY)));
            }),
            Candidate::new("decrypt a key of four components", || {
                drop(std::hint::black_box(decrypt_path(&store, BUCKET, &encrypted)));
            }),
            Candidate::new("encrypt a name below a prefix", || {
                drop(std::hint::black_box(below.encrypt_relative(NAME)));
            }),
            Candidate::new("decrypt a name below a prefix", || {
                drop(std::hint::black_box(below.decrypt_relative(&name)));
            }),
        ]);
        report("paths", &suite.to_string(), 0, &figures);
        for figure in figures {
            let time = format!("{:.2}", figure.best * 1e6);
            table.row(vec![figure.name, suite.to_string(), time]);
        }
    }
    for figure in grants() {
        report("paths", "grant", 0, std::slice::from_ref(&figure));
        table.row(vec![figure.name, "–".to_owned(), format!("{:.2}", figure.best * 1e6)]);
    }
    table.print();
}

/// Measures with a grant of the reference library, from the vectors.
fn grants() -> Vec<measure::Figure> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/access.json");
    let text = std::fs::read_to_string(path).expect("the vectors");
    let vectors: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let grant = vectors["access_grants"]["cases"][0]["grant"].as_str().expect("a grant").to_owned();
    let parsed = AccessGrant::parse(&grant).expect("a grant");
    measure(vec![
        Candidate::new("parse an access grant", move || {
            drop(std::hint::black_box(AccessGrant::parse(&grant)));
        }),
        Candidate::new("serialize an access grant", move || {
            drop(std::hint::black_box(parsed.serialize()));
        }),
    ])
}
