//! The text forms of values that contain secrets.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use uplink::grant::{AccessGrant, ApiKey, Key, StoreEntry};
use uplink::{Access, EncryptionKey, Permission, Project, Secret, SharePrefix, Transport};
use uplink_core::edge::{AccessKeyId, SecretKey, SharedLink};
use uplink_core::encryption::content::{ContentCipher, SegmentCipher};
use uplink_core::encryption::mark::{Chain, ChainValue, KeyKind, PartDigest};
use uplink_core::encryption::metadata::{
    EncryptedMetadata, MetadataKeys, OpenedMetadata, StreamInfo, StreamMeta,
};
use uplink_core::encryption::path::{PrefixInfo, content_key};
use uplink_core::encryption::{CipherSuite, EncryptionParameters, Nonce};
use uplink_core::id::SegmentPosition;
use uplink_core::macaroon::Macaroon;
use uplink_core::order::PiecePrivateKey;
use uplink_core::signature::SigningKey;
use uplink_rpc::dial::Dialer;
use uplink_rpc::r#gen::edgeauth::{EdgeRegisterAccessRequest, EdgeRegisterAccessResponse};
use uplink_rpc::r#gen::metainfo as messages;
use uplink_rpc::tls::Identity;
use uplink_segment::memory::Budget;
use uplink_segment::upload::{SealedSegment, Sealer};
use uplink_segment::{RemoteSegment, SegmentUpload};

use super::forms::{Needle, shown};
use super::network::{BUCKET, World, access, config, random_key, random_name};
use super::types;

/// Text forms by the name of their type.
#[derive(Default)]
struct Texts(BTreeMap<String, String>);

impl Texts {
    /// Adds the `Debug` forms of a value under the name of its type.
    fn add<T: Debug>(&mut self, value: &T) {
        let name = std::any::type_name::<T>();
        let name = name.split('<').next().unwrap_or(name);
        let name = name.rsplit("::").next().unwrap_or(name).to_owned();
        self.0.entry(name).or_default().push_str(&format!("{value:?} {value:#?}\n"));
    }
}

/// The secrets of one grant.
struct Secrets {
    grant: AccessGrant,
    key: Key,
    needles: Vec<Needle>,
}

impl Secrets {
    fn new(world: &World) -> Self {
        let key = random_key();
        let grant = world.grant(&world.api_key, &key);
        let mut needles = vec![
            Needle::new("API key", grant.api_key().to_bytes()),
            Needle::new("text of the grant", grant.serialize().expect("a text")),
        ];
        needles.extend(keys_of(&grant));
        Self { grant, key, needles }
    }

    /// Returns a new secret of `N` bytes, which is searched for.
    fn random<const N: usize>(&mut self, name: &str) -> [u8; N] {
        let secret = uplink_rpc::runtime::random().expect("random bytes");
        self.needles.push(Needle::new(name, secret));
        secret
    }
}

fn keys_of(grant: &AccessGrant) -> Vec<Needle> {
    let mut needles = vec![Needle::new("tail", *grant.api_key().tail())];
    let keys = grant.encryption().default_key().into_iter();
    let keys = keys.chain(grant.encryption().entries().into_iter().map(|entry| &entry.key));
    needles.extend(keys.map(|key| Needle::new("encryption key", *key.expose())));
    needles
}

fn add_keys(texts: &mut Texts, secrets: &mut Secrets) {
    texts.add(&secrets.key);
    texts.add(&Secret::new(*secrets.key.expose()));
    let chain_value = ChainValue::new(secrets.random("chain value"));
    let mut chain = Chain::new(KeyKind::Stream, 0, chain_value.clone());
    let key = chain.key(3);
    secrets.needles.push(Needle::new("segment key", *key.expose()));
    let mut digest = PartDigest::new(1);
    digest.add(0, 1, &key);
    let parameters = EncryptionParameters::DEFAULT;
    texts.add(&ContentCipher::new(parameters.suite, &key).expect("a cipher"));
    let position = SegmentPosition { part: 0, index: 3 };
    texts.add(&SegmentCipher::new(parameters, &key, position).expect("a cipher"));
    texts.add(&chain_value);
    texts.add(&chain);
    texts.add(&digest);
    let opened = opened(secrets, &chain_value, texts);
    texts.add(&opened);
    let seed = Secret::new(secrets.random("piece key"));
    texts.add(&PiecePrivateKey::from_seed(&seed).expect("a key"));
    texts.add(&AccessKeyId::new(secrets.random("access key id")));
    texts.add(&SecretKey::new(secrets.random("secret key")));
}

