//! The sequences of cargo commands behind `check`, `test` and `bench`, each command timed.

use std::time::{Duration, Instant};

use crate::{Failure, cargo, codegen, fuzz, programs};

/// Completed steps and their times, for the table at the end.
#[derive(Default)]
struct Steps(Vec<(String, Duration)>);

impl Steps {
    /// Runs cargo as a step.
    fn cargo(&mut self, arguments: &[&str], variables: &[(&str, &str)]) -> Result<(), Failure> {
        let name = format!("cargo {}", arguments.join(" "));
        self.run(name, || cargo::run(arguments, variables))
    }

    /// Runs a step and records its time.
    fn run(
        &mut self,
        name: String,
        step: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        println!("── {name}");
        let started = Instant::now();
        let outcome = step();
        self.0.push((name, started.elapsed()));
        outcome
    }

    /// Prints the table of times. Only called on success, so that a failure is the last output.
    fn report(&self) {
        let total: Duration = self.0.iter().map(|(_, time)| *time).sum();
        println!("\n  seconds  step");
        for (name, time) in &self.0 {
            println!("  {:7.1}  {name}", time.as_secs_f64());
        }
        println!("  {:7.1}  all", total.as_secs_f64());
    }
}

/// Formats all sources, or with `check` only compares them.
///
/// The import style needs options that stable rustfmt accepts only on its command line.
pub(crate) fn format(check: bool) -> Result<(), Failure> {
    let style = "imports_granularity=Module,group_imports=StdExternalCrate";
    let mut arguments = vec!["fmt", "--all", "--", "--config", style];
    arguments.extend(check.then_some("--check"));
    cargo::run(&arguments, &[])
}

pub(crate) fn check() -> Result<(), Failure> {
    let mut steps = Steps::default();
    let deny = [("RUSTDOCFLAGS", "-D warnings")];
    steps.run("cargo xtask fmt --check".into(), || format(true))?;
    codegen::run(true)?;
    // Separate workspaces: no other step checks that their lock files are up to date.
    for manifest in ["fuzz/Cargo.toml", "tests/interop/storj/Cargo.toml"] {
        let locked = ["tree", "--manifest-path", manifest, "--locked", "--depth", "0"];
        steps.cargo(&locked, &[])?;
    }
    let lints = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    steps.cargo(&lints, &[])?;
    let docs = ["doc", "--workspace", "--no-deps", "--features", "uplink/blocking"];
    steps.cargo(&docs, &deny)?;
    steps.report();
    Ok(())
}

/// Test programs whose tests also run over DRPC, the transport of the public network.
const TRANSPORT_TESTS: [&str; 3] = ["api", "satellite", "node"];

/// Modules of these programs whose tests do not depend on the transport.
const OTHER_MODULES: &[&str] = &[
    "blocking::",
    "clocks::",
    "contact::",
    "drpc_node::",
    "edge::",
    "examples::",
    "forged::",
    "kill::",
    "marker::",
    "memory::",
    "plain_client::",
    "program::",
    "random::",
    "revocation::",
    "start::",
    "threads::",
    "times::",
    "vectors::",
];

/// Runs the tests that depend on the transport over DRPC, with more arguments of the test programs.
fn test_over_drpc(steps: &mut Steps, more: &[&str]) -> Result<(), Failure> {
    for program in programs::build(&["--workspace"])? {
        if !TRANSPORT_TESTS.contains(&program.name.as_str()) {
            continue;
        }
        let mut command = program.command();
        command.args(more).env("UPLINK_TEST_TRANSPORT", "drpc");
        for module in OTHER_MODULES {
            command.args(["--skip", module]);
        }
        let name = format!("{} over DRPC", program.name);
        steps.run(name.clone(), || match command.status()?.success() {
            true => Ok(()),
            false => Err(format!("{name} failed").into()),
        })?;
    }
    Ok(())
}

/// Seconds of fuzzing per target in the slow tests.
const FUZZ_SECONDS: u32 = 60;

/// Runs the fast tests, or the slow ones, marked `#[ignore = "slow: …"]`, followed by fuzzing.
pub(crate) fn test(slow: bool) -> Result<(), Failure> {
    let mut steps = Steps::default();
    if slow {
        let ignored = ["test", "--workspace", "--tests", "--", "--ignored", "--nocapture"];
        // By hand: soak tests, which take hours, and the programs of the public network, which take a
        // quarter of an hour to build.
        let ignored = [&ignored[..], &["--skip", "soak", "--skip", "network::"]].concat();
        steps.cargo(&ignored, &[])?;
        test_over_drpc(&mut steps, &["--ignored", "--nocapture", "--skip", "soak"])?;
        steps.run("cargo xtask fuzz".into(), || fuzz::run(&[], FUZZ_SECONDS))?;
    } else {
        steps.cargo(&["test", "--workspace"], &[])?;
        test_over_drpc(&mut steps, &[])?;
    }
    steps.report();
    Ok(())
}

pub(crate) fn bench(names: &[String], arguments: &[String]) -> Result<(), Failure> {
    let mut command = vec!["bench", "--package", "uplink", "--package", "uplink-interop"];
    if names.is_empty() {
        command.push("--benches");
    }
    for name in names {
        command.extend(["--bench", name]);
    }
    command.push("--");
    command.extend(arguments.iter().map(String::as_str));
    Steps::default().cargo(&command, &[])
}
