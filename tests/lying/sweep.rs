//! Every field of every answer, with every lie that can be made of it.

use std::time::Instant;

use proptest::test_runner::Config as ProptestConfig;

use super::mutation::Lie;
use super::operations::Setting;
use super::random::Random;
use super::report::{Outcome, Report};
use super::runner::{FailureLie, Runner, Told, lies_about};

/// Seed of all that is drawn; `LYING_SEED` replaces it.
const SEED: u64 = 13;
/// Lies of the fast tier.
const SAMPLE: usize = 250;
/// Pairs of lies of the slow tier; more with `PROPTEST_CASES`.
const PAIRS: usize = 2_000;
/// Bytes of a huge status text.
const HUGE_TEXT: usize = 100_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sample_of_lies_about_fields_breaks_no_promise() {
    let (mut runner, mut random) = (Runner::start().await, Random::new(seed()));
    let mut report = Report::default();
    let lies = all_lies(&runner);
    for _ in 0..SAMPLE {
        let lie = random.pick(&lies).clone();
        let setting = *random.pick(&runner.settings_with(&lie.place.root));
        run(&mut runner, &mut report, setting, Told::Lies(vec![lie])).await;
    }
    report.finish("a sample of lies", seed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: every field with every lie about it, once"]
async fn each_lie_about_each_field_breaks_no_promise() {
    let (mut runner, mut random) = (Runner::start().await, Random::new(seed()));
    let mut report = Report::default();
    for lie in all_lies(&runner) {
        let setting = *random.pick(&runner.settings_with(&lie.place.root));
        run(&mut runner, &mut report, setting, Told::Lies(vec![lie])).await;
    }
    report.finish("each lie once", seed());
}

async fn run(runner: &mut Runner, report: &mut Report, setting: Setting, told: Told) {
    let begun = Instant::now();
    let (outcome, time, memory) = runner.lie(setting, &told).await;
    let lies = match &told {
        Told::Lies(lies) => lies.iter().map(Lie::to_string).collect::<Vec<_>>().join(" and "),
        Told::Failure(failure) => {
            format!("status {} with {} bytes of text", failure.code, failure.text.len())
        }
    };
    if std::env::var_os("LYING_VERBOSE").is_some() || matches!(outcome, Outcome::Broken { .. }) {
        println!("{:?} {setting}: {lies}: {outcome:?}", begun.elapsed());
    }
    report.add(setting, &lies, &outcome);
    report.measured(time, memory);
}

fn all_lies(runner: &Runner) -> Vec<Lie> {
    runner.answers().iter().flat_map(|answer| lies_about(answer, seed())).collect()
}

fn seed() -> u64 {
    std::env::var("LYING_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED)
}

/// How many cases: `usual`, or more where `PROPTEST_CASES` says so.
fn cases(usual: usize) -> usize {
    let cases = usual.max(ProptestConfig::default().cases as usize);
    println!("{cases} cases");
    cases
}

/// The part of the full product to run, and how many there are: `LYING_PART=3/8` is the fourth of
/// eight. All of it by default.
fn part() -> (usize, usize) {
    let Ok(text) = std::env::var("LYING_PART") else { return (0, 1) };
    let numbers = text.split_once('/').and_then(|(part, parts)| {
        Some((part.parse().ok()?, parts.parse::<std::num::NonZeroUsize>().ok()?.get()))
    });
    numbers.expect("LYING_PART is like 3/8")
}

/// What takes too long for the slow tests: `cargo test --release --test lying -- --ignored soak::`.
mod soak {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "soak: random pairs of lies; PROPTEST_CASES sets how many"]
    async fn random_pairs_of_lies_break_no_promise() {
        let (mut runner, mut random) = (Runner::start().await, Random::new(seed()));
        let mut report = Report::default();
        let (lies, settings) = (all_lies(&runner), Setting::all());
        let of_setting = |setting| {
            let gets = |lie: &&Lie| runner.settings_with(&lie.place.root).contains(&setting);
            (setting, lies.iter().filter(gets).collect())
        };
        let choices: Vec<(Setting, Vec<&Lie>)> = settings.into_iter().map(of_setting).collect();
        for _ in 0..cases(PAIRS) {
            let (setting, of_setting) = random.pick(&choices);
            let mut pair = [(); 2].map(|()| (*random.pick(of_setting)).clone());
            pair.iter_mut().for_each(|lie| lie.seed = random.next());
            // What fills an answer comes last, so that this process does not take it apart again.
            pair.sort_by_key(|lie| lie.mutation.fills());
            run(&mut runner, &mut report, *setting, Told::Lies(pair.to_vec())).await;
        }
        report.finish("random pairs of lies", seed());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "soak: every field with every lie in every setting"]
    async fn each_lie_in_each_setting_breaks_no_promise() {
        let mut runner = Runner::start().await;
        let mut report = Report::default();
        let (part, parts) = part();
        for lie in all_lies(&runner).into_iter().skip(part).step_by(parts) {
            for setting in runner.settings_with(&lie.place.root) {
                run(&mut runner, &mut report, setting, Told::Lies(vec![lie.clone()])).await;
            }
        }
        report.finish(&format!("part {part} of {parts} of the full product"), seed());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "soak: every setting with every status"]
    async fn each_status_in_each_setting_breaks_no_promise() {
        let mut runner = Runner::start().await;
        let mut report = Report::default();
        // 1 is success; 2, 4 and 14 are retried with growing pauses, as after an outage.
        let codes = (0..=17).filter(|code| ![1, 2, 4, 14].contains(code));
        let codes = codes.chain([10_019, 99_999, u64::MAX]);
        for code in codes {
            for setting in Setting::all() {
                for text in
                    [String::new(), "object not found: x".to_owned(), "é".repeat(HUGE_TEXT / 2)]
                {
                    let told = Told::Failure(FailureLie { code, text });
                    run(&mut runner, &mut report, setting, told).await;
                }
            }
        }
        report.finish("each status in each setting", seed());
    }
}
