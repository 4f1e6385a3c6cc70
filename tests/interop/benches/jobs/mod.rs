//! The clients that are measured: the same job for each, in a process of its own.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use uplink_core::erasure::Scheme;

const CLIENT: &str = "UPLINK_BENCH_CLIENT";
const ACCESS: &str = "UPLINK_BENCH_ACCESS";
const WHAT: &str = "UPLINK_BENCH_WHAT";
const KEY: &str = "UPLINK_BENCH_KEY";
const SIZE: &str = "UPLINK_BENCH_SIZE";
const COUNT: &str = "UPLINK_BENCH_COUNT";
const BUCKET: &str = "bench";
const MIB: usize = 1 << 20;

/// Who moves an object.
#[derive(Clone, Debug)]
pub(crate) enum Client {
    OursGrpc,
    OursDrpc,
    /// The reference client; its program.
    Go(PathBuf),
    /// The published crate.
    Storj,
}

/// What a client is to do.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) access: String,
    /// `upload` or `download`.
    pub(crate) what: String,
    pub(crate) key: String,
    /// Bytes of each object.
    pub(crate) size: u64,
    /// Objects, one after the other.
    pub(crate) count: u64,
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
            Self::Storj => "crate storj",
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
            ours => {
                let mut command = super::this_program();
                let figures = [(SIZE, job.size), (COUNT, job.count)];
                command.env(CLIENT, ours.name()).env(ACCESS, &job.access).env(WHAT, &job.what);
                command.env(KEY, &job.key).envs(figures.map(|(name, it)| (name, it.to_string())));
                command
            }
        };
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
    let Ok(client) = std::env::var(CLIENT) else { return false };
    let variable = |name| std::env::var(name).expect("given by the parent");
    let number = |name| variable(name).parse().expect("a number");
    let job = Job {
        access: variable(ACCESS),
        what: variable(WHAT),
        key: variable(KEY),
        size: number(SIZE),
        count: number(COUNT),
    };
    runtime.block_on(async {
        match client.as_str() {
            "crate storj" => storj(&job).await,
            name => ours(&job, name == "uplink, DRPC").await,
        }
    });
    true
}

async fn ours(job: &Job, drpc: bool) {
    use uplink::{Access, Config, DownloadOptions, Project, Transport, UploadOptions};

    let access = Access::parse(&job.access).expect("a grant");
    let transport = if drpc { Transport::Drpc } else { Transport::Negotiated };
    let config = Config::new().transport(transport);
    let project = Project::open_with(&access, &config).expect("a project");
    if job.what == "upload" {
        // Also connects, which is not what is measured.
        project.ensure_bucket(BUCKET).await.expect("a bucket");
    }
    let meter = Meter::start();
    let mut first = Duration::ZERO;
    for number in 0..job.count {
        let key = job.key_of(number);
        if job.what == "upload" {
            let upload = project.upload_object(BUCKET, key, UploadOptions::new());
            let mut upload = upload.expect("an upload");
            write(&mut upload, job.size).await;
            upload.commit().await.expect("committed");
        } else {
            let download = project.download_object(BUCKET, key, DownloadOptions::new()).await;
            first = read(download.expect("a download"), job.size, meter.begun).await;
        }
    }
    meter.report(first);
}

async fn storj(job: &Job) {
    use storj::{Access, Project};

    let access = Access::parse(&job.access).expect("a grant");
    let project = Project::open(&access).await.expect("a project");
    if job.what == "upload" {
        project.ensure_bucket(BUCKET).await.expect("a bucket");
    }
    let meter = Meter::start();
    let mut first = Duration::ZERO;
    for number in 0..job.count {
        let key = job.key_of(number);
        if job.what == "upload" {
            let upload = project.upload_object(BUCKET, &key, Default::default()).await;
            let mut upload = upload.expect("an upload");
            write(&mut upload, job.size).await;
            upload.commit().await.expect("committed");
        } else {
            let download = project.download_object(BUCKET, &key, Default::default()).await;
            first = read(download.expect("a download"), job.size, meter.begun).await;
        }
    }
    meter.report(first);
}

impl Job {
    fn key_of(&self, number: u64) -> String {
        if self.count == 1 { self.key.clone() } else { format!("{}/{number}", self.key) }
    }
}

/// Writes the bytes that the program in Go writes.
async fn write(to: &mut (impl AsyncWrite + Unpin), size: u64) {
    for (number, part) in parts(size) {
        let content = numbered(number, part);
        to.write_all(&content).await.expect("written");
    }
}

/// Reads them back and compares; when the first one came.
async fn read(mut from: impl AsyncRead + Unpin, size: u64, begun: Instant) -> Duration {
    let mut one = [0];
    from.read_exact(&mut one).await.expect("the first byte");
    let first = begun.elapsed();
    let mut got = vec![0; MIB];
    let mut known = 1;
    got[0] = one[0];
    for (number, part) in parts(size) {
        from.read_exact(&mut got[known..part]).await.expect("bytes");
        assert!(got[..part] == numbered(number, part), "MiB {number} came back changed");
        known = 0;
    }
    assert_eq!(from.read(&mut one).await.expect("the end"), 0);
    first
}

/// The MiB of an object, by number, with the size of each.
fn parts(size: u64) -> impl Iterator<Item = (u64, usize)> {
    let mib = MIB as u64;
    (0..size.div_ceil(mib)).map(move |number| (number, (size - number * mib).min(mib) as usize))
}

/// A MiB in which no two neighbourhoods are equal; its first bytes are its number.
fn numbered(number: u64, size: usize) -> Vec<u8> {
    static PATTERN: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
        (0..MIB).map(|i| (i * 131 + (i >> 8) * 17 + (i >> 16) * 7) as u8).collect()
    });
    let mut content = PATTERN[..size].to_vec();
    content[..8].copy_from_slice(&number.to_be_bytes());
    content
}

struct Meter {
    begun: Instant,
    cpu: Duration,
    idle_kib: u64,
}

impl Meter {
    fn start() -> Self {
        Self { begun: Instant::now(), cpu: cpu_time(), idle_kib: resident("VmRSS:") }
    }

    fn report(&self, first: Duration) {
        let (seconds, cpu) = (self.begun.elapsed(), cpu_time().saturating_sub(self.cpu));
        let report = serde_json::json!({
            "seconds": seconds.as_secs_f64(),
            "cpu_seconds": cpu.as_secs_f64(),
            "first_byte_seconds": first.as_secs_f64(),
            "idle_kib": self.idle_kib,
            "peak_kib": resident("VmHWM:"),
        });
        println!("{report}");
    }
}

/// A figure of this process's memory, in KiB.
fn resident(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// User and system time of this process, in the kernel's ticks of 10 ms.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = text.rsplit(") ").next().unwrap_or_default();
    let times = after_name.split(' ').skip(11).take(2);
    let ticks: u64 = times.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
