//! No key encrypts two texts with one nonce: experiment F73 of `docs/RELIABILITY.md`.
//!
//! A proxy in front of the satellite sees every request. The test has the grant, so it opens the
//! wrapped keys that the requests contain, and records each pair of key and nonce with a digest of what
//! was encrypted. It sees what is committed: the keys of an upload that is dropped before never leave
//! the client. Which nonces the blocks of one segment get is tested in `uplink-segment`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use prost::Message;
use uplink::{
    Access, BeginUploadOptions, CommitUploadOptions, CopyOptions, Project, UploadOptions,
};
use uplink_core::access_grant::AccessGrant;
use uplink_core::encryption::key::{part_etag_key, unwrap_key};
use uplink_core::encryption::metadata::StreamMeta;
use uplink_core::encryption::path::content_key;
use uplink_core::encryption::{CipherSuite, EncryptionParameters, Key, Nonce, segment_start_nonce};
use uplink_core::id::SegmentPosition;
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::{self as messages, EncryptedKeyAndNonce};
use uplink_rpc::status::{Code, Failure};
use uplink_testnet::{Call, MaliciousSatellite};

use super::world::{BUCKET, SMALL_SEGMENT, World, bytes, config};

/// The keys of all objects that this test writes.
const KEYS: [&str; 6] = ["one", "two", "three", "parts", "copy", "moved"];
const SUITE: CipherSuite = CipherSuite::AesGcm;

/// Every encryption seen so far.
#[derive(Default)]
struct Record {
    content_keys: Vec<Key>,
    /// By key and nonce: a digest of the ciphertext.
    sealed: HashMap<([u8; 32], [u8; 12]), blake3::Hash>,
    /// By key: the one segment that it encrypts.
    segments: HashMap<[u8; 32], blake3::Hash>,
    encryptions: u64,
    resent: u64,
    faults: Vec<String>,
}

impl Record {
    /// Records one encryption. The same ciphertext again is a message that was sent again.
    fn add(&mut self, what: &str, key: &Key, nonce: &Nonce, sealed: &[u8]) {
        let nonce = nonce.as_bytes()[..12].try_into().expect("12 bytes");
        let digest = blake3::hash(sealed);
        match self.sealed.insert((*key.expose(), nonce), digest) {
            None => self.encryptions += 1,
            Some(earlier) if earlier == digest => self.resent += 1,
            Some(_) => self.faults.push(format!("{what}: a nonce is used twice")),
        }
    }

    /// Records a wrapped key and returns it.
    fn unwrap(&mut self, what: &str, wrapped: &[u8], nonce: &[u8]) -> Option<Key> {
        let nonce = Nonce::from_slice(nonce)?;
        let open = |content_key: &Key| {
            Some((unwrap_key(SUITE, content_key, &nonce, wrapped).ok()?, content_key.clone()))
        };
        match self.content_keys.iter().find_map(open) {
            Some((key, content_key)) => {
                self.add(what, &content_key, &nonce, wrapped);
                Some(key)
            }
            None => {
                self.faults.push(format!("{what}: wrapped with an unknown key"));
                None
            }
        }
    }

    /// Records that a key encrypts the blocks of one segment.
    fn segment(&mut self, key: &Key, identity: &[u8], blocks: u64) {
        let digest = blake3::hash(identity);
        match self.segments.insert(*key.expose(), digest) {
            None => self.encryptions += blocks,
            Some(earlier) if earlier == digest => self.resent += 1,
            Some(_) => self.faults.push("the key of a segment encrypts another".to_owned()),
        }
    }

    fn metadata(&mut self, wrapped: &[u8], nonce: &[u8], envelope: &[u8], etag: &[u8]) {
        if wrapped.is_empty() {
            return;
        }
        let Some(key) = self.unwrap("metadata key", wrapped, nonce) else { return };
        let Ok(envelope) = StreamMeta::decode(envelope) else {
            self.faults.push("an envelope that cannot be decoded".to_owned());
            return;
        };
        if !envelope.encrypted_stream_info.is_empty() {
            self.add("metadata", &key, &Nonce::ZERO, &envelope.encrypted_stream_info);
        }
        if !etag.is_empty() {
            self.add("ETag", &key, &Nonce::ONE, etag);
        }
    }

    fn part_etag(&mut self, key: &Key, etag: &[u8]) {
        if !etag.is_empty() {
            self.add("ETag of a part", &part_etag_key(key), &Nonce::ZERO, etag);
        }
    }

    fn rewrapped(&mut self, keys: &[EncryptedKeyAndNonce]) {
        for key in keys {
            self.unwrap("key of a copy", &key.encrypted_key, &key.encrypted_key_nonce);
        }
    }

    fn call(&mut self, call: &Call) {
        match requests(call) {
            Ok(requests) => requests.into_iter().for_each(|request| self.item(request)),
            Err(fault) => self.faults.push(fault),
        }
    }

