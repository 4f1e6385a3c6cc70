//! `uplink-satellite`: sets up and runs a satellite, and acts on its database.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

mod cli;

#[derive(Debug, Parser)]
#[command(name = "uplink-satellite", version, about = "A satellite of an uplink network")]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Options of all commands.
#[derive(Debug, Args)]
struct Common {
    /// Directory of configuration, identity and database
    #[arg(long, global = true, env = DIRECTORY_VARIABLE, default_value = "uplink-satellite")]
    dir: PathBuf,
    /// Overrides a key of the configuration for this command, as in --set listen=0.0.0.0:7777
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// Prints one line of JSON instead of text
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Creates configuration file, identity and an empty database; never overwrites them
    Setup,
    /// Serves until interrupted
    Run {
        /// Starts with an empty database if there is none: all stored objects are lost
        #[arg(long)]
        accept_empty_database: bool,
    },
    /// Projects: owners of buckets and API keys
    #[command(subcommand)]
    Project(ProjectCommand),
    /// API keys of a project
    #[command(subcommand)]
    ApiKey(ApiKeyCommand),
    /// Storage nodes
    #[command(subcommand)]
    Node(NodeCommand),
}

#[derive(Debug, Subcommand)]
enum ProjectCommand {
    /// Creates a project with a first API key
    Create {
        /// Name of the project
        name: String,
    },
    /// Lists all projects
    List,
    /// Disables all API keys of a project
    Disable {
        /// Name of the project
        name: String,
        /// Enables them again
        #[arg(long)]
        undo: bool,
    },
}

#[derive(Debug, Subcommand)]
enum ApiKeyCommand {
    /// Creates an API key
    Create {
        /// Name of the project
        project: String,
        /// Name of the API key
        name: String,
    },
    /// Lists the API keys of a project
    List {
        /// Name of the project
        project: String,
    },
    /// Deletes an API key; it and all grants derived from it stop working
    Delete {
        /// Name of the project
        project: String,
        /// Name of the API key
        name: String,
    },
}

#[derive(Debug, Subcommand)]
enum NodeCommand {
    /// Lists all storage nodes that ever checked in
    List,
    /// Excludes a storage node permanently
    Disqualify {
        /// Id of the storage node
        id: uplink_core::id::NodeId,
    },
}

/// Environment variable of the directory, the only one that is not a key of the configuration.
const DIRECTORY_VARIABLE: &str = "UPLINK_SATELLITE_DIR";

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    uplink_rpc::descriptors::raise_limit();
    let arguments = Arguments::parse();
    match cli::execute(arguments.common, arguments.command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("uplink-satellite: {error}");
            ExitCode::FAILURE
        }
    }
}
