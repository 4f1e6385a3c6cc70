//! Output of `uplink dev` when the network is ready, and of `uplink dev project`.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uplink_testnet::Network;

use crate::failure::Outcome;
use crate::output::Output;

/// A project in a running network, also printed as JSON.
#[derive(Deserialize, Serialize)]
pub(super) struct Ready {
    /// Address of the satellite, `id@address:port`.
    pub(super) satellite: String,
    /// Unrestricted API key of the project.
    pub(super) api_key: String,
    /// Unrestricted access grant of the project.
    pub(super) access: String,
    /// Directory of the network.
    pub(super) data: PathBuf,
    /// All storage nodes.
    pub(super) nodes: Vec<Node>,
    /// Process id of the network.
    pub(super) pid: u32,
}

/// A storage node.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Node {
    id: String,
    address: String,
    data: PathBuf,
}

impl Ready {
    pub(super) fn new(network: &Network, api_key: String, access: String) -> Self {
        let node = |node: &uplink_testnet::Node| Node {
            id: node.id().to_string(),
            address: node.address().to_string(),
            data: node.directory().to_owned(),
        };
        Self {
            satellite: network.satellite_url(),
            api_key,
            access,
            data: network.directory().to_owned(),
            nodes: network.nodes().iter().map(node).collect(),
            pid: std::process::id(),
        }
    }

    /// Prints the project, or the whole JSON line.
    pub(super) fn print(&self, out: Output) -> Outcome {
        out.object(self)?;
        out.line(format_args!("satellite  {}", self.satellite))?;
        out.line(format_args!("API key    {}", self.api_key))?;
        out.line(format_args!("access     {}", self.access))
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready")
            .field("satellite", &self.satellite)
            .field("data", &self.data)
            .field("nodes", &self.nodes.len())
            .finish_non_exhaustive()
    }
}