    fn item(&mut self, item: Request) {
        match item {
            Request::SegmentCommit(commit) => self.remote(&commit),
            Request::SegmentMakeInline(inline) => self.inline(&inline),
            Request::ObjectBegin(begin) => self.metadata(
                &begin.encrypted_metadata_encrypted_key,
                &begin.encrypted_metadata_nonce,
                &begin.encrypted_metadata,
                &begin.encrypted_etag,
            ),
            Request::ObjectCommit(commit) => self.metadata(
                &commit.encrypted_metadata_encrypted_key,
                &commit.encrypted_metadata_nonce,
                &commit.encrypted_metadata,
                &commit.encrypted_etag,
            ),
            Request::ObjectUpdateMetadata(update) => self.metadata(
                &update.encrypted_metadata_encrypted_key,
                &update.encrypted_metadata_nonce,
                &update.encrypted_metadata,
                &update.encrypted_etag,
            ),
            Request::ObjectFinishMove(finish) => {
                self.rewrapped(&finish.new_segment_keys);
                let nonce = &finish.new_encrypted_metadata_key_nonce;
                self.metadata(&finish.new_encrypted_metadata_key, nonce, b"", b"");
            }
            Request::ObjectFinishCopy(finish) => {
                self.rewrapped(&finish.new_segment_keys);
                self.metadata(
                    &finish.new_encrypted_metadata_key,
                    &finish.new_encrypted_metadata_key_nonce,
                    &finish.new_encrypted_metadata,
                    &finish.new_encrypted_etag,
                );
            }
            _ => {}
        }
    }

    fn remote(&mut self, commit: &messages::CommitSegmentRequest) {
        let nonce = &commit.encrypted_key_nonce;
        let Some(key) = self.unwrap("segment key", &commit.encrypted_key, nonce) else { return };
        let size = commit.size_encrypted_data.unsigned_abs();
        let block = u64::from(EncryptionParameters::DEFAULT.block_size);
        self.segment(&key, &commit.segment_id, size / block);
        self.part_etag(&key, &commit.encrypted_e_tag);
    }

    fn inline(&mut self, inline: &messages::MakeInlineSegmentRequest) {
        let nonce = &inline.encrypted_key_nonce;
        let Some(key) = self.unwrap("segment key", &inline.encrypted_key, nonce) else { return };
        let position = inline.position.unwrap_or_default();
        let position = SegmentPosition {
            part: position.part_number.unsigned_abs(),
            index: position.index.unsigned_abs(),
        };
        let data = &inline.encrypted_inline_data;
        self.segment(&key, &[&data[..], &inline.encrypted_key].concat(), 0);
        if !data.is_empty() {
            self.add("inline segment", &key, &segment_start_nonce(position), data);
        }
        self.part_etag(&key, &inline.encrypted_e_tag);
    }
}

/// A network, a proxy that records, and a client of the proxy.
struct Recorded {
    world: World,
    project: Project,
    record: Arc<Mutex<Record>>,
    _proxy: MaliciousSatellite,
}

impl Recorded {
    async fn start() -> Self {
        let world = World::start().await;
        let proxy = MaliciousSatellite::start(&world.network).await.expect("the proxy starts");
        let text = world.access.serialize().expect("a text");
        let grant = AccessGrant::parse(&text).expect("a grant");
        let content_key =
            |key: &str| content_key(grant.encryption(), BUCKET.as_bytes(), key.as_bytes());
        let content_keys = KEYS.iter().map(|key| content_key(key).expect("a key")).collect();
        let record = Record { content_keys, ..Record::default() };
        let record = Arc::new(Mutex::new(record));
        record_calls(&proxy, &record);
        let api_key = grant.api_key().clone();
        let grant = AccessGrant::new(proxy.url(), api_key, grant.encryption()).expect("a grant");
        let access = Access::parse(&grant.serialize().expect("a text")).expect("a grant");
        let config = config().segment_size(SMALL_SEGMENT);
        let project = Project::open_with(&access, &config).expect("a project");
        Self { world, project, record, _proxy: proxy }
    }

    /// Writes an object. The reply to one of the calls may be lost: then it is written again.
    async fn put(&self, key: &str, size: u64) {
        let metadata = BTreeMap::from([("key".to_owned(), "value".to_owned())]);
        let options = UploadOptions::new().custom_metadata(metadata).etag(*b"etag");
        for _ in 0..10 {
            let mut upload =
                self.project.upload_object_with(BUCKET, key, &options).expect("an upload");
            let written = upload.write(&bytes(1, size)).await;
            if written.is_ok() && upload.commit().await.is_ok() {
                return;
            }
        }
        panic!("{key} is never written");
    }

