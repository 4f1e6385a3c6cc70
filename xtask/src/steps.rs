//! Runs of cargo, one after the other, each shown with the time it took.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::{Failure, codegen, fuzz, root};

/// Steps taken so far, for the table at the end.
#[derive(Default)]
struct Steps(Vec<(String, Duration)>);

impl Steps {
    /// Runs cargo in the workspace's root.
    fn cargo(&mut self, arguments: &[&str], variables: &[(&str, &str)]) -> Result<(), Failure> {
        let name = format!("cargo {}", arguments.join(" "));
        self.take(name, || cargo(arguments, variables))
    }

    /// Does something and notes how long it took.
    fn take(
        &mut self,
        name: String,
        step: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        println!("── {name}");
        let begun = Instant::now();
        let outcome = step();
        self.0.push((name, begun.elapsed()));
        outcome
    }

    /// Prints what took how long. The output of the last step stays the last thing but this.
    fn report(&self) {
        let total: Duration = self.0.iter().map(|(_, time)| *time).sum();
        println!("\n  seconds  step");
        for (name, time) in &self.0 {
            println!("  {:7.1}  {name}", time.as_secs_f64());
        }
        println!("  {:7.1}  all", total.as_secs_f64());
    }
}

/// Runs cargo in the workspace's root.
fn cargo(arguments: &[&str], variables: &[(&str, &str)]) -> Result<(), Failure> {
    let status = cargo_command(arguments).envs(variables.iter().copied()).status()?;
    let name = format!("cargo {}", arguments.join(" "));
    if status.success() { Ok(()) } else { Err(format!("{name} failed").into()) }
}

/// A cargo to run in the workspace's root.
pub(crate) fn cargo_command(arguments: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(root());
    // Set by `cargo run` for this program; inherited, it would rebuild dependencies that read it.
    for variable in ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PKG_VERSION"] {
        command.env_remove(variable);
    }
    command
}

pub(crate) fn check() -> Result<(), Failure> {
    let mut steps = Steps::default();
    let deny = [("RUSTDOCFLAGS", "-D warnings")];
    steps.cargo(&["fmt", "--all", "--check"], &[])?;
    codegen::run(true)?;
    // Workspaces of their own: nothing else notices when their lock files are old.
    for manifest in ["fuzz/Cargo.toml", "tests/interop/storj/Cargo.toml"] {
        let locked = ["tree", "--manifest-path", manifest, "--locked", "--depth", "0"];
        steps.cargo(&locked, &[])?;
    }
    let lints = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    steps.cargo(&lints, &[])?;
    steps.cargo(&["doc", "--workspace", "--no-deps"], &deny)?;
    steps.cargo(&["test", "--package", "uplink", "--test", "architecture"], &[])?;
    steps.report();
    Ok(())
}

/// Seconds that the slow tests give each fuzz target.
const FUZZ_SECONDS: u32 = 60;

/// Slow tests are marked `#[ignore = "slow: …"]`; a minute of each fuzz target comes after them.
pub(crate) fn test(slow: bool) -> Result<(), Failure> {
    let mut steps = Steps::default();
    if slow {
        let ignored = ["test", "--workspace", "--tests", "--", "--ignored", "--nocapture"];
        // Tests and modules of that name take long and are run by hand.
        let ignored = [&ignored[..], &["--skip", "soak"]].concat();
        steps.cargo(&ignored, &[("UPLINK_TEST_SLOW", "1")])?;
        steps.take("cargo xtask fuzz".into(), || fuzz::run(&[], FUZZ_SECONDS))?;
    } else {
        steps.cargo(&["test", "--workspace"], &[])?;
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
