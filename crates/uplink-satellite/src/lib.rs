//! The self-hosted satellite: metadata, authority over every call, choice of storage nodes.
//!
//! ```text
//!   client ───────────┐                                  ┌─ auth       what the API key allows
//!   (metainfo calls)  ▼                                  ├─ token      stream ids, segment ids
//!               one TCP port ── endpoint: one file per ──┼─ order      signed order limits
//!                     ▲         group of calls           ├─ selection  which storage nodes
//!   storage node ─────┘                                  └─ metabase   SQL: all that must last
//!   (check-in)
//! ```
//!
//! [`Satellite`] runs in any tokio runtime; the program `uplink-satellite` is a thin shell around
//! it. [`Admin`] acts on the database directly, beside a running satellite or without one.

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
mod text;
mod time;
mod token;
mod usage;

pub use admin::{Admin, AdminError, ApiKeyRecord, NodeRecord, ProjectRecord, SettlementRecord};
pub use config::{
    CONFIG_FILE, Config, ConfigError, DistinctNetworks, DownloadOffer, ENVIRONMENT_PREFIX,
};
pub use garbage::{GarbageError, GarbageReport};
pub use metabase::MetabaseError;
pub use satellite::{Satellite, StartError};
pub use time::Clock;