    /// Repeats an operation until it succeeds.
    async fn retry<T, F>(&self, mut operation: impl FnMut() -> F) -> T
    where
        F: Future<Output = uplink::Result<T>>,
    {
        for _ in 0..10 {
            if let Ok(done) = operation().await {
                return done;
            }
        }
        panic!("the operation never succeeds");
    }

    async fn write_parts(&self) {
        let project = &self.project;
        let metadata = BTreeMap::from([("key".to_owned(), "value".to_owned())]);
        let options = BeginUploadOptions::new().custom_metadata(metadata.clone());
        let id = self.retry(|| project.begin_upload_with(BUCKET, "parts", &options)).await;
        let mut receipts = Vec::new();
        // The second part is written twice.
        for (number, size) in [(1, 5 << 20), (2, 2000), (2, 3000)] {
            let id = &id;
            let write = async || {
                let mut part = project.upload_part(BUCKET, "parts", id, number)?;
                part.set_etag("etag of a part");
                part.write(&bytes(2, size)).await?;
                part.commit().await
            };
            receipts.push(self.retry(write).await);
        }
        receipts.remove(1);
        let options = CommitUploadOptions::new().receipts(receipts).custom_metadata(metadata);
        // After a lost reply the upload is gone, and the object is there.
        let _ = project.commit_upload_with(BUCKET, "parts", &id, &options).await;
        project.stat_object(BUCKET, "parts").await.expect("committed");
    }

    async fn copy_and_move(&self) {
        let project = &self.project;
        for from in ["one", "parts"] {
            let metadata = BTreeMap::from([("copied from".to_owned(), from.to_owned())]);
            let options = CopyOptions::new().custom_metadata(metadata.clone());
            self.retry(|| project.copy_object(BUCKET, from, BUCKET, "copy")).await;
            self.retry(|| project.copy_object_with(BUCKET, from, BUCKET, "copy", &options)).await;
            self.retry(|| project.update_object_metadata(BUCKET, "copy", metadata.clone())).await;
            // A second attempt may find that the first one succeeded.
            let _ = project.move_object(BUCKET, "copy", BUCKET, "moved").await;
            self.retry(|| project.stat_object(BUCKET, "moved")).await;
        }
    }
}

/// Returns the requests of a call that may contain something encrypted.
fn requests(call: &Call) -> Result<Vec<Request>, String> {
    fn decode<M: Message + Default>(call: &Call) -> Result<M, String> {
        M::decode(call.request.clone()).map_err(|error| format!("{}: {error}", call.method))
    }
    let single = match call.method.as_str() {
        "Batch" => {
            let batch: messages::BatchRequest = decode(call)?;
            return Ok(batch.requests.into_iter().filter_map(|item| item.request).collect());
        }
        "BeginObject" => Request::ObjectBegin(decode(call)?),
        "FinishCopyObject" => Request::ObjectFinishCopy(decode(call)?),
        "FinishMoveObject" => Request::ObjectFinishMove(decode(call)?),
        "UpdateObjectMetadata" => Request::ObjectUpdateMetadata(decode(call)?),
        other if ["Commit", "Make"].iter().any(|write| other.starts_with(write)) => {
            return Err(format!("{other} is sent outside a batch, unseen"));
        }
        _ => return Ok(Vec::new()),
    };
    Ok(vec![single])
}

/// Records every call. The reply to every seventh is lost after the satellite executed it.
fn record_calls(proxy: &MaliciousSatellite, record: &Arc<Mutex<Record>>) {
    let record = Arc::clone(record);
    let count = Arc::new(std::sync::atomic::AtomicU64::new(0));
    proxy.rewrite(move |call, answer| {
        record.lock().unwrap().call(call);
        match count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % 7 {
            6 => Err(Failure::new(Code::UNAVAILABLE, "lost")),
            _ => answer,
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_pair_of_key_and_nonce_encrypts_twice() {
    let recorded = Recorded::start().await;
    // Pieces of the first nodes are stored on others.
    for index in 0..2 {
        recorded.world.network.node(index).expect("a node").kill().await.expect("killed");
    }
    for round in 0..5 {
        let sizes = [0, 1, 4096, 4097, 100_000, 2 * SMALL_SEGMENT + 5000];
        // Overwrites, some of them at the same time.
        let puts =
            sizes.iter().enumerate().map(|(i, size)| recorded.put(KEYS[(i + round) % 3], *size));
        join_all(puts).await;
        recorded.write_parts().await;
        recorded.copy_and_move().await;
    }
    let record = recorded.record.lock().unwrap();
    assert_eq!(record.faults, [""; 0]);
    assert!(record.encryptions > 5_000, "{}", record.encryptions);
    assert!(record.resent > 0, "no message was sent again");
    println!("{} encryptions, {} messages sent again", record.encryptions, record.resent);
}
