//! `uplink dev`: runs a network on this machine until it is interrupted, and controls the running
//! one.

mod control;
mod keys;
mod ready;
mod serve;

use std::io::{self, BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};

use uplink_testnet::{Network, NetworkError};

use self::control::{NodeState, Request, Response};
use crate::args::dev::{DataArgs, Dev, DevCommand, NodeCommand, StartArgs};
use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::output::Output;
use crate::text::binary_size;

/// Runs a network, or sends a request to a running one.
pub(crate) async fn run(args: Dev, context: &Context) -> Outcome {
    match args.command {
        None => start(args.start, context).await,
        Some(DevCommand::Project { name, data }) => {
            let response = control::send(&directory(&data)?, &Request::Project { name }).await?;
            let Response::Project(ready) = response else {
                return Err(control::unexpected_response());
            };
            ready.print(context.out)
        }
        Some(DevCommand::Node(command)) => {
            let (data, request) = node_request(command);
            let response = control::send(&directory(&data)?, &request).await?;
            let Response::Nodes(nodes) = response else {
                return Err(control::unexpected_response());
            };
            list(&nodes, context.out)
        }
    }
}

fn node_request(command: NodeCommand) -> (DataArgs, Request) {
    match command {
        NodeCommand::List { data } => (data, Request::Nodes),
        NodeCommand::Stop { node } => (node.data, Request::Stop { node: node.node }),
        NodeCommand::Start { node } => (node.data, Request::Start { node: node.node }),
        NodeCommand::Slow { node, latency } => {
            (node.data, Request::Slow { node: node.node, milliseconds: latency })
        }
    }
}

/// Returns the directory of the network.
fn directory(args: &DataArgs) -> Outcome<PathBuf> {
    if let Some(directory) = &args.data {
        return std::path::absolute(directory)
            .map_err(|error| Failure::io(format_args!("cannot use {directory:?}"), &error));
    }
    let absolute = |variable| {
        let path = std::env::var_os(variable).map(PathBuf::from);
        path.filter(|path: &PathBuf| path.is_absolute())
    };
    let home = || absolute("HOME").map(|home| home.join(".local/share"));
    let data = absolute("XDG_DATA_HOME").or_else(home).ok_or_else(|| {
        let text = "cannot locate the network: neither XDG_DATA_HOME nor HOME is set; use --data";
        Failure::new(Exit::Other, text)
    })?;
    Ok(data.join("uplink").join("dev"))
}

async fn start(args: StartArgs, context: &Context) -> Outcome {
    let mut options = args.network.options();
    if !args.ephemeral {
        let directory = directory(&args.data)?;
        if args.reset {
            if !args.yes {
                confirm_reset(&directory, context).await?;
            }
            options = options.reset();
        }
        options = options.directory(directory);
    }
    if let Some(listen) = args.listen {
        options = options.listen(listen);
    }
    let network = Network::start(options).await.map_err(|error| match error {
        error @ NetworkError::Port { .. } => {
            Failure::new(Exit::Conflict, format!("{error}; choose another with --listen"))
        }
        error => error.into(),
    })?;
    serve::run(network, args.ephemeral, context).await
}

/// Asks for confirmation to delete an existing network, and fails if it is denied.
async fn confirm_reset(directory: &Path, context: &Context) -> Outcome {
    let exists = directory.join(uplink_testnet::NETWORK_FILE).exists();
    if !exists || prompt_reset(directory, context).await? {
        return Ok(());
    }
    Err(Failure::new(Exit::Other, format!("kept the network in {}", directory.display())))
}

async fn prompt_reset(directory: &Path, context: &Context) -> Outcome<bool> {
    if !io::stdin().is_terminal() {
        let text = "cannot confirm --reset: standard input is not a terminal; add --yes";
        return Err(Failure::usage(text));
    }
    let directory = directory.display();
    let prompt = format!("Delete the network in {directory} and all data stored in it? [y/N] ");
    let answer = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        eprint!("{prompt}");
        io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    let answer = tokio::select! {
        answer = answer => answer.map_err(io::Error::from).and_then(|line| line),
        interrupted = context.interrupt.wait() => return Err(interrupted),
    };
    let answer = answer.map_err(|error| Failure::io("cannot read standard input", &error))?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

/// Prints a table of nodes, or a JSON line for each.
fn list(nodes: &[NodeState], out: Output) -> Outcome {
    let heading = format!(
        "{:>4}  {:<8} {:<21} {:>7} {:>11}  id",
        "node", "state", "address", "pieces", "stored"
    );
    out.line(out.bold(heading))?;
    for node in nodes {
        out.object(node)?;
        let state = match (node.running, node.latency_ms) {
            (false, _) => "stopped".to_owned(),
            (true, 0) => "running".to_owned(),
            (true, latency) => format!("+{latency} ms"),
        };
        let padded = format!("{state:<8}");
        let state = if node.running { out.green(padded) } else { out.red(padded) };
        let pieces = node.pieces.map(|pieces| pieces.to_string()).unwrap_or_default();
        let stored = node.stored.map(binary_size).unwrap_or_default();
        let index = node.index;
        let address = &node.address;
        let id = out.dim(&node.id);
        out.line(format_args!("{index:>4}  {state} {address:<21} {pieces:>7} {stored:>11}  {id}"))?;
    }
    Ok(())
}
