//! Errors of a network.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use uplink_core::id::NodeId;
use uplink_rpc::tls::IdentityError;
use uplink_satellite::AdminError;

use crate::options::MAX_NODES;

/// Error of an operation on a network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// An administrative operation of the satellite failed.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The satellite ran before and its database is missing.
    #[error(
        "satellite database {path:?} is missing: restore it or mount its disk, or start with \
         --reset to discard all stored data"
    )]
    DatabaseMissing {
        /// The database.
        path: PathBuf,
    },
    /// A folder or file cannot be accessed.
    #[error("{path}: {source}")]
    File {
        /// The folder or file.
        path: PathBuf,
        /// The error of the file system or socket.
        source: io::Error,
    },
    /// Garbage collection failed.
    #[error(transparent)]
    Garbage(#[from] uplink_satellite::GarbageError),
    /// A service ran before and its folder is missing or empty.
    #[error(
        "data of {service} is missing from {path:?}: restore the folder or mount its disk, or \
         start with --reset to discard all stored data"
    )]
    FolderMissing {
        /// The service.
        service: String,
        /// Its folder.
        path: PathBuf,
    },
    /// An identity cannot be generated, saved or loaded.
    #[error("identity of {service}: {source}")]
    Identity {
        /// The service it belongs to.
        service: String,
        /// The identity error.
        source: IdentityError,
    },
    /// Another process runs the network in this folder.
    #[error("network in {path:?} is already running{}", .process.map(|id| format!(" (process {id})")).unwrap_or_default())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The process id, if the lock file contains one.
        process: Option<u32>,
    },
    /// The network file is corrupt.
    #[error("{path} is corrupt: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The network file was written by a newer version of this program.
    #[error("{path} has unsupported format {found}: this version reads formats up to {max}")]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The format of the file.
        found: i64,
        /// The newest supported format.
        max: i64,
    },
    /// A storage node could not settle its orders.
    #[error("storage node {index}: {source}")]
    Settlement {
        /// Index of the node.
        index: usize,
        /// The settlement error.
        source: Box<uplink_storagenode::SettleError>,
    },
    /// A storage node cannot be started.
    #[error("storage node {index}: {source}")]
    Node {
        /// Index of the node.
        index: usize,
        /// The start error.
        source: Box<uplink_storagenode::StartError>,
    },
    /// The node index is out of range.
    #[error("no storage node {index}: this network has storage nodes 0 to {}", .count.saturating_sub(1))]
    NoSuchNode {
        /// The requested index.
        index: usize,
        /// Number of nodes in the network.
        count: usize,
    },
    /// No node has this id.
    #[error("no storage node {0} in this network")]
    NoSuchNodeId(NodeId),
    /// The network would be reachable from other machines.
    #[error("invalid listen address \"{0}\": a development network listens on loopback only")]
    NotLoopback(SocketAddr),
    /// A running node did not come online in time.
    #[error("storage node {index} is not online: {reason}")]
    NotOnline {
        /// Index of the node.
        index: usize,
        /// The reason that the check-in gave.
        reason: String,
    },
    /// The number of nodes is out of range.
    #[error("invalid number of storage nodes {0}: must be 1 to {MAX_NODES}")]
    NodeCount(usize),
    /// Nodes cannot be removed.
    #[error(
        "network in {path:?} has {found} storage nodes and cannot be started with {wanted}: \
         pieces would be lost"
    )]
    NodesLost {
        /// The folder.
        path: PathBuf,
        /// Number of existing nodes.
        found: usize,
        /// Requested number of nodes.
        wanted: usize,
    },
    /// A node's trash cannot be emptied.
    #[error("trash of storage node {index}: {source}")]
    Trash {
        /// Index of the node.
        index: usize,
        /// The trash error.
        source: Box<uplink_storagenode::RetentionError>,
    },
    /// Another program listens on the satellite's address.
    #[error("cannot listen on {address}, the satellite's address in {path:?}: {source}")]
    Port {
        /// The address.
        address: SocketAddr,
        /// The file that configures it.
        path: PathBuf,
        /// The error of the file system or socket.
        source: io::Error,
    },
    /// The folder of a service holds an unexpected identity.
    #[error("wrong identity in {path:?}: found {found}, expected {expected} for {service}")]
    IdentityMismatch {
        /// The service.
        service: String,
        /// Its folder.
        path: PathBuf,
        /// The identity in the folder.
        found: NodeId,
        /// The expected identity.
        expected: NodeId,
    },
    /// The service is already running.
    #[error("{0} is already running")]
    AlreadyRunning(String),
    /// The satellite cannot be started.
    #[error("satellite: {0}")]
    Satellite(Box<uplink_satellite::StartError>),
    /// The service is not running.
    #[error("{0} is not running")]
    NotRunning(String),
    /// The scheme requires more nodes than the network has.
    #[error(
        "not enough storage nodes: scheme {scheme} requires {optimal}, the network has {nodes}"
    )]
    TooFewNodes {
        /// The scheme.
        scheme: uplink_core::erasure::Scheme,
        /// Pieces stored per segment, each on its own node.
        optimal: usize,
        /// Number of nodes in the network.
        nodes: usize,
    },
}

pub(crate) type Result<T> = std::result::Result<T, NetworkError>;
