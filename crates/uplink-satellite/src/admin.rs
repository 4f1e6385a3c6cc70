//! What an operator does to the database directly: projects, API keys, nodes.
//!
//! There is no administration over the network. Everything here works beside a running satellite.

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

/// Access to a satellite's database.
#[derive(Clone, Debug)]
pub struct Admin {
    metabase: Metabase,
    clock: Clock,
}

/// A project.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProjectRecord {
    /// Names the project in the database; never leaves the satellite.
    pub id: [u8; 16],
    /// Names the project to its clients.
    pub public_id: [u8; 16],
    /// The operator's name for it.
    pub name: String,
    /// Salt of the root keys that clients derive from passphrases.
    pub salt: [u8; 16],
    /// When it was made.
    pub created: SystemTime,
    /// Whether its keys are barred.
    pub disabled: bool,
}

/// An API key, without what would let anyone use it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ApiKeyRecord {
    /// The operator's name for it.
    pub name: String,
    /// When it was made.
    pub created: SystemTime,
}

/// A storage node as the satellite sees it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NodeRecord {
    /// The node's id.
    pub id: NodeId,
    /// `host:port` as the node gives it.
    pub address: String,
    /// Bytes it is still willing to store.
    pub free_disk: u64,
    /// The node's software.
    pub version: String,
    /// Whether it was reached within the time for which a node counts as online.
    pub online: bool,
    /// Whether the operator excluded it for good.
    pub disqualified: bool,
    /// Its first check-in.
    pub first_contact: SystemTime,
    /// The last check-in after which it was reached.
    pub last_contact: Option<SystemTime>,
}

/// What a storage node moved for clients in one hour, as it proved by their orders.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettlementRecord {
    /// The hour in which the order limits were made, counted from 1970.
    pub hour: i64,
    /// What was done, as its number in messages: 1 upload, 2 download.
    pub action: i64,
    /// Bytes that were ordered.
    pub bytes: i64,
}

/// Why an operator's request fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The store failed or refused.
    #[error(transparent)]
    Database(#[from] MetabaseError),
    /// A name cannot be used.
    #[error("{what} must have 1 to {MAX_NAME} bytes without control characters")]
    Name {
        /// The kind of name.
        what: &'static str,
    },
    /// No API key of the project has this name.
    #[error("project has no API key named {0:?}")]
    NoSuchApiKey(String),
    /// No node has this id.
    #[error("no storage node {0} has ever checked in")]
    NoSuchNode(NodeId),
    /// No project has this name.
    #[error("there is no project named {0:?}")]
    NoSuchProject(String),
}

/// Longest name of a project or API key, in bytes.
const MAX_NAME: usize = 100;
/// What new keys may be used for beyond the first version of the format: object lock, eventing.
const KEY_VERSION: u32 = 1 | 4;

impl Admin {
    /// Opens the database at `location`: a path, with or without `sqlite:` in front.
    ///
    /// # Errors
    /// There is no database, or its schema is newer than this program.
    pub async fn open(location: &str) -> Result<Self, AdminError> {
        Self::with_clock(&database_file(location, Path::new("")), Clock::system(), false).await
    }

    /// Opens the database of a configuration, and makes it if it does not exist.
    ///
    /// # Errors
    /// As [`open`](Self::open).
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

    /// Makes a project with a fresh salt.
    ///
    /// # Errors
    /// The name is in use or cannot be one.
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

    /// All projects, oldest first.
    ///
    /// # Errors
    /// The store fails.
    pub async fn projects(&self) -> Result<Vec<ProjectRecord>, AdminError> {
        Ok(self.metabase.projects().await?.into_iter().map(Into::into).collect())
    }

    /// The project of a name.
    ///
    /// # Errors
    /// There is none.
    pub async fn project(&self, name: &str) -> Result<ProjectRecord, AdminError> {
        let project = self.metabase.project_named(name).await?;
        project.map(Into::into).ok_or_else(|| AdminError::NoSuchProject(name.to_owned()))
    }

    /// Bars all API keys of a project, or lifts the bar. Takes effect once cached keys have aged.
    ///
    /// # Errors
    /// There is no such project.
    pub async fn disable_project(&self, name: &str, disabled: bool) -> Result<(), AdminError> {
        let project = self.project(name).await?;
        let now = disabled.then(|| self.clock.now());
        Ok(self.metabase.disable_project(&project.id, now).await?)
    }

    /// Makes an unrestricted API key of a project.
    ///
    /// # Errors
    /// The project has a key of that name, or it cannot be one.
    pub async fn create_api_key(
        &self,
        project: &ProjectRecord,
        name: &str,
    ) -> Result<ApiKey, AdminError> {
        let (head, secret) = (random::bytes::<32>(), Secret::new(random::bytes::<32>().to_vec()));
        self.import_api_key(project, name, head.to_vec(), secret, KEY_VERSION).await
    }

    /// Takes over an API key made elsewhere: its head, its secret, and the bits that say what it may
    /// be used for (1 object lock, 4 eventing).
    ///
    /// # Errors
    /// There is a key of that name in the project, or of that head anywhere.
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

    /// The API keys of a project, by name.
    ///
    /// # Errors
    /// The store fails.
    pub async fn api_keys(&self, project: &ProjectRecord) -> Result<Vec<ApiKeyRecord>, AdminError> {
        let keys = self.metabase.keys(&project.id).await?;
        let record =
            |key: KeyRow| ApiKeyRecord { name: key.name, created: key.created.to_system() };
        Ok(keys.into_iter().map(record).collect())
    }

    /// Deletes an API key: it and every key and grant made from it stop working once cached
    /// look-ups have aged.
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

    /// All storage nodes that ever checked in, in order of their ids. `config` says how long a node
    /// counts as online.
    ///
    /// # Errors
    /// The store fails.
    pub async fn nodes(&self, config: &Config) -> Result<Vec<NodeRecord>, AdminError> {
        let now = self.clock.now();
        let nodes = self.metabase.nodes().await?.into_iter();
        Ok(nodes.map(|node| record_of(node, now, config.online_window)).collect())
    }

    /// What a node has settled, oldest hour first; nothing if it never did.
    ///
    /// # Errors
    /// The store fails.
    pub async fn settlements(&self, id: NodeId) -> Result<Vec<SettlementRecord>, AdminError> {
        let settled = self.metabase.settlements(&id).await?.into_iter();
        Ok(settled.map(|(hour, action, bytes)| SettlementRecord { hour, action, bytes }).collect())
    }

    /// Excludes a node for good: it gets no pieces and those it has are not offered any more.
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
