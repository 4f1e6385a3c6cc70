//! Why a network does not start, or does not do what it is asked for.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use uplink_core::id::NodeId;
use uplink_rpc::tls::IdentityError;
use uplink_satellite::AdminError;

use crate::options::MAX_NODES;

/// Why a request to a network fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The satellite's database refuses.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The satellite ran before, and its database is not there.
    #[error(
        "the satellite's database {path} is gone. Bring it back, or mount its disk; to give up what is \
         stored and begin anew, start with --reset"
    )]
    DatabaseGone {
        /// The database.
        path: PathBuf,
    },
    /// A folder or file cannot be used.
    #[error("{path}: {source}")]
    File {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Garbage cannot be collected.
    #[error(transparent)]
    Garbage(#[from] uplink_satellite::GarbageError),
    /// A service that ran before has lost its folder.
    #[error(
        "{whose} is gone: {path} holds nothing of it. Bring the folder back, or mount its disk; to give \
         up what is stored and begin anew, start with --reset"
    )]
    Gone {
        /// The service.
        whose: String,
        /// Its folder.
        path: PathBuf,
    },
    /// An identity cannot be made or read.
    #[error("identity of {whose}: {source}")]
    Identity {
        /// The service it belongs to.
        whose: String,
        /// What is wrong with it.
        source: IdentityError,
    },
    /// Another process runs the network of this folder.
    #[error("the network in {path} is running already{}", .process.map(|id| format!(" (process {id})")).unwrap_or_default())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The process, if it left its number.
        process: Option<u32>,
    },
    /// The network's file is damaged.
    #[error("{path} is damaged: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The network's file is of a newer version of this program.
    #[error("{path} has format {found}, this program knows formats up to {known}")]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The format of the file.
        found: i64,
        /// The newest known format.
        known: i64,
    },
    /// A storage node could not hand in its orders.
    #[error("storage node {index}: {source}")]
    Settlement {
        /// Index of the node.
        index: usize,
        /// Why.
        source: Box<uplink_storagenode::SettleError>,
    },
    /// A storage node did not start.
    #[error("storage node {index}: {source}")]
    Node {
        /// Index of the node.
        index: usize,
        /// Why.
        source: Box<uplink_storagenode::StartError>,
    },
    /// There is no such node.
    #[error("there is no storage node {index}: this network's are 0 to {}", .count.saturating_sub(1))]
    NoSuchNode {
        /// The index asked for.
        index: usize,
        /// Nodes of the network.
        count: usize,
    },
    /// There is no node of this id.
    #[error("this network has no storage node {0}")]
    NoSuchNodeId(NodeId),
    /// The network would be reachable from other machines.
    #[error("{0} is not on the loopback interface, which a network for development never leaves")]
    NotLoopback(SocketAddr),
    /// A running node did not come online in time.
    #[error("storage node {index} is not online: {reason}")]
    NotOnline {
        /// Index of the node.
        index: usize,
        /// What the check-in said.
        reason: String,
    },
    /// Number of nodes out of bounds.
    #[error("a network has 1 to {MAX_NODES} storage nodes, not {0}")]
    NodeCount(usize),
    /// Nodes cannot be taken away.
    #[error(
        "the network in {path} has {found} storage nodes and cannot be started with {wanted}: pieces would be lost"
    )]
    NodesLost {
        /// The folder.
        path: PathBuf,
        /// Nodes of the network.
        found: usize,
        /// Nodes asked for.
        wanted: usize,
    },
    /// A node's trash cannot be emptied.
    #[error("trash of storage node {index}: {source}")]
    Trash {
        /// Index of the node.
        index: usize,
        /// Why.
        source: Box<uplink_storagenode::RetentionError>,
    },
    /// Another program listens on the satellite's address.
    #[error("cannot listen on {address}, the satellite's address in {path}: {source}")]
    Port {
        /// The address.
        address: SocketAddr,
        /// The file that says so.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A folder holds another identity than the one that ran there.
    #[error("{path} holds identity {found}, {whose} of this network is {known}")]
    OtherIdentity {
        /// The service.
        whose: String,
        /// Its folder.
        path: PathBuf,
        /// The identity in the folder.
        found: NodeId,
        /// The identity that it had.
        known: NodeId,
    },
    /// The service runs already.
    #[error("{0} is running already")]
    Running(String),
    /// The satellite did not start.
    #[error("satellite: {0}")]
    Satellite(Box<uplink_satellite::StartError>),
    /// The service does not run.
    #[error("{0} is not running")]
    Stopped(String),
    /// The scheme wants more nodes than there are.
    #[error(
        "scheme {scheme} stores {optimal} pieces on as many storage nodes, the network has {nodes}"
    )]
    TooFewNodes {
        /// The scheme.
        scheme: uplink_core::erasure::Scheme,
        /// Pieces that an upload stores.
        optimal: usize,
        /// Nodes of the network.
        nodes: usize,
    },
}

pub(crate) type Result<T> = std::result::Result<T, NetworkError>;
