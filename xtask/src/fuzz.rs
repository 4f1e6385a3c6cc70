//! Coverage-guided fuzzing with the stable compiler.
//!
//! The targets are built in a folder of their own, instrumented by LLVM's own pass, and linked with
//! libFuzzer. What is found goes to `fuzz/` below the target folder; only seeds and regressions are
//! committed, in `fuzz/corpus/`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Failure, pool, root, steps};

/// Counts every edge taken and what comparisons compare. There is no sanitizer: safe Rust has no
/// use for one, and none works with the stable compiler.
const INSTRUMENTATION: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Bytes of an input, memory in MiB and seconds for one input, at most.
const LIMITS: [&str; 3] = ["-max_len=8192", "-rss_limit_mb=1024", "-timeout=10"];

/// Lines shown of the output of a target that found something.
const LINES_SHOWN: usize = 40;

/// Builds the targets and runs each, as many at a time as there are processors.
///
/// Fails when a target found something, after all have run.
pub(crate) fn run(names: &[String], seconds: u32) -> Result<(), Failure> {
    let known = targets()?;
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        return Err(format!("no fuzz target {unknown:?}; there are {}", known.join(", ")).into());
    }
    let chosen = if names.is_empty() { known } else { names.to_vec() };
    let programs = build()?;
    report(pool::each(chosen, |name| Outcome::of(&name, &programs, seconds)))
}

/// Names of all targets, sorted.
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
    let mut cargo = steps::cargo_command(&["build", "--release", "--locked", "--manifest-path"]);
    // Naming the host as the target keeps the instrumentation out of build scripts.
    cargo.arg("fuzz/Cargo.toml").args(["--target", &host, "--target-dir"]).arg(&target);
    cargo.env("RUSTFLAGS", INSTRUMENTATION);
    if !cargo.status()?.success() {
        return Err("the fuzz targets do not build (a C++ compiler is needed, too)".into());
    }
    Ok(target.join(host).join("release"))
}

/// Where everything about fuzzing goes that is not committed.
fn folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    root().join(target.unwrap_or_else(|| "target".into())).join("fuzz")
}

fn host() -> Result<String, Failure> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output()?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("rustc tells no host")?.to_owned())
}

/// What became of a target.
struct Outcome {
    name: String,
    result: Result<bool, Failure>,
    time: Duration,
    output: String,
}

impl Outcome {
    fn of(name: &str, programs: &Path, seconds: u32) -> Self {
        println!("── fuzzing {name} for {seconds} s");
        let (begun, log) = (Instant::now(), folder().join("output").join(name));
        let result = fuzz(name, programs, seconds, &log);
        let output = fs::read(&log).unwrap_or_default();
        let output = String::from_utf8_lossy(&output).into_owned();
        Self { name: name.to_owned(), result, time: begun.elapsed(), output }
    }

    /// A figure that the fuzzer prints at its end.
    fn figure(&self, label: &str) -> &str {
        let lines = self.output.lines().rev();
        let mut values = lines.filter_map(|line| line.split_once(label).map(|(_, rest)| rest));
        values.next().and_then(|rest| rest.split_whitespace().next()).unwrap_or("–")
    }

    /// What went wrong, if anything did.
    fn finding(&self) -> Option<String> {
        let cause = match &self.result {
            Ok(true) => return None,
            Ok(false) => format!("artifact {}", self.figure("Test unit written to ")),
            Err(error) => error.to_string(),
        };
        let lines: Vec<&str> = self.output.lines().collect();
        let shown = lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n");
        Some(format!("── {} found something: {cause}\n{shown}", self.name))
    }
}

/// Runs one target; true if it found nothing.
fn fuzz(name: &str, programs: &Path, seconds: u32, log: &Path) -> Result<bool, Failure> {
    let (found, artifacts) = (folder().join("corpus").join(name), folder().join("artifacts"));
    for needed in [&found, &artifacts, &folder().join("output")] {
        fs::create_dir_all(needed)?;
    }
    let output = File::create(log)?;
    let status = Command::new(programs.join(name))
        .args(LIMITS)
        .args([format!("-max_total_time={seconds}"), "-print_final_stats=1".into()])
        .arg(format!("-artifact_prefix={}/{name}-", artifacts.display()))
        // New inputs go to the first folder; the committed one is only read.
        .args([found, root().join("fuzz/corpus").join(name)])
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .status()?;
    Ok(status.success())
}

/// Prints what was done, and fails with what was found.
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
        "{}\nAn input that broke something belongs into fuzz/corpus/TARGET/ with the repair.",
        findings.join("\n")
    )
    .into())
}
