//! Checks, tests, fuzzing, benches and code generation of the workspace: `cargo xtask --help`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod cargo;
mod codegen;
mod fuzz;
mod measure;
mod pool;
mod programs;
mod shapes;
mod soak;
mod steps;

/// Tasks of a contributor.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs all benchmarks or the named ones, and prints their JSON lines.
    Bench {
        /// Names of files in `benches/` and `tests/interop/benches/`.
        names: Vec<String>,
        /// Arguments for the benchmarks themselves.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Checks format, lints, docs, generated code and architecture.
    Check,
    /// Writes the Rust code of `proto/` to `crates/uplink-rpc/src/gen`.
    Codegen {
        /// Writes nothing and fails if the committed code differs.
        #[arg(long)]
        check: bool,
    },
    /// Formats all sources, imports included.
    Fmt {
        /// Writes nothing and fails if a file would change.
        #[arg(long)]
        check: bool,
    },
    /// Runs coverage-guided fuzzing of all targets or the named ones, one per core at a time.
    Fuzz {
        /// Names of files in `fuzz/fuzz_targets/`, without extension.
        targets: Vec<String>,
        /// Seconds for each target.
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Prints metrics of the source tree: import cycles, lengths, packages, words to avoid.
    Measure,
    /// Runs property tests for hours with very many cases, or with `--heal` a network under repeated faults.
    Soak {
        /// Injects faults into a network for this many seconds instead; an hour by default.
        #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "3600")]
        heal: Option<u64>,
        /// Cases of each property.
        #[arg(long, default_value_t = 1_000_000)]
        cases: u32,
        /// Substring of the names of the properties to run; all by default.
        #[arg(default_value = "")]
        name: String,
    },
    /// Runs all fast tests, or with `--slow` the slow ones.
    Test {
        /// Runs only the slow tests, and then fuzzes each target for a minute.
        #[arg(long)]
        slow: bool,
    },
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Bench { names, arguments } => steps::bench(&names, &arguments),
        Command::Check => steps::check(),
        Command::Codegen { check } => codegen::run(check),
        Command::Fmt { check } => steps::format(check),
        Command::Fuzz { targets, seconds } => fuzz::run(&targets, seconds),
        Command::Measure => {
            measure::print(&root());
            Ok(())
        }
        Command::Soak { heal: Some(seconds), .. } => soak::heal(seconds),
        Command::Soak { heal: None, cases, name } => soak::run(cases, &name),
        Command::Test { slow } => steps::test(slow),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the workspace's root folder.
fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map_or_else(|| manifest.clone(), PathBuf::from)
}
