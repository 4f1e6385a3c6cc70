//! The command `uplink`: buckets, objects and access grants from a terminal or a script.
//! `docs/CLI.md` describes its interface, including exit codes and JSON output.

mod access;
mod access_store;
mod action;
mod args;
mod batch;
mod cat;
mod context;
mod cp;
mod demo;
mod dev;
mod dry_run;
mod failure;
mod filter;
mod grant_text;
mod interrupt;
mod local;
mod ls;
mod mb;
mod mv;
mod network;
mod output;
mod pending;
mod progress;
mod rb;
mod record;
mod rm;
mod secret_input;
mod selection;
mod several;
mod stat;
mod summary;
mod text;
mod transfer;
mod waiting;
mod walk;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::time::{Instant, sleep};

use crate::args::expiry::parse_lifetime;
use crate::args::{Command, CommandLine};
use crate::batch::Batch;
use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::output::Output;
use crate::waiting::Waiting;

fn main() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) if error.use_stderr() => return end(Err(error.into())),
        Err(help) => return end(print_help(&help)),
    };
    log_to_stderr(Output::new(line.json, line.quiet));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return end(Err(Failure::io("cannot start the runtime", &error))),
    };
    let outcome = runtime.block_on(run(line));
    // Workers must have ended: AWS-LC aborts a process whose threads begin a TLS handshake while it exits.
    // An abandoned read of standard input must not block the exit.
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    end(outcome)
}

async fn run(line: CommandLine) -> Outcome {
    let call_timeout = parse_lifetime("timeout", &line.timeout)?;
    let context = Context::new(Output::new(line.json, line.quiet), call_timeout)?;
    // Boxed because the futures of some commands are large.
    let command = Box::pin(dispatch(line.command, &context));
    let outcome = tokio::select! {
        outcome = command => outcome,
        failure = context.interrupt.cancelled() => Err(failure),
    };
    if outcome.is_err() && context.waits_for_tasks() {
        tokio::select! {
            () = drain_tasks() => {}
            _ = context.interrupt.next() => {}
        }
    }
    print_failures(&context.batch);
    let summary = context.batch.summary(outcome.is_ok());
    let printed = summary.map_or(Ok(()), |summary| summary.print(context.out));
    outcome.and(printed)
}

async fn dispatch(command: Command, context: &Context) -> Outcome {
    match command {
        Command::Access(command) => access::run(command, context).await,
        Command::Mb(args) => mb::run(args, context).await,
        Command::Rb(args) => rb::run(args, context).await,
        Command::Ls(args) => ls::run(args, context).await,
        Command::Cp(args) => cp::run(args, context).await,
        Command::Mv(args) => mv::run(args, context).await,
        Command::Cat(args) => cat::run(args, context).await,
        Command::Rm(args) => rm::run(args, context).await,
        Command::Stat(args) => stat::run(args, context).await,
        Command::Share(args) => access::share::run(&args, context),
        Command::Dev(args) => dev::run(args, context).await,
        Command::Demo(args) => demo::run(args, context).await,
    }
}

/// Waits until all tasks except the signal watcher have ended.
async fn drain_tasks() {
    let deadline = Instant::now() + DRAIN_TIMEOUT;
    let metrics = tokio::runtime::Handle::current().metrics();
    while metrics.num_alive_tasks() > 1 && Instant::now() < deadline {
        sleep(DRAIN_POLL_INTERVAL).await;
    }
}

/// Workers end as soon as they have polled their current task.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(500);

/// Longer than the five seconds that an upload takes at most to abort.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(6);
const DRAIN_POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Prints the collected failures of single objects.
fn print_failures(batch: &Batch) {
    let (failures, omitted) = batch.take_failures();
    let mut stderr = std::io::stderr().lock();
    for failure in failures {
        // Best effort: standard error may be closed, the exit code still reports the failure.
        let _ = writeln!(stderr, "uplink: {failure}");
    }
    if omitted > 0 {
        let _ = writeln!(stderr, "uplink: {omitted} more failures not shown");
    }
}

/// Prints the message of a failure and returns the exit code.
fn end(outcome: Outcome) -> ExitCode {
    let Err(failure) = outcome else { return ExitCode::SUCCESS };
    if failure.exit() != Exit::BrokenPipe {
        // Best effort, as above.
        let _ = writeln!(std::io::stderr(), "uplink: {failure}");
    }
    failure.code()
}

fn print_help(help: &clap::Error) -> Outcome {
    help.print().map_err(|error| Failure::io("cannot write to standard output", &error))
}

/// Sends the log to standard error, filtered by `UPLINK_LOG`: warnings by default. Long waits are notes.
fn log_to_stderr(out: Output) {
    use tracing_subscriber::filter::{EnvFilter, LevelFilter, filter_fn};
    use tracing_subscriber::layer::{Layer, SubscriberExt};
    use tracing_subscriber::util::SubscriberInitExt;
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::WARN.into())
        .with_env_var("UPLINK_LOG")
        .from_env_lossy();
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(filter);
    let of_waits = filter_fn(|metadata| metadata.target() == waiting::TARGET);
    let waits = Waiting(out).with_filter(of_waits);
    tracing_subscriber::registry().with(log).with(waits).init();
}
