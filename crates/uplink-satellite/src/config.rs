//! Configuration: a commented TOML file, overridden by the environment and by flags.
//!
//! Every setting is one key at the top level. Durations and sizes are texts with a unit
//! (`"30s"`, `"64MiB"`). An unknown key is an error that names the nearest known one, so that a
//! misspelled setting is never silently without effect.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uplink_core::erasure::Scheme;

use crate::metabase::database_file;
use crate::text;

/// All that an operator decides. [`Config::default`] suits a self-hosted network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// `host:port` by which clients and nodes reach this satellite; empty: the listening address.
    pub external_address: String,
    /// Database file.
    pub database: String,
    /// Folder of the identity's files.
    pub identity: PathBuf,
    /// Redundancy scheme of new segments.
    #[serde(with = "text::display")]
    pub scheme: Scheme,
    /// Whether the pieces of a segment go to distinct networks.
    pub distinct_networks: DistinctNetworks,
    /// How many nodes a download is offered.
    pub download_offer: DownloadOffer,
    /// A node counts as online for this long after its last check-in.
    #[serde(with = "text::duration")]
    pub online_window: Duration,
    /// A node with less free space is offered no new pieces.
    #[serde(with = "text::size")]
    pub min_free_space: u64,
    /// Least plain size of every part of a multipart upload but the last.
    #[serde(with = "text::size")]
    pub min_part_size: u64,
    /// How long a looked-up API key and its revocation are remembered.
    #[serde(with = "text::duration")]
    pub api_key_cache: Duration,
    /// Most buckets of one project.
    pub buckets_per_project: u32,
    /// Most encrypted bytes that one project stores; 0 for any number.
    #[serde(with = "text::size")]
    pub storage_per_project: u64,
    /// Most segments that one project stores; 0 for any number.
    pub segments_per_project: u64,
    /// Most bytes that one project fetches in a calendar month in UTC, counted when a download is
    /// begun; 0 for any number.
    #[serde(with = "text::size")]
    pub bandwidth_per_project_and_month: u64,
    /// Most requests of one project in a second, and at once; 0 for any number.
    pub requests_per_second: u32,
    /// Most uploads to one object key in a second, three of them at once; 0 for any number.
    pub uploads_per_key_and_second: u32,
    /// Most requests in one batch.
    pub requests_per_batch: u32,
    /// An upload without any progress is given up after this time.
    #[serde(with = "text::duration")]
    pub pending_lifetime: Duration,
    /// Time between begin and commit of one segment; shorter than the storage nodes' creation
    /// margin, which alone protects pieces that are stored but not committed.
    #[serde(with = "text::duration")]
    pub segment_lifetime: Duration,
    /// Life of an order limit.
    #[serde(with = "text::duration")]
    pub order_lifetime: Duration,
    /// How often storage nodes are told which pieces are wanted; 0 for never.
    #[serde(with = "text::duration")]
    pub garbage_interval: Duration,
    /// Folder that relative paths start from: that of the configuration file.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// Whether two pieces of one segment may lie in the same network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum DistinctNetworks {
    /// Not, as long as the online nodes span enough networks.
    Auto,
    /// They may.
    Off,
    /// Never.
    On,
}

/// How many of a segment's pieces a download is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum DownloadOffer {
    /// Few more than needed, as the public network does.
    Narrow,
    /// All of a small scheme, at least ten more than needed of a large one.
    Wide,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML, or a value has the wrong form.
    #[error("{place}: {reason}")]
    Malformed {
        /// File, environment variable or flag.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// A key means nothing.
    #[error("{place}: unknown key {key:?}, the nearest known one is {nearest:?}")]
    UnknownKey {
        /// File, environment variable or flag.
        place: String,
        /// The key.
        key: String,
        /// The known key that is most like it.
        nearest: String,
    },
}

