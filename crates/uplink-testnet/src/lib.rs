//! A whole network in one process: a satellite and its storage nodes on the loopback interface.
//!
//! ```text
//!   Network ─┬─ satellite       own identity, port, database        ┐
//!            ├─ node 0          own identity, port, pieces          ├─ one folder, kept or temporary
//!            ├─ node 1 …        each stopped and started on its own │
//!            └─ network.toml    ports, chosen once                  ┘
//! ```
//!
//! Services are the real ones, with real sockets, disks and a real database; only the times they
//! wait are those of a development network. Clients reach them with what [`Network::project`]
//! returns, as they would reach any other network.

mod error;
#[cfg(feature = "faults")]
mod faults;
mod files;
#[cfg(feature = "faults")]
mod lying;
mod network;
mod node;
mod options;
mod port;
mod relay;

pub use error::NetworkError;
pub use files::NETWORK_FILE;
#[cfg(feature = "faults")]
pub use lying::{Answer, Call, LyingSatellite, Upstream, wire};
pub use network::{Credentials, Network};
pub use node::Node;
pub use options::{MAX_NODES, Options, Party};
pub use uplink_core::erasure::Scheme;
pub use uplink_core::id::NodeId;
pub use uplink_satellite::{
    Admin, Config as SatelliteConfig, GarbageReport, NodeRecord, SettlementRecord,
};
pub use uplink_storagenode::{Config as NodeConfig, Usage};
