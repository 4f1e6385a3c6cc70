//! What the client, the satellite and the storage nodes log at the most verbose level, for all kinds of
//! operations, over both transports.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use futures_util::TryStreamExt;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use uplink::grant::{AccessGrant, Key};
use uplink::{
    Access, AccessOptions, CommitUploadOptions, Config, DownloadOptions, EncryptionKey, ErrorKind,
    ListOptions, Permission, Project, SharePrefix, Transport, UploadOptions,
};
use uplink_core::encryption::path::content_key;

use super::forms::{Needle, shown};
use super::network::{BUCKET, SEGMENT, World, access, config, random_key, random_name};

/// Everything logged so far.
static LOG: Mutex<String> = Mutex::new(String::new());

fn add(line: &str) {
    let mut log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
    log.push_str(line);
    log.push('\n');
}

/// Writes all fields of all spans and events to [`LOG`].
struct Recorder;

struct Fields;

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Formatted before the lock is taken: formatting may log.
        add(&format!("{field}={value:?}"));
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut Fields);
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Fields);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Fields);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Libraries that do not use `tracing` log here.
impl log::Log for Recorder {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        add(&record.args().to_string());
    }

    fn flush(&self) {}
}

/// One client and what must not be logged of it.
struct Client {
    satellite: String,
    access: Access,
    project: Project,
    config: Config,
    needles: Vec<Needle>,
    errors: Vec<String>,
}

impl Client {
    fn new(world: &World, transport: Transport) -> Self {
        let grant = world.grant(&world.api_key, &random_key());
        let access = access(&grant);
        let config = config(transport);
        let project = Project::open_with(&access, &config).expect("a project");
        let mut client = Self {
            satellite: world.network.satellite_url(),
            access,
            project,
            config,
            needles: Vec::new(),
            errors: Vec::new(),
        };
        client.needle("API key", grant.api_key().to_bytes());
        client.needle("text of the API key", grant.api_key().serialize());
        client.add_grant("the grant", &client.access.clone());
        client
    }

    fn needle(&mut self, name: &str, secret: impl Into<Vec<u8>>) {
        self.needles.push(Needle::new(name, secret));
    }

    /// Returns a random name, which must not be logged.
    fn name(&mut self, kind: &str) -> String {
        let name = random_name();
        self.needle(kind, name.clone());
        name
    }

    /// Adds the text, the tail and the keys of a grant.
    fn add_grant(&mut self, name: &str, access: &Access) {
        let text = access.serialize().expect("a text");
        let grant = AccessGrant::parse(&text).expect("a grant");
        self.needle(name, text);
        self.needle("tail", *grant.api_key().tail());
        let entries = grant.encryption().entries().into_iter().map(|entry| entry.key.clone());
        let keys: Vec<Key> =
            grant.encryption().default_key().cloned().into_iter().chain(entries).collect();
        for key in keys {
            self.needle("encryption key", *key.expose());
        }
    }

    fn failed<T>(&mut self, outcome: uplink::Result<T>, kind: ErrorKind) {
        let Err(error) = outcome else { panic!("expected {kind:?}") };
        assert_eq!(error.kind(), kind, "{error}");
        self.errors.push(format!("{error} {error:?}"));
    }

    async fn run_all(&mut self) {
        self.objects().await;
        self.copies().await;
        self.parts().await;
        self.shares().await;
        self.passphrases().await;
        self.failures().await;
    }

    async fn objects(&mut self) {
        let value = self.name("custom metadata");
        let etag = self.name("ETag");
        let folder = self.name("folder");
        for size in [0, 1000, 2 * SEGMENT + 100] {
            let key = format!("{folder}/{}", self.name("object key"));
            let content = self.name("content").repeat(1 + size as usize / 24);
            let options = UploadOptions::new()
                .custom_metadata(BTreeMap::from([("key".to_owned(), value.clone())]))
                .etag(etag.as_bytes());
            let project = &self.project;
            let mut upload = project.upload_object_with(BUCKET, &key, &options).expect("an upload");
            upload.write(content.as_bytes()).await.expect("written");
            upload.commit().await.expect("committed");
            let read = project.get(BUCKET, &key).await.expect("read");
            assert_eq!(read, content);
            let range = DownloadOptions::new().range(3..9);
            let mut download =
                project.download_object_with(BUCKET, &key, &range).await.expect("a download");
            assert_eq!(download.read_to_end(100).await.expect("read").len(), 6);
            let entries = BTreeMap::from([("key".to_owned(), value.clone())]);
            project.update_object_metadata(BUCKET, &key, entries).await.expect("updated");
            project.stat_object(BUCKET, &key).await.expect("exists");
            self.add_content_key(&key);
        }
        let options = ListOptions::new().prefix(format!("{folder}/")).recursive(true);
        let listed = self.project.list_objects_with(BUCKET, &options).expect("a listing");
        assert_eq!(listed.try_collect::<Vec<_>>().await.expect("listed").len(), 3);
    }

    fn add_content_key(&mut self, key: &str) {
        let text = self.access.serialize().expect("a text");
        let grant = AccessGrant::parse(&text).expect("a grant");
        let key = content_key(grant.encryption(), BUCKET.as_bytes(), key.as_bytes());
        self.needle("content key", *key.expect("a key").expose());
    }

