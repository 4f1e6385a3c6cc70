//! Metadata of objects, and the keys that copies and moves wrap again.

use std::collections::BTreeMap;

use bytes::Bytes;
use uplink_core::encryption::key::unwrap_key;
use uplink_core::encryption::metadata::{EncryptedMetadata, StreamInfo, StreamMeta};
use uplink_core::encryption::path::{PrefixInfo, content_key, decrypt_path};
use uplink_core::encryption::{CipherSuite, EncryptionStore, Key, Nonce};
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::batch_response_item::Response;
use uplink_rpc::r#gen::metainfo::{
    self, EncryptedKeyAndNonce, ListObjectsRequest, ListObjectsResponse,
};

use super::project::{Object, Objects, custom, keys, name};
use super::recording::{SETS, Scenario, scenarios};

/// Number of decrypted envelopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    written: usize,
    read: usize,
    listed: usize,
    /// Envelopes of objects without metadata.
    bare: usize,
}

/// The encrypted metadata of an object in a message.
struct Sealed<'a> {
    envelope: &'a Bytes,
    key: &'a Bytes,
    nonce: &'a Bytes,
    etag: &'a Bytes,
}

struct Opener {
    keys: EncryptionStore,
    objects: Objects,
    counts: Counts,
}

#[test]
fn all_metadata_decrypts_to_what_was_set() {
    let counts = SETS.map(|set| {
        let objects = Objects::default();
        let counts = Counts::default();
        let mut opener = Opener { keys: EncryptionStore::new(), objects, counts };
        for scenario in scenarios(set).iter().filter(|it| !it.name.starts_with("raw_")) {
            opener.keys = keys(set, scenario);
            // An update reads before it writes. Other responses show the effect of their request.
            let is_update = scenario.name.starts_with("metadata_update");
            if !is_update {
                opener.objects.apply(scenario);
            }
            opener.scenario(scenario);
            if is_update {
                opener.objects.apply(scenario);
            }
        }
        opener.counts
    });
    let plain = Counts { written: 23, read: 48, listed: 21, bare: 5 };
    let few = Counts { written: 3, read: 8, listed: 3, bare: 0 };
    assert_eq!(counts, [plain, few, few]);
}

impl Opener {
    fn scenario(&mut self, scenario: &Scenario<'_>) {
        for (request, response) in scenario.exchanges() {
            self.request(&request, scenario);
            match response {
                Some(Response::ObjectList(response)) => self.listing(&request, &response),
                Some(response) => self.response(&response),
                None => {}
            }
        }
    }

    fn request(&mut self, request: &Request, scenario: &Scenario<'_>) {
        let sealed = match request {
            Request::ObjectCommit(it) => Sealed {
                envelope: &it.encrypted_metadata,
                key: &it.encrypted_metadata_encrypted_key,
                nonce: &it.encrypted_metadata_nonce,
                etag: &it.encrypted_etag,
            },
            Request::ObjectUpdateMetadata(it) => Sealed {
                envelope: &it.encrypted_metadata,
                key: &it.encrypted_metadata_encrypted_key,
                nonce: &it.encrypted_metadata_nonce,
                etag: &it.encrypted_etag,
            },
            Request::ObjectBegin(it) => {
                assert!(it.encrypted_metadata.is_empty(), "metadata comes with the commit");
                return;
            }
            Request::ObjectFinishCopy(it) => {
                assert!(it.new_encrypted_metadata.is_empty(), "copies keep their metadata");
                return;
            }
            _ => return,
        };
        let bucket = scenario.input("bucket").unwrap_or("bucket-one").as_bytes();
        let name = name(&self.keys, scenario);
        if let Some(info) = self.open(bucket, &name, &sealed, CipherSuite::AesGcm) {
            // The inputs of a rejected update do not hold its metadata.
            if scenario.name != "denied_metadata_read_only" {
                assert_eq!(*info.metadata.entries(), custom(scenario.input), "{}", scenario.name);
            }
            self.counts.written += 1;
        }
    }

