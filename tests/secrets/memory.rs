//! What a process keeps of its secrets in memory after it dropped them.
//!
//! The secrets come to a child process in masked form. It uses them through the client, drops
//! everything, and searches its own writable memory for any eight bytes of them.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use uplink::{Access, AccessOptions, EncryptionKey, Permission, Project, SharePrefix, Transport};
use uplink_core::access_grant::AccessGrant;
use uplink_core::encryption::key;
use uplink_core::encryption::path::{content_key, path_key};
use uplink_core::macaroon;
use zeroize::Zeroizing;

use super::network::{BUCKET, World, config, random_key, random_name};
use super::scan::{Findings, Masked, Scanner};

/// What a child does with its secrets, and how often in the suite: 200 trials in all.
const PATHS: [(&str, usize); 8] = [
    ("parse", 60),
    ("share", 40),
    ("upload", 24),
    ("download", 24),
    ("error", 24),
    ("panic", 12),
    ("passphrase", 8),
    ("tenant", 8),
];

/// The secret that paths with requests may leave behind: an API key is part of every request, and the
/// buffers of the transports are not wiped. `docs/RELIABILITY.md` has the figures.
const IN_TRANSPORT_BUFFERS: &str = "API key";
const OFFLINE: [&str; 3] = ["parse", "share", "tenant"];

/// Set for a child: the path to take.
const PATH: &str = "UPLINK_SECRETS_PATH";
/// Multiplies the number of trials.
const FACTOR: &str = "UPLINK_SECRETS_FACTOR";
const KEY: &str = "folder/name of an object";

/// The secrets of one trial.
struct Trial {
    /// What the child passes to the client: a grant, or a passphrase.
    input: Masked,
    needles: Vec<Masked>,
}

impl Trial {
    /// Makes a grant with an API key and an encryption key of its own.
    fn of_grant(world: &World) -> Self {
        let permission = macaroon::Permission::full();
        let nonce = uplink_rpc::runtime::random().expect("random bytes");
        let caveat = permission.to_caveat(Vec::new(), nonce).expect("a caveat");
        let api_key = world.api_key.restrict(&caveat).expect("an API key");
        let grant = world.grant(&api_key, &random_key());
        let text = grant.serialize().expect("a text");
        let mut needles = keys(&grant);
        needles.push(Masked::new("text of the grant", &text.as_bytes()[text.len() / 2..]));
        needles.push(Masked::new("API key", grant.api_key().tail()));
        Self { input: Masked::new("grant", text.as_bytes()), needles }
    }

    /// Makes a passphrase, with the keys that a request derives from it.
    async fn of_passphrase(world: &World) -> Self {
        let passphrase = random_name();
        let satellite = world.network.satellite_url();
        let api_key = world.api_key.serialize();
        let access = Access::request(&satellite, &api_key, &passphrase).await.expect("a grant");
        let text = access.serialize().expect("a text");
        let mut needles = keys(&AccessGrant::parse(&text).expect("a grant"));
        needles.push(Masked::new("passphrase", passphrase.as_bytes()));
        Self { input: Masked::new("passphrase", passphrase.as_bytes()), needles }
    }

    /// Makes the passphrase of a tenant, with its key.
    fn of_tenant() -> Self {
        let passphrase = random_name();
        let key = key::derive_encryption_key(passphrase.as_bytes(), b"salt").expect("a key");
        let needles = vec![
            Masked::new("tenant's key", key.expose()),
            Masked::new("passphrase", passphrase.as_bytes()),
        ];
        Self { input: Masked::new("passphrase", passphrase.as_bytes()), needles }
    }

    fn to_json(&self) -> Value {
        let needles: Vec<Value> = self.needles.iter().map(Masked::to_json).collect();
        json!({ "input": self.input.to_json(), "needles": needles })
    }

