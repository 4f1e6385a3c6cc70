//! Administration of a satellite's database: projects, API keys, nodes.
//!
//! There is no administration over the network. All operations work while a satellite is running.

use std::path::Path;
use std::time::{Duration, SystemTime};

use uplink_core::id::NodeId;
use uplink_core::macaroon::ApiKey;
use uplink_core::secret::Secret;

use crate::config::Config;
use crate::metabase::{
    KeyRow, Metabase, MetabaseError, NodeRow, NodeState, Project, database_file,
};
use crate::random;
use crate::selection::is_recent;
use crate::time::{Clock, Time};

/// Administrative access to a satellite's database.
#[derive(Clone, Debug)]
pub struct Admin {
    metabase: Metabase,
    clock: Clock,
}

/// A project.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProjectRecord {
    /// Internal id; never sent to clients.
    pub id: [u8; 16],
    /// Id that clients see.
    pub public_id: [u8; 16],
    /// Name given by the operator.
    pub name: String,
    /// Salt of the root keys that clients derive from passphrases.
    pub salt: [u8; 16],
    /// Time of creation.
    pub created: SystemTime,
    /// Whether its API keys are disabled.
    pub disabled: bool,
}

/// An API key without its secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ApiKeyRecord {
    /// Name given by the operator.
    pub name: String,
    /// Time of creation.
    pub created: SystemTime,
}

/// A storage node as the satellite sees it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NodeRecord {
    /// The node's id.
    pub id: NodeId,
    /// `host:port` as announced by the node.
    pub address: String,
    /// Bytes of free space that the node reports.
    pub free_disk: u64,
    /// Version of the node's software.
    pub version: String,
    /// Whether it was reachable within the configured online window.
    pub online: bool,
    /// Whether the operator disqualified it.
    pub disqualified: bool,
    /// Time of its first check-in.
    pub first_contact: SystemTime,
    /// Time of the last check-in after which it was reachable.
    pub last_contact: Option<SystemTime>,
}

/// Bandwidth that a storage node settled for one hour.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettlementRecord {
    /// The hour in which the order limits were created, counted from 1970.
    pub hour: i64,
    /// The action, numbered as in messages: 1 upload, 2 download.
    pub action: i64,
    /// Bytes that were ordered.
    pub bytes: i64,
}

/// Why an administrative operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The database operation failed.
    #[error(transparent)]
    Database(#[from] MetabaseError),
    /// A name is invalid.
    #[error("invalid {what}: must have 1 to {MAX_NAME} bytes without control characters")]
    Name {
        /// The kind of name.
        what: &'static str,
    },
    /// No API key of the project has this name.
    #[error("API key {0:?} not found in the project")]
    NoSuchApiKey(String),
    /// No node has this id.
    #[error("storage node {0} has never checked in")]
    NoSuchNode(NodeId),
    /// No project has this name.
    #[error("project {0:?} not found")]
    NoSuchProject(String),
}

/// Maximum length of the name of a project or API key, in bytes.
const MAX_NAME: usize = 100;
/// Permissions of new keys beyond the first version of the format: object lock, eventing.
const KEY_VERSION: u32 = 1 | 4;

impl Admin {
    /// Opens the database at `location`: a path, optionally after `sqlite:`.
    ///
    /// # Errors
    /// The database does not exist, or its schema is newer than this program.
    pub async fn open(location: &str) -> Result<Self, AdminError> {
        Self::with_clock(&database_file(location, Path::new("")), Clock::system(), false).await
    }

    /// Opens the database of a configuration and creates it if it does not exist.
    ///
    /// # Errors
    /// The schema is newer than this program, or the database fails.
    pub async fn create(config: &Config) -> Result<Self, AdminError> {
        Self::with_clock(&config.database_path(), Clock::system(), true).await
    }

    async fn with_clock(file: &Path, clock: Clock, create: bool) -> Result<Self, AdminError> {
        let metabase = Metabase::open(file, create, clock.now()).await?;
        Ok(Self { metabase, clock })
    }

    pub(crate) fn of(metabase: Metabase, clock: Clock) -> Self {
        Self { metabase, clock }
    }

    /// Creates a project with a random salt.
    ///
    /// # Errors
    /// The name is already in use or invalid.
    pub async fn create_project(&self, name: &str) -> Result<ProjectRecord, AdminError> {
        check_name(name, "project name")?;
        let project = Project {
            id: random::bytes(),
            public_id: random::bytes(),
            name: name.to_owned(),
            salt: random::bytes(),
            bucket_limit: None,
            created: self.clock.now(),
            disabled: false,
        };
        self.metabase.create_project(&project).await?;
        Ok(project.into())
    }

