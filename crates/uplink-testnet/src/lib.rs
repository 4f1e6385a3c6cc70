//! A whole network in one process: a satellite and its storage nodes on the loopback interface.
//!
//! ```text
//!   Network ─┬─ satellite       own identity, port, database        ┐
//!            ├─ node 0          own identity, port, pieces          ├─ one folder, kept or
//! temporary
//!            ├─ node 1 …        each stopped and started separately │
//!            └─ network.toml    ports, chosen once                  ┘
//! ```
//!
//! The services are the production ones, with real sockets, disks and a real database. Only their
//! timeouts and intervals are those of a development network. Clients connect with the
//! [`Credentials`] that [`Network::project`] returns, as to any other network.

mod error;
#[cfg(feature = "faults")]
mod faults;
mod files;
#[cfg(feature = "faults")]
mod malicious;
mod network;
mod node;
mod options;
mod port;
mod relay;

pub use error::NetworkError;
pub use files::NETWORK_FILE;
#[cfg(feature = "faults")]
pub use malicious::{Answer, Call, MaliciousSatellite, Upstream, wire};
pub use network::{Credentials, Network};
pub use node::Node;
pub use options::{MAX_NODES, Options, Party};
pub use uplink_core::erasure::Scheme;
pub use uplink_core::id::NodeId;
pub use uplink_satellite::{
    Admin, Config as SatelliteConfig, GarbageReport, NodeRecord, SettlementRecord,
};
pub use uplink_storagenode::{Config as NodeConfig, Usage};
