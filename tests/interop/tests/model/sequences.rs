//! The tests: sequences of operations from consecutive seeds.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::generate::Generator;
use super::parties::Services;
use super::report::describe;
use super::run::run;
use super::shrink::Failing;

/// Operations of one sequence.
const LENGTH: usize = 250;
/// Operations of the slow test.
const OPERATIONS: usize = 5_000;
/// Failing sequences after which a test ends.
const MAX_FAILURES: usize = 5;

/// Runs sequences of consecutive seeds until they have `operations` operations.
async fn run_sequences(first_seed: u64, operations: usize) {
    let started = Instant::now();
    let services = Services::start().await;
    let mut failures = Vec::new();
    let mut left = operations;
    let mut seed = first_seed;
    println!("{operations} operations from seed {first_seed} in sequences of {LENGTH}");
    while left > 0 && failures.len() < MAX_FAILURES {
        let length = left.min(LENGTH);
        failures.extend(run_seed(&services, seed, length).await);
        left -= length;
        seed += 1;
        println!("{left} operations left after {:.0?}, next seed {seed}", started.elapsed());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Runs the sequence of a seed; describes it if it fails.
async fn run_seed(services: &Services, seed: u64, length: usize) -> Option<String> {
    let steps = Generator::sequence(seed, length);
    let mismatch = run(services, &format!("seed-{seed}"), &steps).await.err()?;
    let found_at = mismatch.index;
    println!("seed {seed} fails at operation {found_at}, {:?}", steps[found_at]);
    let failing = Failing::new(steps, mismatch);
    let failing = failing.shrink(services, &format!("seed-{seed}-shrunk")).await;
    let text = describe(seed, length, found_at, &failing);
    println!("{text}");
    Some(text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn random_operations_have_equal_outcomes() {
    run_sequences(1, OPERATIONS).await;
}

/// Too long for the slow tests.
mod soak {
    use super::*;

    const DEFAULT_OPERATIONS: u64 = 100_000;

    /// Returns a number of the environment.
    fn setting(name: &str) -> Option<u64> {
        let text = std::env::var(name).ok()?;
        Some(text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "soak: 100,000 operations; UPLINK_MODEL_OPERATIONS sets how many"]
    async fn many_random_operations_have_equal_outcomes() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let seed = setting("UPLINK_MODEL_SEED").unwrap_or(now.as_secs());
        let operations = setting("UPLINK_MODEL_OPERATIONS").unwrap_or(DEFAULT_OPERATIONS);
        run_sequences(seed, usize::try_from(operations).expect("a count")).await;
    }
}
