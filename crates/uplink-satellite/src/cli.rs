//! The commands.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uplink_core::macaroon::ApiKey;
use uplink_core::node_url::NodeUrl;
use uplink_rpc::tls::Identity;
use uplink_satellite::{Admin, CONFIG_FILE, Config, NodeRecord, ProjectRecord, Satellite};
use uplink_server::StopSignal;
use uplink_server::config::process_environment;

use crate::{ApiKeyCommand, Command, Common, NodeCommand, ProjectCommand};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Time for calls in progress after a stop signal.
const STOP_GRACE: Duration = Duration::from_secs(5);

pub(crate) async fn execute(common: Common, command: Command) -> Result<(), Failure> {
    match command {
        Command::Setup => setup(&common).await,
        Command::Run { accept_empty_database } => run(&common, accept_empty_database).await,
        Command::Project(command) => project(&common, command).await,
        Command::ApiKey(command) => api_key(&common, command).await,
        Command::Node(command) => node(&common, command).await,
    }
}

fn config_file(common: &Common) -> PathBuf {
    common.dir.join(CONFIG_FILE)
}

fn load(common: &Common) -> Result<Config, Failure> {
    let file = config_file(common);
    if !file.exists() {
        return Err(format!("{} does not exist; `setup` creates it", file.display()).into());
    }
    Ok(Config::load(&file, process_environment(), &common.set)?)
}

async fn setup(common: &Common) -> Result<(), Failure> {
    let file = config_file(common);
    if file.exists() {
        return Err(
            format!("{} exists already; setup does not overwrite it", file.display()).into()
        );
    }
    fs::create_dir_all(&common.dir)?;
    let config =
        Config::default().with_overrides(&common.dir, process_environment(), &common.set)?;
    let contents = config.to_toml()?;
    let folder = config.identity_path();
    fs::create_dir_all(&folder)?;
    let identity = Identity::generate()?;
    identity.save(&folder)?;
    Satellite::create_database(&config, &identity).await?;
    fs::write(&file, contents)?;
    let id = identity.node_id().to_string();
    let configuration = file.display().to_string();
    let text = format!(
        "Satellite {id} is set up.\n\nConfiguration: {configuration}\nIdentity: {}\n\n\
         Next: uplink-satellite run --dir {}",
        folder.display(),
        common.dir.display()
    );
    print(common, &json!({"id": id, "config": configuration}), &text)
}

async fn run(common: &Common, accept_empty_database: bool) -> Result<(), Failure> {
    let config = load(common)?;
    let identity = load_identity(&config)?;
    let database = config.database_path();
    if !accept_empty_database && !database.exists() {
        let text = format!(
            "database {} does not exist: mount its disk or restore it; \
             --accept-empty-database starts with an empty one, which loses all stored objects",
            database.display()
        );
        return Err(text.into());
    }
    let mut stop = StopSignal::listen()?;
    let started = tokio::select! {
        started = Satellite::start(config, identity) => started,
        () = stop.received() => return Ok(()),
    };
    let satellite = started.map_err(|error| {
        let file = config_file(common);
        match error {
            uplink_satellite::StartError::Listen(error) => {
                Failure::from(format!("{error}; `listen` in {} sets it", file.display()))
            }
            error => error.into(),
        }
    })?;
    let url = satellite.node_url().to_string();
    let ready = json!({
        "satellite": url,
        "address": satellite.address().to_string(),
        "pid": std::process::id(),
    });
    print(common, &ready, &format!("Satellite {url} is ready."))?;
    stop.received().await;
    satellite.stop(STOP_GRACE).await;
    Ok(())
}

async fn project(common: &Common, command: ProjectCommand) -> Result<(), Failure> {
    let config = load(common)?;
    let admin = Admin::create(&config).await?;
    match command {
        ProjectCommand::Create { name } => {
            let url = node_url(&config)?;
            let project = admin.create_project(&name).await?;
            let api_key = admin.create_api_key(&project, "default").await?;
            print_key(common, &url, &project, &api_key)
        }
        ProjectCommand::List => {
            let projects = admin.projects().await?;
            let rows = projects.iter().map(project_json).collect();
            let lines = projects.iter().map(|project| {
                let state = if project.disabled { "disabled" } else { "" };
                format!("{}  {}  {state}", rfc3339(project.created), project.name)
            });
            print(common, &Value::Array(rows), &lines.collect::<Vec<_>>().join("\n"))
        }
        ProjectCommand::Disable { name, undo } => {
            admin.disable_project(&name, !undo).await?;
            let done = if undo { "enabled" } else { "disabled" };
            let state = json!({"project": name, "disabled": !undo});
            print(common, &state, &format!("Project {name} is {done}."))
        }
    }
}

