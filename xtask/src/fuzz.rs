//! Coverage-guided fuzzing with the stable compiler.
//!
//! The targets are built in a separate folder, instrumented by LLVM's own pass, and linked with
//! libFuzzer. New findings are written to `fuzz/` below the target folder; only seeds and regressions
//! are committed, in `fuzz/corpus/`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Failure, cargo, pool, root};

/// Instruments edges and comparisons. No sanitizer: safe Rust does not need one, and none works with
/// the stable compiler.
const INSTRUMENTATION: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Maximum bytes of an input, memory in MiB and seconds per input.
const LIMITS: [&str; 3] = ["-max_len=8192", "-rss_limit_mb=1024", "-timeout=10"];

/// Output lines printed for a target with a finding.
const MAX_LINES: usize = 40;

/// Builds the targets and runs each, one per processor at a time.
///
/// Runs all of them before it fails with the findings.
pub(crate) fn run(names: &[String], seconds: u32) -> Result<(), Failure> {
    let known = targets()?;
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        return Err(format!(
            "unknown fuzz target {unknown:?}: must be one of {}",
            known.join(", ")
        )
        .into());
    }
    let chosen = if names.is_empty() { known } else { names.to_vec() };
    let programs = build()?;
    report(pool::each(chosen, |name| Outcome::of(&name, &programs, seconds)))
}

/// Returns the names of all targets, sorted.
fn targets() -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root().join("fuzz/fuzz_targets"))? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// Builds all targets and returns the folder of their programs.
fn build() -> Result<PathBuf, Failure> {
    let host = host()?;
    let target = folder().join("build");
    let mut build = cargo::command(&["build", "--release", "--locked", "--manifest-path"]);
    // Naming the host as the target keeps the instrumentation out of build scripts.
    build.arg("fuzz/Cargo.toml").args(["--target", &host, "--target-dir"]).arg(&target);
    build.env("RUSTFLAGS", INSTRUMENTATION);
    if !build.status()?.success() {
        return Err("failed to build the fuzz targets (a C++ compiler is required)".into());
    }
    Ok(target.join(host).join("release"))
}

/// Returns the folder of all uncommitted files of fuzzing.
fn folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    root().join(target.unwrap_or_else(|| "target".into())).join("fuzz")
}

fn host() -> Result<String, Failure> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output()?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("rustc -vV prints no host")?.to_owned())
}

/// The result of a target.
struct Outcome {
    name: String,
    result: Result<bool, Failure>,
    time: Duration,
    output: String,
}

impl Outcome {
    fn of(name: &str, programs: &Path, seconds: u32) -> Self {
        println!("── fuzzing {name} for {seconds} s");
        let started = Instant::now();
        let log = folder().join("output").join(name);
        let result = fuzz(name, programs, seconds, &log);
        let output = fs::read(&log).unwrap_or_default();
        let output = String::from_utf8_lossy(&output).into_owned();
        Self { name: name.to_owned(), result, time: started.elapsed(), output }
    }

    /// Returns a figure that the fuzzer prints at its end.
    fn figure(&self, label: &str) -> &str {
        let lines = self.output.lines().rev();
        let mut values = lines.filter_map(|line| line.split_once(label).map(|(_, rest)| rest));
        values.next().and_then(|rest| rest.split_whitespace().next()).unwrap_or("–")
    }

    /// Returns the description of a finding or failure, if any.
    fn finding(&self) -> Option<String> {
        let cause = match &self.result {
            Ok(true) => return None,
            Ok(false) => format!("artifact {}", self.figure("Test unit written to ")),
            Err(error) => error.to_string(),
        };
        let lines: Vec<&str> = self.output.lines().collect();
        let shown = lines[lines.len().saturating_sub(MAX_LINES)..].join("\n");
        Some(format!("── finding in {}: {cause}\n{shown}", self.name))
    }
}

/// Runs one target. Returns whether it ended without a finding.
fn fuzz(name: &str, programs: &Path, seconds: u32, log: &Path) -> Result<bool, Failure> {
    let new_inputs = folder().join("corpus").join(name);
    let artifacts = folder().join("artifacts");
    for needed in [&new_inputs, &artifacts, &folder().join("output")] {
        fs::create_dir_all(needed)?;
    }
    let output = File::create(log)?;
    let status = Command::new(programs.join(name))
        .args(LIMITS)
        .args([format!("-max_total_time={seconds}"), "-print_final_stats=1".into()])
        .arg(format!("-artifact_prefix={}/{name}-", artifacts.display()))
        // libFuzzer writes new inputs to the first folder and only reads the committed one.
        .args([new_inputs, root().join("fuzz/corpus").join(name)])
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .status()?;
    Ok(status.success())
}

/// Prints the table, and fails if there are findings.
fn report(mut outcomes: Vec<Outcome>) -> Result<(), Failure> {
    outcomes.sort_by(|a, b| a.name.cmp(&b.name));
    println!("\n  target              executions     exec/s  coverage  seconds");
    for outcome in &outcomes {
        println!(
            "  {:18}  {:>10}  {:>9}  {:>8}  {:7.1}",
            outcome.name,
            outcome.figure("stat::number_of_executed_units:"),
            outcome.figure("stat::average_exec_per_sec:"),
            outcome.figure(" cov: "),
            outcome.time.as_secs_f64(),
        );
    }
    let findings: Vec<String> = outcomes.iter().filter_map(Outcome::finding).collect();
    if findings.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{}\nCommit the input to fuzz/corpus/TARGET/ together with the fix.",
        findings.join("\n")
    )
    .into())
}