/// Name of the configuration file in a satellite's folder.
pub const CONFIG_FILE: &str = "satellite.toml";
/// What environment variables that override a key begin with, as in `UPLINK_SATELLITE_LISTEN`.
pub const ENVIRONMENT_PREFIX: &str = "UPLINK_SATELLITE_";
/// Largest configuration file that is read.
const MAX_FILE_SIZE: u64 = 1 << 20;

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
    /// The configuration of networks that live on one machine for development and tests: short
    /// times, no least sizes, nothing cached, a free port on the loopback interface.
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

    /// Reads a configuration file, then the environment's variables, then `flags` (key, value):
    /// later ones win.
    ///
    /// # Errors
    /// The file is missing or malformed, or a key is unknown.
    pub fn load(
        file: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[(String, String)],
    ) -> Result<Self, ConfigError> {
        let place = file.display().to_string();
        let table = read(file)?;
        for key in table.keys() {
            known(key, &place)?;
        }
        let folder = file.parent().unwrap_or_else(|| Path::new(""));
        Self::of(table, &place, folder, environment, flags)
    }

    /// This configuration, overridden as a file's is by [`load`](Self::load), for a folder.
    ///
    /// # Errors
    /// A key is unknown or a value has the wrong form.
    pub fn with_overrides(
        &self,
        folder: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[(String, String)],
    ) -> Result<Self, ConfigError> {
        let table = table_of(self).into_iter().collect();
        Self::of(table, "configuration", folder, environment, flags)
    }

    fn of(
        mut table: toml::Table,
        place: &str,
        folder: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[(String, String)],
    ) -> Result<Self, ConfigError> {
        for (name, value) in environment {
            if let Some(key) = name.strip_prefix(ENVIRONMENT_PREFIX) {
                set(&mut table, &key.to_lowercase(), &value, &name)?;
            }
        }
        for (key, value) in flags {
            set(&mut table, key, value, "flag")?;
        }
        let read: Result<Self, _> = table.try_into();
        let mut config = read.map_err(|error| malformed(place, &error))?;
        config.folder = folder.to_path_buf();
        if let Some((engine, _)) = config.database.split_once("://")
            && engine != "sqlite"
        {
            let reason = format!("database engine {engine:?} is not supported, only sqlite is");
            return Err(ConfigError::Malformed { place: place.to_owned(), reason });
        }
        Ok(config)
    }

    /// The database file.
    #[must_use]
    pub fn database_path(&self) -> PathBuf {
        database_file(&self.database, &self.folder)
    }

    /// The folder of the identity's files.
    #[must_use]
    pub fn identity_path(&self) -> PathBuf {
        self.folder.join(&self.identity)
    }

    /// The configuration as a file with comments, which reads back as itself.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let values = table_of(self);
        let mut file = String::from("# Configuration of an uplink satellite.\n");
        for (key, comment) in KEYS {
            let value = values.get(*key).map(ToString::to_string).unwrap_or_default();
            for line in comment.lines() {
                file.push_str(&format!("\n# {}", line.trim()));
            }
            file.push_str(&format!("\n{key} = {value}\n"));
        }
        file
    }
}