    fn response(&mut self, response: &Response) {
        let object = match response {
            Response::ObjectCommit(it) => &it.object,
            Response::ObjectGet(it) => &it.object,
            Response::ObjectBeginDelete(it) => &it.object,
            Response::ObjectDownload(it) => &it.object,
            Response::ObjectFinishCopy(it) => &it.object,
            _ => return,
        };
        let Some(object) = object else { return };
        if self.is_bare(&object.encrypted_metadata) {
            return;
        }
        let name = decrypt_path(&self.keys, &object.bucket, &object.encrypted_object_key);
        let name = name.expect("a name");
        let sealed = Sealed {
            envelope: &object.encrypted_metadata,
            key: &object.encrypted_metadata_encrypted_key,
            nonce: &object.encrypted_metadata_nonce,
            etag: &object.encrypted_etag,
        };
        let stored = self.returned(&object.bucket, &name, &sealed);
        assert_eq!(object.plain_size, stored.data.len() as i64, "{}", name.escape_ascii());
        self.counts.read += 1;
    }

    fn listing(&mut self, request: &Request, response: &ListObjectsResponse) {
        let Request::ObjectList(request) = request else { panic!("another request") };
        let ListObjectsRequest { bucket, encrypted_prefix, object_includes: includes, .. } =
            request;
        let mut prefix = decrypt_path(&self.keys, bucket, encrypted_prefix).expect("a prefix");
        if !prefix.is_empty() {
            prefix.push(b'/');
        }
        let names = PrefixInfo::new(&self.keys, bucket, &prefix).expect("keys of the prefix");
        for item in response.items.iter().filter(|item| !item.encrypted_metadata.is_empty()) {
            if self.is_bare(&item.encrypted_metadata) {
                continue;
            }
            let name = names.decrypt_relative(&item.encrypted_object_key).expect("a name");
            let sealed = Sealed {
                envelope: &item.encrypted_metadata,
                key: &item.encrypted_metadata_encrypted_key,
                nonce: &item.encrypted_metadata_nonce,
                etag: &item.encrypted_etag,
            };
            let stored = self.returned(bucket, &[&prefix[..], &name].concat(), &sealed);
            let includes = includes.unwrap_or_default();
            let size = if includes.exclude_system_metadata { 0 } else { stored.data.len() };
            assert_eq!(item.plain_size, size as i64);
            self.counts.listed += 1;
        }
    }

    /// Returns whether an envelope is empty: that of a pending upload, or of the one multipart object
    /// committed without metadata.
    fn is_bare(&mut self, envelope: &[u8]) -> bool {
        let envelope = StreamMeta::decode(envelope).expect("an envelope");
        let is_bare = envelope.encrypted_stream_info.is_empty();
        self.counts.bare += usize::from(is_bare);
        is_bare
    }

    /// Decrypts the metadata that the satellite returned and compares it with the stored metadata.
    fn returned(&self, bucket: &[u8], name: &[u8], sealed: &Sealed<'_>) -> &Object {
        let meta = StreamMeta::decode(sealed.envelope).expect("an envelope");
        let suite = CipherSuite::from_number(meta.encryption_type as u64);
        let info = self.open(bucket, name, sealed, suite);
        let info = info.unwrap_or_else(|| panic!("metadata of {}", name.escape_ascii()));
        let stored = self.objects.object(bucket, name);
        assert_eq!(*info.metadata.entries(), stored.custom, "{}", name.escape_ascii());
        let size = stored.data.len() as i64;
        let segment = info.segments_size;
        // Multipart objects have no segment size, because each part has its own.
        if segment > 0 {
            let segments = (size + segment - 1).div_euclid(segment).max(1);
            assert_eq!((segments - 1) * segment + info.last_segment_size, size);
            // The satellite's response to a commit has no count.
            assert!([0, segments].contains(&meta.number_of_segments));
        }
        stored
    }

