//! The self-hosted satellite: metadata, authorization of every call, selection of storage nodes.
//!
//! ```text
//!   client ───────────┐                                  ┌─ auth       permissions of the API key
//!   (metainfo calls)  ▼                                  ├─ token      stream ids, segment ids
//!               one TCP port ── endpoint: one file per ──┼─ order      signed order limits
//!                     ▲         group of calls           ├─ selection  which storage nodes
//!   storage node ─────┘                                  └─ metabase   SQL: all durable state
//!   (check-in)
//! ```
//!
//! [`Satellite`] runs in any tokio runtime; the program `uplink-satellite` is a thin shell around
//! it. [`Admin`] acts on the database directly, whether or not a satellite is running.

mod admin;
mod auth;
mod config;
mod endpoint;
mod failure;
mod garbage;
mod metabase;
mod order;
mod random;
mod rate;
mod registry;
mod satellite;
mod selection;
mod time;
mod token;
mod usage;

pub use admin::{Admin, AdminError, ApiKeyRecord, NodeRecord, ProjectRecord, SettlementRecord};
pub use config::{CONFIG_FILE, Config, DistinctNetworks, DownloadOffer, ENVIRONMENT_PREFIX};
pub use garbage::{GarbageError, GarbageReport};
pub use metabase::MetabaseError;
pub use satellite::{Satellite, StartError};
pub use uplink_server::Clock;
pub use uplink_server::config::ConfigError;
