//! Tenants of one bucket, each with a prefix, a grant and an encryption key: experiment F27 of
//! `docs/RELIABILITY.md`. Every tenant tries everything on every other tenant's prefix.
//!
//! Ten tenants, or as many as `UPLINK_TENANTS` says.

use std::fmt::Debug;

use futures_util::TryStreamExt;
use uplink::grant::{AccessGrant, ApiKey, EncryptionStore, StoreEntry};
use uplink::{
    Access, DownloadOptions, EncryptionKey, Error, ErrorKind, ListItem, ListOptions, Permission,
    Project, SharePrefix, UploadItem,
};

use super::world::{BUCKET, World, config};

/// A tenant, and the names that no other tenant may see.
struct Tenant {
    prefix: String,
    grant: AccessGrant,
    project: Project,
    /// Unique parts of the names of its objects.
    secrets: [String; 3],
    keys: [String; 3],
}

/// Attempts of one tenant on another.
struct Attempts<'a> {
    attacker: &'a Tenant,
    victim: &'a Tenant,
    /// Everything that the attacker sees: texts of errors, and listed items.
    seen: String,
    denied: usize,
}

fn count() -> usize {
    std::env::var("UPLINK_TENANTS").map_or(10, |count| count.parse().expect("a number"))
}

fn open(grant: &AccessGrant) -> Project {
    let access = Access::parse(&grant.serialize().expect("a text")).expect("a grant");
    Project::open_with(&access, &config()).expect("a project")
}

impl Tenant {
    async fn start(world: &World, number: usize) -> Self {
        let prefix = format!("tenant-{number}/");
        let shared = SharePrefix::new(BUCKET, &prefix);
        let mut access = world.access.share(&Permission::full(), &[shared]).expect("shared");
        let key = EncryptionKey::derive(&prefix, b"a salt of 16 bytes").await.expect("a key");
        access.override_encryption_key(BUCKET, &prefix, &key).expect("overridden");
        let text = access.serialize().expect("a text");
        let grant = AccessGrant::parse(&text).expect("a grant");
        let secrets = ["plain", "folder", "pending"].map(|kind| format!("{kind}-of-{number:05}x"));
        let [plain, folder, pending] = &secrets;
        let keys = [
            format!("{prefix}{plain}"),
            format!("{prefix}{folder}/name"),
            format!("{prefix}{pending}"),
        ];
        let tenant = Self { prefix, project: open(&grant), grant, secrets, keys };
        tenant.write().await;
        tenant
    }

    /// Writes an inline object and one on storage nodes, and begins a multipart upload.
    async fn write(&self) {
        let [plain, folder, pending] = &self.keys;
        self.project.put(BUCKET, plain, self.content(100)).await.expect("written");
        self.project.put(BUCKET, folder, self.content(9000)).await.expect("written");
        self.project.begin_upload(BUCKET, pending).await.expect("begun");
    }

    fn content(&self, size: usize) -> Vec<u8> {
        self.prefix.bytes().cycle().take(size).collect()
    }

    /// Checks that all that the tenant wrote is still there, and nothing else.
    async fn check(&self) {
        let mut listed = list(&self.project, &self.prefix).await.expect("listed");
        listed.sort();
        let expected: Vec<String> = self.keys[..2].iter().map(|key| format!("{key:?}")).collect();
        let mut expected = expected;
        expected.sort();
        assert_eq!(listed, expected);
        for (key, size) in self.keys[..2].iter().zip([100, 9000]) {
            let read = self.project.get(BUCKET, key).await.expect("read");
            assert_eq!(read, self.content(size));
        }
    }
}

/// Lists everything below a prefix: the `Debug` forms of keys, or what cannot be decrypted.
async fn list(project: &Project, prefix: &str) -> Result<Vec<String>, Error> {
    let options = ListOptions::new().prefix(prefix).recursive(true);
    let items: Vec<ListItem> = project.list_objects_with(BUCKET, &options)?.try_collect().await?;
    let text = |item| match item {
        ListItem::Object(object) => format!("{:?}", object.key),
        other => format!("{other:?}"),
    };
    Ok(items.into_iter().map(text).collect())
}

async fn list_uploads(project: &Project) -> Result<Vec<UploadItem>, Error> {
    project.list_uploads(BUCKET)?.try_collect().await
}