async fn api_key(common: &Common, command: ApiKeyCommand) -> Result<(), Failure> {
    let config = load(common)?;
    let admin = Admin::create(&config).await?;
    match command {
        ApiKeyCommand::Create { project, name } => {
            let url = node_url(&config)?;
            let project = admin.project(&project).await?;
            let api_key = admin.create_api_key(&project, &name).await?;
            print_key(common, &url, &project, &api_key)
        }
        ApiKeyCommand::List { project } => {
            let keys = admin.api_keys(&admin.project(&project).await?).await?;
            let rows = keys
                .iter()
                .map(|key| json!({"name": key.name, "created": rfc3339(key.created)}))
                .collect();
            let lines = keys.iter().map(|key| format!("{}  {}", rfc3339(key.created), key.name));
            print(common, &Value::Array(rows), &lines.collect::<Vec<_>>().join("\n"))
        }
        ApiKeyCommand::Delete { project, name } => {
            admin.delete_api_key(&admin.project(&project).await?, &name).await?;
            let state = json!({"project": project, "deleted": name});
            print(common, &state, &format!("API key {name} of project {project} is deleted."))
        }
    }
}

async fn node(common: &Common, command: NodeCommand) -> Result<(), Failure> {
    let config = load(common)?;
    let admin = Admin::create(&config).await?;
    match command {
        NodeCommand::List => {
            let nodes = admin.nodes(&config).await?;
            let rows = nodes.iter().map(node_json).collect();
            let lines = nodes.iter().map(|node| {
                let free = node.free_disk / 1_000_000_000;
                format!("{}  {}  {free} GB free  {}", node.id, node.address, state_of(node))
            });
            print(common, &Value::Array(rows), &lines.collect::<Vec<_>>().join("\n"))
        }
        NodeCommand::Disqualify { id } => {
            admin.disqualify_node(id).await?;
            let state = json!({"disqualified": id.to_string()});
            print(common, &state, &format!("Storage node {id} is disqualified."))
        }
    }
}

fn load_identity(config: &Config) -> Result<Identity, Failure> {
    let folder = config.identity_path();
    Identity::load(&folder)
        .map_err(|error| format!("{error}; `setup` creates an identity, `run` does not").into())
}

/// Returns the URL at which clients reach the satellite, from configuration and identity alone.
fn node_url(config: &Config) -> Result<NodeUrl, Failure> {
    let address = match config.external_address.as_str() {
        "" if config.listen.port() == 0 => {
            return Err("satellite has no fixed port: set `listen` or `external_address`".into());
        }
        "" => config.listen.to_string(),
        address => address.to_owned(),
    };
    Ok(NodeUrl { id: Some(load_identity(config)?.node_id()), address, ..NodeUrl::default() })
}

fn print_key(
    common: &Common,
    url: &NodeUrl,
    project: &ProjectRecord,
    api_key: &ApiKey,
) -> Result<(), Failure> {
    let url = url.to_string();
    let api_key = api_key.serialize();
    let request = format!("uplink access request --satellite {url} --api-key {api_key}");
    let text = format!(
        "Project:   {}\nSatellite: {url}\nAPI key:   {api_key}\n\n\
         To create an access grant with a passphrase that only you know:\n\n  {request}",
        project.name
    );
    let value = json!({
        "project": project_json(project),
        "satellite": url,
        "api_key": api_key,
        "command": request,
    });
    print(common, &value, &text)
}

fn project_json(project: &ProjectRecord) -> Value {
    json!({
        "name": project.name,
        "public_id": hex(&project.public_id),
        "created": rfc3339(project.created),
        "disabled": project.disabled,
    })
}

fn node_json(node: &NodeRecord) -> Value {
    json!({
        "id": node.id.to_string(),
        "address": node.address,
        "free_disk": node.free_disk,
        "version": node.version,
        "online": node.online,
        "disqualified": node.disqualified,
        "first_contact": rfc3339(node.first_contact),
        "last_contact": node.last_contact.map(rfc3339),
    })
}

fn state_of(node: &NodeRecord) -> &'static str {
    match (node.disqualified, node.online) {
        (true, _) => "disqualified",
        (false, true) => "online",
        (false, false) => "offline",
    }
}

fn rfc3339(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    let seconds = time.replace_nanosecond(0).unwrap_or(time);
    seconds.format(&Rfc3339).unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn print(common: &Common, value: &Value, text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = if common.json { writeln!(out, "{value}") } else { writeln!(out, "{text}") };
    match written.and_then(|()| out.flush()) {
        // The reader of the pipe is done.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}
