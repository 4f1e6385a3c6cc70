//! Upload and download over a complete network on loopback, compared with the ceiling of the
//! client's own stages, with peak memory: `cargo xtask bench transfer [-- MIB … SCHEME …]`.
//!
//! Satellite and nodes run in child processes, so that CPU time and memory are measured separately.
//! The ceiling is the rate of one core if only the necessary stages had a cost: sealing, encoding,
//! hashing the bytes of every piece that was sent and sending them through TLS; receiving, decoding
//! and opening. Every stage is measured in the same run. Each case is one JSON line on standard
//! output; the hashes of the uploaded and downloaded content are compared in every case.

use std::time::{Duration, Instant};

use network::{Moved, Network};
use stages::Costs;
use uplink::Project;
use uplink_core::erasure::Scheme;

mod network;
mod stages;

/// Default object sizes in MiB.
const SIZES: [u64; 3] = [64, 256, 1024];
/// Amount to transfer per size: small objects are transferred in greater number.
const MOVED_MIB: u64 = 1024;
/// Default scheme.
const SCHEME: &str = "4/6/8/10-256";
const MIB: u64 = 1 << 20;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if network::serve_if_asked(&runtime) {
        return;
    }
    let given = |argument: String| argument.parse().ok();
    let mut sizes: Vec<u64> = std::env::args().filter_map(given).collect();
    if sizes.is_empty() {
        sizes.extend(SIZES);
    }
    let mut schemes: Vec<Scheme> =
        std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    if schemes.is_empty() {
        schemes.push(SCHEME.parse().expect("a scheme"));
    }
    for scheme in schemes {
        let costs = runtime.block_on(stages::measure(&scheme));
        println!("{}", costs.json());
        let idle = status("VmRSS:");
        for mib in &sizes {
            let bench = Bench { network: Network::start(&scheme), scheme, mib: *mib, idle };
            runtime.block_on(bench.transfer(&costs));
        }
    }
}

/// Uploads and downloads of objects over a separate network.
struct Bench {
    network: Network,
    scheme: Scheme,
    mib: u64,
    /// Resident memory of the idle process in KiB.
    idle: u64,
}

impl Bench {
    async fn transfer(mut self, costs: &Costs) {
        let access = self.network.access().await;
        let project = Project::open(&access).expect("a project");
        project.ensure_bucket("bench").await.expect("a bucket");
        let pattern = pattern();
        let mut hash_up = blake3::Hasher::new();
        (0..self.mib).for_each(|_| {
            hash_up.update(&pattern);
        });

        let meter = self.meter();
        for number in 0..self.objects() {
            let upload = project.upload_object("bench", key(number));
            let mut upload = upload.expect("an upload");
            for _ in 0..self.mib {
                upload.write(&pattern).await.expect("written");
            }
            upload.commit().await.expect("committed");
        }
        let measured = self.measured(&meter);
        let sent = measured.moved.received as f64 / self.bytes() as f64;
        self.report("upload", &measured, sent, costs.upload(sent));

        let meter = self.meter();
        for number in 0..self.objects() {
            assert_eq!(read(&project, number, |_| ()).await, self.mib * MIB);
        }
        let measured = self.measured(&meter);
        let served = measured.moved.served as f64 / self.bytes() as f64;
        self.report("download", &measured, served, costs.download());

        let mut hash_down = blake3::Hasher::new();
        read(&project, self.objects() - 1, |bytes| {
            hash_down.update(bytes);
        })
        .await;
        assert_eq!(hash_up.finalize(), hash_down.finalize(), "the downloaded object differs");
    }

    fn objects(&self) -> u64 {
        MOVED_MIB.div_ceil(self.mib)
    }

    fn bytes(&self) -> u64 {
        self.objects() * self.mib * MIB
    }

    fn meter(&mut self) -> Meter {
        // Resets the peak; if the kernel does not allow it, the figure is an upper bound.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        Meter { wall: Instant::now(), cpu: self.cpu(), moved: self.network.moved() }
    }

    fn measured(&mut self, since: &Meter) -> Measured {
        let wall = since.wall.elapsed();
        let cpu = self.cpu();
        let moved = self.network.moved();
        let gb = self.bytes() as f64 / 1e9;
        let spent = |index: usize| (cpu[index].saturating_sub(since.cpu[index])).as_secs_f64();
        Measured {
            wall: wall.as_secs_f64(),
            cpu_per_gb: [spent(0) / gb, spent(1) / gb, spent(2) / gb],
            moved: Moved {
                received: moved.received - since.moved.received,
                served: moved.served - since.moved.served,
            },
            peak_mib: status("VmHWM:").saturating_sub(self.idle) as f64 / 1024.0,
        }
    }

    /// Returns the CPU time of client, nodes and satellite.
    fn cpu(&self) -> [Duration; 3] {
        let [nodes, satellite] = [self.network.nodes.id(), self.network.satellite.id()];
        [cpu_time("self"), cpu_time(&nodes.to_string()), cpu_time(&satellite.to_string())]
    }

    fn report(&self, name: &str, measured: &Measured, moved: f64, ceiling: f64) {
        let bytes = self.bytes();
        let scheme = self.scheme;
        let wall = measured.wall;
        let objects = self.objects();
        let mib = self.mib;
        let [client, nodes, satellite] = measured.cpu_per_gb;
        println!(
            "{{\"name\":\"transfer\",\"case\":\"{name} {scheme}, {objects} × {mib} MiB\",\"bytes\":{bytes},\
             \"wall_s\":{wall:.3},\"mb_per_s\":{:.1},\"cpu_s_per_gb\":{client:.3},\
             \"nodes_cpu_s_per_gb\":{nodes:.3},\"satellite_cpu_s_per_gb\":{satellite:.3},\
             \"piece_bytes_per_byte\":{moved:.3},\"gb_per_core_s\":{:.3},\
             \"ceiling\":{ceiling:.3},\"of_ceiling\":{:.3},\"peak_mib\":{:.1}}}",
            bytes as f64 / 1e6 / wall,
            1.0 / client,
            1.0 / client / ceiling,
            measured.peak_mib,
        );
    }
}

fn key(number: u64) -> String {
    format!("object {number}")
}

async fn read(project: &Project, number: u64, mut take: impl FnMut(&[u8])) -> u64 {
    let download = project.download_object("bench", key(number)).await;
    let mut download = download.expect("a download");
    let mut received = 0;
    while let Some(bytes) = download.chunk().await.expect("bytes") {
        received += bytes.len() as u64;
        take(&bytes);
    }
    received
}

/// Returns one MiB without structure.
fn pattern() -> Vec<u8> {
    let mut bytes = vec![0; MIB as usize];
    blake3::Hasher::new().update(b"transfer").finalize_xof().fill(&mut bytes);
    bytes
}

struct Meter {
    wall: Instant,
    cpu: [Duration; 3],
    moved: Moved,
}

struct Measured {
    wall: f64,
    /// Of client, nodes and satellite.
    cpu_per_gb: [f64; 3],
    moved: Moved,
    /// Above the memory of the idle process.
    peak_mib: f64,
}

/// Returns a figure of this process's status in KiB.
fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// Returns user and system time of a process, in the kernel's ticks of 10 ms.
fn cpu_time(process: &str) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after_name = text.rsplit(") ").next().unwrap_or_default();
    // The first field is the state; user and system time are the 12th and 13th.
    let times = after_name.split(' ').skip(11).take(2);
    let ticks: u64 = times.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
