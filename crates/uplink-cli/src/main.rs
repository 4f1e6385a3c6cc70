//! The command `uplink`: buckets, objects and access grants from a terminal or a script.

mod access;
mod access_store;
mod args;
mod failure;
mod interrupt;
mod output;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::access_store::AccessStore;
use crate::args::{Command, CommandLine};
use crate::failure::{Exit, Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::Output;

/// What every command works with.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) out: Output,
    pub(crate) store: AccessStore,
    pub(crate) interrupt: Interrupt,
}

fn main() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) if error.use_stderr() => return end(Err(error.into())),
        Err(help) => return end(print_help(&help)),
    };
    log_to_stderr();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return end(Err(Failure::io("cannot start", &error))),
    };
    let outcome = runtime.block_on(run(line));
    // A read of standard input that nobody waits for any longer must not keep the process.
    runtime.shutdown_background();
    end(outcome)
}

async fn run(line: CommandLine) -> Outcome {
    let context = Context {
        out: Output::new(line.json, line.quiet),
        store: AccessStore::open()?,
        interrupt: Interrupt::watch()?,
    };
    tokio::select! {
        outcome = dispatch(line.command, &context) => outcome,
        failure = context.interrupt.must_end() => Err(failure),
    }
}

async fn dispatch(command: Command, context: &Context) -> Outcome {
    match command {
        Command::Access(command) => access::run(command, context).await,
    }
}

/// Prints the sentence of a failure and returns the exit code.
fn end(outcome: Outcome) -> ExitCode {
    let Err(failure) = outcome else { return ExitCode::SUCCESS };
    if failure.exit() != Exit::BrokenPipe {
        // Standard error may be closed: the exit code still tells.
        let _ = writeln!(std::io::stderr(), "uplink: {failure}");
    }
    failure.code()
}

fn print_help(help: &clap::Error) -> Outcome {
    help.print().map_err(|error| Failure::io("cannot write to standard output", &error))
}

/// Sends the log to standard error, as `UPLINK_LOG` filters it: warnings unless told otherwise.
fn log_to_stderr() {
    use tracing_subscriber::filter::{EnvFilter, LevelFilter};
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::WARN.into())
        .with_env_var("UPLINK_LOG")
        .from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