    fn open(
        &self,
        bucket: &[u8],
        name: &[u8],
        sealed: &Sealed<'_>,
        suite: CipherSuite,
    ) -> Option<StreamInfo> {
        let meta = StreamMeta::decode(sealed.envelope).expect("an envelope");
        let (encrypted_metadata_key, metadata_key_nonce) =
            meta.metadata_key_or(sealed.key, sealed.nonce);
        let encrypted = EncryptedMetadata {
            suite,
            encrypted_stream_info: &meta.encrypted_stream_info,
            encrypted_metadata_key,
            metadata_key_nonce,
            encrypted_etag: sealed.etag,
        };
        let content_key = content_key(&self.keys, bucket, name).expect("a key");
        let opened = encrypted.open(&content_key).expect("authentic metadata")?;
        opened.stream_info
    }
}

/// The keys that encrypt an object's metadata and segments.
#[derive(Debug, PartialEq, Eq)]
struct ObjectKeys {
    metadata: Option<Key>,
    segments: BTreeMap<(i32, i32), Key>,
}

#[test]
fn copies_and_moves_keep_the_keys_and_rewrap_them() {
    let mut finished = 0;
    let mut segments = 0;
    for scenario in scenarios("plain") {
        let keys = keys("plain", &scenario);
        let mut before = None;
        for (request, response) in scenario.exchanges() {
            match (request, response) {
                (Request::ObjectBeginCopy(_), Some(Response::ObjectBeginCopy(begun))) => {
                    before = Some(unwrap(
                        &endpoint_key(&keys, &scenario, "from"),
                        (&begun.encrypted_metadata_key, &begun.encrypted_metadata_key_nonce),
                        &begun.segment_keys,
                    ));
                }
                (Request::ObjectBeginMove(_), Some(Response::ObjectBeginMove(begun))) => {
                    before = Some(unwrap(
                        &endpoint_key(&keys, &scenario, "from"),
                        (&begun.encrypted_metadata_key, &begun.encrypted_metadata_key_nonce),
                        &begun.segment_keys,
                    ));
                }
                (Request::ObjectFinishCopy(finish), Some(_)) => {
                    let metainfo::FinishCopyObjectRequest {
                        new_encrypted_metadata_key: key,
                        new_encrypted_metadata_key_nonce: nonce,
                        new_segment_keys,
                        ..
                    } = &finish;
                    let to = endpoint_key(&keys, &scenario, "to");
                    let after = unwrap(&to, (key, nonce), new_segment_keys);
                    assert_eq!(before.as_ref(), Some(&after), "{}", scenario.name);
                    finished += 1;
                    segments += after.segments.len();
                }
                (Request::ObjectFinishMove(finish), Some(_)) => {
                    let metainfo::FinishMoveObjectRequest {
                        new_encrypted_metadata_key: key,
                        new_encrypted_metadata_key_nonce: nonce,
                        new_segment_keys,
                        ..
                    } = &finish;
                    let to = endpoint_key(&keys, &scenario, "to");
                    let after = unwrap(&to, (key, nonce), new_segment_keys);
                    assert_eq!(before.as_ref(), Some(&after), "{}", scenario.name);
                    finished += 1;
                    segments += after.segments.len();
                }
                _ => {}
            }
        }
    }
    assert_eq!((finished, segments), (6, 12));
}

/// Returns the content key of the source or target of a copy or move.
fn endpoint_key(keys: &EncryptionStore, scenario: &Scenario<'_>, end: &str) -> Key {
    let input = |field: &str| {
        scenario.input(&format!("{end}_{field}")).expect("a bucket and key").as_bytes()
    };
    content_key(keys, input("bucket"), input("key")).expect("a key")
}

fn unwrap(
    content_key: &Key,
    (metadata_key, nonce): (&Bytes, &Bytes),
    segments: &[EncryptedKeyAndNonce],
) -> ObjectKeys {
    let unwrap = |key: &[u8], nonce: &[u8]| {
        let nonce = Nonce::from_slice(nonce).expect("a nonce");
        unwrap_key(CipherSuite::AesGcm, content_key, &nonce, key).expect("a key of this object")
    };
    let metadata = (!metadata_key.is_empty()).then(|| unwrap(metadata_key, nonce));
    let segments = segments.iter().map(|segment| {
        let position = segment.position.unwrap_or_default();
        let key = unwrap(&segment.encrypted_key, &segment.encrypted_key_nonce);
        ((position.part_number, position.index), key)
    });
    ObjectKeys { metadata, segments: segments.collect() }
}
