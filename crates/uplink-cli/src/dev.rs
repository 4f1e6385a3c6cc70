//! `uplink dev`: a network on this machine that stays until it is interrupted, and what others ask
//! of it meanwhile.

mod control;
mod keys;
mod ready;
mod serve;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use uplink_testnet::{Network, NetworkError};

use crate::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::network::NetworkArgs;
use crate::output::Output;

use control::{Answer, NodeState, Request};
use ready::Ready;

/// What is typed after `uplink dev`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Dev {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    start: Start,
}

/// How the network is started.
#[derive(Debug, Args)]
struct Start {
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    place: Place,
    /// Address of the satellite on this machine, kept from then on; a free port if not given
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<std::net::SocketAddr>,
    /// Keep everything in a temporary folder that goes with the network, and store no access grant
    #[arg(long, conflicts_with_all = ["data", "reset"])]
    ephemeral: bool,
    /// Delete the network that is there, after asking, and begin a new one
    #[arg(long)]
    reset: bool,
    /// Delete without asking
    #[arg(long, requires = "reset")]
    yes: bool,
}

/// Where the network is.
#[derive(Debug, Args)]
struct Place {
    /// Folder of the network [default: uplink/dev in $XDG_DATA_HOME or ~/.local/share]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// What can be asked of a running network.
#[derive(Debug, Subcommand)]
enum Command {
    /// Make a fresh project and print its access grant
    Project {
        /// Name of the project; a free one if not given
        name: Option<String>,
        #[command(flatten)]
        place: Place,
    },
    /// List, stop, start or slow down storage nodes
    #[command(subcommand)]
    Node(NodeCommand),
}

/// What can be done with storage nodes.
#[derive(Debug, Subcommand)]
enum NodeCommand {
    /// List all storage nodes
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Stop a storage node: its pieces are out of reach until it is started
    Stop {
        #[command(flatten)]
        node: Selected,
    },
    /// Start a stopped storage node, with the pieces it had
    Start {
        #[command(flatten)]
        node: Selected,
    },
    /// Make every way to and from a storage node take longer
    Slow {
        #[command(flatten)]
        node: Selected,
        /// Milliseconds one way; 0 makes it as fast as before
        #[arg(long, value_name = "MS", default_value_t = 200,
              value_parser = clap::value_parser!(u64).range(..=MAX_LATENCY))]
        latency: u64,
    },
}

/// Milliseconds; with more the satellite would take the node for lost.
const MAX_LATENCY: u64 = 1000;

/// One node of the running network.
#[derive(Debug, Args)]
struct Selected {
    /// Number of the node, or its id
    #[arg(value_name = "N")]
    node: String,
    #[command(flatten)]
    place: Place,
}

/// Starts a network and keeps it, or asks something of a running one.
pub(crate) async fn run(arguments: Dev, context: &Context) -> Outcome {
    match arguments.command {
        None => start(arguments.start, context).await,
        Some(Command::Project { name, place }) => {
            let answer = control::ask(&place.folder()?, &Request::Project { name }).await?;
            let Answer::Project(ready) = answer else { return Err(control::misunderstood()) };
            ready.print(context.out)
        }
        Some(Command::Node(command)) => {
            let (place, request) = command.request();
            let answer = control::ask(&place.folder()?, &request).await?;
            let Answer::Nodes(nodes) = answer else { return Err(control::misunderstood()) };
            list(&nodes, context.out)
        }
    }
}

impl NodeCommand {
    fn request(self) -> (Place, Request) {
        match self {
            Self::List { place } => (place, Request::Nodes),
            Self::Stop { node } => (node.place, Request::Stop { node: node.node }),
            Self::Start { node } => (node.place, Request::Start { node: node.node }),
            Self::Slow { node, latency } => {
                (node.place, Request::Slow { node: node.node, milliseconds: latency })
            }
        }
    }
}

impl Place {
    /// The folder that is meant.
    fn folder(&self) -> Outcome<PathBuf> {
        if let Some(folder) = &self.data {
            return std::path::absolute(folder)
                .map_err(|error| Failure::io(format_args!("cannot use {folder:?}"), &error));
        }
        let absolute = |variable| {
            let path = std::env::var_os(variable).map(PathBuf::from);
            path.filter(|path: &PathBuf| path.is_absolute())
        };
        let home = || absolute("HOME").map(|home| home.join(".local/share"));
        let data = absolute("XDG_DATA_HOME").or_else(home).ok_or_else(|| {
            let text = "neither XDG_DATA_HOME nor HOME says where to keep the network: use --data";
            Failure::new(Exit::Other, text)
        })?;
        Ok(data.join("uplink").join("dev"))
    }
}

async fn start(arguments: Start, context: &Context) -> Outcome {
    let mut options = arguments.network.options();
    if !arguments.ephemeral {
        let folder = arguments.place.folder()?;
        if arguments.reset {
            if !arguments.yes {
                ask_before_reset(&folder, context).await?;
            }
            options = options.anew();
        }
        options = options.directory(folder);
    }
    if let Some(listen) = arguments.listen {
        options = options.listen(listen);
    }
    let network = Network::start(options).await.map_err(|error| match error {
        error @ NetworkError::Port { .. } => {
            Failure::new(Exit::Conflict, format!("{error}; choose another with --listen"))
        }
        error => error.into(),
    })?;
    serve::run(network, arguments.ephemeral, context).await
}

/// Asks whether what is there may be deleted, and fails if not.
async fn ask_before_reset(folder: &Path, context: &Context) -> Outcome {
    let anything = folder.join(uplink_testnet::NETWORK_FILE).exists();
    if !anything || agrees(folder, context).await? {
        return Ok(());
    }
    Err(Failure::new(Exit::Other, format!("{} is kept as it is", folder.display())))
}

async fn agrees(folder: &Path, context: &Context) -> Outcome<bool> {
    use std::io::{self, BufRead, IsTerminal};
    if !io::stdin().is_terminal() {
        let text = "--reset asks before it deletes, and standard input is no terminal: add --yes";
        return Err(Failure::usage(text));
    }
    let shown = folder.display();
    let text = format!("Delete the network in {shown} and all that is stored in it? [y/N] ");
    let typed = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        eprint!("{text}");
        io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    let typed = tokio::select! {
        typed = typed => typed.map_err(io::Error::from).and_then(|line| line),
        interrupted = context.interrupt.wait() => return Err(interrupted),
    };
    let typed = typed.map_err(|error| Failure::io("cannot read standard input", &error))?;
    Ok(["y", "yes"].contains(&typed.trim().to_lowercase().as_str()))
}

/// Prints a table of nodes, or a line of JSON for each.
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
        let state = format!("{state:<8}");
        let state = if node.running { out.green(state) } else { out.red(state) };
        let pieces = node.pieces.map(|pieces| pieces.to_string()).unwrap_or_default();
        let stored = node.stored.map(crate::demo::size).unwrap_or_default();
        let (index, address, id) = (node.index, &node.address, out.dim(&node.id));
        out.line(format_args!("{index:>4}  {state} {address:<21} {pieces:>7} {stored:>11}  {id}"))?;
    }
    Ok(())
}

/// Time of one way as the command line says it.
fn latency(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds.min(MAX_LATENCY))
}
