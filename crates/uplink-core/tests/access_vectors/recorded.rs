//! Recorded traffic of the public network's client and satellite: what one project's grant opens.
//!
//! Only what this crate reads is looked at here; the messages around it are those of the transport.

use std::{collections::BTreeMap, sync::LazyLock};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use uplink_core::{
    access_grant::AccessGrant,
    encryption::{
        CipherSuite, ContentCipher, EncryptionStore, Nonce,
        key::{ACCESS_LANES, root_key, unwrap_key},
        metadata::{EncryptedMetadata, StreamMeta},
        path::{content_key, decrypt_path, encrypt_path},
        segment_start_nonce,
    },
    id::SegmentPosition,
    macaroon::ApiKey,
};

use super::{array, bytes, number, text};

static RECORDED: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../../../../tests/vectors/rpc-transcripts.json");
    serde_json::from_str(text).expect("transcripts are JSON")
});

#[test]
fn a_grant_is_made_from_passphrase_salt_and_api_key() {
    for set in ["plain", "compressed", "noise"] {
        let project = &RECORDED[set]["project"];
        let salt = bytes(&project["salt_hex"]);
        let root = root_key(text(&project["passphrase"]).as_bytes(), &salt, b"", ACCESS_LANES);
        let store = EncryptionStore::with_default_key(root.unwrap(), CipherSuite::AesGcm);
        let api_key = ApiKey::parse(text(&project["api_key"])).unwrap();
        assert!(api_key.is_authentic(&bytes(&project["api_key_secret_hex"])));
        let address = text(&project["satellite_node_url"]).to_owned();
        let grant = AccessGrant::new(address, api_key, &store).unwrap();
        assert_eq!(grant.serialize().unwrap(), text(&project["access"]));
    }
}

#[test]
fn names_and_metadata_of_objects_open() {
    let grant = grant();
    let scenarios = scenarios("stat_");
    let mut opened = 0;
    for scenario in scenarios.iter().filter(|scenario| scenario["out"]["error"].is_null()) {
        // BatchResponse 1 item, of which 8 GetObjectResponse, of which 1 Object.
        let response = message(scenario, "s");
        let object = Message::read(&response).inner(1).inner(8).inner(1);
        let (bucket, key) = (&scenario["in"]["bucket"], text(&scenario["in"]["key"]).as_bytes());
        let bucket = text(bucket).as_bytes();
        assert_eq!(decrypt_path(grant.encryption(), bucket, object.bytes(2)).unwrap(), key);
        let meta = StreamMeta::decode(object.bytes(10)).unwrap();
        let (wrapped, nonce) = meta.metadata_key_or(object.bytes(17), object.bytes(9));
        let encrypted = EncryptedMetadata {
            suite: CipherSuite::from_number(meta.encryption_type as u64),
            encrypted_stream_info: &meta.encrypted_stream_info,
            encrypted_metadata_key: wrapped,
            metadata_key_nonce: nonce,
            encrypted_etag: object.bytes(22),
        };
        let content_key = content_key(grant.encryption(), bucket, key).unwrap();
        let info = encrypted.open(&content_key).unwrap().unwrap().stream_info;
        let before = (meta.number_of_segments - 1) * info.segments_size;
        let out = &scenario["out"]["info"];
        assert_eq!((before + info.last_segment_size) as u64, number(&out["size"]));
        let custom: BTreeMap<String, String> = out
            .get("custom")
            .map_or_else(BTreeMap::new, |custom| serde_json::from_value(custom.clone()).unwrap());
        assert_eq!(*info.metadata.entries(), custom);
        opened += 1;
    }
    assert_eq!((opened, scenarios.len()), (4, 6), "two objects are missing on purpose");
}

#[test]
fn an_inline_segment_opens() {
    let grant = grant();
    let scenario = scenarios("upload_1KiB_inline_custom")[0];
    let (bucket, key) = (text(&scenario["in"]["bucket"]), text(&scenario["in"]["key"]));
    let request = message(scenario, "c");
    // BatchRequest 1 items: first BeginObject, then 14 MakeInlineSegment.
    let batch = Message::read(&request);
    let begin = Message::read(batch.all(1)[0]).inner(6);
    assert_eq!(
        begin.bytes(2),
        encrypt_path(grant.encryption(), bucket.as_bytes(), key.as_bytes()).unwrap()
    );
    let segment = Message::read(batch.all(1)[1]).inner(14);
    let content_key = content_key(grant.encryption(), bucket.as_bytes(), key.as_bytes()).unwrap();
    let nonce = Nonce::from_slice(segment.bytes(3)).unwrap();
    let suite = CipherSuite::AesGcm;
    let key = unwrap_key(suite, &content_key, &nonce, segment.bytes(4)).unwrap();
    let start = segment_start_nonce(SegmentPosition::default());
    let cipher = ContentCipher::new(suite, &key).unwrap();
    let data = cipher.open_whole(&start, segment.bytes(5)).unwrap();
    let (length, seed) = (number(&scenario["in"]["data"]["len"]), &scenario["in"]["data"]["seed"]);
    let expected = (0..length).map(|i| (i * 131 + (i >> 8) * 17 + number(seed)) as u8);
    assert_eq!(data, expected.collect::<Vec<_>>());
}

fn grant() -> AccessGrant {
    AccessGrant::parse(text(&RECORDED["plain"]["project"]["access"])).unwrap()
}

fn scenarios(name: &str) -> Vec<&'static Value> {
    let all = array(&RECORDED["plain"]["scenarios"]).iter();
    all.filter(|scenario| text(&scenario["name"]).starts_with(name)).collect()
}

/// The first message of one side in the first call.
fn message(scenario: &Value, side: &str) -> Vec<u8> {
    let messages = array(&scenario["calls"][0]["msgs"]);
    let of_side = messages.iter().find(|message| message[1] == side && message[2].is_string());
    STANDARD.decode(text(&of_side.unwrap()[2])).unwrap()
}

/// The length-delimited fields of a message, which are all that is needed here.
struct Message<'a>(Vec<(u64, &'a [u8])>);

impl<'a> Message<'a> {
    fn read(mut rest: &'a [u8]) -> Self {
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let key = varint(&mut rest);
            match key & 7 {
                0 => drop(varint(&mut rest)),
                2 => {
                    let length = varint(&mut rest) as usize;
                    let (field, after) = rest.split_at(length);
                    fields.push((key >> 3, field));
                    rest = after;
                }
                kind => panic!("wire type {kind}"),
            }
        }
        Self(fields)
    }

    fn all(&self, number: u64) -> Vec<&'a [u8]> {
        self.0.iter().filter(|field| field.0 == number).map(|field| field.1).collect()
    }

    fn bytes(&self, number: u64) -> &'a [u8] {
        self.all(number).first().copied().unwrap_or_default()
    }

    fn inner(&self, number: u64) -> Self {
        Self::read(self.all(number)[0])
    }
}

fn varint(rest: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first().unwrap();
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}
