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

/// What every command takes.
#[derive(Debug, Args)]
struct Common {
    /// Folder with configuration, identity and database
    #[arg(long, global = true, env = FOLDER_VARIABLE, default_value = "uplink-satellite")]
    dir: PathBuf,
    /// Sets a key of the configuration for this command, as in --set listen=0.0.0.0:7777
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// Prints one line of JSON instead of text
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes a configuration file, makes an identity and an empty database; never overwrites any
    Setup,
    /// Serves until interrupted
    Run {
        /// Begins with an empty database when there is none: whatever clients have stored is lost
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
    /// Makes a project with a first API key
    Create {
        /// Name of the project
        name: String,
    },
    /// Lists all projects
    List,
    /// Bars all API keys of a project
    Disable {
        /// Name of the project
        name: String,
        /// Lifts the bar instead
        #[arg(long)]
        undo: bool,
    },
}

#[derive(Debug, Subcommand)]
enum ApiKeyCommand {
    /// Makes an API key
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
    /// Deletes an API key: it and every grant made from it stop working
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
    /// Excludes a storage node for good
    Disqualify {
        /// Id of the storage node
        id: uplink_core::id::NodeId,
    },
}

/// Environment variable that names the folder; the only one that is no key of the configuration.
const FOLDER_VARIABLE: &str = "UPLINK_SATELLITE_DIR";

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("not of the form KEY=VALUE")?;
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
