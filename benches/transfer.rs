//! Upload and download over a whole network on loopback, beside the ceiling that the client's own
//! stages set, with peak memory: `cargo xtask bench transfer [-- MIB …]`.
//!
//! Satellite and nodes run in a child process, so that the client's CPU time and memory are its own.
//! The ceiling is what one core could do if nothing but the unavoidable stages cost anything:
//! sealing, coding, hashing and sending the bytes of every piece through TLS; receiving, decoding
//! and opening. Every stage is measured in the same run. One JSON line a case goes to standard
//! output; the hashes of what went up and what came down are compared in every case.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use uplink::{Access, Config, DownloadOptions, Project, UploadOptions};

mod stages;

/// Object sizes in MiB unless others are given.
const SIZES: [u64; 3] = [64, 256, 1024];
const SCHEME: &str = "4/6/8/10-256";
const MIB: u64 = 1 << 20;
/// Tells a copy of this program to be the network.
const NETWORK: &str = "UPLINK_BENCH_NETWORK";

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if std::env::var_os(NETWORK).is_some() {
        return runtime.block_on(serve());
    }
    let sizes: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let sizes = if sizes.is_empty() { SIZES.to_vec() } else { sizes };
    let costs = runtime.block_on(stages::measure());
    println!("{}", costs.json());
    let mut network = NetworkProcess::start();
    runtime.block_on(async {
        let project = network.project().await;
        project.ensure_bucket("bench").await.expect("a bucket");
        let idle = status("VmRSS:");
        for size in sizes {
            transfer(&project, size, &costs, idle).await;
        }
    });
    network.stop();
}

async fn transfer(project: &Project, mib: u64, costs: &stages::Costs, idle: u64) {
    let (pattern, key) = (pattern(), format!("{mib} MiB"));
    let mut hash_up = blake3::Hasher::new();
    (0..mib).for_each(|_| {
        hash_up.update(&pattern);
    });

    let meter = Meter::start(idle);
    let mut upload = project.upload_object("bench", &key, UploadOptions::new()).expect("an upload");
    for _ in 0..mib {
        upload.write(&pattern).await.expect("written");
    }
    upload.commit().await.expect("committed");
    meter.stop(mib).report("upload", mib, costs.upload());

    let meter = Meter::start(idle);
    let received = read(project, &key, |_| ()).await;
    meter.stop(mib).report("download", mib, costs.download());
    assert_eq!(received, mib * MIB);

    let mut hash_down = blake3::Hasher::new();
    read(project, &key, |bytes| {
        hash_down.update(bytes);
    })
    .await;
    assert_eq!(hash_up.finalize(), hash_down.finalize(), "the object came back changed");
    project.delete_object("bench", &key).await.expect("deleted");
}

async fn read(project: &Project, key: &str, mut take: impl FnMut(&[u8])) -> u64 {
    let mut download =
        project.download_object("bench", key, DownloadOptions::new()).await.expect("a download");
    let mut received = 0;
    while let Some(bytes) = download.next().await.expect("bytes") {
        received += bytes.len() as u64;
        take(&bytes);
    }
    received
}

/// One MiB without structure.
fn pattern() -> Vec<u8> {
    let mut bytes = vec![0; MIB as usize];
    blake3::Hasher::new().update(b"transfer").finalize_xof().fill(&mut bytes);
    bytes
}

/// Wall time, this process's CPU time and its peak memory above that of the idle process.
struct Meter {
    wall: Instant,
    cpu: Duration,
    idle: u64,
}

struct Measured {
    wall: f64,
    cpu_per_gb: f64,
    peak_mib: f64,
}

impl Meter {
    fn start(idle: u64) -> Self {
        // Resets the peak; where the kernel does not allow it the figure is an upper bound.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        Self { wall: Instant::now(), cpu: cpu_time(), idle }
    }

    fn stop(self, mib: u64) -> Measured {
        let cpu = cpu_time().saturating_sub(self.cpu).as_secs_f64();
        Measured {
            wall: self.wall.elapsed().as_secs_f64(),
            cpu_per_gb: cpu / ((mib * MIB) as f64 / 1e9),
            peak_mib: status("VmHWM:").saturating_sub(self.idle) as f64 / 1024.0,
        }
    }
}

impl Measured {
    fn report(&self, name: &str, mib: u64, ceiling: f64) {
        let bytes = mib * MIB;
        println!(
            "{{\"name\":\"transfer\",\"case\":\"{name} {SCHEME}\",\"bytes\":{bytes},\
             \"wall_s\":{:.3},\"mb_per_s\":{:.1},\"cpu_s_per_gb\":{:.3},\"gb_per_core_s\":{:.3},\
             \"ceiling\":{ceiling:.3},\"of_ceiling\":{:.3},\"peak_mib\":{:.1}}}",
            self.wall,
            bytes as f64 / 1e6 / self.wall,
            self.cpu_per_gb,
            1.0 / self.cpu_per_gb,
            1.0 / self.cpu_per_gb / ceiling,
            self.peak_mib,
        );
    }
}

/// A figure of this process's status, in KiB.
fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// User and system time of this process, in the kernel's ticks of 10 ms.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = text.rsplit(") ").next().unwrap_or_default();
    // The first field here is the state; user and system time are the 12th and 13th.
    let times = after_name.split(' ').skip(11).take(2);
    let ticks: u64 = times.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// Satellite and nodes in a process of their own.
struct NetworkProcess {
    child: Child,
    satellite: String,
    api_key: String,
}

impl NetworkProcess {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .env(NETWORK, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the network starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output");
        BufReader::new(output).read_line(&mut line).expect("a line");
        let (satellite, api_key) = line.trim().split_once(' ').expect("address and key");
        let (satellite, api_key) = (satellite.to_owned(), api_key.to_owned());
        Self { child, satellite, api_key }
    }

    async fn project(&self) -> Project {
        let (satellite, key) = (&self.satellite, &self.api_key);
        let config = Config::new();
        let access = Access::request_with_passphrase(satellite, key, "bench", &config).await;
        Project::open(&access.expect("an access grant")).expect("a project")
    }

    fn stop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The child: serves until its standard input ends.
async fn serve() {
    let options = uplink_testnet::Options::new().scheme(SCHEME.parse().expect("a scheme"));
    let network = uplink_testnet::Network::start(options).await.expect("the network starts");
    let project = network.project("bench").await.expect("a project");
    println!("{} {}", network.satellite_url(), project.api_key);
    std::io::stdout().flush().expect("flushed");
    let ended = || std::io::stdin().read_line(&mut String::new());
    tokio::task::spawn_blocking(ended).await.expect("waits").expect("reads");
    network.stop().await;
}
