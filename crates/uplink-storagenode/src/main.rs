//! The storage node as a program: `setup` prepares a directory, `run` serves it.

mod settings;

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::Parser;
use serde_json::json;
use tracing_subscriber::EnvFilter;
use uplink_rpc::tls::Identity;
use uplink_server::StopSignal;
use uplink_storagenode::{StorageNode, prepare_data};

use crate::settings::Settings;

/// Stores pieces for the satellites it trusts.
#[derive(Debug, Parser)]
#[command(name = "uplink-storagenode", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Create configuration and identity; neither is ever overwritten
    Setup(Options),
    /// Run the node until interrupted
    Run {
        #[command(flatten)]
        options: Options,
        /// Start with an empty data directory although the node has run before: its data is
        /// permanently lost
        #[arg(long)]
        accept_empty_data: bool,
    },
}

#[derive(Debug, clap::Args)]
#[command(after_help = ENVIRONMENT_HELP)]
struct Options {
    /// Directory of configuration, identity and data
    #[arg(long, env = "UPLINK_NODE_DIRECTORY", value_name = "DIR")]
    directory: PathBuf,
    /// Print results and errors as one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

const ENVIRONMENT_HELP: &str = "Settings are also read from config.toml and from environment variables: \
    UPLINK_NODE_CAPACITY for --capacity and so on, UPLINK_NODE_SATELLITES for all satellites, \
    separated by commas. Flags override variables, variables override the file.";

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("UPLINK_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    uplink_rpc::descriptors::raise_limit();
    let (json, outcome) = match Arguments::parse().command {
        Command::Setup(options) => (options.json, setup(options)),
        Command::Run { options, accept_empty_data } => {
            (options.json, run(options, accept_empty_data))
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if json => {
            eprintln!("{}", json!({ "error": error.to_string() }));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

type Outcome = Result<(), Box<dyn Error>>;

/// Creates configuration, identity and data directory.
fn setup(options: Options) -> Outcome {
    let Options { directory: home, json, settings } = options;
    let path = config_path(&home);
    if path.exists() {
        return Err(format!("{} exists already and is never overwritten", path.display()).into());
    }
    let settings = complete(settings.or_environment()?)?;
    settings.config(&home)?;
    let contents = settings.to_file()?;
    let data = settings.data(&home);
    let identity_directory = settings.identity(&home);
    for directory in [&home, &data, &identity_directory] {
        create_directory(directory)?;
    }
    let identity = if identity_directory.join("identity.cert").exists() {
        Identity::load(&identity_directory)?
    } else {
        let identity = Identity::generate()?;
        identity.save(&identity_directory)?;
        identity
    };
    prepare_data(&data, identity.node_id())?;
    write_new(&path, &contents)?;
    for directory in [&home, &data] {
        fs::File::open(directory.join(".."))?.sync_all()?;
    }
    fs::File::open(&home)?.sync_all()?;

    let id = identity.node_id().to_string();
    if json {
        let line = json!({ "node_id": id, "config": path, "data": data });
        println!("{line}");
    } else {
        println!("storage node {id}\nconfiguration {}", path.display());
        println!("start it with: uplink-storagenode run --directory {}", home.display());
    }
    Ok(())
}

/// Runs the node until a stop signal.
fn run(options: Options, accept_empty_data: bool) -> Outcome {
    let Options { directory: home, json, settings } = options;
    let settings = settings.or_file(&config_path(&home))?;
    let mut config = settings.config(&home)?;
    config.accept_empty_data = accept_empty_data;
    let identity_directory = settings.identity(&home);
    if !identity_directory.join("identity.cert").exists() {
        let shown = identity_directory.display();
        return Err(format!("{shown} holds no identity; `setup` creates one").into());
    }
    let identity = Identity::load(&identity_directory)?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let data = config.data.clone();
        let mut stop = StopSignal::listen()?;
        let node = StorageNode::start(config, identity).await?;
        announce(&node, &data, json);
        stop.received().await;
        node.stop(STOP_GRACE).await;
        Ok(())
    })
}

fn announce(node: &StorageNode, data: &Path, json: bool) {
    let id = node.node_id().to_string();
    let address = node.address().to_string();
    if json {
        let pid = std::process::id();
        let line = json!({ "node_id": id, "address": address, "data": data, "pid": pid });
        println!("{line}");
    } else {
        println!("storage node {id} listens on {address}");
    }
    // A pipe is block-buffered; its reader waits for this line.
    let _ = io::stdout().flush();
}

fn config_path(home: &Path) -> PathBuf {
    home.join("config.toml")
}

/// Prompts for required settings that are missing, if standard input is a terminal.
fn complete(mut settings: Settings) -> Result<Settings, Box<dyn Error>> {
    if !io::stdin().is_terminal() {
        return Ok(settings);
    }
    if settings.satellites.is_none() {
        settings.satellites = Some(vec![ask("satellite (id@host:port)")?]);
    }
    if settings.external_address.is_none() {
        settings.external_address = Some(ask("address of this node as others see it (host:port)")?);
    }
    if settings.capacity.is_none() {
        settings.capacity = Some(ask("space for pieces (for example 500GB)")?);
    }
    Ok(settings)
}

fn ask<T>(question: &str) -> Result<T, Box<dyn Error>>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    loop {
        eprint!("{question}: ");
        let mut answer = String::new();
        if io::stdin().lock().read_line(&mut answer)? == 0 {
            return Err(format!("no answer: {question}").into());
        }
        match answer.trim().parse() {
            Ok(value) => return Ok(value),
            Err(error) => eprintln!("{error}"),
        }
    }
}

fn create_directory(path: &Path) -> Outcome {
    let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    created.map_err(|error| format!("cannot create {}: {error}", path.display()).into())
}

fn write_new(path: &Path, text: &str) -> Outcome {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| format!("cannot write {}: {error}", path.display()).into())
}

/// Time for transfers in progress after a stop signal.
const STOP_GRACE: Duration = Duration::from_secs(10);
