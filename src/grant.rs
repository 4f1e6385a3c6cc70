//! The contents of access grants: API keys with their caveats, and encryption keys.
//!
//! [`Access`](crate::Access) opens projects and needs none of this. These types serve tools that show
//! or check what a grant contains.

pub use uplink_core::access_grant::AccessGrant;
pub use uplink_core::encryption::store::StoreEntry;
pub use uplink_core::encryption::{CipherSuite, EncryptionStore, Key, PathScope};
pub use uplink_core::macaroon::{ApiKey, Caveat, Operation, OperationSet, Timestamp};
