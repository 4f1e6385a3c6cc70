use uplink_core::access_grant::AccessGrant;
use uplink_core::encryption::metadata::{
    CustomMetadata, MetadataKeys, SegmentMeta, StreamInfo, StreamMeta,
};
use uplink_core::encryption::path::encrypt_path;
use uplink_core::encryption::{EncryptionStore, Key, Nonce};
use uplink_core::id::NodeId;
use uplink_core::macaroon::ApiKey;

use super::*;
use crate::access::Access;

fn project() -> Project {
    let api_key = ApiKey::new(&[1; 32], vec![2; 32]);
    let store = EncryptionStore::with_default_key(Key::new([3; 32]), CipherSuite::AesGcm);
    let address = format!("{}@127.0.0.1:7777", NodeId::new([4; 32]));
    let grant = AccessGrant::new(address, api_key, &store).expect("a grant");
    let access = Access::parse(&grant.serialize().expect("a text")).expect("an access");
    Project::open(&access).expect("a project")
}

fn listing(project: &Project) -> ObjectList {
    let options = ListOptions::new().prefix("trips/").custom(true);
    ObjectList::new(project.clone(), "photos", options).expect("a listing")
}

/// The item of `trips/cat.jpg` as a writer with this suite and its satellite make it.
fn item(project: &Project, sealed_with: CipherSuite, says: i32) -> metainfo::ObjectListItem {
    let store = project.access().encryption();
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
    metainfo::ObjectListItem {
        encrypted_object_key: whole[prefix..].to_vec().into(),
        encrypted_metadata: StreamMeta { encryption_type: says, ..meta }.encode().into(),
        encrypted_metadata_encrypted_key: sealed.encrypted_metadata_key.to_vec().into(),
        encrypted_metadata_nonce: sealed.metadata_key_nonce.as_bytes().to_vec().into(),
        encrypted_etag: sealed.encrypted_etag.into(),
        plain_size: 7,
        ..Default::default()
    }
}

fn opened(item: metainfo::ObjectListItem, project: &Project) -> Option<BTreeMap<String, String>> {
    match listing(project).open(item).expect("never the end of a listing") {
        ListItem::Object(object) => {
            assert_eq!((&object.key[..], object.size), (&b"trips/cat.jpg"[..], 7));
            Some(object.custom)
        }
        ListItem::Undecryptable(_) => None,
        ListItem::Prefix(prefix) => panic!("{prefix:?}"),
    }
}

#[tokio::test]
async fn an_item_of_a_known_suite_is_listed_with_its_metadata() {
    let project = project();
    let suites = [(CipherSuite::AesGcm, 2), (CipherSuite::SecretBox, 3)];
    for (suite, number) in suites.into_iter().chain([(CipherSuite::ChaCha20Poly1305, 100)]) {
        let custom = opened(item(&project, suite, number), &project).expect("an object");
        assert_eq!(custom["species"], "cat", "{suite}");
    }
}

#[tokio::test]
async fn an_item_of_an_unknown_suite_is_listed_without_metadata() {
    let project = project();
    for number in [0, 1, 4, 99, 101, -1, i32::MAX] {
        let mut item = item(&project, CipherSuite::AesGcm, number);
        assert_eq!(opened(item.clone(), &project), Some(BTreeMap::new()), "suite {number}");
        // Such a suite may have keys and nonces of any length.
        item.encrypted_metadata_encrypted_key = vec![0; 80].into();
        item.encrypted_metadata_nonce = vec![0; 12].into();
        assert_eq!(opened(item, &project), Some(BTreeMap::new()), "suite {number}");
    }
}

#[tokio::test]
async fn an_item_whose_metadata_does_not_open_is_undecryptable() {
    let project = project();
    let good = item(&project, CipherSuite::AesGcm, 2);
    let mut bad = vec![good.clone(); 4];
    bad[0].encrypted_metadata_nonce = vec![0; 24].into();
    bad[1].encrypted_metadata_encrypted_key = Bytes::new();
    bad[2].encrypted_metadata = Bytes::from_static(b"\xff");
    bad[3].encrypted_metadata = StreamMeta { encryption_type: 2, ..StreamMeta::default() }
        .encode()
        .into_iter()
        .chain([0x0a, 1, 7])
        .collect();
    for item in bad {
        assert_eq!(opened(item.clone(), &project), None, "{item:?}");
    }
    assert!(opened(good, &project).is_some());
}

#[tokio::test]
async fn the_metadata_key_may_stand_in_the_envelope_alone() {
    let project = project();
    let mut item = item(&project, CipherSuite::AesGcm, 2);
    let mut meta = StreamMeta::decode(&item.encrypted_metadata).expect("an envelope");
    meta.last_segment_meta = Some(SegmentMeta {
        encrypted_key: std::mem::take(&mut item.encrypted_metadata_encrypted_key).to_vec(),
        key_nonce: std::mem::take(&mut item.encrypted_metadata_nonce).to_vec(),
    });
    item.encrypted_metadata = meta.encode().into();
    assert_eq!(opened(item, &project).expect("an object")["species"], "cat");
}
