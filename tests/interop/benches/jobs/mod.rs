//! The clients that are measured: the same job for each, in a process of its own.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use uplink_core::erasure::Scheme;

pub(crate) use moving::Job;
use moving::{BUCKET, Content, MIB, Meter, read};

mod moving;

const CLIENT: &str = "UPLINK_BENCH_CLIENT";

/// Who moves an object.
#[derive(Clone, Debug)]
pub(crate) enum Client {
    OursGrpc,
    OursDrpc,
    /// The reference client; its program.
    Go(PathBuf),
    /// The published crate; the program that uses it.
    Storj(PathBuf),
}

/// What a job cost.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    what: String,
    pub(crate) count: f64,
    pub(crate) bytes: f64,
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) first_byte_seconds: f64,
    pub(crate) idle_kib: f64,
    pub(crate) peak_kib: f64,
}

impl Client {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::OursGrpc => "uplink, gRPC",
            Self::OursDrpc => "uplink, DRPC",
            Self::Go(_) => "Go",
            Self::Storj(_) => "crate storj",
        }
    }

    pub(crate) fn is_ours(&self) -> bool {
        matches!(self, Self::OursGrpc | Self::OursDrpc)
    }

    /// Runs the job in a process of its own, and waits for it.
    pub(crate) fn run(&self, job: &Job) -> Result<Report, String> {
        let mut command = match self {
            Self::Go(program) => {
                let mut command = Command::new(program);
                command.args(["-bucket", BUCKET, "-key", &job.key, "-mib"]);
                command.arg((job.size / MIB as u64).to_string()).arg(&job.what);
                command.env("UPLINK_ACCESS", &job.access);
                command
            }
            Self::Storj(program) => Command::new(program),
            ours => {
                let mut command = super::this_program();
                command.env(CLIENT, ours.name());
                command
            }
        };
        command.envs(job.variables());
        let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        let answer: Value =
            serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
        let figure = |name: &str| answer[name].as_f64().unwrap_or(0.0);
        Ok(Report {
            what: job.what.clone(),
            count: job.count as f64,
            bytes: (job.size * job.count) as f64,
            seconds: figure("seconds"),
            cpu_seconds: figure("cpu_seconds"),
            first_byte_seconds: figure("first_byte_seconds"),
            idle_kib: figure("idle_kib"),
            peak_kib: figure("peak_kib"),
        })
    }
}

impl Report {
    pub(crate) fn json(&self, scheme: Scheme, client: &Client) -> Value {
        serde_json::json!({
            "name": "clients",
            "case": format!("{} {scheme}", self.what),
            "candidate": client.name(),
            "bytes": self.bytes,
            "objects": self.count,
            "seconds": self.seconds,
            "mb_per_s": self.bytes / 1e6 / self.seconds,
            "cpu_s_per_gb": self.cpu_seconds / self.bytes * 1e9,
            "first_byte_seconds": self.first_byte_seconds,
            "peak_mib": (self.peak_kib - self.idle_kib) / 1024.0,
        })
    }
}

/// Does a job if this process was started to; tells whether it was.
pub(crate) fn move_if_asked(runtime: &tokio::runtime::Runtime) -> bool {
    let (Ok(client), Some(job)) = (std::env::var(CLIENT), Job::of_process()) else { return false };
    runtime.block_on(ours(&job, client == Client::OursDrpc.name()));
    true
}

async fn ours(job: &Job, drpc: bool) {
    use uplink::{Access, Config, DownloadOptions, Project, Transport, UploadOptions};

    let access = Access::parse(&job.access).expect("a grant");
    let transport = if drpc { Transport::Drpc } else { Transport::Negotiated };
    let config = Config::new().transport(transport);
    let project = Project::open_with(&access, &config).expect("a project");
    if job.is_upload() {
        // Also connects, which is not what is measured.
        project.ensure_bucket(BUCKET).await.expect("a bucket");
    }
    let meter = Meter::start();
    let mut first = Duration::ZERO;
    for number in 0..job.count {
        let key = job.key_of(number);
        if job.is_upload() {
            let upload = project.upload_object(BUCKET, key, UploadOptions::new());
            let mut upload = upload.expect("an upload");
            let mut content = Content::new(job.size);
            while let Some(part) = content.part() {
                upload.write(part).await.expect("written");
            }
            upload.commit().await.expect("committed");
        } else {
            let download = project.download_object(BUCKET, key, DownloadOptions::new()).await;
            let came = read(download.expect("a download"), job.size, meter.begun).await;
            first = if job.count == 1 { came } else { first };
        }
    }
    meter.report(first);
}
