//! The measured clients: each runs the same job in a separate process.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Builder;
pub(crate) use transfer::Job;
use transfer::{BUCKET, Content, MIB, Meter, read};
use uplink::Transport;
use uplink_core::erasure::Scheme;

mod transfer;

const CLIENT: &str = "UPLINK_BENCH_CLIENT";

/// A measured client.
#[derive(Clone, Debug)]
pub(crate) enum Client {
    Ours(Ours),
    /// The reference client, with the path of its program.
    Go(PathBuf),
    /// The published crate, with the path of the program that uses it.
    Storj(PathBuf),
}

/// A configuration of our client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ours {
    name: &'static str,
    transport: Transport,
    /// Whether it runs on one thread instead of one per core.
    one_thread: bool,
}

pub(crate) const OURS: [Ours; 4] = [
    Ours { name: "uplink, gRPC", transport: Transport::Negotiated, one_thread: false },
    Ours { name: "uplink, DRPC", transport: Transport::Drpc, one_thread: false },
    Ours { name: "uplink, gRPC, one thread", transport: Transport::Negotiated, one_thread: true },
    Ours { name: "uplink, DRPC, one thread", transport: Transport::Drpc, one_thread: true },
];

/// The cost of a job.
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
            Self::Ours(ours) => ours.name,
            Self::Go(_) => "Go",
            Self::Storj(_) => "crate storj",
        }
    }

    pub(crate) fn is_ours(&self) -> bool {
        matches!(self, Self::Ours(_))
    }

    /// Runs the job in a separate process and waits for it.
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
            Self::Ours(ours) => {
                let mut command = super::this_program();
                command.env(CLIENT, ours.name);
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

/// Runs a job if this process was started as a client, and returns whether it was.
pub(crate) fn move_if_asked() -> bool {
    let (Ok(client), Some(job)) = (std::env::var(CLIENT), Job::of_process()) else { return false };
    let ours = OURS.iter().find(|ours| ours.name == client).expect("one of our clients");
    let mut builder =
        if ours.one_thread { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    let runtime = builder.enable_all().build().expect("a runtime");
    runtime.block_on(run(&job, ours.transport));
    true
}

async fn run(job: &Job, transport: Transport) {
    use uplink::{Access, Config, Project};

    let access = Access::parse(&job.access).expect("a grant");
    let config = Config::new().transport(transport);
    let project = Project::open_with(&access, &config).expect("a project");
    if job.is_upload() {
        // Also connects, which is not measured.
        project.ensure_bucket(BUCKET).await.expect("a bucket");
    }
    let meter = Meter::start();
    let mut first = Duration::ZERO;
    for number in 0..job.count {
        let key = job.key_of(number);
        if job.is_upload() {
            let upload = project.upload_object(BUCKET, key);
            let mut upload = upload.expect("an upload");
            let mut content = Content::new(job.size);
            while let Some(part) = content.part() {
                upload.write(part).await.expect("written");
            }
            upload.commit().await.expect("committed");
        } else {
            let download = project.download_object(BUCKET, key).await;
            let came = read(download.expect("a download"), job.size, meter.begun).await;
            first = if job.count == 1 { came } else { first };
        }
    }
    meter.report(first);
}