/// All keys with what the configuration file says about them.
const KEYS: &[(&str, &str)] = &[
    ("listen", "Address and port to listen on, for clients and storage nodes alike."),
    (
        "external_address",
        "host:port by which others reach this satellite, part of every access grant.
         Empty: the address above.",
    ),
    ("database", "Database file; relative paths start from the folder of this file."),
    ("identity", "Folder with the identity's certificates and keys."),
    (
        "scheme",
        "Redundancy of new segments: pieces needed / repair below / stored by an upload / offered
         to an upload - bytes per share. At least the third number of nodes must be online.",
    ),
    (
        "distinct_networks",
        "Whether no two pieces of a segment may lie in the same network: on, off, or auto (on as
         long as the online nodes span enough networks).",
    ),
    (
        "download_offer",
        "How many pieces a download may choose from: wide or narrow (what the public network does).",
    ),
    ("online_window", "A storage node counts as online for this long after a check-in."),
    ("min_free_space", "Storage nodes with less free space get no new pieces."),
    ("min_part_size", "Least size of every part of a multipart upload but the last."),
    (
        "api_key_cache",
        "How long a looked-up API key is remembered; a deleted key works so much longer.",
    ),
    ("buckets_per_project", "Most buckets of one project."),
    (
        "storage_per_project",
        "Most encrypted bytes that one project stores, before they are expanded into pieces; 0B: any
         number. Its last segment may go beyond that.",
    ),
    ("segments_per_project", "Most segments that one project stores; 0: any number."),
    (
        "bandwidth_per_project_and_month",
        "Most bytes that one project fetches in a calendar month in UTC, counted when a download is
         begun and only while there is a limit; 0B: any number.",
    ),
    (
        "requests_per_second",
        "Most requests of one project in a second, those in batches counted one by one; 0: any
         number. The public network allows 100.",
    ),
    (
        "uploads_per_key_and_second",
        "Most uploads to one object key in a second, three at once; 0: any number. The public
         network allows 1.",
    ),
    ("requests_per_batch", "Most requests in one batch."),
    ("pending_lifetime", "Uploads without progress are given up after this time."),
    (
        "segment_lifetime",
        "Most time between begin and commit of a segment. Must be shorter than the creation margin
         of the storage nodes (72h unless configured), for which they keep pieces that they were not
         told to keep; else pieces of slow uploads may be lost.",
    ),
    ("order_lifetime", "Life of an order limit."),
    (
        "garbage_interval",
        "How often storage nodes are told which pieces are wanted, so that they can delete the
         others; 0s: never.",
    ),
];

/// Keys whose values are plain numbers.
const NUMBERS: [&str; 5] = [
    "buckets_per_project",
    "requests_per_batch",
    "requests_per_second",
    "segments_per_project",
    "uploads_per_key_and_second",
];

fn small_scheme() -> Scheme {
    Scheme::new(4, 6, 8, 10, 256).unwrap_or_else(|_| unreachable!("a valid scheme"))
}

fn read(file: &Path) -> Result<toml::Table, ConfigError> {
    let place = file.display().to_string();
    let file_error = |source| ConfigError::File { path: place.clone(), source };
    let size = std::fs::metadata(file).map_err(file_error)?.len();
    if size > MAX_FILE_SIZE {
        let reason = format!("{size} bytes are too many for a configuration file");
        return Err(ConfigError::Malformed { place, reason });
    }
    let content = std::fs::read_to_string(file).map_err(file_error)?;
    content.parse().map_err(|error| malformed(&place, &error))
}

fn malformed(place: &str, error: &toml::de::Error) -> ConfigError {
    let reason = error.to_string().trim_end().to_owned();
    ConfigError::Malformed { place: place.to_owned(), reason }
}

/// Sets a key from a text: a number where one is wanted, else a string.
fn set(table: &mut toml::Table, key: &str, value: &str, place: &str) -> Result<(), ConfigError> {
    known(key, place)?;
    let number = value.parse().ok().filter(|_| NUMBERS.contains(&key));
    let value = number.map_or_else(|| value.into(), toml::Value::Integer);
    table.insert(key.to_owned(), value);
    Ok(())
}

fn known(key: &str, place: &str) -> Result<(), ConfigError> {
    if KEYS.iter().any(|(known, _)| *known == key) {
        return Ok(());
    }
    let nearest = KEYS.iter().min_by_key(|(known, _)| strsim::levenshtein(known, key));
    Err(ConfigError::UnknownKey {
        place: place.to_owned(),
        key: key.chars().take(64).collect(),
        nearest: nearest.map(|(known, _)| (*known).to_owned()).unwrap_or_default(),
    })
}

fn table_of(config: &Config) -> BTreeMap<String, toml::Value> {
    toml::Table::try_from(config).map(|table| table.into_iter().collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
