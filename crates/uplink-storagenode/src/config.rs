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
    /// Most bytes of piece files, each a header of 512 bytes and the piece.
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
    /// Tells the time.
    pub clock: Clock,
}

impl Config {
    /// A node that listens on a free loopback port, keeps nothing of the file system free, checks
    /// in every 10 minutes, takes 500 uploads at once and waits 10 minutes for a silent client.
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