/// Returns metadata that was sealed and opened again, and adds the keys and the stream info.
fn opened(secrets: &Secrets, chain: &ChainValue, texts: &mut Texts) -> OpenedMetadata {
    let info = StreamInfo { chain_start: Some(chain.clone()), ..StreamInfo::default() };
    let keys = MetadataKeys {
        suite: CipherSuite::AesGcm,
        content_key: &secrets.key,
        metadata_key: &chain.key(KeyKind::Metadata),
        metadata_key_nonce: Nonce::ONE,
    };
    let sealed = keys.seal(&info, b"etag").expect("sealed");
    let meta = StreamMeta::decode(&sealed.encrypted_metadata).expect("an envelope");
    let encrypted = EncryptedMetadata {
        suite: CipherSuite::AesGcm,
        encrypted_stream_info: &meta.encrypted_stream_info,
        encrypted_metadata_key: &sealed.encrypted_metadata_key,
        metadata_key_nonce: sealed.metadata_key_nonce.as_bytes(),
        encrypted_etag: &sealed.encrypted_etag,
    };
    let opened = encrypted.open(&secrets.key).expect("opened").expect("metadata");
    assert_eq!(opened.stream_info.as_ref(), Some(&info));
    texts.add(&keys);
    texts.add(&info);
    texts.add(&sealed);
    opened
}

fn add_grants(texts: &mut Texts, secrets: &mut Secrets) {
    let grant = secrets.grant.clone();
    let store = grant.encryption();
    let prefix = uplink_core::access_grant::SharePrefix {
        bucket: BUCKET.to_owned(),
        prefix: b"a/b/".to_vec(),
    };
    let permission = uplink_core::macaroon::Permission::read_only();
    let shared = grant.restrict(&permission, &[prefix], [1; 4]).expect("shared");
    secrets.needles.extend(keys_of(&shared));
    let content = content_key(store, BUCKET.as_bytes(), b"a/b/c").expect("a key");
    secrets.needles.push(Needle::new("content key", *content.expose()));
    let lookup = shared.encryption().lookup_unencrypted(BUCKET.as_bytes(), b"a/b/c");
    let entry: StoreEntry = shared.encryption().entries()[0].clone();
    texts.add(&grant);
    texts.add(&shared);
    texts.add(grant.api_key());
    texts.add(store);
    texts.add(shared.encryption());
    texts.add(&entry);
    texts.add(lookup.base.as_ref().expect("a key"));
    texts.add(&lookup);
    texts.add(&PrefixInfo::new(store, BUCKET.as_bytes(), b"a/b/").expect("a prefix"));
    texts.add(&Macaroon::decode(&grant.api_key().to_bytes()).expect("a macaroon").0);
    let text = grant.serialize().expect("a text");
    texts.add(&SharedLink::parse(&format!("/s/{text}/bucket/key")).expect("a link"));
}

fn add_messages(texts: &mut Texts, secrets: &mut Secrets) {
    let api_key = Bytes::from(secrets.grant.api_key().to_bytes());
    let header = messages::RequestHeader { api_key: api_key.clone(), ..Default::default() };
    let private_key = Bytes::copy_from_slice(&secrets.random::<64>("key of orders"));
    texts.add(&header);
    let revoke = messages::RevokeApiKeyRequest { api_key, header: Some(header) };
    texts.add(&messages::batch_request_item::Request::RevokeApiKey(revoke.clone()));
    texts.add(&revoke);
    texts.add(&messages::BeginSegmentResponse {
        private_key: private_key.clone(),
        ..Default::default()
    });
    texts.add(&messages::DownloadSegmentResponse {
        private_key: private_key.clone(),
        ..Default::default()
    });
    texts.add(&messages::BeginDeleteSegmentResponse { private_key, ..Default::default() });
    let access_grant = secrets.grant.serialize().expect("a text");
    texts.add(&EdgeRegisterAccessRequest { access_grant, public: true });
    let access_key_id = AccessKeyId::new(secrets.random("id in a reply")).serialize();
    let secret_key = SecretKey::new(secrets.random("secret key in a reply")).serialize();
    for text in [&access_key_id, &secret_key] {
        secrets.needles.push(Needle::new("text of a credential", text.clone()));
    }
    texts.add(&EdgeRegisterAccessResponse { access_key_id, secret_key, ..Default::default() });
}

