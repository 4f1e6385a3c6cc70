//! Drives the crate `storj` on behalf of a test.
//!
//! Reads one JSON command per line and writes one JSON response per line, in the format of the Go
//! driver. Keys and contents are Base64; this crate supports only UTF-8 keys.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use storj::types::{
    CommitUploadOptions, DownloadOptions, ListBucketsOptions, ListObjectsOptions, Object,
    UploadOptions,
};
use storj::{Access, Project};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

#[path = "../../benches/jobs/transfer.rs"]
#[allow(dead_code, reason = "this program runs jobs and starts none")]
mod transfer;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    if let Some(job) = transfer::Job::of_process() {
        move_objects(&job).await;
        return Ok(());
    }
    let mut lines = tokio::io::BufReader::new(tokio::io::stdin()).lines();
    let mut driver = Driver::default();
    let mut output = tokio::io::stdout();
    while let Some(line) = lines.next_line().await? {
        let response = match serde_json::from_str(&line) {
            Ok(command) => driver.respond(&Command(command)).await,
            Err(error) => error_response(&error.to_string(), "Command"),
        };
        output.write_all(format!("{response}\n").as_bytes()).await?;
        output.flush().await?;
    }
    Ok(())
}

/// Runs a job of the benchmark that compares clients.
async fn move_objects(job: &transfer::Job) {
    let access = Access::parse(&job.access).expect("a grant");
    let project = Project::open(&access).await.expect("a project");
    if job.is_upload() {
        project.ensure_bucket(transfer::BUCKET).await.expect("a bucket");
    }
    let meter = transfer::Meter::start();
    let mut first = std::time::Duration::ZERO;
    for number in 0..job.count {
        let key = job.key_of(number);
        if job.is_upload() {
            let upload = project.upload_object(transfer::BUCKET, &key, Default::default()).await;
            let mut upload = upload.expect("an upload");
            let mut content = transfer::Content::new(job.size);
            while let Some(part) = content.part() {
                upload.write_all(part).await.expect("written");
            }
            upload.commit().await.expect("committed");
        } else {
            let download =
                project.download_object(transfer::BUCKET, &key, Default::default()).await;
            first = transfer::read(download.expect("a download"), job.size, meter.begun).await;
        }
    }
    meter.report(first);
}

/// Keeps projects open, so that commands share connections.
#[derive(Default)]
struct Driver {
    projects: HashMap<String, Project>,
}

struct Command(Value);

