//! One job of a client, passed to a separate process, and the measurement of its cost. Shared with
//! the program that uses the crate `storj`.

use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt};

pub(crate) const BUCKET: &str = "bench";
pub(crate) const MIB: usize = 1 << 20;

const ACCESS: &str = "UPLINK_BENCH_ACCESS";
const WHAT: &str = "UPLINK_BENCH_WHAT";
const KEY: &str = "UPLINK_BENCH_KEY";
const SIZE: &str = "UPLINK_BENCH_SIZE";
const COUNT: &str = "UPLINK_BENCH_COUNT";

/// A job of a client.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) access: String,
    /// `upload` or `download`.
    pub(crate) what: String,
    pub(crate) key: String,
    /// Bytes of each object.
    pub(crate) size: u64,
    /// Number of objects, transferred sequentially.
    pub(crate) count: u64,
}

impl Job {
    /// Returns the job of this process, if it was started with one.
    pub(crate) fn of_process() -> Option<Self> {
        let variable = |name| std::env::var(name).expect("given by the parent");
        let number = |name| variable(name).parse().expect("a number");
        Some(Self {
            access: std::env::var(ACCESS).ok()?,
            what: variable(WHAT),
            key: variable(KEY),
            size: number(SIZE),
            count: number(COUNT),
        })
    }

    /// Returns the environment variables that describe the job.
    pub(crate) fn variables(&self) -> [(&'static str, String); 5] {
        [
            (ACCESS, self.access.clone()),
            (WHAT, self.what.clone()),
            (KEY, self.key.clone()),
            (SIZE, self.size.to_string()),
            (COUNT, self.count.to_string()),
        ]
    }

    pub(crate) fn is_upload(&self) -> bool {
        self.what == "upload"
    }

    pub(crate) fn key_of(&self, number: u64) -> String {
        if self.count == 1 { self.key.clone() } else { format!("{}/{number}", self.key) }
    }
}

/// The content of an object, a MiB at a time from one buffer, equal to that of the Go program.
pub(crate) struct Content {
    bytes: Vec<u8>,
    size: u64,
    number: u64,
}

impl Content {
    pub(crate) fn new(size: u64) -> Self {
        Self { bytes: pattern(size), size, number: 0 }
    }

    /// Returns the next part, or `None` after the last.
    pub(crate) fn part(&mut self) -> Option<&[u8]> {
        let (number, length) = parts(self.size).nth(usize::try_from(self.number).ok()?)?;
        self.bytes[..8].copy_from_slice(&number.to_be_bytes());
        self.number += 1;
        Some(&self.bytes[..length])
    }
}

/// Reads an object and compares it. Returns the time from `begun` to the first byte.
pub(crate) async fn read(mut from: impl AsyncRead + Unpin, size: u64, begun: Instant) -> Duration {
    let mut one = [0];
    from.read_exact(&mut one).await.expect("the first byte");
    let first = begun.elapsed();
    let mut expected = pattern(size);
    let mut got = vec![0; MIB];
    let mut known = 1;
    got[0] = one[0];
    for (number, part) in parts(size) {
        from.read_exact(&mut got[known..part]).await.expect("bytes");
        expected[..8].copy_from_slice(&number.to_be_bytes());
        assert!(got[..part] == expected[..part], "MiB {number} came back changed");
        known = 0;
    }
    assert_eq!(from.read(&mut one).await.expect("the end"), 0);
    first
}

/// Returns the number and size of each MiB of an object.
fn parts(size: u64) -> impl Iterator<Item = (u64, usize)> {
    let mib = MIB as u64;
    (0..size.div_ceil(mib)).map(move |number| (number, (size - number * mib).min(mib) as usize))
}

/// Returns a MiB, or a smaller object, without repetitions; its first bytes hold its number.
fn pattern(size: u64) -> Vec<u8> {
    (0..size.min(MIB as u64)).map(|i| (i * 131 + (i >> 8) * 17 + (i >> 16) * 7) as u8).collect()
}

pub(crate) struct Meter {
    pub(crate) begun: Instant,
    cpu: Duration,
    idle_kib: u64,
}

impl Meter {
    pub(crate) fn start() -> Self {
        Self { begun: Instant::now(), cpu: cpu_time(), idle_kib: resident("VmRSS:") }
    }

    /// Prints the cost. `first` is the time to the first byte of a single object.
    pub(crate) fn report(&self, first: Duration) {
        let seconds = self.begun.elapsed();
        let cpu = cpu_time().saturating_sub(self.cpu);
        let seconds = seconds.as_secs_f64();
        let cpu = cpu.as_secs_f64();
        let first = first.as_secs_f64();
        let idle = self.idle_kib;
        let peak = resident("VmHWM:");
        println!(
            "{{\"seconds\":{seconds},\"cpu_seconds\":{cpu},\"first_byte_seconds\":{first},\
             \"idle_kib\":{idle},\"peak_kib\":{peak}}}"
        );
    }
}

/// Returns a memory figure of this process in KiB.
fn resident(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// Returns user and system time of this process.
fn cpu_time() -> Duration {
    rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime)
        .try_into()
        .expect("a time since the process began")
}