fn add_identity(texts: &mut Texts, secrets: &mut Secrets) {
    let identity = Identity::generate().expect("an identity");
    let folder = tempfile::tempdir().expect("a folder");
    identity.save(folder.path()).expect("saved");
    let files = std::fs::read_dir(folder.path()).expect("a folder");
    for file in files.map(|file| file.expect("a file").path()) {
        let text = std::fs::read_to_string(&file).expect("a text");
        for block in pem::parse_many(text).expect("PEM").iter() {
            if block.tag().contains("PRIVATE") {
                secrets.needles.push(Needle::new("private key", block.contents()));
            }
        }
    }
    texts.add(&identity);
    let signing: &SigningKey = identity.signing_key();
    texts.add(signing);
    texts.add(&Dialer::new(&identity).expect("a dialer"));
}

async fn add_segments(texts: &mut Texts, secrets: &mut Secrets) {
    let seed = Secret::new(secrets.random("key of a segment's orders"));
    let piece_key = PiecePrivateKey::from_seed(&seed).expect("a key");
    let scheme: uplink_core::erasure::Scheme = "4/6/8/10-256".parse().expect("a scheme");
    let limits = Vec::new();
    texts.add(&RemoteSegment { scheme, piece_key: piece_key.clone(), limits: limits.clone() });
    let segment_id = Bytes::new();
    texts.add(&SegmentUpload { segment_id, scheme, piece_key, limits, target_pieces: 8 });
    let key = Key::new(secrets.random("key of a sealer"));
    let cipher = SegmentCipher::new(
        EncryptionParameters::DEFAULT,
        &key,
        SegmentPosition { part: 0, index: 0 },
    );
    let budget = Budget::new(64 << 20, 10, false);
    let sealed = SealedSegment::new(budget.reserve(1 << 20).await.expect("memory"), Arc::default());
    texts.add(&Sealer::new(cipher.expect("a cipher"), &scheme, &budget, &sealed));
}

async fn add_client(texts: &mut Texts, secrets: &mut Secrets) {
    let access = access(&secrets.grant);
    let shared = access.share(&Permission::full(), &[SharePrefix::new(BUCKET, "a/")]);
    let shared = shared.expect("shared");
    let text = shared.serialize().expect("a text");
    secrets.needles.extend(keys_of(&AccessGrant::parse(&text).expect("a grant")));
    secrets.needles.push(Needle::new("text of a shared grant", text));
    let passphrase = random_name();
    let tenant = EncryptionKey::derive(&passphrase, b"salt").await.expect("a key");
    let derived =
        uplink_core::encryption::key::derive_encryption_key(passphrase.as_bytes(), b"salt");
    secrets.needles.push(Needle::new("tenant's key", *derived.expect("a key").expose()));
    secrets.needles.push(Needle::new("passphrase", passphrase));
    let mut overridden = shared.clone();
    overridden.override_encryption_key(BUCKET, "a/", &tenant).expect("overridden");
    for access in [&access, &shared, &overridden] {
        texts.add(access);
    }
    texts.add(&shared.restrictions());
    texts.add(&tenant);
    let project = Project::open_with(&access, &config(Transport::Negotiated)).expect("a project");
    add_handles(texts, &project).await;
    texts.add(&project);
}