impl Command {
    fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_default()
    }

    /// Returns a Base64 field as text.
    fn name(&self, name: &str) -> String {
        let bytes = BASE64_STANDARD.decode(self.text(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn bucket(&self) -> &str {
        self.text("bucket")
    }

    fn key(&self) -> String {
        self.name("key")
    }

    fn flag(&self, name: &str) -> bool {
        self.0[name].as_bool().unwrap_or_default()
    }

    fn custom(&self) -> BTreeMap<String, String> {
        serde_json::from_value(self.0["custom"].clone()).unwrap_or_default()
    }

    /// Returns the pattern of `size` and `seed`.
    fn content(&self) -> Vec<u8> {
        let number = |name: &str| self.0[name].as_u64().unwrap_or_default();
        let seed = number("seed");
        let size = number("size");
        (0..size).map(|i| (i * 131 + (i >> 8) * 17 + seed) as u8).collect()
    }
}

type Outcome = Result<Value, Box<dyn std::error::Error>>;

impl Driver {
    async fn respond(&mut self, command: &Command) -> Value {
        match self.run(command).await {
            Ok(response) => response,
            Err(error) => {
                let kind = error.downcast_ref::<storj::Error>();
                let kind = kind.map(|error| format!("Err{:?}", error.kind()));
                error_response(&error.to_string(), &kind.unwrap_or_default())
            }
        }
    }

    async fn run(&mut self, command: &Command) -> Outcome {
        let project = self.project(command.text("access")).await?;
        let bucket = command.bucket();
        let key = command.key();
        let new_bucket = command.text("new_bucket");
        let new_key = command.name("new_key");
        Ok(match command.text("op") {
            "create_bucket" => json!({"name": project.create_bucket(bucket).await?.name}),
            "ensure_bucket" => json!({"name": project.ensure_bucket(bucket).await?.name}),
            "stat_bucket" => json!({"name": project.stat_bucket(bucket).await?.name}),
            "delete_bucket" => json!({"name": project.delete_bucket(bucket).await?.name}),
            "list_buckets" => list_buckets(project).await?,
            "upload" => upload(project, command).await?,
            "upload_in_parts" => upload_in_parts(project, command).await?,
            "download" => download(project, command).await?,
            "stat" => describe(&project.stat_object(bucket, &key).await?),
            "delete" => {
                project.delete_object(bucket, &key).await?.as_ref().map_or(Value::Null, describe)
            }
            "update_metadata" => {
                project.update_object_metadata(bucket, &key, command.custom()).await?;
                json!({})
            }
            "copy" => describe(&project.copy_object(bucket, &key, new_bucket, &new_key).await?),
            "move" => {
                project.move_object(bucket, &key, new_bucket, &new_key).await?;
                json!({})
            }
            "list" => list(project, command).await?,
            op => return Err(format!("unknown operation {op:?}").into()),
        })
    }

    async fn project(&mut self, grant: &str) -> storj::Result<&Project> {
        if !self.projects.contains_key(grant) {
            let project = Project::open(&Access::parse(grant)?).await?;
            self.projects.insert(grant.to_owned(), project);
        }
        Ok(&self.projects[grant])
    }
}

async fn upload(project: &Project, command: &Command) -> Outcome {
    let options = UploadOptions::default();
    let mut upload = project.upload_object(command.bucket(), &command.key(), options).await?;
    upload.set_custom_metadata(command.custom()).await?;
    upload.write_all(&command.content()).await?;
    Ok(describe(&upload.commit().await?))
}

/// Uploads the content as two parts, one for each half.
async fn upload_in_parts(project: &Project, command: &Command) -> Outcome {
    let bucket = command.bucket();
    let key = command.key();
    let content = command.content();
    let begun = project.begin_upload(bucket, &key, UploadOptions::default()).await?;
    let halves = content.split_at(content.len() / 2);
    for (number, half) in [(1, halves.0), (2, halves.1)] {
        let mut part = project.upload_part(bucket, &key, &begun.upload_id, number).await?;
        part.write_all(half).await?;
        part.commit().await?;
    }
    let options = CommitUploadOptions { custom_metadata: command.custom(), ..Default::default() };
    Ok(describe(&project.commit_upload(bucket, &key, &begun.upload_id, options).await?))
}

async fn download(project: &Project, command: &Command) -> Outcome {
    let mut options = DownloadOptions::default();
    if let Some(offset) = command.0["offset"].as_i64() {
        options.offset = offset;
    }
    if let Some(length) = command.0["length"].as_i64() {
        options.length = length;
    }
    let mut download = project.download_object(command.bucket(), &command.key(), options).await?;
    let found = describe(download.info());
    let mut content = Vec::new();
    download.read_to_end(&mut content).await?;
    download.close().await?;
    let hash = hex::encode(Sha256::digest(&content));
    Ok(json!({"object": found, "length": content.len(), "sha256": hash}))
}

async fn list_buckets(project: &Project) -> Outcome {
    let mut buckets = project.list_buckets(ListBucketsOptions::default());
    let mut listed = Vec::new();
    while let Some(bucket) = buckets.next().await {
        listed.push(json!({"name": bucket?.name}));
    }
    Ok(listed.into())
}

async fn list(project: &Project, command: &Command) -> Outcome {
    let options = ListObjectsOptions {
        prefix: command.name("prefix"),
        cursor: command.name("cursor"),
        recursive: command.flag("recursive"),
        system: command.flag("system"),
        custom: command.flag("with_custom"),
    };
    let mut objects = project.list_objects(command.bucket(), options);
    let mut listed = Vec::new();
    while let Some(object) = objects.next().await {
        listed.push(describe(&object?));
    }
    Ok(listed.into())
}

fn describe(object: &Object) -> Value {
    json!({
        "key": BASE64_STANDARD.encode(&object.key),
        "is_prefix": object.is_prefix,
        "size": object.system.content_length,
        "custom": object.custom,
    })
}

fn error_response(text: &str, kind: &str) -> Value {
    json!({"error": text, "kind": kind, "code": 0})
}
