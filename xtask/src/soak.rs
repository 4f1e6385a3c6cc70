//! Soak tests: property tests with very many cases, timed and counted, and a network under repeated
//! faults.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::programs::Program;
use crate::{Failure, cargo, pool, programs, root};

/// Runs the properties whose path contains `filter`, in release builds.
///
/// Prints the number of cases of each. Runs all of them before it fails.
pub(crate) fn run(cases: u32, filter: &str) -> Result<(), Failure> {
    let mut chosen = properties()?;
    chosen.retain(|property| property.path.contains(filter));
    if chosen.is_empty() {
        return Err(format!("no property matches {filter:?}").into());
    }
    let tests = tests(&chosen)?;
    let outcomes = pool::each(tests, |test| test.run(cases));
    report(outcomes, cases)
}

/// Runs the test of a network under repeated faults for `seconds`.
pub(crate) fn heal(seconds: u64) -> Result<(), Failure> {
    let arguments = ["test", "--release", "--package", "uplink", "--test", "heal", "--"];
    let arguments = [&arguments[..], &["--ignored", "--nocapture"]].concat();
    let mut command = cargo::command(&arguments);
    let status = command.env("UPLINK_HEAL_SECONDS", seconds.to_string()).status()?;
    if status.success() { Ok(()) } else { Err("the fault test failed".into()) }
}

/// A property test in the source.
struct Property {
    package: String,
    name: String,
    /// File and name, as a Rust path.
    path: String,
}

fn properties() -> Result<Vec<Property>, Failure> {
    let mut packages = vec![("uplink".to_owned(), root())];
    for entry in fs::read_dir(root().join("crates"))? {
        let entry = entry?;
        packages.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    let mut properties = Vec::new();
    for (package, folder) in packages {
        for file in ["src", "tests"].iter().flat_map(|part| files(&folder.join(part))) {
            let source = fs::read_to_string(&file)?;
            let module = file.with_extension("");
            let module = module.strip_prefix(root())?.to_string_lossy().replace('/', "::");
            properties.extend(names(&source).into_iter().map(|name| Property {
                package: package.clone(),
                path: format!("{module}::{name}"),
                name,
            }));
        }
    }
    Ok(properties)
}

/// Returns all Rust files below a folder, which may be missing.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let paths = entries.map(|entry| entry.path());
    let inside = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    paths.flat_map(inside).filter(|path| path.extension().is_some_and(|e| e == "rs")).collect()
}

/// Returns the names of the functions in the `proptest!` blocks of a formatted source.
fn names(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut block_end = None;
    for line in source.lines() {
        if let Some(indent) = line.strip_suffix("proptest! {") {
            block_end = Some(format!("{indent}}}"));
        } else if block_end.as_deref() == Some(line) {
            block_end = None;
        } else if block_end.is_some() {
            let name = line.trim_start().strip_prefix("fn ").and_then(|rest| rest.split_once('('));
            names.extend(name.map(|(name, _)| name.to_owned()));
        }
    }
    names
}

/// A compiled property test.
struct Test {
    program: Arc<Program>,
    name: String,
}

/// Builds the packages of the properties and finds their tests.
fn tests(properties: &[Property]) -> Result<Vec<Test>, Failure> {
    let packages: BTreeSet<&str> = properties.iter().map(|each| each.package.as_str()).collect();
    let mut arguments = vec!["--release", "--lib", "--tests"];
    packages.iter().for_each(|package| arguments.extend(["--package", package]));
    let mut tests = Vec::new();
    for program in programs::build(&arguments)? {
        let listed = program.command().args(["--list", "--format=terse"]).output()?;
        let program = Arc::new(program);
        for name in String::from_utf8(listed.stdout)?.lines() {
            let Some(name) = name.strip_suffix(": test") else { continue };
            let last = name.rsplit("::").next();
            if properties.iter().any(|property| last == Some(&property.name)) {
                tests.push(Test { program: Arc::clone(&program), name: name.to_owned() });
            }
        }
    }
    Ok(tests)
}

struct Outcome {
    name: String,
    passed: bool,
    time: Duration,
    output: String,
}

impl Test {
    fn run(self, cases: u32) -> Outcome {
        println!("── {}", self.name);
        let started = Instant::now();
        let output = self
            .program
            .command()
            .args(["--exact", &self.name, "--show-output", "--include-ignored"])
            .env("PROPTEST_CASES", cases.to_string())
            .output();
        let (passed, output) = match output {
            Ok(output) => (output.status.success(), [output.stdout, output.stderr].concat()),
            Err(error) => (false, error.to_string().into_bytes()),
        };
        let output = String::from_utf8_lossy(&output).into_owned();
        Outcome { name: self.name, passed, time: started.elapsed(), output }
    }
}

impl Outcome {
    /// Returns the number of cases that a test printed, if it does not follow `PROPTEST_CASES`.
    fn cases(&self) -> Option<u32> {
        self.output.lines().find_map(|line| line.strip_suffix(" cases")?.parse().ok())
    }
}

fn report(mut outcomes: Vec<Outcome>, cases: u32) -> Result<(), Failure> {
    outcomes.sort_by(|a, b| a.name.cmp(&b.name));
    println!("\n       cases  seconds  property");
    let mut total = 0;
    for outcome in &outcomes {
        let cases = outcome.cases().unwrap_or(cases);
        total += u64::from(cases);
        let failed = if outcome.passed { "" } else { "  FAILED" };
        let seconds = outcome.time.as_secs_f64();
        println!("  {cases:>10}  {seconds:7.1}  {}{failed}", outcome.name);
    }
    println!("  {total:>10}           {} properties", outcomes.len());
    let failed: Vec<&Outcome> = outcomes.iter().filter(|outcome| !outcome.passed).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let outputs: Vec<&str> = failed.iter().map(|outcome| outcome.output.as_str()).collect();
    Err(format!("{}\n{} properties failed", outputs.join("\n"), failed.len()).into())
}
