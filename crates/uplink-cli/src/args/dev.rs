//! Arguments of `uplink dev`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::network::NetworkArgs;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Dev {
    #[command(subcommand)]
    pub(crate) command: Option<DevCommand>,
    #[command(flatten)]
    pub(crate) start: StartArgs,
}

/// How the network is started.
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// Loopback address of the satellite, kept for later starts; a free port if omitted
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Keep all data in a temporary directory that is deleted on exit, and store no access grant
    #[arg(long, conflicts_with_all = ["data", "reset"])]
    pub(crate) ephemeral: bool,
    /// Delete the existing network after confirmation, and create a new one
    #[arg(long)]
    pub(crate) reset: bool,
    /// Skip the confirmation
    #[arg(long, requires = "reset")]
    pub(crate) yes: bool,
}

/// The directory of the network.
#[derive(Debug, Args)]
pub(crate) struct DataArgs {
    /// Directory of the network [default: uplink/dev in $XDG_DATA_HOME or ~/.local/share]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// The commands for a running network.
#[derive(Debug, Subcommand)]
pub(crate) enum DevCommand {
    /// Create a project and print its access grant
    Project {
        /// Name of the project; an unused one if omitted
        name: Option<String>,
        #[command(flatten)]
        data: DataArgs,
    },
    /// List, stop, start or slow down storage nodes
    #[command(subcommand)]
    Node(NodeCommand),
}

/// The commands for storage nodes.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List all storage nodes
    List {
        #[command(flatten)]
        data: DataArgs,
    },
    /// Stop a storage node; its pieces are unavailable until it is started
    Stop {
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Start a stopped storage node; it keeps its pieces
    Start {
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Add latency to a storage node, in both directions
    Slow {
        #[command(flatten)]
        node: NodeArgs,
        /// One-way latency in milliseconds; 0 removes it
        #[arg(long, value_name = "MS", default_value_t = 200,
              value_parser = clap::value_parser!(u64).range(..=MAX_LATENCY))]
        latency: u64,
    },
}

/// Maximum one-way latency in milliseconds. With more, the satellite would consider the node
/// offline.
pub(crate) const MAX_LATENCY: u64 = 1000;

/// A storage node of the running network.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// Index of the node, or its id
    #[arg(value_name = "N")]
    pub(crate) node: String,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}
