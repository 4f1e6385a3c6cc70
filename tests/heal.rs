//! A network under repeated transient faults of every kind, while clients read, write and delete:
//! no byte is wrong, no acknowledged write is lost, and within 30 s after each fault everything
//! works without a restart.
//!
//! `UPLINK_HEAL_SECONDS` sets the duration, `UPLINK_HEAL_SEED` reproduces the faults of a run, and
//! `UPLINK_HEAL_VERBOSE` prints each failure that a client saw. `cargo xtask soak --heal` runs it
//! for an hour.

mod heal {
    #[path = "../shared/clocks.rs"]
    pub(crate) mod clocks;
    pub(crate) mod descriptors;
    pub(crate) mod disk;
    pub(crate) mod faults;
    pub(crate) mod line;
    pub(crate) mod load;
    pub(crate) mod model;
    pub(crate) mod network;
    pub(crate) mod random;
    pub(crate) mod report;
    pub(crate) mod rot;
}

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use heal::faults::Deck;
use heal::load::Load;
use heal::network::FaultyNetwork;
use heal::random::Random;
use heal::report::Report;
use tokio::time::{Instant, sleep};

/// Default duration.
const SECONDS: u64 = 90;
/// Time under load after each recovery, in which no operation may fail.
const CALM: Duration = Duration::from_millis(1500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: a minute and a half of faults"]
async fn network_recovers_within_30_s_after_each_fault() {
    heal::descriptors::limit();
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let length = Duration::from_secs(number("UPLINK_HEAL_SECONDS").unwrap_or(SECONDS));
    let seed = number("UPLINK_HEAL_SEED").unwrap_or_else(now);
    println!("UPLINK_HEAL_SEED={seed}");
    let started = Instant::now();
    let network = FaultyNetwork::start(length).await;
    let load = Load::start(&network, seed).await;
    let mut random = Random(seed);
    let mut deck = Deck::new();
    let mut report = Report::begin();
    network.wait_until_works().await;
    load.calm();
    while started.elapsed() < length {
        sleep(CALM).await;
        load.verify(&network).await;
        network.collect_garbage().await;
        let mut fault = deck.draw(&network, &mut random);
        load.disturb(&fault);
        fault.inject(&network).await;
        sleep(Duration::from_millis(300 + random.below(2700))).await;
        let name = fault.name();
        fault.repair(&network).await;
        let repaired = Instant::now();
        network.wait_until_works().await;
        report.round(name, repaired.elapsed(), network.disk.used(), load.take_tally());
        load.calm();
    }
    sleep(CALM).await;
    load.verify(&network).await;
    report.end(load.take_tally());
    load.stop().await;
    network.stop().await;
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