/// Adds the handles of transfers and listings.
async fn add_handles(texts: &mut Texts, project: &Project) {
    let mut upload = project.upload_object(BUCKET, "a/object").expect("an upload");
    upload.write(&[1; 100_000]).await.expect("written");
    texts.add(&upload);
    texts.add(&upload.commit().await.expect("committed"));
    let mut download = project.download_object(BUCKET, "a/object").await.expect("a download");
    texts.add(&download);
    download.chunk().await.expect("read");
    texts.add(&download);
    texts.add(&project.list_objects(BUCKET).expect("a listing"));
    let id = project.begin_upload(BUCKET, "a/parts").await.expect("begun");
    let mut part = project.upload_part(BUCKET, "a/parts", &id, 1).expect("a part");
    part.write(&[1; 10_000]).await.expect("written");
    texts.add(&part);
    texts.add(&part.commit().await.expect("committed"));
    texts.add(&project.list_parts(BUCKET, "a/parts", &id).expect("a listing"));
    let mut uploads = project.list_uploads(BUCKET).expect("a listing");
    texts.add(&uploads);
    texts.add(&uploads.try_next().await.expect("listed").expect("an upload"));
}

async fn texts() -> (Texts, Vec<Needle>) {
    let world = World::start().await;
    let mut texts = Texts::default();
    let mut secrets = Secrets::new(&world);
    add_keys(&mut texts, &mut secrets);
    add_grants(&mut texts, &mut secrets);
    add_messages(&mut texts, &mut secrets);
    add_identity(&mut texts, &mut secrets);
    add_segments(&mut texts, &mut secrets).await;
    add_client(&mut texts, &mut secrets).await;
    add_credentials(&mut texts, &mut secrets, &world).await;
    (texts, secrets.needles)
}

async fn add_credentials(texts: &mut Texts, secrets: &mut Secrets, world: &World) {
    let credentials = world.network.project("another").await.expect("a project");
    let api_key = ApiKey::parse(&credentials.api_key).expect("an API key");
    secrets.needles.push(Needle::new("tail of another project", *api_key.tail()));
    secrets.needles.push(Needle::new("text of an API key", credentials.api_key.clone()));
    texts.add(&credentials);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_form_of_no_value_shows_a_secret() {
    let (texts, needles) = texts().await;
    for (name, text) in &texts.0 {
        assert_eq!(shown(text, &needles), [""; 0], "{name}: {text}");
    }
    println!("{} types, {} secrets", texts.0.len(), needles.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_public_type_with_a_secret_is_formatted() {
    let (texts, _) = texts().await;
    let missing: Vec<String> = types::public_types_with_secrets()
        .into_iter()
        .filter(|name| !texts.0.contains_key(name) && !MADE_INSIDE.contains(&name.as_str()))
        .collect();
    assert!(missing.is_empty(), "not formatted by any test: {missing:?}");
}

/// Types that only the product can create, and why they are safe.
const MADE_INSIDE: [&str; 4] = [
    // Its `Debug` is written by hand and shows the endpoint.
    "RegisteredAccess",
    // As `RegisteredAccess`; `tests/api/edge.rs` creates one.
    "EdgeCredentials",
    // Its key is a `PiecePrivateKey`, which is formatted above.
    "Target",
    // Its key is that of its `Target`.
    "PieceDownload",
];

/// Errors quote what was invalid. A grant or an API key is never quoted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_about_invalid_secrets_do_not_quote_them() {
    let world = World::start().await;
    let secrets = Secrets::new(&world);
    let text = secrets.grant.serialize().expect("a text");
    let api_key = world.api_key.serialize();
    let mut needles = secrets.needles.clone();
    needles.push(Needle::new("text of the API key", api_key.clone()));
    let mut seen = 0;
    for position in 0..text.len() {
        let mut broken = text.clone();
        broken.replace_range(position..=position, "0");
        seen += 1;
        let error = Access::parse(&broken).unwrap_err();
        assert_eq!(shown(&format!("{error} {error:?}"), &needles), [""; 0]);
    }
    for position in 0..api_key.len() {
        let mut broken = api_key.clone();
        broken.replace_range(position..=position, "l");
        seen += 1;
        let error = Access::request(&world.network.satellite_url(), &broken, "x").await;
        let error = error.unwrap_err();
        assert_eq!(shown(&format!("{error} {error:?}"), &needles), [""; 0]);
    }
    println!("{seen} errors");
}
