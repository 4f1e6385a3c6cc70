//! The keys and seals of the versions of an object, and whether a request mixes them.

use uplink_core::encryption::key::unwrap_key;
use uplink_core::encryption::metadata::{
    CustomMetadata, EncryptedMetadata, StreamInfo, StreamMeta,
};
use uplink_core::encryption::{CipherSuite, Key, Nonce};
use uplink_core::id::SegmentPosition;
use uplink_rpc::r#gen::metainfo as messages;
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;

use super::checks::wrong_unless;
use super::fixture::Fixture;
use super::forgery::{Forgery, position};

/// The two versions of an object under attack.
pub(crate) struct Versions {
    versions: [Version; 2],
    content_key: Key,
}

/// What a client may send about a version.
struct Version {
    keys: Vec<(SegmentPosition, Option<Key>)>,
    metadata_key: Option<Key>,
    /// What the envelope records of the segments, without the custom metadata.
    info: StreamInfo,
}

impl Versions {
    pub(crate) fn of(fixture: &Fixture) -> Self {
        let version = |forgery| Version::of(forgery, &fixture.content_key);
        let versions = [version(&fixture.a), version(&fixture.b)];
        Self { versions, content_key: fixture.content_key.clone() }
    }

    /// Returns what is wrong with a request that completes a copy, move or update. `new_key` is the
    /// content key of the new location.
    pub(crate) fn check(&self, request: &Request, new_key: &Key) -> Option<String> {
        let is_whole = match request {
            Request::ObjectFinishCopy(copy) => {
                let key =
                    (&copy.new_encrypted_metadata_key, &copy.new_encrypted_metadata_key_nonce);
                self.has(&copy.new_segment_keys, (key.0, key.1), new_key)
            }
            Request::ObjectFinishMove(moved) => {
                let key =
                    (&moved.new_encrypted_metadata_key, &moved.new_encrypted_metadata_key_nonce);
                self.has(&moved.new_segment_keys, (key.0, key.1), new_key)
            }
            Request::ObjectUpdateMetadata(update) => {
                let info = info(
                    &update.encrypted_metadata,
                    (&update.encrypted_metadata_encrypted_key, &update.encrypted_metadata_nonce),
                    &self.content_key,
                );
                self.versions.iter().any(|version| version.info == info)
            }
            other => return Some(format!("{other:?} completes no change")),
        };
        wrong_unless(is_whole, || "keys or seal of no whole version are sent".to_owned())
    }

    /// Returns whether all keys, unwrapped, are those of one version.
    fn has(
        &self,
        segments: &[messages::EncryptedKeyAndNonce],
        metadata_key: (&[u8], &[u8]),
        content_key: &Key,
    ) -> bool {
        let keys: Vec<_> = segments
            .iter()
            .map(|key| {
                let unwrapped = unwrap(&key.encrypted_key, &key.encrypted_key_nonce, content_key);
                (position(key.position), unwrapped)
            })
            .collect();
        let metadata_key = unwrap(metadata_key.0, metadata_key.1, content_key);
        let mut versions = self.versions.iter();
        versions.any(|version| version.keys == keys && version.metadata_key == metadata_key)
    }
}

impl Version {
    fn of(forgery: &Forgery, content_key: &Key) -> Self {
        let keys = forgery.segments.iter().map(|part| {
            let item = &part.item;
            let key = unwrap(&item.encrypted_key, &item.encrypted_key_nonce, content_key);
            (position(item.position), key)
        });
        let object = &forgery.object;
        let wrapped = &object.encrypted_metadata_encrypted_key;
        let nonce = &object.encrypted_metadata_nonce;
        Self {
            keys: keys.collect(),
            metadata_key: unwrap(wrapped, nonce, content_key),
            info: info(&object.encrypted_metadata, (wrapped, nonce), content_key),
        }
    }
}

/// Returns the key, or `None` if it is not wrapped under the content key.
fn unwrap(wrapped: &[u8], nonce: &[u8], content_key: &Key) -> Option<Key> {
    let nonce = Nonce::from_slice(nonce)?;
    unwrap_key(CipherSuite::AesGcm, content_key, &nonce, wrapped).ok()
}

/// Decrypts what an envelope records of the segments.
fn info(metadata: &[u8], (key, nonce): (&[u8], &[u8]), content_key: &Key) -> StreamInfo {
    let meta = StreamMeta::decode(metadata).expect("metadata");
    let envelope = EncryptedMetadata {
        suite: CipherSuite::AesGcm,
        encrypted_stream_info: &meta.encrypted_stream_info,
        encrypted_metadata_key: key,
        metadata_key_nonce: nonce,
        encrypted_etag: &[],
    };
    let opened = envelope.open(content_key).expect("opened").expect("an envelope");
    let info = opened.stream_info.expect("a stream info");
    StreamInfo { metadata: CustomMetadata::default(), ..info }
}
