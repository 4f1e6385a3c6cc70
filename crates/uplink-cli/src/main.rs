//! The command `uplink`: buckets, objects and access grants from a terminal or a script. What users
//! meet, exit codes and JSON included, is described in `docs/CLI.md`.

mod access;
mod access_store;
mod args;
mod batch;
mod bucket;
mod cat;
mod cp;
mod demo;
mod dev;
mod failure;
mod interrupt;
mod local;
mod ls;
mod network;
mod output;
mod pending;
mod progress;
mod record;
mod rm;
mod secret_input;
mod stat;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use tokio::time::{Instant, sleep};
use uplink::Project;

use crate::access_store::AccessStore;
use crate::args::{AccessArgs, Command, CommandLine};
use crate::batch::Batch;
use crate::failure::{Exit, Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::Output;

/// What every command works with.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) out: Output,
    pub(crate) store: AccessStore,
    pub(crate) interrupt: Interrupt,
    /// Failures of single objects, which are printed when the command ends.
    pub(crate) batch: Arc<Batch>,
    works_behind: Arc<AtomicBool>,
}

impl Context {
    /// Opens the project of the access grant that a command was given.
    pub(crate) fn project(&self, args: &AccessArgs) -> Outcome<Project> {
        Ok(Project::open(&self.store.access(args.access.as_deref())?)?)
    }

    /// Says that tasks may outlive the command if it fails, like those of an upload that tell the
    /// satellite it is given up.
    pub(crate) fn leaves_work_behind(&self) {
        self.works_behind.store(true, Ordering::Relaxed);
    }
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
        batch: Arc::default(),
        works_behind: Arc::default(),
    };
    // On the heap, since the futures of some commands are large.
    let command = Box::pin(dispatch(line.command, &context));
    let outcome = tokio::select! {
        outcome = command => outcome,
        failure = context.interrupt.must_end() => Err(failure),
    };
    if outcome.is_err() && context.works_behind.load(Ordering::Relaxed) {
        tokio::select! {
            () = settle() => {}
            _ = context.interrupt.again() => {}
        }
    }
    print_failures(&context.batch);
    outcome
}

async fn dispatch(command: Command, context: &Context) -> Outcome {
    match command {
        Command::Access(command) => access::run(command, context).await,
        Command::Mb(args) => bucket::make(args, context).await,
        Command::Rb(args) => bucket::remove(args, context).await,
        Command::Ls(args) => ls::run(args, context).await,
        Command::Cp(args) => cp::run(args, context).await,
        Command::Cat(args) => cat::run(args, context).await,
        Command::Rm(args) => rm::run(args, context).await,
        Command::Stat(args) => stat::run(args, context).await,
        Command::Dev(arguments) => dev::run(arguments, context).await,
        Command::Demo(arguments) => demo::run(arguments, context).await,
    }
}

/// Waits until all tasks but the one that watches for signals have ended.
async fn settle() {
    let deadline = Instant::now() + SETTLE_DEADLINE;
    let metrics = tokio::runtime::Handle::current().metrics();
    while metrics.num_alive_tasks() > 1 && Instant::now() < deadline {
        sleep(SETTLE_STEP).await;
    }
}

/// Time that tasks left behind get. An upload gives itself five seconds.
const SETTLE_DEADLINE: Duration = Duration::from_secs(6);
const SETTLE_STEP: Duration = Duration::from_millis(5);

/// Prints what failed of many objects, whether the command went on or was interrupted.
fn print_failures(batch: &Batch) {
    let (failures, others) = batch.take_failures();
    let mut stderr = std::io::stderr().lock();
    for failure in failures {
        // Standard error may be closed: the exit code still tells.
        let _ = writeln!(stderr, "uplink: {failure}");
    }
    if others > 0 {
        let _ = writeln!(stderr, "uplink: {others} more failures are not shown");
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