    /// Returns all projects, oldest first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn projects(&self) -> Result<Vec<ProjectRecord>, AdminError> {
        Ok(self.metabase.projects().await?.into_iter().map(Into::into).collect())
    }

    /// Returns the project of a name.
    ///
    /// # Errors
    /// There is no such project.
    pub async fn project(&self, name: &str) -> Result<ProjectRecord, AdminError> {
        let project = self.metabase.project_named(name).await?;
        project.map(Into::into).ok_or_else(|| AdminError::NoSuchProject(name.to_owned()))
    }

    /// Disables all API keys of a project, or enables them again. Takes effect when cached look-ups
    /// expire.
    ///
    /// # Errors
    /// There is no such project.
    pub async fn disable_project(&self, name: &str, disabled: bool) -> Result<(), AdminError> {
        let project = self.project(name).await?;
        let now = disabled.then(|| self.clock.now());
        Ok(self.metabase.disable_project(&project.id, now).await?)
    }

    /// Creates an unrestricted API key of a project.
    ///
    /// # Errors
    /// The project already has a key of that name, or the name is invalid.
    pub async fn create_api_key(
        &self,
        project: &ProjectRecord,
        name: &str,
    ) -> Result<ApiKey, AdminError> {
        let head = random::bytes::<32>().to_vec();
        let secret = Secret::new(random::bytes::<32>().to_vec());
        self.import_api_key(project, name, head, secret, KEY_VERSION).await
    }

    /// Imports an API key created elsewhere: its head, its secret, and the bit mask of its additional
    /// permissions (1 object lock, 4 eventing).
    ///
    /// # Errors
    /// A key of that name exists in the project, a key with that head exists in any project, or the
    /// name is invalid.
    pub async fn import_api_key(
        &self,
        project: &ProjectRecord,
        name: &str,
        head: Vec<u8>,
        secret: Secret<Vec<u8>>,
        version: u32,
    ) -> Result<ApiKey, AdminError> {
        check_name(name, "API key name")?;
        let api_key = ApiKey::new(secret.expose(), head.clone());
        let row = KeyRow {
            head,
            project: project.id,
            secret,
            name: name.to_owned(),
            version: version.into(),
            created: self.clock.now(),
        };
        self.metabase.create_key(&row).await?;
        Ok(api_key)
    }

    /// Returns the API keys of a project, ordered by name.
    ///
    /// # Errors
    /// The database fails.
    pub async fn api_keys(&self, project: &ProjectRecord) -> Result<Vec<ApiKeyRecord>, AdminError> {
        let keys = self.metabase.keys(&project.id).await?;
        let record =
            |key: KeyRow| ApiKeyRecord { name: key.name, created: key.created.to_system() };
        Ok(keys.into_iter().map(record).collect())
    }

    /// Deletes an API key. It and all keys and access grants derived from it stop working when cached
    /// look-ups expire.
    ///
    /// # Errors
    /// There is no such key.
    pub async fn delete_api_key(
        &self,
        project: &ProjectRecord,
        name: &str,
    ) -> Result<(), AdminError> {
        if self.metabase.delete_key(&project.id, name).await? {
            return Ok(());
        }
        Err(AdminError::NoSuchApiKey(name.to_owned()))
    }

    /// Returns all storage nodes that ever checked in, ordered by id. `config` provides the online
    /// window.
    ///
    /// # Errors
    /// The database fails.
    pub async fn nodes(&self, config: &Config) -> Result<Vec<NodeRecord>, AdminError> {
        let now = self.clock.now();
        let nodes = self.metabase.nodes().await?.into_iter();
        Ok(nodes.map(|node| record_of(node, now, config.online_window)).collect())
    }

    /// Returns the settlements of a node, oldest hour first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn settlements(&self, id: NodeId) -> Result<Vec<SettlementRecord>, AdminError> {
        let settled = self.metabase.settlements(&id).await?.into_iter();
        Ok(settled.map(|(hour, action, bytes)| SettlementRecord { hour, action, bytes }).collect())
    }

    /// Disqualifies a node permanently: it receives no pieces, and its pieces are no longer offered.
    ///
    /// # Errors
    /// The node never checked in.
    pub async fn disqualify_node(&self, id: NodeId) -> Result<(), AdminError> {
        if self.metabase.disqualify_node(&id, self.clock.now()).await? {
            return Ok(());
        }
        Err(AdminError::NoSuchNode(id))
    }
}

fn check_name(name: &str, what: &'static str) -> Result<(), AdminError> {
    let usable = !name.is_empty() && name.len() <= MAX_NAME && !name.contains(char::is_control);
    if usable { Ok(()) } else { Err(AdminError::Name { what }) }
}

fn record_of(node: NodeRow, now: Time, window: Duration) -> NodeRecord {
    NodeRecord {
        id: node.id,
        address: node.address,
        free_disk: u64::try_from(node.free_disk).unwrap_or(0),
        version: node.version,
        online: is_recent(node.last_contact, now, window),
        disqualified: node.state == NodeState::Disqualified,
        first_contact: node.created.to_system(),
        last_contact: node.last_contact.map(Time::to_system),
    }
}

impl From<Project> for ProjectRecord {
    fn from(project: Project) -> Self {
        Self {
            id: project.id,
            public_id: project.public_id,
            name: project.name,
            salt: project.salt,
            created: project.created.to_system(),
            disabled: project.disabled,
        }
    }
}