impl Attempts<'_> {
    /// Records the outcome of an attempt, which must be an error of one of these kinds.
    fn fails<T: Debug>(&mut self, outcome: Result<T, Error>, kinds: &[ErrorKind]) {
        let error = match outcome {
            Ok(value) => panic!("{} on {}: {value:?}", self.attacker.prefix, self.victim.prefix),
            Err(error) => error,
        };
        assert!(kinds.contains(&error.kind()), "{error:?}");
        self.seen.push_str(&format!("{error} {error:?}\n"));
        self.denied += 1;
    }

    /// Tries every operation with the tenant's own grant.
    async fn with_own_grant(&mut self) {
        let denied = [ErrorKind::PermissionDenied];
        let project = &self.attacker.project;
        let victim = self.victim;
        // It guesses the names, which it does not learn from anything that it sees.
        for key in &victim.keys {
            self.fails(project.stat_object(BUCKET, key).await, &denied);
            self.fails(project.get(BUCKET, key).await, &denied);
            let range = DownloadOptions::new().range(0..1);
            self.fails(project.download_object_with(BUCKET, key, &range).await, &denied);
            self.fails(project.put(BUCKET, key, "x").await, &denied);
            self.fails(project.delete_object(BUCKET, key).await, &denied);
            self.fails(project.begin_upload(BUCKET, key).await, &denied);
            let own = &self.attacker.keys[0];
            self.fails(project.copy_object(BUCKET, key, BUCKET, own).await, &denied);
            self.fails(project.copy_object(BUCKET, own, BUCKET, key).await, &denied);
            self.fails(project.move_object(BUCKET, key, BUCKET, own).await, &denied);
        }
        for prefix in ["", &victim.prefix, "tenant"] {
            let kinds = [ErrorKind::PermissionDenied, ErrorKind::PrefixInvalid];
            self.fails(list(project, prefix).await, &kinds);
        }
        self.fails(list_uploads(project).await, &denied);
    }

    /// Tries with a satellite on the tenant's side, which permits everything: only the encryption is
    /// left.
    async fn with_a_colluding_satellite(&mut self, satellite: &str, api_key: &ApiKey) {
        for store in [self.attacker.grant.encryption().clone(), self.aimed()] {
            let grant = AccessGrant::new(satellite.to_owned(), api_key.clone(), &store);
            let project = open(&grant.expect("a grant"));
            let kinds =
                [ErrorKind::Decryption, ErrorKind::ObjectNotFound, ErrorKind::PermissionDenied];
            for key in &self.victim.keys {
                self.fails(project.get(BUCKET, key).await, &kinds);
                self.fails(project.stat_object(BUCKET, key).await, &kinds);
            }
            match list(&project, &self.victim.prefix).await {
                Ok(items) => {
                    let is_hidden = |item: &String| item.starts_with("Undecryptable");
                    assert!(items.len() >= 2 && items.iter().all(is_hidden), "{items:?}");
                    self.seen.push_str(&items.join("\n"));
                }
                error => self.fails(error, &kinds),
            }
        }
    }

    /// Returns keys in which the attacker's own key takes the place of the victim's.
    fn aimed(&self) -> EncryptionStore {
        let own = self.attacker.grant.encryption().entries()[0];
        let place = self.victim.grant.encryption().entries()[0];
        let mut store = EncryptionStore::new();
        store.add(StoreEntry { key: own.key.clone(), ..place.clone() }).expect("an entry");
        store
    }

    /// Checks that nothing seen contains a name that the attacker did not pass itself.
    fn names_are_hidden(&self) {
        for (index, secret) in self.victim.secrets.iter().enumerate() {
            // Errors name the object that the caller asked for.
            let passed = &self.victim.keys[index];
            let seen = self.seen.replace(passed, "");
            assert!(!seen.contains(secret), "{secret}: {seen}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenant_can_do_nothing_with_the_prefix_of_another() {
    let world = World::start().await;
    let api_key = ApiKey::parse(&world.api_key).expect("an API key");
    let satellite = world.network.satellite_url();
    let mut tenants = Vec::new();
    for number in 0..count() {
        tenants.push(Tenant::start(&world, number).await);
    }
    let mut pairs = 0;
    let mut denied = 0;
    for attacker in &tenants {
        for victim in tenants.iter().filter(|victim| victim.prefix != attacker.prefix) {
            let mut attempts = Attempts { attacker, victim, seen: String::new(), denied: 0 };
            attempts.with_own_grant().await;
            attempts.with_a_colluding_satellite(&satellite, &api_key).await;
            attempts.names_are_hidden();
            denied += attempts.denied;
            pairs += 1;
        }
    }
    for tenant in &tenants {
        tenant.check().await;
    }
    assert!(pairs == count() * (count() - 1) && denied > 40 * pairs);
    println!("{pairs} pairs, {denied} attempts");
}
