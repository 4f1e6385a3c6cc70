//! What an access grant allows, according to its API key.

use std::collections::BTreeSet;

use uplink_core::access_grant::AccessGrant;
use uplink_core::encryption::path::decrypt_path;
use uplink_core::encryption::{EncryptionStore, PathScope};
use uplink_core::macaroon::Caveat;

use super::{Access, Permission};
use crate::object::ObjectKey;

/// What an access grant allows, according to the caveats of its API key.
///
/// The API key itself may be restricted or revoked at the satellite, which no grant shows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restrictions {
    /// What is permitted, and when.
    pub permission: Permission,
    /// Where: `None` for all buckets, otherwise only below these prefixes, which may be none.
    pub prefixes: Option<Vec<AllowedPrefix>>,
    /// Caveats that cannot be decoded. If there is one, the satellite rejects every call, and
    /// [`permission`](Self::permission) permits nothing.
    pub malformed_caveats: usize,
}

/// A bucket, or a prefix in it, that an access grant allows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AllowedPrefix {
    /// Name of the bucket.
    pub bucket: String,
    /// The prefix without its last `/`; empty for the whole bucket, and `None` if the grant has no key
    /// to decrypt it.
    pub prefix: Option<ObjectKey>,
    /// The prefix as the satellite compares it.
    pub encrypted_prefix: Vec<u8>,
}

impl Access {
    /// Returns what the grant allows, according to the caveats of its API key. Works offline.
    #[must_use]
    pub fn restrictions(&self) -> Restrictions {
        Restrictions::of(&self.grant)
    }
}

impl Restrictions {
    /// Returns what a grant allows.
    #[must_use]
    pub fn of(grant: &AccessGrant) -> Self {
        let mut permission = Permission::unrestricted();
        let mut groups = Vec::new();
        let mut malformed_caveats = 0;
        for bytes in grant.api_key().caveats() {
            match Caveat::decode(bytes) {
                Ok(caveat) => {
                    permission.restrict(&caveat);
                    groups.extend(Some(caveat.allowed_paths).filter(|paths| !paths.is_empty()));
                }
                Err(_) => malformed_caveats += 1,
            }
        }
        if malformed_caveats > 0 {
            permission = Permission::new();
        }
        let prefixes = (!groups.is_empty()).then(|| prefixes(grant.encryption(), &groups));
        Self { permission, prefixes, malformed_caveats }
    }
}

/// Returns the prefixes that every group of paths covers, decrypted if the grant has the keys.
fn prefixes(store: &EncryptionStore, groups: &[Vec<PathScope>]) -> Vec<AllowedPrefix> {
    let is_covered = |scope: &&PathScope| {
        let covers = |other: &PathScope| {
            other.bucket == scope.bucket
                && scope.encrypted_path_prefix.starts_with(&other.encrypted_path_prefix)
        };
        groups.iter().all(|group| group.iter().any(covers))
    };
    let covered: BTreeSet<_> = groups.iter().flatten().filter(is_covered).collect();
    covered.into_iter().map(|scope| AllowedPrefix::new(store, scope)).collect()
}

impl AllowedPrefix {
    fn new(store: &EncryptionStore, scope: &PathScope) -> Self {
        let encrypted_prefix = scope.encrypted_path_prefix.clone();
        // The whole bucket needs no key.
        let plain = match encrypted_prefix.is_empty() {
            true => Some(Vec::new()),
            false => decrypt_path(store, &scope.bucket, &encrypted_prefix).ok(),
        };
        let bucket = String::from_utf8_lossy(&scope.bucket).into_owned();
        Self { bucket, prefix: plain.map(ObjectKey::from), encrypted_prefix }
    }
}
