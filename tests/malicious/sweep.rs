//! Every mutation of every field of every response.

use std::time::Instant;

use proptest::test_runner::Config as ProptestConfig;

use super::mutation::Mutation;
use super::operations::Setting;
use super::random::Random;
use super::report::{Outcome, Report};
use super::runner::{InjectedStatus, Injection, Runner, mutations_of};

/// Default seed; `MALICIOUS_SEED` overrides it.
const SEED: u64 = 13;
/// Mutations in the fast test.
const SAMPLES: usize = 250;
/// Minimum number of pairs in the soak test; `PROPTEST_CASES` raises it.
const PAIRS: usize = 2_000;
/// Bytes of a huge status text.
const HUGE_TEXT: usize = 100_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sampled_field_mutations_break_no_guarantee() {
    let mut runner = Runner::start().await;
    let mut random = Random::new(seed());
    let mut report = Report::default();
    let mutations = all_mutations(&runner);
    for _ in 0..SAMPLES {
        let mutation = random.pick(&mutations).clone();
        let setting = *random.pick(&runner.settings_with(&mutation.path.root));
        run(&mut runner, &mut report, setting, Injection::Mutations(vec![mutation])).await;
    }
    report.finish("a sample of mutations", seed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: every mutation of every field, once"]
async fn each_mutation_of_each_field_breaks_no_guarantee() {
    let mut runner = Runner::start().await;
    let mut random = Random::new(seed());
    let mut report = Report::default();
    for mutation in all_mutations(&runner) {
        let setting = *random.pick(&runner.settings_with(&mutation.path.root));
        run(&mut runner, &mut report, setting, Injection::Mutations(vec![mutation])).await;
    }
    report.finish("each mutation once", seed());
}

async fn run(runner: &mut Runner, report: &mut Report, setting: Setting, injection: Injection) {
    let begun = Instant::now();
    let (outcome, time, memory) = runner.check(setting, &injection).await;
    let mutations = match &injection {
        Injection::Mutations(mutations) => {
            mutations.iter().map(Mutation::to_string).collect::<Vec<_>>().join(" and ")
        }
        Injection::Status(failure) => {
            format!("status {} with {} bytes of text", failure.code, failure.text.len())
        }
    };
    if std::env::var_os("MALICIOUS_VERBOSE").is_some() || matches!(outcome, Outcome::Broken { .. })
    {
        println!("{:?} {setting}: {mutations}: {outcome:?}", begun.elapsed());
    }
    report.add(setting, &mutations, &outcome);
    report.record_cost(time, memory);
}

fn all_mutations(runner: &Runner) -> Vec<Mutation> {
    runner.answers().iter().flat_map(|answer| mutations_of(answer, seed())).collect()
}

fn seed() -> u64 {
    std::env::var("MALICIOUS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED)
}

/// Returns the number of cases: `usual`, or `PROPTEST_CASES` if that is larger.
fn cases(usual: usize) -> usize {
    let cases = usual.max(ProptestConfig::default().cases as usize);
    println!("{cases} cases");
    cases
}

/// Returns the part of the full product to run and the number of parts: `MALICIOUS_PART=3/8` is the
/// fourth of eight. Defaults to all of it.
fn part() -> (usize, usize) {
    let Ok(text) = std::env::var("MALICIOUS_PART") else { return (0, 1) };
    let numbers = text.split_once('/').and_then(|(part, parts)| {
        Some((part.parse().ok()?, parts.parse::<std::num::NonZeroUsize>().ok()?.get()))
    });
    numbers.expect("MALICIOUS_PART is like 3/8")
}

/// Too long for the slow tests: `cargo test --release --test malicious -- --ignored soak::`.
mod soak {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "soak: random pairs of mutations; PROPTEST_CASES sets how many"]
    async fn random_pairs_of_mutations_break_no_guarantee() {
        let mut runner = Runner::start().await;
        let mut random = Random::new(seed());
        let mut report = Report::default();
        let mutations = all_mutations(&runner);
        let settings = Setting::all();
        let of_setting = |setting| {
            let applies =
                |mutation: &&Mutation| runner.settings_with(&mutation.path.root).contains(&setting);
            (setting, mutations.iter().filter(applies).collect())
        };
        let choices: Vec<(Setting, Vec<&Mutation>)> =
            settings.into_iter().map(of_setting).collect();
        for _ in 0..cases(PAIRS) {
            let (setting, of_setting) = random.pick(&choices);
            let mut pair = [(); 2].map(|()| (*random.pick(of_setting)).clone());
            pair.iter_mut().for_each(|mutation| mutation.seed = random.next());
            // A mutation that fills the response comes last, so that this process does not decode
            // the result again.
            pair.sort_by_key(|mutation| mutation.kind.fills_response());
            run(&mut runner, &mut report, *setting, Injection::Mutations(pair.to_vec())).await;
        }
        report.finish("random pairs of mutations", seed());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "soak: every mutation of every field in every setting"]
    async fn each_mutation_in_each_setting_breaks_no_guarantee() {
        let mut runner = Runner::start().await;
        let mut report = Report::default();
        let (part, parts) = part();
        for mutation in all_mutations(&runner).into_iter().skip(part).step_by(parts) {
            for setting in runner.settings_with(&mutation.path.root) {
                run(
                    &mut runner,
                    &mut report,
                    setting,
                    Injection::Mutations(vec![mutation.clone()]),
                )
                .await;
            }
        }
        report.finish(&format!("part {part} of {parts} of the full product"), seed());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "soak: every setting with every status"]
    async fn each_status_in_each_setting_breaks_no_guarantee() {
        let mut runner = Runner::start().await;
        let mut report = Report::default();
        // 1 is success; 2, 4 and 14 are retried with exponential backoff, as after an outage.
        let codes = (0..=17).filter(|code| ![1, 2, 4, 14].contains(code));
        let codes = codes.chain([10_019, 99_999, u64::MAX]);
        for code in codes {
            for setting in Setting::all() {
                for text in
                    [String::new(), "object not found: x".to_owned(), "é".repeat(HUGE_TEXT / 2)]
                {
                    let injection = Injection::Status(InjectedStatus { code, text });
                    run(&mut runner, &mut report, setting, injection).await;
                }
            }
        }
        report.finish("each status in each setting", seed());
    }
}