    fn from_json(value: &Value) -> Self {
        let needles = value["needles"].as_array().expect("a list");
        let needles = needles.iter().map(Masked::from_json).collect();
        Self { input: Masked::from_json(&value["input"]), needles }
    }

    /// Returns the text to pass to the client.
    fn text(&self) -> Zeroizing<String> {
        let mut bytes = Vec::with_capacity(self.input.len());
        self.input.unmask_into(&mut bytes);
        Zeroizing::new(String::from_utf8(bytes).expect("a text"))
    }
}

/// Returns the keys of a grant that a client derives for [`KEY`].
fn keys(grant: &AccessGrant) -> Vec<Masked> {
    let store = grant.encryption();
    let bucket = BUCKET.as_bytes();
    let of = |path: &[u8]| path_key(store, bucket, path).expect("a key");
    let content = content_key(store, bucket, KEY.as_bytes()).expect("a key");
    vec![
        Masked::new("default key", store.default_key().expect("a key").expose()),
        Masked::new("bucket key", of(b"").expose()),
        Masked::new("prefix key", of(b"folder").expose()),
        Masked::new("path key", of(KEY.as_bytes()).expose()),
        Masked::new("content key", content.expose()),
    ]
}

fn trials(usual: usize) -> usize {
    usual * std::env::var(FACTOR).map_or(1, |factor| factor.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_passphrases_and_grants_are_not_left_in_memory() {
    let world = World::start().await;
    let mut count = 0;
    let mut found = Vec::new();
    for (path, usual) in PATHS {
        let mut secrets = Vec::new();
        for _ in 0..trials(usual) {
            secrets.push(match path {
                "passphrase" => Trial::of_passphrase(&world).await,
                "tenant" => Trial::of_tenant(),
                _ => Trial::of_grant(&world),
            });
        }
        count += secrets.len();
        if path == "download" {
            prepare(&secrets).await;
        }
        let (satellite, api_key) = (world.network.satellite_url(), world.api_key.serialize());
        let secrets: Vec<Value> = secrets.iter().map(Trial::to_json).collect();
        let input = json!({ "satellite": satellite, "api_key": api_key, "trials": secrets });
        let run = tokio::task::spawn_blocking(move || child(path, &input.to_string()));
        found.extend(run.await.expect("a child").into_iter().map(|line| format!("{path}: {line}")));
    }
    println!("{count} trials, found:\n{}", found.join("\n"));
    let is_sent = |line: &String| {
        let is_offline = OFFLINE.iter().any(|path| line.starts_with(&format!("{path}:")));
        line.contains(&format!(": {IN_TRANSPORT_BUFFERS} in ")) && !is_offline
    };
    found.retain(|line| !is_sent(line));
    assert_eq!(found, [""; 0]);
}

/// Writes the objects that a child downloads.
async fn prepare(trials: &[Trial]) {
    for trial in trials {
        let access = Access::parse(&trial.text()).expect("a grant");
        let project = Project::open(&access).expect("a project");
        project.put(BUCKET, KEY, vec![1; 100_000]).await.expect("written");
    }
}

/// Runs a child process and returns what it found.
fn child(path: &str, input: &str) -> Vec<String> {
    let program = std::env::current_exe().expect("this program");
    let mut child = Command::new(program)
        .args(["--exact", "secrets::memory::process", "--nocapture", "--test-threads=1"])
        .env(PATH, path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut stdin = child.stdin.take().expect("a pipe");
    writeln!(stdin, "{input}").expect("written");
    drop(stdin);
    let output = child.wait_with_output().expect("waits");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{path}: {text}\n{errors}");
    assert!(text.contains("scan complete"), "{path}: {text}\n{errors}");
    let found = text.lines().filter_map(|line| line.strip_prefix("found: "));
    found.map(str::to_owned).collect()
}

/// The entry point of a child process; does nothing in the test program itself.
#[test]
fn process() {
    let Ok(path) = std::env::var(PATH) else { return };
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("input");
    let input: Value = serde_json::from_str(&line).expect("JSON");
    let trials = input["trials"].as_array().expect("a list");
    let trials: Vec<Trial> = trials.iter().map(Trial::from_json).collect();
    let satellite = input["satellite"].as_str().expect("a text");
    let api_key = input["api_key"].as_str().expect("a text");
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        for trial in &trials {
            tokio::spawn(run(path.clone(), trial.text(), satellite.into(), api_key.into()))
                .await
                .expect("no panic");
        }
        // Connections of dropped projects are closed by tasks of their own.
        tokio::time::sleep(Duration::from_millis(300)).await;
    });
    let needles: Vec<Masked> = trials.into_iter().flat_map(|trial| trial.needles).collect();
    let findings: Findings = Scanner::new(&needles).run();
    for (name, places) in findings {
        println!("\nfound: {name}, {places} places");
    }
    println!("\nscan complete");
    drop(runtime);
}

/// Uses a secret in one way, and drops everything.
async fn run(path: String, text: Zeroizing<String>, satellite: String, api_key: String) {
    match path.as_str() {
        "parse" => drop(Access::parse(&text).expect("a grant")),
        "share" => share(&text),
        "upload" => upload(&text).await,
        "download" => download(&text).await,
        "error" => fail(&text).await,
        "panic" => panic_with_handles(text).await,
        "passphrase" => {
            let options = AccessOptions::new().config(config(Transport::Negotiated));
            let access = Access::request_with(&satellite, &api_key, &text, &options).await;
            use_access(&access.expect("a grant")).await;
        }
        "tenant" => drop(EncryptionKey::derive(&text, b"salt").await.expect("a key")),
        other => panic!("unknown path {other}"),
    }
}

fn open(access: &Access) -> Project {
    Project::open_with(access, &config(Transport::Negotiated)).expect("a project")
}

async fn use_access(access: &Access) {
    open(access).stat_object(BUCKET, KEY).await.expect_err("no such object");
}

fn share(text: &str) {
    let access = Access::parse(text).expect("a grant");
    let prefix = [SharePrefix::new(BUCKET, "folder/")];
    let shared = access.share(&Permission::read_only(), &prefix).expect("shared");
    let again = Zeroizing::new(shared.serialize().expect("a text"));
    assert_eq!(Access::parse(&again).expect("a grant"), shared);
}

async fn upload(text: &str) {
    let access = Access::parse(text).expect("a grant");
    let project = open(&access);
    let mut upload = project.upload_object(BUCKET, KEY).expect("an upload");
    upload.write(&[1; 150_000]).await.expect("written");
    upload.commit().await.expect("committed");
}

async fn download(text: &str) {
    let access = Access::parse(text).expect("a grant");
    let read = open(&access).get(BUCKET, KEY).await.expect("read");
    assert_eq!(read.len(), 100_000);
}

/// Errors of the grant itself, of an object, and of an upload that is dropped.
async fn fail(text: &str) {
    Access::parse(&text[1..]).expect_err("a checksum");
    let access = Access::parse(text).expect("a grant");
    use_access(&access).await;
    let project = open(&access);
    project.get("missing", KEY).await.expect_err("no bucket");
    let mut upload = project.upload_object(BUCKET, KEY).expect("an upload");
    upload.write(&[1; 10_000]).await.expect("written");
}

/// Panics in a task that owns a grant, a project and an upload.
async fn panic_with_handles(text: Zeroizing<String>) {
    let task = tokio::spawn(async move {
        let access = Access::parse(&text).expect("a grant");
        let project = open(&access);
        let mut upload = project.upload_object(BUCKET, KEY).expect("an upload");
        upload.write(&[1; 10_000]).await.expect("written");
        panic!("as this path demands");
    });
    let ended: Result<(), _> = task.await;
    assert!(ended.expect_err("a panic").is_panic());
}
