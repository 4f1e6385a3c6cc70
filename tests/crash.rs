//! `kill -9` of satellite and storage nodes at random moments, while clients write, overwrite and
//! delete: no acknowledged write may be lost.
//!
//! Satellite and nodes are separate processes: copies of this test program that run the test
//! [`service`] with a role. Every writer keeps a journal, synced to disk after each
//! acknowledgement. After each round a new client compares the network with the journals.

mod crash {
    pub(crate) mod journal;
    pub(crate) mod processes;
    pub(crate) mod writer;
}

use std::time::{Duration, Instant};

use crash::journal::Journal;
use crash::processes::Processes;
use crash::writer;
use uplink::Transport;

/// Number of concurrent clients, each with its own keys.
const WRITERS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_kills_lose_no_acknowledged_write() {
    kill_under_load(10, 0x5eed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: fifty kills"]
async fn fifty_kills_lose_no_acknowledged_write() {
    kill_under_load(50, 0xcafe).await;
}

/// The entry point of a child process; does nothing in the test program itself.
#[test]
fn service() {
    crash::processes::serve_if_asked();
}

async fn kill_under_load(rounds: u64, seed: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut processes = Processes::start(folder.path()).await;
    let access = processes.access().await;
    writer::open(&access, Transport::Negotiated)
        .create_bucket(writer::BUCKET)
        .await
        .expect("a bucket");
    let paths: Vec<_> = (0..WRITERS).map(|i| folder.path().join(format!("journal-{i}"))).collect();
    let mut random = Random(seed);
    let mut acknowledged = 0;
    for round in 0..rounds {
        let (stop, stopping) = tokio::sync::watch::channel(false);
        let writers: Vec<_> = paths
            .iter()
            .enumerate()
            .map(|(number, path)| {
                let journal = Journal::open(path);
                let seed = seed ^ (round << 8) ^ number as u64;
                tokio::spawn(writer::write(access.clone(), journal, number, seed, stopping.clone()))
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(100 + random.below(900))).await;
        // Kills the satellite in every second round, one or two nodes in the others.
        match round % 2 {
            0 => processes.kill_satellite(),
            _ => (0..1 + random.below(2)).for_each(|_| {
                let nodes = processes.node_count() as u64;
                processes.kill_node(random.below(nodes) as usize);
            }),
        }
        tokio::time::sleep(Duration::from_millis(random.below(300))).await;
        stop.send_replace(true);
        for writer in writers {
            acknowledged += writer.await.expect("a writer does not panic");
        }
        processes.restart_dead().await;
        let started = Instant::now();
        for path in &paths {
            writer::check(&access, &Journal::read(path)).await;
        }
        println!(
            "round {round}: {acknowledged} operations acknowledged so far, checked in {:.1} s",
            started.elapsed().as_secs_f64()
        );
    }
    assert!(acknowledged > rounds * 4, "too little load: {acknowledged} operations");
}

/// A small generator of delays and sizes; the seed reproduces them.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}