    async fn copies(&mut self) {
        let names: Vec<String> = (0..3).map(|_| self.name("object key")).collect();
        let project = &self.project;
        project.put(BUCKET, &names[0], "content").await.expect("written");
        project.copy_object(BUCKET, &names[0], BUCKET, &names[1]).await.expect("copied");
        project.move_object(BUCKET, &names[1], BUCKET, &names[2]).await.expect("moved");
        for name in [&names[0], &names[2]] {
            assert!(project.delete_object(BUCKET, name).await.expect("deleted"));
        }
    }

    async fn parts(&mut self) {
        let key = self.name("object key");
        let etag = self.name("ETag of a part");
        let project = self.project.clone();
        let id = project.begin_upload(BUCKET, &key).await.expect("begun");
        self.needle("upload id", id.clone());
        let mut part = project.upload_part(BUCKET, &key, &id, 1).expect("a part");
        part.set_etag(etag);
        part.write(&[7; 2 * SEGMENT as usize]).await.expect("written");
        let receipt = part.commit().await.expect("committed");
        let parts = project.list_parts(BUCKET, &key, &id).expect("a listing");
        assert_eq!(parts.try_collect::<Vec<_>>().await.expect("listed").len(), 1);
        let uploads = project.list_uploads(BUCKET).expect("a listing");
        assert!(!uploads.try_collect::<Vec<_>>().await.expect("listed").is_empty());
        let options = CommitUploadOptions::new().receipts([receipt]);
        project.commit_upload_with(BUCKET, &key, &id, &options).await.expect("committed");
        let aborted = project.begin_upload(BUCKET, &key).await.expect("begun");
        self.needle("upload id", aborted.clone());
        project.abort_upload(BUCKET, &key, &aborted).await.expect("aborted");
    }

    async fn shares(&mut self) {
        let folder = self.name("shared prefix");
        let key = format!("{folder}/{}", self.name("object key"));
        let prefix = format!("{folder}/");
        let shared = [SharePrefix::new(BUCKET, &prefix)];
        let mut shared = self.access.share(&Permission::full(), &shared).expect("shared");
        self.add_grant("a shared grant", &shared);
        let passphrase = self.name("tenant's passphrase");
        let tenant = EncryptionKey::derive(&passphrase, b"salt").await.expect("a key");
        shared.override_encryption_key(BUCKET, &prefix, &tenant).expect("overridden");
        self.add_grant("a tenant's grant", &shared);
        let project = Project::open_with(&shared, &self.config).expect("a project");
        project.put(BUCKET, &key, "content").await.expect("written");
        let outside = self.name("object key");
        self.failed(project.get(BUCKET, &outside).await, ErrorKind::PermissionDenied);
        self.failed(self.project.get(BUCKET, &key).await, ErrorKind::ObjectNotFound);
        self.project.revoke_access(&shared).await.expect("revoked");
        self.failed(project.get(BUCKET, &key).await, ErrorKind::PermissionDenied);
    }

    async fn passphrases(&mut self) {
        let passphrase = self.name("passphrase");
        let text = self.access.serialize().expect("a text");
        let grant = AccessGrant::parse(&text).expect("a grant");
        let options = AccessOptions::new().config(self.config.clone());
        let api_key = grant.api_key().serialize();
        let access = Access::request_with(&self.satellite, &api_key, &passphrase, &options).await;
        self.add_grant("a requested grant", &access.expect("a grant"));
    }

    async fn failures(&mut self) {
        let missing = self.name("missing object");
        self.failed(self.project.get(BUCKET, &missing).await, ErrorKind::ObjectNotFound);
        let text = self.access.serialize().expect("a text");
        let grant = AccessGrant::parse(&text).expect("a grant");
        let id = self.access.satellite_address();
        let id = id.split('@').next().expect("an id");
        // A port that nothing listens on.
        let unreachable =
            super::network::grant(format!("{id}@127.0.0.1:1"), grant.api_key(), &random_key());
        let unreachable = access(&unreachable);
        self.add_grant("an unreachable grant", &unreachable);
        let project = Project::open_with(&unreachable, &self.config).expect("a project");
        self.failed(project.get(BUCKET, &missing).await, ErrorKind::Network);
        self.failed(Access::parse(&text[1..]), ErrorKind::AccessInvalid);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_of_all_operations_show_no_secret() {
    log::set_logger(&Recorder).expect("no other logger");
    log::set_max_level(log::LevelFilter::Trace);
    tracing::subscriber::set_global_default(Recorder).expect("no other subscriber");
    let world = World::start().await;
    let mut needles = Vec::new();
    for transport in [Transport::Negotiated, Transport::Drpc] {
        let mut client = Client::new(&world, transport);
        client.run_all().await;
        needles.append(&mut client.needles);
        assert_eq!(client.errors.len(), 6);
    }
    world.network.stop().await;
    let text = std::mem::take(&mut *LOG.lock().unwrap_or_else(PoisonError::into_inner));
    assert!(text.len() > 100_000, "only {} bytes are logged", text.len());
    assert_eq!(shown(&text, &needles), [""; 0]);
    println!("{} bytes logged, {} secrets", text.len(), needles.len());
}

/// Errors name what the caller passed, and nothing else that is secret.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_of_operations_show_no_key_or_passphrase() {
    let world = World::start().await;
    let mut client = Client::new(&world, Transport::Negotiated);
    client.run_all().await;
    let keys = ["API key", "tail", "key", "passphrase", "grant"];
    let is_key = |needle: &Needle| {
        keys.iter().any(|key| needle.name.contains(key)) && needle.name != "object key"
    };
    client.needles.retain(is_key);
    assert!(client.needles.len() > 10);
    for error in &client.errors {
        assert_eq!(shown(error, &client.needles), [""; 0], "{error}");
    }
}
