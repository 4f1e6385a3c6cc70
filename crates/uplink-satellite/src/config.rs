//! Configuration of a satellite: its keys, defaults and documentation.
//!
//! Durations and sizes are texts with a unit (`"30s"`, `"64MiB"`).

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uplink_core::erasure::Scheme;
use uplink_server::config::{ConfigError, Key, Layers, Schema};
use uplink_server::units;

use crate::metabase::database_file;

/// Settings of a satellite. [`Config::default`] suits a self-hosted network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// `host:port` at which clients and nodes reach this satellite; empty: the listening address.
    pub external_address: String,
    /// Database file.
    pub database: String,
    /// Directory of the identity's files.
    pub identity: PathBuf,
    /// Redundancy scheme of new segments.
    #[serde(with = "units::display")]
    pub scheme: Scheme,
    /// Whether the pieces of a segment are placed in distinct networks.
    pub distinct_networks: DistinctNetworks,
    /// Number of nodes offered to a download.
    pub download_offer: DownloadOffer,
    /// Time after its last check-in during which a node counts as online.
    #[serde(with = "units::duration")]
    pub online_window: Duration,
    /// Free space below which a node gets no new pieces.
    #[serde(with = "units::size")]
    pub min_free_space: u64,
    /// Minimum plain size of each part of a multipart upload except the last.
    #[serde(with = "units::size")]
    pub min_part_size: u64,
    /// Lifetime of cache entries for API keys and revocations.
    #[serde(with = "units::duration")]
    pub api_key_cache: Duration,
    /// Maximum number of buckets per project.
    pub buckets_per_project: u32,
    /// Maximum encrypted bytes stored per project; 0 for no limit.
    #[serde(with = "units::size")]
    pub storage_per_project: u64,
    /// Maximum number of segments stored per project; 0 for no limit.
    pub segments_per_project: u64,
    /// Maximum bytes downloaded per project and calendar month in UTC, counted when a download
    /// begins; 0 for no limit.
    #[serde(with = "units::size")]
    pub bandwidth_per_project_and_month: u64,
    /// Maximum requests per project and second, which is also the burst; 0 for no limit.
    pub requests_per_second: u32,
    /// Maximum uploads per object key and second, with a burst of three; 0 for no limit.
    pub uploads_per_key_and_second: u32,
    /// Maximum number of requests in one batch.
    pub requests_per_batch: u32,
    /// Time without progress after which a pending upload is aborted.
    #[serde(with = "units::duration")]
    pub pending_lifetime: Duration,
    /// Maximum time between begin and commit of a segment. Must be shorter than the storage nodes'
    /// creation margin, which alone protects pieces that are stored but not committed.
    #[serde(with = "units::duration")]
    pub segment_lifetime: Duration,
    /// Lifetime of an order limit.
    #[serde(with = "units::duration")]
    pub order_lifetime: Duration,
    /// Time between two garbage collections; 0 disables them.
    #[serde(with = "units::duration")]
    pub garbage_interval: Duration,
    /// Directory that relative paths start from: that of the configuration file.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// Whether the pieces of a segment must be in distinct networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum DistinctNetworks {
    /// Required while the online nodes span enough networks.
    Auto,
    /// Not required.
    Off,
    /// Required.
    On,
}

/// Number of a segment's pieces offered to a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum DownloadOffer {
    /// A few more than needed, as the public network does.
    Narrow,
    /// All pieces of a small scheme, at least ten more than needed of a large one.
    Wide,
}

/// Name of the configuration file in a satellite's directory.
pub const CONFIG_FILE: &str = "satellite.toml";
/// Prefix of the environment variables that override keys, as in `UPLINK_SATELLITE_LISTEN`.
pub const ENVIRONMENT_PREFIX: &str = "UPLINK_SATELLITE_";

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7777)),
            external_address: String::new(),
            database: "satellite.db".to_owned(),
            identity: PathBuf::from("identity"),
            scheme: small_scheme(),
            distinct_networks: DistinctNetworks::Auto,
            download_offer: DownloadOffer::Wide,
            online_window: Duration::from_secs(30 * 60),
            min_free_space: 1_000_000_000,
            min_part_size: 5 << 20,
            api_key_cache: Duration::from_secs(30),
            buckets_per_project: 10_000,
            storage_per_project: 0,
            segments_per_project: 0,
            bandwidth_per_project_and_month: 0,
            requests_per_second: 0,
            uploads_per_key_and_second: 0,
            requests_per_batch: 1_000,
            pending_lifetime: Duration::from_secs(24 * 3600),
            segment_lifetime: Duration::from_secs(48 * 3600),
            order_lifetime: Duration::from_secs(24 * 3600),
            garbage_interval: Duration::from_secs(24 * 3600),
            folder: PathBuf::new(),
        }
    }
}

