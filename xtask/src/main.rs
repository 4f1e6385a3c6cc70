//! Checks, tests, fuzzing, benches and code generation of the workspace: `cargo xtask --help`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod codegen;
mod fuzz;
mod measure;
mod pool;
mod shapes;
mod soak;
mod steps;

/// What a contributor can ask for.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures: runs the benches, all or the named ones, and prints their JSON lines.
    Bench {
        /// Names of files in `benches/` and `tests/interop/benches/`.
        names: Vec<String>,
        /// Arguments for the benches themselves.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Format, lints, docs, generated code and architecture.
    Check,
    /// Writes the Rust code of `proto/` to `crates/uplink-rpc/src/gen`.
    Codegen {
        /// Writes nothing and fails when the committed code differs.
        #[arg(long)]
        check: bool,
    },
    /// Fuzzes, guided by coverage, all targets or the named ones, two at a time on two cores.
    Fuzz {
        /// Names of files in `fuzz/fuzz_targets/`, without their ending.
        targets: Vec<String>,
        /// Seconds for each target.
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Figures of the source tree: circles of imports, lengths of functions and files.
    Measure,
    /// Property tests with very many cases, for hours rather than minutes; or with `--heal` a network
    /// that is broken and healed again and again.
    Soak {
        /// Breaks and heals a network for this many seconds instead, an hour if none are given.
        #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "3600")]
        heal: Option<u64>,
        /// Cases of each property.
        #[arg(long, default_value_t = 1_000_000)]
        cases: u32,
        /// Part of the names of the properties to run; all if it is left out.
        #[arg(default_value = "")]
        name: String,
    },
    /// All fast tests, or with `--slow` the slow ones.
    Test {
        /// Runs the tests that are marked slow, only those, and then a minute of each fuzz target.
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

/// The workspace's root folder.
fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map_or_else(|| manifest.clone(), PathBuf::from)
}
