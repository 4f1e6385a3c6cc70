//! Configuration of a storage node.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use uplink_core::id::NodeId;
use uplink_core::node_url::{NodeUrl, NodeUrlError};
use uplink_server::Clock;

/// Settings of a storage node. [`Config::new`] lists the defaults.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Directory of pieces and orders. It must exist, and only one running node may use it.
    pub data: PathBuf,
    /// Address to listen on; port 0 selects a free one.
    pub listen: SocketAddr,
    /// `host:port` at which satellites and clients reach the node; `None` for the listening address.
    pub external_address: Option<String>,
    /// Maximum bytes of piece files, including the trash. A file is a header of 512 bytes and the
    /// piece.
    pub capacity: u64,
    /// Bytes of the file system that stay free, regardless of the capacity.
    pub keep_free: u64,
    /// The satellites whose order limits are accepted and with which the node checks in.
    pub satellites: Vec<Satellite>,
    /// Time between two check-ins.
    pub check_in_interval: Duration,
    /// Maximum number of concurrent uploads; further ones are rejected.
    pub max_uploads: usize,
    /// Time without any progress after which a transfer is aborted.
    pub idle_limit: Duration,
    /// Garbage collection keeps pieces that were younger than this when it started. Must be longer
    /// than the satellites' segment lifetime: it alone protects pieces that are stored but not yet
    /// committed.
    pub creation_margin: Duration,
    /// Time after which pieces in the trash are deleted.
    pub trash_lifetime: Duration,
    /// Whether the node may start with an empty data directory. A node that has run before must not:
    /// its disk may not be mounted.
    pub accept_empty_data: bool,
    /// Source of the time.
    pub clock: Clock,
}

impl Config {
    /// Returns a configuration with defaults: a free loopback port, no space kept free, a check-in
    /// every 10 minutes, at most 500 uploads, an idle limit of 10 minutes, a creation margin of 72
    /// hours, a trash lifetime of 7 days, and permission to start with an empty data directory.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>, capacity: u64, satellites: Vec<Satellite>) -> Self {
        Self {
            data: data.into(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            external_address: None,
            capacity,
            keep_free: 0,
            satellites,
            check_in_interval: CHECK_IN_INTERVAL,
            max_uploads: MAX_UPLOADS,
            idle_limit: IDLE_LIMIT,
            creation_margin: CREATION_MARGIN,
            trash_lifetime: TRASH_LIFETIME,
            accept_empty_data: true,
            clock: Clock::system(),
        }
    }
}

/// A trusted satellite: node id and address.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)] // the two halves of its text form
pub struct Satellite {
    /// Node id, verified against the certificates of every connection.
    pub id: NodeId,
    /// `host:port`.
    pub address: String,
}

impl FromStr for Satellite {
    type Err = SatelliteError;

    /// Parses a node URL: `id@host:port`.
    fn from_str(text: &str) -> Result<Self, SatelliteError> {
        let url: NodeUrl = text.parse()?;
        if url.host_port().is_none() {
            return Err(SatelliteError::NoPort);
        }
        let id = url.id.ok_or(SatelliteError::NoId)?;
        Ok(Self { id, address: url.address })
    }
}

impl fmt::Display for Satellite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.address)
    }
}

/// Why a text is not a satellite.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SatelliteError {
    /// The text is not a node URL.
    #[error("satellite: {0}")]
    Malformed(#[from] NodeUrlError),
    /// The node id is missing.
    #[error("satellite: expected id@host:port, the id is missing")]
    NoId,
    /// The port is missing or 0.
    #[error("satellite: expected id@host:port, the port is missing")]
    NoPort,
}

pub(crate) const CHECK_IN_INTERVAL: Duration = Duration::from_secs(600);
pub(crate) const MAX_UPLOADS: usize = 500;
pub(crate) const IDLE_LIMIT: Duration = Duration::from_secs(600);
pub(crate) const CREATION_MARGIN: Duration = Duration::from_secs(72 * 3600);
pub(crate) const TRASH_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