impl Config {
    /// Returns the configuration of a network on one machine for development and tests: short
    /// intervals, no minimum sizes, no cache, a free port on the loopback interface.
    #[must_use]
    pub fn dev() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            distinct_networks: DistinctNetworks::Off,
            online_window: Duration::from_secs(30),
            min_free_space: 64 << 20,
            min_part_size: 0,
            api_key_cache: Duration::ZERO,
            pending_lifetime: Duration::from_secs(3600),
            segment_lifetime: Duration::from_secs(9 * 60),
            garbage_interval: Duration::from_secs(60),
            ..Self::default()
        }
    }

    /// Reads a configuration file, overridden by environment variables, overridden by `flags`
    /// (key, value).
    ///
    /// # Errors
    /// The file is missing or malformed, or a key is unknown.
    pub fn load(
        file: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[(String, String)],
    ) -> Result<Self, ConfigError> {
        let directory = file.parent().unwrap_or_else(|| Path::new(""));
        let layers = SCHEMA.file(file)?;
        Self::from_layers(layers.environment(environment)?.pairs("flag", flags)?, directory)
    }

    /// Returns this configuration with the overrides of [`load`](Self::load), for a directory.
    ///
    /// # Errors
    /// A key is unknown or a value is malformed.
    pub fn with_overrides(
        &self,
        directory: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[(String, String)],
    ) -> Result<Self, ConfigError> {
        let layers = SCHEMA.empty().settings("configuration", self)?;
        Self::from_layers(layers.environment(environment)?.pairs("flag", flags)?, directory)
    }

    fn from_layers(layers: Layers, directory: &Path) -> Result<Self, ConfigError> {
        let place = layers.place_of("database").to_owned();
        let mut config: Self = layers.parse()?;
        directory.clone_into(&mut config.folder);
        if let Some((engine, _)) = config.database.split_once("://")
            && engine != "sqlite"
        {
            let reason =
                format!("unsupported database engine {engine:?}: only sqlite is supported");
            return Err(ConfigError::Malformed { place, reason });
        }
        Ok(config)
    }

    /// Returns the path of the database file.
    #[must_use]
    pub fn database_path(&self) -> PathBuf {
        database_file(&self.database, &self.folder)
    }

    /// Returns the directory of the identity's files.
    #[must_use]
    pub fn identity_path(&self) -> PathBuf {
        self.folder.join(&self.identity)
    }

    /// Formats the configuration as a file with comments, which reads back as itself.
    ///
    /// # Errors
    /// A path is not UTF-8.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        SCHEMA.to_toml("Configuration of an uplink satellite.", self)
    }
}

/// The keys of the file, which are the fields of [`Config`].
const SCHEMA: Schema = Schema {
    keys: KEYS,
    environment_prefix: ENVIRONMENT_PREFIX,
    other_variables: &["UPLINK_SATELLITE_DIR"],
};

const KEYS: &[Key] = &[
    Key::text("listen", "Address and port to listen on, for clients and storage nodes alike."),
    Key::text(
        "external_address",
        "host:port at which others reach this satellite, part of every access grant.
         Empty: the address above.",
    ),
    Key::text("database", "Database file; relative paths start from the directory of this file."),
    Key::text("identity", "Directory with the identity's certificates and keys."),
    Key::text(
        "scheme",
        "Redundancy of new segments: required pieces / repair threshold / optimal pieces / total
         pieces - bytes per share. The optimal number of nodes or more must be online.",
    ),
    Key::text(
        "distinct_networks",
        "Whether the pieces of a segment must be in distinct networks: on, off, or auto (on while
         the online nodes span enough networks).",
    ),
    Key::text(
        "download_offer",
        "How many pieces a download may choose from: wide, or narrow as on the public network.",
    ),
    Key::text(
        "online_window",
        "Time after its last check-in during which a storage node counts as online.",
    ),
    Key::text("min_free_space", "Free space below which a storage node gets no new pieces."),
    Key::text("min_part_size", "Minimum size of each part of a multipart upload except the last."),
    Key::text(
        "api_key_cache",
        "How long API keys are cached; a deleted key keeps working for this time.",
    ),
    Key::number("buckets_per_project", "Maximum number of buckets per project."),
    Key::text(
        "storage_per_project",
        "Maximum encrypted bytes stored per project, before erasure coding; 0B: no limit. The last
         segment may exceed it.",
    ),
    Key::number(
        "segments_per_project",
        "Maximum number of segments stored per project; 0: no limit.",
    ),
    Key::text(
        "bandwidth_per_project_and_month",
        "Maximum bytes downloaded per project and calendar month in UTC, counted when a download
         begins and only while a limit is set; 0B: no limit.",
    ),
    Key::number(
        "requests_per_second",
        "Maximum requests per project and second, each request of a batch counted; 0: no limit.
         The public network allows 100.",
    ),
    Key::number(
        "uploads_per_key_and_second",
        "Maximum uploads per object key and second, with a burst of three; 0: no limit. The public
         network allows 1.",
    ),
    Key::number("requests_per_batch", "Maximum number of requests in one batch."),
    Key::text("pending_lifetime", "Time without progress after which a pending upload is aborted."),
    Key::text(
        "segment_lifetime",
        "Maximum time between begin and commit of a segment. Must be shorter than the
         creation_margin of the storage nodes (72h by default): it alone protects pieces that are
         stored but not yet committed, so otherwise pieces of slow uploads may be lost.",
    ),
    Key::text("order_lifetime", "Lifetime of an order limit."),
    Key::text(
        "garbage_interval",
        "Time between two garbage collections, which send each storage node a filter of the pieces
         to keep; 0s: never.",
    ),
];

fn small_scheme() -> Scheme {
    Scheme::new(4, 6, 8, 10, 256).unwrap_or_else(|_| unreachable!("a valid scheme"))
}

#[cfg(test)]
mod tests;
