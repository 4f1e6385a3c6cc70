//! Drives the crate `storj` on behalf of a test.
//!
//! Reads one JSON command per line and answers each with one JSON line, as the judge in Go does and
//! with the same names. Keys and contents are Base64; this crate takes only keys that are text.

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

#[path = "../../benches/jobs/moving.rs"]
#[allow(dead_code, reason = "here a job is only done, not given")]
mod moving;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    if let Some(job) = moving::Job::of_process() {
        move_objects(&job).await;
        return Ok(());
    }
    let mut lines = tokio::io::BufReader::new(tokio::io::stdin()).lines();
    let (mut judge, mut output) = (Judge::default(), tokio::io::stdout());
    while let Some(line) = lines.next_line().await? {
        let answer = match serde_json::from_str(&line) {
            Ok(command) => judge.answer(&Command(command)).await,
            Err(error) => refusal(&error.to_string(), "Command"),
        };
        output.write_all(format!("{answer}\n").as_bytes()).await?;
        output.flush().await?;
    }
    Ok(())
}

/// Does a job of the bench that compares clients.
async fn move_objects(job: &moving::Job) {
    let access = Access::parse(&job.access).expect("a grant");
    let project = Project::open(&access).await.expect("a project");
    if job.is_upload() {
        project.ensure_bucket(moving::BUCKET).await.expect("a bucket");
    }
    let meter = moving::Meter::start();
    let mut first = std::time::Duration::ZERO;
    for number in 0..job.count {
        let key = job.key_of(number);
        if job.is_upload() {
            let upload = project.upload_object(moving::BUCKET, &key, Default::default()).await;
            let mut upload = upload.expect("an upload");
            let mut content = moving::Content::new(job.size);
            while let Some(part) = content.part() {
                upload.write_all(part).await.expect("written");
            }
            upload.commit().await.expect("committed");
        } else {
            let download = project.download_object(moving::BUCKET, &key, Default::default()).await;
            first = moving::read(download.expect("a download"), job.size, meter.begun).await;
        }
    }
    meter.report(first);
}

/// Keeps projects open, so that a second command finds the connections of the first.
#[derive(Default)]
struct Judge {
    projects: HashMap<String, Project>,
}

struct Command(Value);

impl Command {
    fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_default()
    }

    /// A key, or something else that is Base64 of a text.
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

    /// The bytes that follow from size and seed.
    fn content(&self) -> Vec<u8> {
        let number = |name: &str| self.0[name].as_u64().unwrap_or_default();
        let (seed, size) = (number("seed"), number("size"));
        (0..size).map(|i| (i * 131 + (i >> 8) * 17 + seed) as u8).collect()
    }
}

type Outcome = Result<Value, Box<dyn std::error::Error>>;

impl Judge {
    async fn answer(&mut self, command: &Command) -> Value {
        match self.run(command).await {
            Ok(answer) => answer,
            Err(error) => {
                let kind = error.downcast_ref::<storj::Error>();
                let kind = kind.map(|error| format!("Err{:?}", error.kind()));
                refusal(&error.to_string(), &kind.unwrap_or_default())
            }
        }
    }

    async fn run(&mut self, command: &Command) -> Outcome {
        let project = self.project(command.text("access")).await?;
        let (bucket, key) = (command.bucket(), command.key());
        let (new_bucket, new_key) = (command.text("new_bucket"), command.name("new_key"));
        Ok(match command.text("op") {
            "create_bucket" => json!({"name": project.create_bucket(bucket).await?.name}),
            "ensure_bucket" => json!({"name": project.ensure_bucket(bucket).await?.name}),
            "stat_bucket" => json!({"name": project.stat_bucket(bucket).await?.name}),
            "delete_bucket" => json!({"name": project.delete_bucket(bucket).await?.name}),
            "list_buckets" => list_buckets(project).await?,
            "upload" => upload(project, command).await?,
            "upload_in_parts" => upload_in_parts(project, command).await?,
            "download" => download(project, command).await?,
            "stat" => described(&project.stat_object(bucket, &key).await?),
            "delete" => {
                project.delete_object(bucket, &key).await?.as_ref().map_or(Value::Null, described)
            }
            "update_metadata" => {
                project.update_object_metadata(bucket, &key, command.custom()).await?;
                json!({})
            }
            "copy" => described(&project.copy_object(bucket, &key, new_bucket, &new_key).await?),
            "move" => {
                project.move_object(bucket, &key, new_bucket, &new_key).await?;
                json!({})
            }
            "list" => list(project, command).await?,
            op => return Err(format!("no operation is called {op:?}").into()),
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
    Ok(described(&upload.commit().await?))
}

/// Cuts the content in two halves, which become two parts.
async fn upload_in_parts(project: &Project, command: &Command) -> Outcome {
    let (bucket, key, content) = (command.bucket(), command.key(), command.content());
    let begun = project.begin_upload(bucket, &key, UploadOptions::default()).await?;
    let halves = content.split_at(content.len() / 2);
    for (number, half) in [(1, halves.0), (2, halves.1)] {
        let mut part = project.upload_part(bucket, &key, &begun.upload_id, number).await?;
        part.write_all(half).await?;
        part.commit().await?;
    }
    let options = CommitUploadOptions { custom_metadata: command.custom(), ..Default::default() };
    Ok(described(&project.commit_upload(bucket, &key, &begun.upload_id, options).await?))
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
    let found = described(download.info());
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
        listed.push(described(&object?));
    }
    Ok(listed.into())
}

fn described(object: &Object) -> Value {
    json!({
        "key": BASE64_STANDARD.encode(&object.key),
        "is_prefix": object.is_prefix,
        "size": object.system.content_length,
        "custom": object.custom,
    })
}

fn refusal(text: &str, kind: &str) -> Value {
    json!({"error": text, "kind": kind, "code": 0})
}
