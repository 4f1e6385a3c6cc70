//! What a storage node needs to know to run.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use uplink_core::{
    id::NodeId,
    node_url::{NodeUrl, NodeUrlError},
};

use crate::clock::Clock;

/// How a storage node runs; see [`Config::new`] for the defaults.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Directory of pieces and orders; it must exist and belongs to one running node alone.
    pub data: PathBuf,
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// `host:port` at which satellites and clients reach the node; the address listened on if none.
    pub external_address: Option<String>,
    /// Most bytes of piece files, each a header of 512 bytes and the piece, those in the trash
    /// included.
    pub capacity: u64,
    /// Bytes of the file system that are left free whatever the capacity says.
    pub keep_free: u64,
    /// The satellites whose order limits are accepted and with which the node checks in.
    pub satellites: Vec<Satellite>,
    /// Time between two check-ins.
    pub check_in_interval: Duration,
    /// Most uploads at once; further ones are refused.
    pub max_uploads: usize,
    /// How long a client may neither send nor receive anything during a transfer.
    pub idle_limit: Duration,
    /// Pieces younger than this when a satellite begins to look for garbage stay, whatever it says.
    /// Must be longer than the satellites' segment lifetime: a piece that is stored and not yet
    /// committed is protected by this alone.
    pub creation_margin: Duration,
    /// How long pieces that are not wanted any more stay in the trash.
    pub trash_lifetime: Duration,
    /// Whether the node may begin with an empty data directory. One that has run before must not:
    /// its disk may not be mounted.
    pub accept_empty_data: bool,
    /// Tells the time.
    pub clock: Clock,
}

impl Config {
    /// A node that listens on a free loopback port, keeps nothing of the file system free, checks
    /// in every 10 minutes, may begin with an empty data directory, takes 500 uploads at once, waits 10 minutes for a silent client, leaves
    /// pieces alone for 72 hours and keeps its trash for 7 days.
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

/// A trusted satellite: its node id and where it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)] // the two halves of its text form
pub struct Satellite {
    /// Node id, checked against the certificates of every connection.
    pub id: NodeId,
    /// `host:port`.
    pub address: String,
}

impl FromStr for Satellite {
    type Err = SatelliteError;

    /// Reads a node URL: `id@host:port`.
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

/// Why a text names no satellite.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SatelliteError {
    /// The text is no node URL.
    #[error("satellite: {0}")]
    Malformed(#[from] NodeUrlError),
    /// There is no node id.
    #[error("satellite: expected id@host:port, the id is missing")]
    NoId,
    /// There is no port, or port 0.
    #[error("satellite: expected id@host:port, the port is missing")]
    NoPort,
}

pub(crate) const CHECK_IN_INTERVAL: Duration = Duration::from_secs(600);
pub(crate) const MAX_UPLOADS: usize = 500;
pub(crate) const IDLE_LIMIT: Duration = Duration::from_secs(600);
pub(crate) const CREATION_MARGIN: Duration = Duration::from_secs(72 * 3600);
pub(crate) const TRASH_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
