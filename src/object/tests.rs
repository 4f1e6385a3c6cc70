use std::collections::BTreeMap;

use uplink_core::access_grant::AccessGrant;
use uplink_core::encryption::metadata::{
    CustomMetadata, MetadataKeys, SegmentMeta, StreamInfo, StreamMeta,
};
use uplink_core::encryption::path::{content_key, encrypt_path};
use uplink_core::encryption::{CipherSuite, EncryptionStore, Key, Nonce};
use uplink_core::id::NodeId;
use uplink_core::macaroon::ApiKey;

use super::list::{ListItem, ListOptions, Listing};
use crate::access::Access;
use crate::config::Config;
use crate::satellite::ListedFields;
use crate::session::Session;

fn session() -> Session {
    let api_key = ApiKey::new(&[1; 32], vec![2; 32]);
    let store = EncryptionStore::with_default_key(Key::new([3; 32]), CipherSuite::AesGcm);
    let address = format!("{}@127.0.0.1:7777", NodeId::new([4; 32]));
    let grant = AccessGrant::new(address, api_key, &store).expect("a grant");
    let access = Access::parse(&grant.serialize().expect("a text")).expect("an access");
    Session::open(&access, &Config::default()).expect("a session")
}

fn listing(session: &Session) -> Listing {
    let options = ListOptions::new().prefix("trips/").custom_metadata(true);
    Listing::new(session.clone(), "photos", &options).expect("a listing")
}

/// The item of `trips/cat.jpg` as a writer with this suite and its satellite make it.
fn item(session: &Session, sealed_with: CipherSuite, says: i32) -> ListedFields {
    let store = session.access().encryption();
    let keys = MetadataKeys {
        suite: sealed_with,
        content_key: &content_key(store, b"photos", b"trips/cat.jpg").expect("a key"),
        metadata_key: &Key::new([5; 32]),
        metadata_key_nonce: Nonce::new([6; 24]),
    };
    let entries = BTreeMap::from([("species".to_owned(), "cat".to_owned())]);
    let info = StreamInfo { metadata: CustomMetadata::new(entries), ..StreamInfo::default() };
    let sealed = keys.seal(&info, b"etag").expect("sealed");
    let meta = StreamMeta::decode(&sealed.encrypted_metadata).expect("an envelope");
    let whole = encrypt_path(store, b"photos", b"trips/cat.jpg").expect("a name");
    let prefix = encrypt_path(store, b"photos", b"trips").expect("a name").len() + 1;
    ListedFields {
        encrypted_key: whole[prefix..].to_vec(),
        metadata: StreamMeta { encryption_type: says, ..meta }.encode(),
        metadata_key: sealed.encrypted_metadata_key.to_vec(),
        metadata_nonce: sealed.metadata_key_nonce.as_bytes().to_vec(),
        etag: sealed.encrypted_etag,
        plain_size: 7,
    }
}

fn opened(item: ListedFields, session: &Session) -> Option<BTreeMap<String, String>> {
    match listing(session).open(&item.into()) {
        ListItem::Object(object) => {
            assert_eq!((&object.key[..], object.size), (&b"trips/cat.jpg"[..], 7));
            Some(object.custom_metadata)
        }
        ListItem::Undecryptable(_) => None,
        ListItem::Prefix(prefix) => panic!("{prefix:?}"),
    }
}

#[tokio::test]
async fn an_item_of_a_known_suite_is_listed_with_its_metadata() {
    let session = session();
    let suites = [(CipherSuite::AesGcm, 2), (CipherSuite::SecretBox, 3)];
    for (suite, number) in suites.into_iter().chain([(CipherSuite::ChaCha20Poly1305, 100)]) {
        let custom = opened(item(&session, suite, number), &session).expect("an object");
        assert_eq!(custom["species"], "cat", "{suite}");
    }
}

#[tokio::test]
async fn an_item_of_an_unknown_suite_is_listed_without_metadata() {
    let session = session();
    for number in [0, 1, 4, 99, 101, -1, i32::MAX] {
        let mut item = item(&session, CipherSuite::AesGcm, number);
        assert_eq!(opened(item.clone(), &session), Some(BTreeMap::new()), "suite {number}");
        // Such a suite may have keys and nonces of any length.
        item.metadata_key = vec![0; 80];
        item.metadata_nonce = vec![0; 12];
        assert_eq!(opened(item, &session), Some(BTreeMap::new()), "suite {number}");
    }
}

#[tokio::test]
async fn an_item_whose_metadata_does_not_open_is_undecryptable() {
    let session = session();
    let good = item(&session, CipherSuite::AesGcm, 2);
    let mut bad = vec![good.clone(); 4];
    bad[0].metadata_nonce = vec![0; 24];
    bad[1].metadata_key = Vec::new();
    bad[2].metadata = b"\xff".to_vec();
    bad[3].metadata = StreamMeta { encryption_type: 2, ..StreamMeta::default() }
        .encode()
        .into_iter()
        .chain([0x0a, 1, 7])
        .collect();
    for item in bad {
        assert_eq!(opened(item.clone(), &session), None, "{item:?}");
    }
    assert!(opened(good, &session).is_some());
}

#[tokio::test]
async fn the_metadata_key_may_stand_in_the_envelope_alone() {
    let session = session();
    let mut item = item(&session, CipherSuite::AesGcm, 2);
    let mut meta = StreamMeta::decode(&item.metadata).expect("an envelope");
    meta.last_segment_meta = Some(SegmentMeta {
        encrypted_key: std::mem::take(&mut item.metadata_key),
        key_nonce: std::mem::take(&mut item.metadata_nonce),
    });
    item.metadata = meta.encode();
    assert_eq!(opened(item, &session).expect("an object")["species"], "cat");
}
